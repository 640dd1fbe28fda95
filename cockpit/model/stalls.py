"""Stalls: what watchers declared, and whom a generation that a stall ended is blamed on.

`StallFold` keeps the declarations of one node's journal; `stall_suspect` weighs those of all nodes.
In synchronous training all ranks fall silent at the same step, so silence says that a job hangs
and not who began: one rank is named only where its stack tells (see `oddranks`), where it is alone,
or a step behind all others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from cockpit.model import events as ev
from cockpit.model import oddranks
from cockpit.model.causes import Guilt, Suspect
from cockpit.model.oddranks import Seen
from cockpit.model.stackwords import is_machinery
from cockpit.model.types import Cause
from cockpit.text import count_of

MAX_STALLS = 64
"""Stalls of a node and attempt that are kept; the newest win."""
ON_STALL = "on_stall"
"""`by` of a restart that a watcher asked for, as its profile says, and no person."""
_WARN = "warn"


class LocalStall:
    """A stall as one node declared it. Times are on its wall clock."""

    def __init__(self, declared: ev.Stalled) -> None:
        self.declared = declared
        self.recovered_at: float | None = None
        self.stacks = ""
        """Path of the stacks that were taken then, below the attempt's folder."""
        self._stacked: tuple[ev.StackedRank, ...] = ()

    def keep(self, taken: ev.Stacks) -> None:
        self.stacks, self._stacked = taken.path, taken.ranks

    def seen(self, node: str, node_rank: int) -> list[Seen]:
        """Where its silent ranks were, as far as the node has told."""
        silent = {rank.rank for rank in self.declared.ranks}
        return seen_in([item for item in self._stacked if item.rank in silent], node, node_rank)


class StallFold:
    """The stalls in the journal of one supervisor, oldest first."""

    def __init__(self) -> None:
        self.stalls: list[LocalStall] = []
        self._stacks: dict[int, ev.Stacks] = {}
        """Generation -> stacks that were kept before their stall was told, or before the ranks
        were ended because of a stall that another node declared."""

    def apply(self, event: ev.Stalled | ev.Recovered | ev.Stacks) -> None:
        match event:
            case ev.Stalled():
                self._declare(event)
            case ev.Recovered():
                for stall in self.open_in(event.generation):
                    stall.recovered_at = event.at
                self._stacks.pop(event.generation, None)
            case ev.Stacks(reason="stall"):
                bare = [stall for stall in self.open_in(event.generation) if not stall.stacks]
                if bare:
                    bare[-1].keep(event)
                else:
                    self._stacks[event.generation] = event
                    for number in sorted(self._stacks)[:-MAX_STALLS]:
                        del self._stacks[number]
            case _:
                pass

    def open_in(self, generation: int | None) -> list[LocalStall]:
        """Stalls without recovery, of one generation or (None) of any."""
        return [
            stall
            for stall in self.stalls
            if stall.recovered_at is None and generation in (None, stall.declared.generation)
        ]

    def unclaimed(self) -> list[ev.Stacks]:
        """The newest stacks of generations in which the node has no stall of its own with some."""
        own = {stall.declared.generation for stall in self.open_in(None) if stall.stacks}
        return [taken for number, taken in self._stacks.items() if number not in own]

    def seen(self, generation: int, node: str, node_rank: int) -> list[Seen]:
        """Where the ranks were that hang in a generation.

        Of a node that has declared nothing these are all its ranks: it does not say which ones
        were silent.
        """
        for taken in self.unclaimed():
            if taken.generation == generation:
                return seen_in(taken.ranks, node, node_rank)
        return [item for stall in self.open_in(generation) for item in stall.seen(node, node_rank)]

    def _declare(self, event: ev.Stalled) -> None:
        known = self.open_in(event.generation)
        if known:
            # Further ranks fell silent: it is the same stall, and what is done about it stays.
            stall = known[-1]
            action = stall.declared.action
            stall.declared = msgspec.structs.replace(
                event,
                at=stall.declared.at,
                action=event.action if action == _WARN else action,
            )
            return
        stall = LocalStall(event)
        taken = self._stacks.pop(event.generation, None)
        if taken is not None:
            stall.keep(taken)
        self.stalls.append(stall)
        del self.stalls[:-MAX_STALLS]


