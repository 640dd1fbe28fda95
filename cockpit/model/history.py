"""One figure over time in bounded room: evenly thinned over its whole life, the newest always in.

Used by `beats` for every metric of every rank.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable

POINTS = 240
"""Points that are kept: enough for a line of any terminal's width."""


class History:
    """Points in the order of their arrival; `at` is a wall clock, seconds."""

    __slots__ = ("_gap", "_newest", "_times", "_values")

    def __init__(self) -> None:
        self._times = array("d")
        self._values = array("d")
        self._gap = 0.0
        self._newest: tuple[float, float] | None = None

    def add(self, at: float, value: float) -> None:
        # One and the same NaN, so that equal histories are equal.
        self._newest = (at, math.nan if math.isnan(value) else value)
        if self._times and 0 <= at - self._times[-1] < self._gap:
            return
        self._times.append(at)
        self._values.append(value)
        if len(self._times) >= POINTS:
            self._thin()

    def points(self) -> list[tuple[float, float]]:
        """(at, value), oldest first, POINTS at most."""
        found = [
            (at, math.nan if math.isnan(value) else value)
            for at, value in zip(self._times, self._values, strict=True)
        ]
        if self._newest is not None and (not found or found[-1] != self._newest):
            found.append(self._newest)
        return found

    def _thin(self) -> None:
        """Keep points that lie twice as far apart, about half of them."""
        span = abs(self._times[-1] - self._times[0])
        self._gap = max(self._gap * 2, span / (POINTS // 2))
        kept = evenly(zip(self._times, self._values, strict=True), POINTS // 2)
        self._times = array("d", (at for at, _ in kept))
        self._values = array("d", (value for _, value in kept))


def evenly(points: Iterable[tuple[float, float]], most: int) -> list[tuple[float, float]]:
    """`most` of the points at most: the last of every equal share of the time, and the first."""
    found = list(points)
    if len(found) <= most:
        return found
    start, end = found[0][0], found[-1][0]
    if end <= start:
        return found[-most:]
    shares: dict[int, tuple[float, float]] = {}
    for at, value in found:
        share = int((at - start) / (end - start) * (most - 2))
        shares[min(max(share, 0), most - 2)] = (at, value)
    first = [] if shares[0] == found[0] else [found[0]]
    return first + [shares[share] for share in sorted(shares)]
