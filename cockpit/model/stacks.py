"""The stacks of all ranks of a job, grouped by where their main threads are. Pure.

`read` turns what a node answered to the op `stacks` (or kept at a stall) into typed, cleaned
records; `report` groups them; `document` is `stacks --json`. Ranks whose main threads have the
same frames make a group. Groups that wait for nobody come first, and then small ones: where many
wait for one, it stands on top.
Paths are compared as far as they are the same on every node (`stackwords.locate`). For a summary,
groups that differ only in lines inside of torch, libraries and the standard library are one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from cockpit.model.documents import SCHEMA, Document, iso
from cockpit.model.stackwords import Frame, Owner, Words, describe, is_machinery, locate
from cockpit.text import clean, count_of, ranges

MAX_RANKS = 1024
MAX_THREADS = 64
MAX_FRAMES = 100
MAX_TEXT = 300
MAX_ERROR = 1000
_NAMED = 3
"""Groups, and ranks of a group, that a summary names; the rest is counted."""

Stack = tuple[Frame, ...]
"""Innermost frame first."""


class Thread(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    main: bool
    frames: Stack = ()


class RankStacks(msgspec.Struct, frozen=True, kw_only=True):
    """One process of a job. `rank` is None for one that has none; `how`: "signal" or "py-spy"."""

    rank: int | None
    local_rank: int
    node: str
    node_rank: int
    pid: int
    how: str = ""
    error: str = ""
    """Why there are no threads."""
    threads: tuple[Thread, ...] = ()
    """The main thread first."""

    @property
    def stack(self) -> Stack:
        """Of the main thread."""
        return self.threads[0].frames if self.threads else ()

    @property
    def name(self) -> str:
        """For people: "rank 3 (node2)"."""
        who = f"pid {self.pid}" if self.rank is None else f"rank {self.rank}"
        return f"{who} ({self.node})"


class NodeStacks(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of one node. `taken_at` is its wall clock."""

    node: str
    node_rank: int
    taken_at: float
    generation: int | None
    ranks: tuple[RankStacks, ...]


class Missing(msgspec.Struct, frozen=True, kw_only=True):
    """A rank, or with rank and pid None a whole node, of which there are no stacks."""

    node: str
    error: str
    rank: int | None = None
    pid: int | None = None

    @property
    def name(self) -> str:
        if self.rank is not None:
            return f"rank {self.rank} ({self.node})"
        return self.node if self.pid is None else f"pid {self.pid} ({self.node})"


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Ranks whose main threads have equal frames, or are inside of the same import.

    `stack` is what they have in common, as the first one has it.
    """

    ranks: tuple[RankStacks, ...]
    stack: Stack
    words: Words
    aside: str = ""
    """Of ranks that were not silent when the others were: what is known of them instead."""

    @property
    def nodes(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(rank.node for rank in self.ranks))

    @property
    def who(self) -> str:
        """ "rank 3 (node2)", "ranks 1 and 5", "7 ranks"."""
        return _who(self.ranks)

    @property
    def listed(self) -> str:
        """The same with every number: "rank 3 (node2)", "ranks 0-2, 4 (node1, node2)"."""
        return _listed(self.ranks)

    @property
    def summary(self) -> str:
        """ "7 ranks in backward → all_reduce (train.py:41 main)"."""
        return f"{self.who} in {self.words.long}"


class OtherThreads(msgspec.Struct, frozen=True, kw_only=True):
    """Threads beside the main ones that have equal names and frames."""

    name: str
    ranks: tuple[RankStacks, ...]
    """One per thread; a rank with several of them is there as often."""
    stack: Stack

    @property
    def summary(self) -> str:
        """ "16 threads 'loader' of ranks 0-7 (node1)"."""
        count = "1 thread" if len(self.ranks) == 1 else f"{len(self.ranks)} threads"
        name = f" {self.name!r}" if self.name else ""
        return f"{count}{name} of {_listed(tuple(dict.fromkeys(self.ranks)))}"


class StackReport(msgspec.Struct, frozen=True, kw_only=True):
    """`taken_at` is the controller's wall clock. `asked` counts the nodes that answered."""

    taken_at: float
    asked: int
    groups: tuple[Group, ...]
    """Those that wait for nobody first, then the smallest, then by rank."""
    others: tuple[OtherThreads, ...]
    missing: tuple[Missing, ...]
    summary: str
    """One line: "rank 3 (node2) is in data.py:41 read_shard, 7 others in backward"."""


# Reading


class _Thread(msgspec.Struct):
    name: str
    main: bool
    frames: list[Frame]


class _Rank(msgspec.Struct):
    rank: int | None
    local_rank: int
    pid: int
    how: str
    error: str
    threads: list[_Thread]


