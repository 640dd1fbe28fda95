"""Figures of the machine itself: load, processors, memory, disk, uptime.

Sampled by `telemetry` in a thread. Every figure is optional: what cannot be read is null, never 0.
"""

from __future__ import annotations

import os
from typing import Any, Optional

Json = dict[str, Any]
_Ticks = Optional[tuple[int, int]]


def cpu_count() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0))


class Host:
    """Samples; remembers the last one, since processor time is only known as a difference."""

    def __init__(self, state_dir: str) -> None:
        self._state_dir = state_dir
        self._ticks = _cpu_ticks()

    def sample(self) -> Json:
        """The `host` object of a telemetry sample. `cpu_percent` covers the time since the last."""
        used, total = _memory()
        disk_free, disk_total = _disk(self._state_dir)
        return {
            "cpus": os.cpu_count(),
            "load1": _first_number("/proc/loadavg"),
            "cpu_percent": self._cpu_percent(),
            "memory_used": used,
            "memory_total": total,
            "disk_free": disk_free,
            "disk_total": disk_total,
            "uptime": _first_number("/proc/uptime"),
        }

    def _cpu_percent(self) -> float | None:
        before, now = self._ticks, _cpu_ticks()
        self._ticks = now
        if before is None or now is None or now[1] <= before[1]:
            return None
        share = (now[0] - before[0]) / (now[1] - before[1])
        return round(100.0 * min(max(share, 0.0), 1.0), 1)


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _first_number(path: str) -> float | None:
    try:
        return float(_read(path).split()[0])
    except (IndexError, ValueError):
        return None


def _cpu_ticks() -> _Ticks:
    """(busy, all) ticks of all processors since boot."""
    line = _read("/proc/stat").partition("\n")[0].split()
    try:
        # user nice system idle iowait irq softirq steal; guest time is part of user already
        values = [int(value) for value in line[1:9]]
        idle = values[3] + values[4]
    except (IndexError, ValueError):
        return None
    return sum(values) - idle, sum(values)


def _memory() -> tuple[int | None, int | None]:
    """(used, total) bytes; what the kernel could free at once does not count as used."""
    values: dict[str, int] = {}
    for line in _read("/proc/meminfo").splitlines():
        name, _, rest = line.partition(":")
        number = rest.split()
        if name in ("MemTotal", "MemAvailable") and number and number[0].isdigit():
            values[name] = int(number[0]) * 1024
    total, available = values.get("MemTotal"), values.get("MemAvailable")
    if total is None or available is None:
        return None, total
    return total - available, total


def _disk(path: str) -> tuple[int | None, int | None]:
    try:
        status = os.statvfs(path)
    except OSError:
        return None, None
    return status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize
