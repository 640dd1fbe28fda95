"""What a source of GPU figures is and what it yields; shared by the real one and the simulated one.

Used by `gpus`, `simulation` and telemetry. It asks no GPU anything.
"""

from __future__ import annotations

import os
import pwd
from typing import Any, NamedTuple, Protocol

Json = dict[str, Any]


class GpuSample(NamedTuple):
    """The `gpus` of a telemetry sample, and why there are none ("" if there are, or are none)."""

    gpus: list[Json]
    error: str = ""


class GpuSource(Protocol):
    """Sampled from one thread at a time; `sample` never raises."""

    @property
    def simulated(self) -> bool: ...

    def sample(self) -> GpuSample: ...


def user_of(pid: int) -> str | None:
    """Who runs a process; None when that cannot be seen (another container's, or gone)."""
    try:
        uid = os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return None
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