class _Answer(msgspec.Struct):
    taken_at: float
    generation: int | None
    ranks: list[_Rank]


def read(node: str, node_rank: int, answer: Mapping[str, Any] | bytes) -> NodeStacks:
    """What the node called `node` answered, or kept as JSON. Raises ValueError for nonsense."""
    try:
        if isinstance(answer, bytes):
            raw = msgspec.json.decode(answer, type=_Answer)
        else:
            raw = msgspec.convert(answer, _Answer)
    except msgspec.DecodeError as error:
        raise ValueError(f"the stacks of {node} cannot be read: {error}") from error
    return NodeStacks(
        node=node,
        node_rank=node_rank,
        taken_at=raw.taken_at,
        generation=raw.generation,
        ranks=tuple(
            RankStacks(
                rank=rank.rank,
                local_rank=rank.local_rank,
                node=node,
                node_rank=node_rank,
                pid=rank.pid,
                how=_text(rank.how),
                error=_text(rank.error, MAX_ERROR) if not rank.threads else "",
                threads=tuple(
                    Thread(name=_text(thread.name), main=thread.main, frames=_frames(thread))
                    for thread in sorted(rank.threads[:MAX_THREADS], key=lambda t: not t.main)
                ),
            )
            for rank in raw.ranks[:MAX_RANKS]
        ),
    )


def _frames(thread: _Thread) -> Stack:
    frames = [frame for frame in thread.frames if not is_machinery(frame.file)]
    return tuple(
        Frame(_text(frame.file), frame.line, _text(frame.function)) for frame in frames[:MAX_FRAMES]
    )


def _text(text: str, limit: int = MAX_TEXT) -> str:
    return clean(text[: limit * 4])[:limit]


# Grouping


def report(
    nodes: Iterable[NodeStacks],
    missing: Iterable[Missing] = (),
    *,
    taken_at: float,
    aside: Callable[[RankStacks], str] = lambda _: "",
) -> StackReport:
    """Group what nodes answered. `missing`: the nodes that did not, with the reason.

    `aside`: of a rank that is none of those people look for, what it did instead; else "". Such
    ranks come last, and after all others in the summary.
    """
    answered = list(nodes)
    every = sorted((rank for node in answered for rank in node.ranks), key=_order)
    silent = [
        Missing(node=rank.node, rank=rank.rank, pid=rank.pid, error=rank.error or "no stacks")
        for rank in every
        if not rank.threads
    ]
    gone = sorted(missing, key=lambda item: (item.node, item.error))
    ranks = [rank for rank in every if rank.threads]
    groups = _groups(ranks, lambda frame: frame.line, aside)
    return StackReport(
        taken_at=taken_at,
        asked=len(answered),
        groups=tuple(groups),
        others=tuple(_others(ranks)),
        missing=(*silent, *gone),
        summary=_summary(_groups(ranks, _users_line, aside), [*silent, *gone]),
    )


def summary_of(ranks: Sequence[RankStacks]) -> str:
    """Ranks with stacks in one line, as `StackReport.summary` has them."""
    return _summary(_groups(sorted(ranks, key=_order), _users_line, lambda _: ""), ())


def _order(rank: RankStacks) -> tuple[bool, int, int, int]:
    return rank.rank is None, rank.rank or 0, rank.node_rank, rank.pid


def _users_line(frame: Frame) -> int:
    return frame.line if locate(frame.file)[0] is Owner.USER else 0


def _key(stack: Stack, line: Any) -> tuple[Any, ...]:
    return tuple((locate(frame.file)[1], line(frame), frame.function) for frame in stack)


def _groups(
    ranks: Sequence[RankStacks], line: Any, aside: Callable[[RankStacks], str]
) -> list[Group]:
    """Groups of ranks by their main stacks with `line` of each frame: those that others wait for
    first, then the small ones."""
    found: dict[tuple[Any, ...], list[RankStacks]] = {}
    for rank in ranks:
        words = describe(rank.stack)
        inside = words.importing and not words.doing
        key = (words.long,) if inside else _key(rank.stack, line)
        found.setdefault((aside(rank), inside, *key), []).append(rank)
    groups = [
        Group(
            ranks=tuple(group),
            stack=_common([rank.stack for rank in group]) if key[1] else group[0].stack,
            words=describe(group[0].stack),
            aside=key[0],
        )
        for key, group in found.items()
    ]
    return sorted(
        groups,
        key=lambda group: (
            bool(group.aside),
            group.words.waits,
            len(group.ranks),
            _order(group.ranks[0]),
        ),
    )


