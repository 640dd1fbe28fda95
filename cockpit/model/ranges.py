"""A set of disjoint integer ranges [start, end). Used by the log mirror for the bytes it holds."""

from __future__ import annotations

import bisect


class Ranges:
    """Kept merged and sorted. Adding at the end costs the same however many ranges there are."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []

    @property
    def end(self) -> int:
        return self._ends[-1] if self._ends else 0

    def all(self) -> tuple[tuple[int, int], ...]:
        return tuple(zip(self._starts, self._ends, strict=True))

    def copy(self) -> Ranges:
        other = Ranges()
        other._starts, other._ends = self._starts[:], self._ends[:]
        return other

    def add(self, start: int, end: int) -> None:
        """Add [start, end); touching ranges become one."""
        if start >= end:
            return
        if self._ends and self._starts[-1] <= start <= self._ends[-1]:
            self._ends[-1] = max(self._ends[-1], end)
            return
        first = bisect.bisect_left(self._ends, start)
        last = bisect.bisect_right(self._starts, end)
        if first < last:
            start = min(start, self._starts[first])
            end = max(end, self._ends[last - 1])
        self._starts[first:last] = [start]
        self._ends[first:last] = [end]

    def until(self, position: int) -> int:
        """The end of the range that holds `position`; `position` itself when none does."""
        index = bisect.bisect_right(self._starts, position) - 1
        if index < 0 or self._ends[index] <= position:
            return position
        return self._ends[index]

    def after(self, position: int) -> int | None:
        """The first held position that is not before `position`."""
        if self.until(position) > position:
            return position
        index = bisect.bisect_left(self._starts, position)
        return self._starts[index] if index < len(self._starts) else None

    def missing(self, start: int, end: int) -> list[tuple[int, int]]:
        """The parts of [start, end) that are not in the set."""
        holes: list[tuple[int, int]] = []
        while start < end:
            held = self.until(start)
            if held > start:
                start = held
                continue
            following = self.after(start)
            stop = end if following is None else min(end, following)
            holes.append((start, stop))
            start = stop
        return holes
