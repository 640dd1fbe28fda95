"""Which streams of a job's log are shown, and the words that say so: "r723", "gpu02 err". Pure.

A choice is kept as its words, so that it holds for streams that come later, of the next attempt.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from cockpit.errors import UsageError
from cockpit.model.logtypes import Origin
from cockpit.text import clean, count_of

_RANKS = re.compile(r"(?:r|rank)?(\d{1,7})(?:-(?:r|rank)?(\d{1,7}))?")
_STREAMS = {"out": "out", "stdout": "out", "err": "err", "stderr": "err"}
PROBLEMS = "rank0+errors"


class Choice(NamedTuple):
    """`words`: as they were given, "" for everything. `ranks`, `nodes`: any of them, none for
    all; `launcher`: what launcher processes wrote. `errors`: and the errors of all others."""

    words: str = ""
    ranks: tuple[tuple[int, int], ...] = ()
    nodes: tuple[str, ...] = ()
    stream: str = ""
    launcher: bool = False
    errors: bool = False

    @property
    def label(self) -> str:
        if self.errors:
            return "rank 0 + errors of all"
        return self.words or "all streams"

    @property
    def everything(self) -> bool:
        return self.errors or not self.words

    def takes(self, origin: Origin) -> bool:
        """Whether the lines of this stream are shown, whatever they say."""
        if self.nodes and origin.node not in self.nodes:
            return False
        if self.stream and origin.stream != self.stream:
            return False
        if self.ranks or self.launcher:
            rank = origin.rank
            if rank is None:
                return self.launcher
            return any(low <= rank <= high for low, high in self.ranks)
        return True

    def of(self, origins: Iterable[Origin]) -> frozenset[Origin] | None:
        """The streams to select; None for all."""
        return None if self.everything else frozenset(filter(self.takes, origins))


ALL = Choice()
RANK_0_AND_ERRORS = Choice(PROBLEMS, ranks=((0, 0),), errors=True)


def parse(words: str, origins: Sequence[Origin]) -> Choice:
    """What some words choose. Raises UsageError for a word that names nothing."""
    parts = words.replace(",", " ").split()
    if parts in ([], ["all"], ["merged"]):
        return ALL
    if parts in ([PROBLEMS], ["errors"], ["problems"]):
        return RANK_0_AND_ERRORS
    ranks: list[tuple[int, int]] = []
    nodes: list[str] = []
    stream = ""
    launcher = False
    known = {origin.node for origin in origins}
    for part in parts:
        number = _RANKS.fullmatch(part)
        if part in known:
            nodes.append(part)
        elif number is not None:
            low = int(number[1])
            ranks.append((low, max(int(number[2] or low), low)))
        elif part in _STREAMS:
            stream = _STREAMS[part]
        elif part in ("launcher", "agent"):
            launcher = True
        else:
            raise UsageError(
                f"{clean(part)} names no stream of this log",
                "ranks (r3, r8-15), nodes, launcher, out, err, rank0+errors, or all",
            )
    return Choice(" ".join(parts), tuple(ranks), tuple(nodes), stream, launcher)


def beside(choice: Choice, origins: Iterable[Origin], step: int) -> Choice:
    """The next rank, or the one before; all streams stand before the first and after the last."""
    known = sorted({origin.rank for origin in origins if origin.rank is not None})
    if not known:
        return ALL
    one = choice.ranks[0][0] if choice.ranks and not choice.errors else None
    if one is None:
        return _rank(known[0 if step > 0 else -1])
    if step > 0:
        later = [rank for rank in known if rank > one]
        return _rank(later[0]) if later else ALL
    earlier = [rank for rank in known if rank < one]
    return _rank(earlier[-1]) if earlier else ALL


def _rank(rank: int) -> Choice:
    return Choice(f"r{rank}", ((rank, rank),))


class Offer(NamedTuple):
    """Something that can be chosen, and what it is."""

    words: str
    about: str


def offers(origins: Sequence[Origin]) -> list[Offer]:
    """Everything that can be chosen with one word, the usual ones first."""
    ranks: dict[int, set[str]] = {}
    nodes: dict[str, set[int]] = {}
    for origin in origins:
        members = nodes.setdefault(origin.node, set())
        if origin.rank is not None:
            members.add(origin.rank)
            ranks.setdefault(origin.rank, set()).add(origin.node)
    found = [
        Offer("all", f"all {count_of(len(ranks), 'rank')} merged by time"),
        Offer(PROBLEMS, "rank 0, and the errors of all streams"),
        Offer("launcher", "what the launcher processes wrote"),
        Offer("err", "stderr of all"),
        Offer("out", "stdout of all"),
    ]
    for node, members in sorted(nodes.items()):
        found.append(Offer(node, f"node with {count_of(len(members), 'rank')}"))
    found.extend(
        Offer(f"r{rank}", f"on {', '.join(sorted(ranks[rank]))}") for rank in sorted(ranks)
    )
    return found