def _common(stacks: Sequence[Stack]) -> Stack:
    """The outer frames that all of them have, as the first one has them."""
    count = 0
    for frames in zip(*(reversed(stack) for stack in stacks), strict=False):
        if len({(locate(frame.file)[1], frame.line, frame.function) for frame in frames}) > 1:
            break
        count += 1
    return stacks[0][len(stacks[0]) - count :]


def _others(ranks: Sequence[RankStacks]) -> list[OtherThreads]:
    found: dict[tuple[Any, ...], list[tuple[RankStacks, Thread]]] = {}
    for rank in ranks:
        for thread in rank.threads[1:]:
            key = (thread.name, _key(thread.frames, lambda frame: frame.line))
            found.setdefault(key, []).append((rank, thread))
    groups = [
        OtherThreads(
            name=threads[0][1].name,
            ranks=tuple(rank for rank, _ in threads),
            stack=threads[0][1].frames,
        )
        for threads in found.values()
    ]
    return sorted(
        groups,
        key=lambda group: (len(group.ranks), _order(group.ranks[0]), group.name, group.stack),
    )


# Words


def _who(ranks: Sequence[RankStacks]) -> str:
    if len(ranks) == 1:
        return ranks[0].name
    if len(ranks) > _NAMED or any(rank.rank is None for rank in ranks):
        return f"{len(ranks)} ranks"
    *most, last = (str(rank.rank) for rank in ranks)
    return f"ranks {', '.join(most)} and {last}"


def _listed(ranks: Sequence[RankStacks]) -> str:
    if len(ranks) == 1:
        return ranks[0].name
    known = ranges(rank.rank for rank in ranks if rank.rank is not None)
    pids = ranges(rank.pid for rank in ranks if rank.rank is None)
    who = [f"{name} {text}" for name, text in (("ranks", known), ("pids", pids)) if text]
    return f"{', '.join(who)} ({', '.join(dict.fromkeys(rank.node for rank in ranks))})"


def _summary(groups: Sequence[Group], missing: Sequence[Missing]) -> str:
    """The whole in one line, in the order of the groups."""
    others = [group for group in groups if group.aside]
    groups = [group for group in groups if not group.aside]
    parts = []
    if len(groups) == 1:
        everybody = groups[0].ranks
        every = f"{len(everybody)} ranks" if others else f"all {len(everybody)} ranks"
        who = groups[0].who if len(everybody) == 1 else every
        verb = "is" if len(everybody) == 1 else "are"
        parts.append(f"{who} {verb} in {groups[0].words.short}")
    elif groups:
        shown = list(groups[: _NAMED - 1])
        hidden = groups[_NAMED - 1 : -1]
        for group in shown if hidden else groups[:-1]:
            verb = "" if parts else ("is " if len(group.ranks) == 1 else "are ")
            parts.append(f"{group.who} {verb}in {group.words.short}")
        if hidden:
            count = sum(len(group.ranks) for group in hidden)
            parts.append(f"{count_of(count, 'rank')} in {count_of(len(hidden), 'other place')}")
        last = groups[-1]
        who = f"{len(last.ranks)} others" if len(last.ranks) > 1 else last.who
        parts.append(f"{who} in {last.words.short}")
    text = ", ".join(parts) or ("nobody else was silent" if others else "no stacks")
    for words in dict.fromkeys(group.aside for group in others):
        ranks = [rank for group in others if group.aside == words for rank in group.ranks]
        text += f"; {_who(sorted(ranks, key=_order))} {words}"
    for item in missing[:_NAMED]:
        text += f"; {item.name}: {item.error}"
    if len(missing) > _NAMED:
        text += f"; no stacks of {len(missing) - _NAMED} more"
    return text


# JSON


def document(found: StackReport, *, all_threads: bool = False) -> Document:
    """`stacks --json`; every stack is innermost frame first."""
    value: Document = {
        "schema": SCHEMA,
        "taken_at": iso(found.taken_at),
        "summary": found.summary,
        "groups": [
            {
                "ranks": [rank.rank for rank in group.ranks],
                "nodes": list(group.nodes),
                "pids": [rank.pid for rank in group.ranks],
                "summary": group.summary,
                "aside": group.aside or None,
                "stack": _stack(group.stack),
            }
            for group in found.groups
        ],
        "missing": [
            {"rank": item.rank, "node": item.node, "pid": item.pid, "error": item.error}
            for item in found.missing
        ],
    }
    if all_threads:
        value["threads"] = [
            {
                "name": group.name,
                "ranks": [rank.rank for rank in group.ranks],
                "nodes": list(dict.fromkeys(rank.node for rank in group.ranks)),
                "stack": _stack(group.stack),
            }
            for group in found.others
        ]
    return value


def _stack(stack: Stack) -> list[Document]:
    return [msgspec.to_builtins(frame) for frame in stack]
