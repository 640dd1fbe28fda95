"""One look at this node's GPUs with a deadline, shared by what asks in the same moment.

Used by `facts` and the preflight, from threads. A driver that hangs keeps one thread for good and
not one per question.
"""

from __future__ import annotations

import sys
import threading
import time
from typing import Any, NamedTuple

from cockpit.node.sensors import gpus
from cockpit.node.sensors.gpusample import GpuSample

TIMEOUT = 5.0
REMEMBER = 2.0
"""Seconds that a look is good for: a start asks for facts and then for a preflight."""


class Look(NamedTuple):
    """`sample` is None where the driver did not answer in time."""

    sample: GpuSample | None
    simulated: bool
    persistent: tuple[bool | None, ...] = ()
    """Per GPU, whether its driver stays loaded while nobody uses it; None where that is unknown."""

    @property
    def real(self) -> int:
        """GPUs that are there and not simulated."""
        return 0 if self.simulated or self.sample is None else len(self.sample.gpus)


class _Asking:
    """A thread that asks, and its answer once there is one."""

    def __init__(self, state_dir: str) -> None:
        self.state_dir = state_dir
        self.answer: Look | None = None
        self.answered_at = 0.0
        self._thread = threading.Thread(target=self._run, name="gpulook", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        source = gpus.make_source(self.state_dir)
        try:
            sample = source.sample()
            real = 0 if source.simulated else len(sample.gpus)
            self.answer = Look(sample, source.simulated, _persistent(real))
            self.answered_at = time.monotonic()
        finally:
            source.close()

    @property
    def usable(self) -> bool:
        """It is still asking, or its answer is fresh."""
        if self._thread.is_alive():
            return True
        return self.answer is not None and time.monotonic() - self.answered_at < REMEMBER

    def wait(self, timeout: float) -> Look:
        self._thread.join(timeout)
        return self.answer or Look(None, False)


def _persistent(count: int) -> tuple[bool | None, ...]:
    """Asked of the library that the sample came from; without one, unknown."""
    nvml: Any = sys.modules.get("pynvml")
    modes: list[bool | None] = []
    for index in range(count if nvml is not None else 0):
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            modes.append(bool(nvml.nvmlDeviceGetPersistenceMode(handle)))
        except nvml.NVMLError:
            modes.append(None)
    return tuple(modes)


_lock = threading.Lock()
_latest: list[_Asking] = []


def look(state_dir: str, timeout: float = TIMEOUT) -> Look:
    """The GPUs as they are now, or were a moment ago."""
    with _lock:
        if not _latest or _latest[0].state_dir != state_dir or not _latest[0].usable:
            _latest[:] = [_Asking(state_dir)]
        asking = _latest[0]
    return asking.wait(timeout)
