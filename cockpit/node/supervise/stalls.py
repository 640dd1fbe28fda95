"""When ranks have stalled, and when they are over it: pure judgement over what beats tell.

The supervisor asks every `workload_check_interval`; all times are passed in, in seconds of the
monotonic clock. Reads nothing, waits for nothing, does nothing about a stall.

A rank is silent when its last beat (or its start, before the first) is longer ago than its limit.
A gap between two looks of more than JUMP means that this machine or its supervisor stood still:
ranks may have stood still with it, or may first have to reconnect, so from then on each has its
whole limit again.

Ranks that fall silent and recover again and again are not declared at every turn: after PATIENT
stalls of a generation, the time until the same ranks are declared again doubles from their limit.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

JUMP_INTERVALS = 3
JUMP_SECONDS = 5.0
"""A gap between two looks is a jump beyond JUMP_INTERVALS intervals, but never below this."""
SETTLE = 10.0
"""Seconds after a stall was declared in which ranks that fall silent too belong to it."""

PATIENT = 5
"""Stalls of a generation that are declared as they come."""
LONGEST_PAUSE = 3600.0
"""Seconds at most between two declarations of the same ranks."""


@dataclasses.dataclass(frozen=True)
class Look:
    """What is known of a rank that beats, or is expected to.

    `since`: monotonic seconds of its last beat, of its start if `first` (no beat yet). `limit`:
    seconds it may be silent; None for ever.
    """

    rank: int
    local_rank: int
    pid: int
    since: float
    limit: float | None
    step: int | None = None
    first: bool = False


@dataclasses.dataclass(frozen=True)
class Silent:
    """A rank that is beyond its limit; `age` and `limit` in seconds."""

    rank: int
    local_rank: int
    pid: int
    step: int | None
    age: float
    limit: float
    first: bool


@dataclasses.dataclass(frozen=True)
class Stall:
    """Every silent rank of this node. `joined`: further ranks fell silent in a known stall."""

    ranks: tuple[Silent, ...]
    joined: bool = False

    @property
    def message(self) -> str:
        """One line for people: who, for how long, where."""
        numbers = _ranges([silent.rank for silent in self.ranks])
        plural = len(self.ranks) > 1
        who = f"rank{'s' if plural else ''} {numbers} {'have' if plural else 'has'}"
        age = _span([silent.age for silent in self.ranks])
        limit = _span([silent.limit for silent in self.ranks])
        if all(silent.first for silent in self.ranks):
            return f"{who} not beaten once in {age} s since the start (limit {limit} s)"
        steps = [silent.step for silent in self.ranks if silent.step is not None]
        at = f" at step {_span([float(step) for step in steps])}" if steps else ""
        return f"{who} been silent for {age} s{at} (limit {limit} s)"


@dataclasses.dataclass(frozen=True)
class Recovered:
    """All ranks of the stall beat again."""


class StallWatch:
    """Over the ranks of one generation. `interval`: seconds between two looks.

    `declared`: what an earlier supervisor declared and saw no recovery of: local rank -> monotonic
    seconds; a beat after that ends the rank's part in the stall.
    """

    def __init__(self, interval: float, declared: Mapping[int, float] | None = None) -> None:
        self._jump = max(JUMP_INTERVALS * interval, JUMP_SECONDS)
        self._declared = dict(declared or {})
        self._declared_at = 0.0
        self._stalls = 0
        self._last: dict[int, float] = {}
        self._looked: float | None = None
        self._patience = 0.0

    def look(self, now: float, ranks: Sequence[Look]) -> Stall | Recovered | None:
        """Judge the ranks that can stall: without those that ended or never beat by nature."""
        if self._looked is not None and now - self._looked > self._jump:
            self._patience = now
        self._looked = now
        silent = [found for rank in ranks if (found := self._silence(now, rank)) is not None]
        if self._declared:
            return self._go_on(now, ranks, silent)
        if all(self._is_known(now, rank) for rank in silent):
            return None
        self._declare(now, silent)
        self._declared_at = now
        return Stall(tuple(silent))

    def _silence(self, now: float, rank: Look) -> Silent | None:
        if rank.limit is None or now - max(rank.since, self._patience) <= rank.limit:
            return None
        age = now - rank.since
        return Silent(rank.rank, rank.local_rank, rank.pid, rank.step, age, rank.limit, rank.first)

    def _declare(self, now: float, silent: Sequence[Silent]) -> bool:
        """Note who is silent since when at the latest; whether anybody is new."""
        new = {
            rank.local_rank: now - rank.limit
            for rank in silent
            if rank.local_rank not in self._declared
        }
        self._declared.update(new)
        if new:
            self._stalls += 1
            self._last.update(dict.fromkeys(new, now))
        return bool(new)

    def _is_known(self, now: float, rank: Silent) -> bool:
        """Whether this one has been silent too often to be news by now."""
        if self._stalls < PATIENT or rank.local_rank not in self._last:
            return False
        doublings = min(self._stalls - PATIENT + 1, 32)
        pause = min(rank.limit * 2.0**doublings, LONGEST_PAUSE)
        return now - self._last[rank.local_rank] < pause

    def _go_on(
        self, now: float, ranks: Sequence[Look], silent: Sequence[Silent]
    ) -> Stall | Recovered | None:
        members = [rank for rank in ranks if rank.local_rank in self._declared]
        if not members:
            self._declared.clear()  # they ended: there is nobody left to recover
            return None
        beat = all(rank.since > self._declared[rank.local_rank] for rank in members)
        if beat and not silent:
            self._declared.clear()
            return Recovered()
        joined = self._declare(now, silent)
        if not joined or now - self._declared_at < SETTLE:
            return None
        self._declared_at = now
        return Stall(tuple(silent), joined=True)


def _ranges(numbers: Sequence[int]) -> str:
    """[0, 1, 2, 5] -> "0-2, 5"."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(f"{p[0]}-{p[-1]}" if len(p) > 1 else str(p[0]) for p in parts)


def _span(values: Sequence[float]) -> str:
    low, high = (
        f"{bound:.3g}" if bound < 100 else f"{bound:.0f}" for bound in (min(values), max(values))
    )
    return low if low == high else f"{low} to {high}"
