"""The clock of a replay: wall time of the recording, at a speed, with a pause. Pure."""

from __future__ import annotations

from collections.abc import Callable

from cockpit.errors import UsageError

SLOWEST, FASTEST = 0.25, 1000.0
LEAD = 1.0
"""Seconds before the first event at which a replay begins."""
OUTRO = 5.0
"""Seconds after the last event or log line at which the clock stops."""


class Player:
    """`mono`: what drives it. `began`, `ended`: wall clock of the first event, and of the last
    event or log line."""

    def __init__(self, began: float, ended: float, speed: float, mono: Callable[[], float]) -> None:
        self._begin, self._end = began - LEAD, ended + OUTRO
        self._mono = mono
        self._from = mono()
        self._at = self._begin
        self.paused = False
        self.speed = 1.0
        self.rate(speed)

    def now(self) -> float:
        """Wall clock of the recording."""
        passed = 0.0 if self.paused else (self._mono() - self._from) * self.speed
        return min(self._at + passed, self._end)

    @property
    def over(self) -> bool:
        return self.now() >= self._end

    @property
    def words(self) -> str:
        """For the top line."""
        if self.over:
            return "REPLAY ended"
        return "REPLAY paused" if self.paused else f"REPLAY ×{self.speed:g}"

    def _hold(self, at: float) -> None:
        self._at, self._from = at, self._mono()

    def leap(self, at: float) -> None:
        """Go on from there; never beyond the end."""
        self._hold(max(min(at, self._end), self._begin))

    def pause(self) -> None:
        """Stop, or go on."""
        self._hold(self.now())
        self.paused = not self.paused

    def rewind(self) -> None:
        self.leap(self._begin)

    def rate(self, speed: float) -> None:
        """Raises UsageError outside of what is possible."""
        if not SLOWEST <= speed <= FASTEST:
            raise UsageError(f"a replay runs at {SLOWEST:g} to {FASTEST:g} times the speed")
        self._hold(self.now())
        self.speed = speed

    def scale(self, factor: float) -> None:
        """Faster or slower, as far as that goes."""
        self.rate(min(max(self.speed * factor, SLOWEST), FASTEST))
