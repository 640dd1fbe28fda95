"""Which lines of a log a filter lets through, found outward from where somebody reads.

The search goes on in slices that the caller bounds in time, so that it never blocks: first what
is needed to fill the screen, then the newest lines, then the older ones. What was searched is one
interval of line numbers that grows at both ends. At most `MOST` numbers are held. Pure.
"""

from __future__ import annotations

import time
from array import array
from bisect import bisect_left
from collections.abc import Callable, Sequence

from cockpit.model.logtypes import LogDocument

Search = Callable[[LogDocument, int, int], Sequence[int]]
"""Numbers of the lines in [start, stop) that pass, in order."""

MOST = 500_000
"""Numbers that are held; the far end is let go when more are found."""

_SMALLEST, _FIRST, _LARGEST = 256, 2048, 1 << 20
"""Lines of one search: it begins small and grows while it is quick."""

_QUICK = 0.002
"""Seconds that one search should take."""


class Matches:
    """Numbers of lines that pass, in order, of those in [`low`, `high`)."""

    def __init__(self, document: LogDocument, search: Search, anchor: int) -> None:
        self._document = document
        self._search = search
        self.low = self.high = min(max(anchor, document.first), document.end)
        # Found below the anchor, the nearest first, and from it on.
        self._before = array("q")
        self._after = array("q")
        self._slice = _FIRST
        self.capped = False
        """Older lines are not searched, since enough is held."""

    # ------------------------------------------------------------------ searching

    @property
    def behind(self) -> int:
        """New lines that were not searched yet."""
        return max(self._document.end - self.high, 0)

    @property
    def earlier(self) -> int:
        """Old lines that were not searched yet."""
        return max(self.low - self._document.first, 0)

    def advance(self, seconds: float, near: int, rows: int, *, following: bool) -> bool:
        """Search for about so long; first around line `near` until `rows` are found on each
        side. When all is held that may be, old numbers make room for new ones only while
        somebody is `following`. True when nothing is left that may be searched."""
        deadline = time.perf_counter() + seconds
        while True:
            forward = self.behind > 0 and (following or len(self) < MOST)
            backward = self.earlier > 0 and not self.capped
            if not (forward or backward):
                return True
            if forward and backward:
                # The side that lacks lines for the screen goes first.
                at = self.index(near)
                forward = len(self) - at < rows or at >= rows
            self._step(forward, following)
            if time.perf_counter() >= deadline:
                return False

    def _step(self, forward: bool, following: bool) -> None:
        begin = time.perf_counter()
        room = max(MOST - len(self), 1)
        if forward:
            size = self._slice if following else min(self._slice, room)
            stop = min(self.high + size, self._document.end)
            self._after.extend(self._search(self._document, self.high, stop))
            self.high = stop
            if len(self) > MOST:
                self._forget_old(len(self) - MOST + MOST // 10)
                self.capped = True
        else:
            start = max(self.low - min(self._slice, room), self._document.first)
            self._before.extend(reversed(self._search(self._document, start, self.low)))
            self.low = start
            self.capped = len(self) >= MOST
        took = time.perf_counter() - begin
        if took < _QUICK / 2:
            self._slice = min(self._slice * 2, _LARGEST)
        elif took > _QUICK * 1.5:
            self._slice = max(self._slice // 2, _SMALLEST)

    def _forget_old(self, count: int) -> None:
        """Let the `count` lowest numbers go."""
        old = min(count, len(self._before))
        if old:
            del self._before[-old:]
        if count > old:
            del self._after[: count - old]
        self.low = self[0] if len(self) else self.high

    # -------------------------------------------------------------------- reading

    def __len__(self) -> int:
        return len(self._before) + len(self._after)

    def __getitem__(self, index: int) -> int:
        below = len(self._before)
        return self._before[below - 1 - index] if index < below else self._after[index - below]

    def index(self, number: int) -> int:
        """Index of the first that is at least `number`."""
        if self._after and number > self._after[0]:
            return len(self._before) + bisect_left(self._after, number)
        low, high = 0, len(self._before)
        while low < high:
            middle = (low + high) // 2
            if self[middle] < number:
                low = middle + 1
            else:
                high = middle
        return low

    def between(self, start: int, stop: int) -> list[int]:
        """Those in [start, stop)."""
        return [self[index] for index in range(self.index(start), self.index(stop))]
