"""What moved through this machine's disks and network, and how warm it is. Used by `host`.

Counters of the kernel as (wide) numbers that only grow; `host` makes rates of them. What cannot be
read is None, never 0. `root` exists for tests: the folder that holds proc and sys.
"""

from __future__ import annotations

import glob
import os
from typing import NamedTuple

_SECTOR = 512
"""Bytes of a sector in /proc/diskstats, whatever the disk's own are."""
_INFINIBAND = "32"
"""ARPHRD_INFINIBAND: such a device is counted by its port, not twice."""
_INNER = ("lo", "docker", "veth", "br-", "virbr", "cni", "flannel", "cali", "tun", "tap", "dummy")
_SANE = (-40.0, 125.0)
"""Sensors without anything behind them tell figures outside of this."""


class Traffic(NamedTuple):
    """Bytes since boot."""

    network_in: int | None
    network_out: int | None
    disk_read: int | None
    disk_written: int | None


def traffic(root: str = "/") -> Traffic:
    """Of physical network devices and InfiniBand ports together, and of physical disks."""
    received, sent = _network(root)
    read, written = _disks(root)
    return Traffic(received, sent, read, written)


def temperature(root: str = "/") -> float | None:
    """The highest that a sensor of the machine tells (°C), GPUs' own left out."""
    readings = []
    for path in glob.glob(os.path.join(root, "sys/class/thermal/thermal_zone*/temp")):
        readings.append(_number(path))
    for folder in glob.glob(os.path.join(root, "sys/class/hwmon/hwmon*")):
        if read(f"{folder}/name").strip() not in ("amdgpu", "nouveau"):
            readings += [_number(path) for path in glob.glob(f"{folder}/temp*_input")]
    degrees = [value / 1000 for value in readings if value is not None]
    return max((value for value in degrees if _SANE[0] <= value <= _SANE[1]), default=None)


def read(path: str) -> str:
    """The text of a small file, "" where it cannot be read."""
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _network(root: str) -> tuple[int | None, int | None]:
    sums: dict[bool, list[int]] = {}
    for line in read(os.path.join(root, "proc/net/dev")).splitlines()[2:]:
        name, _, rest = line.partition(":")
        name, fields = name.strip(), rest.split()
        device = os.path.join(root, "sys/class/net", name)
        if len(fields) < 9 or read(f"{device}/type").strip() == _INFINIBAND:
            continue
        physical = os.path.exists(f"{device}/device")
        # A container's way out is no physical device; it counts where there is none.
        if physical or not name.startswith(_INNER):
            total = sums.setdefault(physical, [0, 0])
            total[0] += int(fields[0])
            total[1] += int(fields[8])
    found = sums.get(True) or sums.get(False)
    for port in glob.glob(os.path.join(root, "sys/class/infiniband/*/ports/*/counters")):
        received, sent = (_number(f"{port}/port_{way}_data") for way in ("rcv", "xmit"))
        if received is not None and sent is not None:
            found = found or [0, 0]
            found = [found[0] + received * 4, found[1] + sent * 4]  # it counts words of 4 bytes
    return (None, None) if found is None else (found[0], found[1])


def _disks(root: str) -> tuple[int | None, int | None]:
    total: list[int] | None = None
    for line in read(os.path.join(root, "proc/diskstats")).splitlines():
        fields = line.split()
        # Partitions and what is built of disks have no device of their own.
        if len(fields) > 9 and os.path.exists(os.path.join(root, f"sys/block/{fields[2]}/device")):
            total = total or [0, 0]
            total = [
                total[0] + int(fields[5]) * _SECTOR,
                total[1] + int(fields[9]) * _SECTOR,
            ]
    return (None, None) if total is None else (total[0], total[1])


def _number(path: str) -> int | None:
    try:
        return int(read(path))
    except ValueError:
        return None