def seen_in(stacked: Iterable[ev.StackedRank], node: str, node_rank: int) -> list[Seen]:
    """Stacks that a node told, without the frames below the user's code."""
    return [
        Seen(
            rank=item.rank,
            node=node,
            node_rank=node_rank,
            stack=tuple(frame for frame in item.frames if not is_machinery(frame.file)),
        )
        for item in stacked
    ]


class Silent(msgspec.Struct, frozen=True, kw_only=True):
    """A rank that was declared silent, and by whom. `at` is on the cluster's clock."""

    node: str
    rank: int
    at: float
    step: int | None = None
    first: bool = False
    """It had not beaten at all."""
    age: float | None = None
    limit: float | None = None
    words: str = ""
    """What ft_launcher's rank monitor said of it."""


def stall_suspect(
    generation: int,
    silent: Iterable[Silent],
    message: str,
    at: float,
    seen: Iterable[Seen] = (),
    *,
    complete: bool = True,
) -> Suspect:
    """The stall that ended a generation. `message` and `at` count where no rank is known.

    `seen`: where its ranks were, as far as nodes have told. Unless that is `complete`, no rank is
    accused by it: the odd one may be on a node that has not told.
    """
    newest: dict[int, Silent] = {}
    for item in sorted(silent, key=lambda item: (item.at, item.node)):
        newest[item.rank] = item
    ranks = [newest[rank] for rank in sorted(newest)]
    seen = list(seen)
    behind = _behind(ranks)
    if complete:
        culprit = oddranks.culprit(seen) or behind
    else:
        if seen and len(ranks) == 1:
            behind = (
                None  # the first whose limit was over; those it waits for may have said nothing
            )
        culprit = behind
    nodes = {item.node for item in ranks}
    said = _message(ranks, behind) if ranks else message or "ranks were silent"
    where = oddranks.summary(seen)
    cause = Cause(
        kind="stall",
        node=culprit.node if culprit else nodes.pop() if len(nodes) == 1 else "",
        rank=culprit.rank if culprit else None,
        message=f"{said}; {where}" if where else said,
        at=min((item.at for item in ranks), default=at),
        generation=generation,
    )
    return Suspect(cause=cause, guilt=Guilt.CULPRIT, at=cause.at or at, generation=generation)


def _behind(ranks: list[Silent]) -> Silent | None:
    """The one rank that is behind all others, None where none is alone."""
    steps: Mapping[int, int | None] = {item.rank: -1 if item.first else item.step for item in ranks}
    known = [step for step in steps.values() if step is not None]
    if len(ranks) == 1:
        return ranks[0]
    if len(known) < len(ranks):
        return None
    last = [item for item in ranks if steps[item.rank] == min(known)]
    return last[0] if len(last) == 1 else None


def _message(ranks: list[Silent], culprit: Silent | None) -> str:
    if culprit is None:
        return f"{count_of(len(ranks), 'rank')} silent{_how(ranks, ranks[0])}"
    others = len(ranks) - 1
    rest = f"; {count_of(others, 'rank')} more, a step or more ahead" if others else ""
    return f"rank {culprit.rank} silent{_how([culprit], culprit)}{rest}"


def _how(ranks: list[Silent], sample: Silent) -> str:
    """For how long, where, and beyond which limit."""
    text = ""
    if sample.age is not None:
        text += f" for {max(item.age or 0.0 for item in ranks):.0f} s"
    steps = {item.step for item in ranks}
    if all(item.first for item in ranks):
        text += " without a first beat"
    elif len(steps) == 1 and sample.step is not None:
        text += f" at step {sample.step}"
    if sample.limit is not None:
        text += f" (limit {sample.limit:g} s)"
    words = next((item.words for item in ranks if item.words), "")
    return f"{text}: {words}" if words else text
