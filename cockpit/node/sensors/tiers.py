"""Figures that are read less often than a sample is taken, because reading them is slow.

A tier runs its function in a thread of its own, never twice at once, so that a call that hangs
takes no other figure along. Used by the GPU sources and by `host`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

STALE = 3.0
"""Periods after which figures count as old."""

_T = TypeVar("_T")


class Tier(Generic[_T]):
    """`function` once per `period` seconds, as long as somebody asks."""

    def __init__(self, function: Callable[[], _T], period: float, name: str) -> None:
        self._function = function
        self._period = period
        self._name = name
        self._value: _T | None = None
        self._error: Exception | None = None
        self._began = float("-inf")
        self._read_at: float | None = None
        self._asked = 0
        self._done = threading.Event()
        self._done.set()

    def latest(self, patience: float = 0.0) -> _T | None:
        """The newest figures, None before the first; begins to read new ones when it is time.

        The first call waits at most `patience` seconds for them, no later one does. Raises what
        the function raised last.
        """
        now = time.monotonic()
        if self._done.is_set() and now >= self._began + self._period:
            self._began = now
            self._done.clear()
            threading.Thread(target=self._run, name=self._name, daemon=True).start()
        if self._asked == 0:
            self._done.wait(patience)
        self._asked += 1
        if self._error is not None:
            raise self._error
        return self._value

    @property
    def age(self) -> float | None:
        """Seconds since the figures were read, if that is too long ago, else None."""
        if self._read_at is None:
            return None
        age = time.monotonic() - self._read_at
        return round(age, 1) if age > STALE * self._period else None

    def _run(self) -> None:
        began = time.monotonic()
        try:
            self._value = self._function()
            self._error = None
            self._read_at = began
        except Exception as error:  # noqa: BLE001 - carried to whoever asks
            self._error = error
        finally:
            self._done.set()
