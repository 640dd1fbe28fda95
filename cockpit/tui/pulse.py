"""How often the screen is redrawn: 20 Hz, less when the event loop or the terminal is behind.

Pure: the app tells it how late each pulse came, and whether the terminal was still busy with an
earlier frame, and asks for the next interval.
"""

from __future__ import annotations

from collections import deque

RATES = (20, 10, 4)
"""Pulses a second, best first."""

LATE = 0.05
"""Seconds of lag that count as behind."""

WINDOW = 20
"""The newest pulses, of which …"""

STRIKES = 5
"""… so many behind let the rate go down a step."""

CALM = 10.0
"""Seconds in time before the rate goes up again."""

MOST_CALM = 160.0
"""The same where the last step up did not last: doubled each time, up to this."""


class Pulse:
    def __init__(self) -> None:
        self._step = 0
        self._newest: deque[bool] = deque(maxlen=WINDOW)
        self._calm = 0.0
        self._patience = CALM
        self._since_up = MOST_CALM

    @property
    def rate(self) -> int:
        """Pulses a second."""
        return RATES[self._step]

    @property
    def interval(self) -> float:
        """Seconds between two pulses."""
        return 1 / self.rate

    def observe(self, lag: float, blocked: bool = False) -> None:
        """Take note that a pulse came `lag` seconds after it was due; `blocked`: it could not be
        drawn, because the terminal has not taken the frame before it."""
        behind = blocked or lag > LATE
        self._newest.append(behind)
        self._since_up += self.interval
        if behind:
            self._calm = 0.0
            if sum(self._newest) >= STRIKES and self._step < len(RATES) - 1:
                self._down()
            return
        self._calm += self.interval
        if self._calm >= self._patience and self._step > 0:
            self._up()

    def _down(self) -> None:
        lasted = self._since_up >= self._patience
        self._patience = CALM if lasted else min(self._patience * 2, MOST_CALM)
        self._step += 1
        self._newest.clear()

    def _up(self) -> None:
        self._step -= 1
        self._calm = 0.0
        self._since_up = 0.0
        self._newest.clear()
