"""How the screen itself is doing: lag of the event loop, frames, what a pulse costs, memory.

The pulse measures its own lateness always. The finer heartbeat runs only while somebody looks at
the debug page. Pure but for `resident`.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

KEPT = 1_200
"""Measurements of each kind that are remembered: a minute of pulses."""

BEAT = 0.005
"""Seconds between two beats of the fine heartbeat."""


class Spread(NamedTuple):
    """Seconds."""

    p50: float
    p99: float
    worst: float


def spread(values: Iterable[float]) -> Spread | None:
    """None without any value."""
    ordered = sorted(values)
    if not ordered:
        return None

    def at(fraction: float) -> float:
        return ordered[min(int(len(ordered) * fraction), len(ordered) - 1)]

    return Spread(at(0.5), at(0.99), ordered[-1])


class Vitals:
    """`late` is told by every pulse, `drawing` is around those that draw; `heartbeat` is awaited by
    the debug page."""

    def __init__(self) -> None:
        self._late: deque[float] = deque(maxlen=KEPT)
        self._beats: deque[float] = deque(maxlen=KEPT)
        self._costs: deque[float] = deque(maxlen=KEPT)
        self._drawn: deque[float] = deque(maxlen=KEPT)
        self._pulses = 0
        self._draws = 0

    def late(self, seconds: float) -> None:
        """A pulse came so long after it was due."""
        self._late.append(max(seconds, 0.0))
        self._pulses += 1

    @contextlib.contextmanager
    def drawing(self) -> Iterator[None]:
        """Around a pulse that draws."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            now = time.perf_counter()
            self._drawn.append(now)
            self._costs.append(now - begun)
            self._draws += 1

    @property
    def frames(self) -> int:
        """Pulses that drew in the last second."""
        since = time.perf_counter() - 1.0
        return sum(1 for at in self._drawn if at >= since)

    @property
    def skipped(self) -> int:
        """Pulses that were left out because the terminal was behind."""
        return self._pulses - self._draws

    @property
    def lag(self) -> Spread | None:
        """Of the event loop: by the heartbeat where it runs, else by the pulses."""
        return spread(self._beats or self._late)

    @property
    def cost(self) -> Spread | None:
        """Of a pulse."""
        return spread(self._costs)

    async def heartbeat(self, wanted: Callable[[], bool]) -> None:
        """Measure the event loop every few milliseconds, while it is wanted."""
        loop = asyncio.get_running_loop()
        try:
            while wanted():
                due = loop.time() + BEAT
                await asyncio.sleep(BEAT)
                self._beats.append(max(loop.time() - due, 0.0))
        finally:
            self._beats.clear()


def resident() -> int:
    """Bytes of memory that this process occupies; its peak where the system tells no more."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
        return pages * resource.getpagesize()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
