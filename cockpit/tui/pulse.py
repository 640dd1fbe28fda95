"""How often the screen is redrawn: 10 Hz, less when the event loop or the terminal is behind.

Pure: the app tells it how late each pulse came and asks for the next interval.
"""

from __future__ import annotations

RATES = (10, 4, 2)
"""Pulses a second, best first."""

LATE = 0.05
"""Seconds of lag that count as behind."""

STRIKES = 5
"""Late pulses in a row before the rate goes down a step."""

CALM = 10.0
"""Seconds in time before the rate goes up again."""


class Pulse:
    def __init__(self) -> None:
        self._step = 0
        self._late = 0
        self._calm = 0.0

    @property
    def rate(self) -> int:
        """Pulses a second."""
        return RATES[self._step]

    @property
    def interval(self) -> float:
        """Seconds between two pulses."""
        return 1 / self.rate

    def observe(self, lag: float) -> None:
        """Take note that a pulse came `lag` seconds after it was due."""
        if lag > LATE:
            self._calm = 0.0
            self._late += 1
            if self._late >= STRIKES and self._step < len(RATES) - 1:
                self._step += 1
                self._late = 0
            return
        self._late = 0
        self._calm += self.interval
        if self._calm >= CALM and self._step > 0:
            self._step -= 1
            self._calm = 0.0
