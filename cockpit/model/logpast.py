"""Moves the horizon of a document back: has earlier bytes fetched and makes a table of their lines.

Made by `LogDoc.older` and worked on in slices by its `poll`. A stream reaches back to `low`; the
new horizon is the latest time at which one that has more begins, so that the order is right from
the first line on.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator, Sequence

from cockpit.model.logruns import RunTable
from cockpit.model.logscan import CHUNK, Stretch, scan
from cockpit.model.logtap import Tap
from cockpit.model.merged import PATIENCE

LEAST = 64 * 1024
"""Bytes by which a stream reaches further back at least."""
TOTAL = 64 * 1024 * 1024
"""Bytes that are fetched at once, of all streams together."""
_BUFFERS = 8 * 1024 * 1024
_STRIDE = 64
"""Runs that are taken between looks at the clock."""


class Reach:
    """One stream: bytes from `low` on are there, lines from `floor` on are in the document."""

    def __init__(self, lane: int, tap: Tap, low: int, floor: int, end: int) -> None:
        self.lane = lane
        self.tap = tap
        self.low = low
        self.floor = floor
        self.began = floor
        """The floor when the search began."""
        self.span = end - low
        self.away = False
        """Its node did not answer: nothing waits for it."""
        self.left = -1
        """Bytes that were missing at the last look."""
        self.progress = 0.0


class Past:
    """`horizon` is that of the document, and `began` stays so. After `step` returned True: the new
    one, `table` with the lines between the two, and `reaches` as they are now."""

    def __init__(
        self,
        reaches: Sequence[Reach],
        horizon: float,
        newest: float,
        table: RunTable,
        clock: Callable[[], float],
    ) -> None:
        self.reaches = reaches
        self.began = self.horizon = horizon
        self.table = table
        self._clock = clock
        self._merge: Iterator[Stretch] | None = None
        self._just = False
        """With the lines of the very time of the horizon."""
        self._floors: dict[int, int] = {}
        self._fetching = self._ask(horizon, newest)

    def _ask(self, horizon: float, newest: float) -> list[Reach]:
        """Fetch more of the streams that do not reach back far enough."""
        wanted = min(newest - 2 * (newest - horizon), horizon)
        short = [
            reach
            for reach in self.reaches
            if reach.low > 0 and not wanted > reach.tap.since(reach.low)
        ]
        for reach in short:
            span = min(max(reach.span, LEAST), max(TOTAL // len(short), LEAST))
            low = max(reach.low - span, 0)
            for start, stop in reach.tap.mirror.missing(low, reach.low):
                reach.tap.fetch(start, stop)
            reach.low = low
        return short

    def step(self, now: float, budget: float) -> bool:
        """Work for about `budget` seconds; True when it is done."""
        self._fetching = [reach for reach in self._fetching if self._is_open(reach, now)]
        if self._fetching:
            return False
        deadline = self._clock() + budget
        if self._merge is None:
            self._begin()
        while self._clock() < deadline:
            if self._take():
                if not (self.table.lines or self._just or self.horizon == float("-inf")):
                    # Everything has the very time of the horizon.
                    self._just = True
                    self._begin()
                    continue
                for reach in self.reaches:
                    reach.floor = self._floors.get(reach.lane, reach.floor)
                return True
        return False

    def _is_open(self, reach: Reach, now: float) -> bool:
        """Whether bytes are still awaited; gives up on a node that sends none."""
        missing = reach.tap.mirror.missing(reach.low, reach.floor)
        left = sum(stop - start for start, stop in missing)
        if not left:
            return False
        if left != reach.left:
            reach.left, reach.progress = left, now
        if now - reach.progress <= PATIENCE:
            return True
        reach.low, reach.away = missing[-1][1], True
        return False

    def _begin(self) -> None:
        """Find the new horizon and start to merge."""
        chunk = min(CHUNK, max(_BUFFERS // max(len(self.reaches), 1), 16 * 1024))
        horizon = max(
            (r.tap.since(r.low) for r in self.reaches if r.low > 0 and not r.away),
            default=float("-inf"),
        )
        self.horizon = just_before(horizon) if self._just else horizon
        self._merge = heapq.merge(*(_stretches(reach, chunk) for reach in self.reaches))

    def _take(self) -> bool:
        """Put some runs into the table; True when there are no more."""
        assert self._merge is not None
        for _ in range(_STRIDE):
            stretch = next(self._merge, None)
            if stretch is None:
                return True
            at, _, start, lane, size, lines = stretch
            if at > self.horizon:
                self._floors.setdefault(lane, start)
                self.table.append(lane, start, size, lines, at)
        return False


def just_before(at: float) -> float:
    """The greatest time below `at`."""
    return math.nextafter(at, float("-inf"))


def _stretches(reach: Reach, chunk: int) -> Iterator[Stretch]:
    source = reach.tap.source
    for found in scan(
        source.mirror, reach.lane, source.order, source.skew, reach.low, reach.floor, chunk
    ):
        yield from found
