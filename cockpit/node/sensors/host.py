"""Figures of the machine itself: load, processors, memory, disk, network, temperature, uptime.

Sampled by `telemetry` in a thread. Every figure is optional: what cannot be read is null, never 0.
What may hang (a file server) or costs more (all processes) is read by a tier.
"""

from __future__ import annotations

import os
import time
from typing import Any, Optional

from cockpit.node.sensors.tiers import Tier
from cockpit.node.sensors.traffic import Traffic, read, temperature, traffic

Json = dict[str, Any]
_Ticks = Optional[tuple[int, int]]

FIGURES = (
    "cpus",
    "load1",
    "cpu_percent",
    "memory_used",
    "memory_total",
    "swap_used",
    "swap_total",
    "disk_free",
    "disk_total",
    "disk_read",
    "disk_written",
    "network_in",
    "network_out",
    "temperature",
    "blocked",
    "uptime",
)
DISK_PERIOD = 5.0
BLOCKED_PERIOD = 15.0
PATIENCE = 0.5
"""Seconds that the first sample waits for each tier."""
LEAST_SPAN = 0.25
"""Seconds that work and traffic of the first sample are of: less is chance."""


def cpu_count() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0))


class Host:
    """Samples; remembers the last one, since work and traffic are only known as differences."""

    def __init__(self, state_dir: str) -> None:
        self._first = True
        self._ticks = _cpu_ticks()
        self._traffic = (time.monotonic(), traffic())
        self._disk = Tier(lambda: _disk(state_dir), DISK_PERIOD, "disk")
        self._blocked = Tier(_blocked, BLOCKED_PERIOD, "blocked")

    def sample(self) -> Json:
        """The `host` object of a telemetry sample. Rates cover the time since the last."""
        if self._first:
            self._first = False
            time.sleep(max(self._traffic[0] + LEAST_SPAN - time.monotonic(), 0.0))
        disk = self._disk.latest(PATIENCE)
        if self._disk.age is not None:
            disk = None  # the file server has gone; what it once said is no figure of now
        memory = _memory()
        return {
            "cpus": os.cpu_count(),
            "load1": _first_number("/proc/loadavg"),
            "cpu_percent": self._cpu_percent(),
            **memory,
            "disk_free": disk[0] if disk else None,
            "disk_total": disk[1] if disk else None,
            **self._rates(),
            "temperature": temperature(),
            "blocked": self._blocked.latest(PATIENCE),
            "uptime": _first_number("/proc/uptime"),
        }

    def _cpu_percent(self) -> float | None:
        before, now = self._ticks, _cpu_ticks()
        self._ticks = now
        if before is None or now is None or now[1] <= before[1]:
            return None
        share = (now[0] - before[0]) / (now[1] - before[1])
        return round(100.0 * min(max(share, 0.0), 1.0), 1)

    def _rates(self) -> Json:
        """Bytes a second."""
        (then, before), now, counted = self._traffic, time.monotonic(), traffic()
        self._traffic = (now, counted)
        span = max(now - then, 1e-3)
        return {
            name: None if old is None or new is None or new < old else round((new - old) / span)
            for name, old, new in zip(Traffic._fields, before, counted)
        }


def _first_number(path: str) -> float | None:
    try:
        return float(read(path).split()[0])
    except (IndexError, ValueError):
        return None


def _cpu_ticks() -> _Ticks:
    """(busy, all) ticks of all processors since boot."""
    line = read("/proc/stat").partition("\n")[0].split()
    try:
        # user nice system idle iowait irq softirq steal; guest time is part of user already
        values = [int(value) for value in line[1:9]]
        idle = values[3] + values[4]
    except (IndexError, ValueError):
        return None
    return sum(values) - idle, sum(values)


def _memory() -> Json:
    """Bytes; what the kernel could free at once does not count as used."""
    values: dict[str, int] = {}
    for line in read("/proc/meminfo").splitlines():
        name, _, rest = line.partition(":")
        number = rest.split()
        if number and number[0].isdigit():
            values[name] = int(number[0]) * 1024

    def used(total: str, free: str) -> int | None:
        return values[total] - values[free] if total in values and free in values else None

    return {
        "memory_used": used("MemTotal", "MemAvailable"),
        "memory_total": values.get("MemTotal"),
        "swap_used": used("SwapTotal", "SwapFree"),
        "swap_total": values.get("SwapTotal"),
    }


def _disk(path: str) -> tuple[int, int] | None:
    """(free for this user, all) bytes of the file system of `path`."""
    try:
        status = os.statvfs(path)
    except OSError:
        return None
    return status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize


def _blocked() -> int:
    """Processes in uninterruptible sleep: they wait for a disk, a file server or a driver."""
    count = 0
    for name in os.listdir("/proc"):
        if name.isdigit():
            # The name in parentheses may hold anything, parentheses included.
            count += read(f"/proc/{name}/stat").rpartition(")")[2].startswith(" D")
    return count
