"""GPUs that are not there, for the demo and for tests; their names say so.

Chosen by the environment variable COCKPIT_SIMULATE_GPUS. GPU i is busy while a process with
LOCAL_RANK=i of an attempt of this state folder runs, else idle. Reads /proc, writes nothing.
"""

from __future__ import annotations

import math
import os
import time

from cockpit.node.sensors.gpusample import GpuSample, Json, blank
from cockpit.node.sensors.gpuusers import GpuUsers
from cockpit.protocol import layout

MAX_GPUS = 64
_GIB = 1024**3
_TOTAL = 80 * _GIB
_CAPPED = 0.9
"""Where on its wave a busy GPU is held down by its power limit."""
_READS = 3
"""Looks at a process's environment before it counts as settled: it changes when a new process
becomes another program."""


class SimulatedSource:
    simulated = True

    def __init__(self, count: int, state_dir: str) -> None:
        if not 0 <= count <= MAX_GPUS:
            raise ValueError(f"between 0 and {MAX_GPUS} GPUs can be simulated, not {count}")
        self._count = count
        self._prefix = os.fsencode(f"{layout.ATTEMPT_DIR_ENV}={state_dir}/")
        self._users = GpuUsers()
        self._known: dict[int, tuple[int | None, int]] = {}
        """pid -> (its local rank, how often its environment was read)"""

    def sample(self) -> GpuSample:
        ranks = self._ranks()
        now = time.time()
        gpus = [self._gpu(i, ranks.get(i, []), now) for i in range(self._count)]
        self._users.forget({pid for pids in ranks.values() for pid in pids})
        return GpuSample(gpus, "", "simulated", "")

    def close(self) -> None:
        """Nothing is held."""

    def _gpu(self, index: int, pids: list[int], now: float) -> Json:
        wave = math.sin(now / 7 + index * 1.3) if pids else math.sin(now / 30 + index) * 0.1
        share = 8 * _GIB + int(_GIB * (40 + wave))
        used = share if pids else _GIB // 2
        traffic = round((120 + 30 * wave) * 1e9) if pids else 0
        return {
            **blank(index, "simulated GPU 80GB", f"GPU-simulated-{index}"),
            "utilization": round(92 + 6 * wave) if pids else 0,
            "memory_utilization": round(55 + 10 * wave) if pids else 0,
            "memory_used": used,
            "memory_total": _TOTAL,
            "power": round(560 + 90 * wave, 1) if pids else round(70 + 10 * wave, 1),
            "power_limit": 700.0,
            "temperature": round(66 + 4 * wave) if pids else round(31 + 3 * wave),
            "memory_temperature": round(74 + 4 * wave) if pids else round(38 + 3 * wave),
            "sm_clock": round(1900 + 60 * wave) if pids else 345,
            "sm_clock_max": 1980,
            "throttle": ["power_cap"] if pids and wave > _CAPPED else [],
            "ecc_uncorrected": 0,
            "ecc_uncorrected_total": 0,
            "remapped_rows": {
                "correctable": 0,
                "uncorrectable": 0,
                "pending": False,
                "failed": False,
            },
            "recovery_action": "none",
            "nvlink": {"active": 18, "total": 18, "tx": traffic, "rx": traffic, "errors": 0},
            "pcie": {"gen": 5, "width": 16},
            "processes": [self._users.describe(pid, used // len(pids)) for pid in pids],
        }

    def _ranks(self) -> dict[int, list[int]]:
        """Local rank -> pids of this state folder's attempts."""
        known: dict[int, tuple[int | None, int]] = {}
        found: dict[int, list[int]] = {}
        for name in os.listdir("/proc"):
            if not name.isdigit():
                continue
            pid = int(name)
            rank, reads = self._known.get(pid, (None, 0))
            if reads < _READS:
                rank, reads = self._local_rank(pid), reads + 1
            known[pid] = (rank, reads)
            if rank is not None:
                found.setdefault(rank, []).append(pid)
        self._known = known
        return found

    def _local_rank(self, pid: int) -> int | None:
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                items = file.read().split(b"\0")
        except OSError:
            return None
        if not any(item.startswith(self._prefix) for item in items):
            return None
        for item in items:
            name, _, value = item.partition(b"=")
            if name == b"LOCAL_RANK" and value.isdigit():
                return int(value)
        return None
