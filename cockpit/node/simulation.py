"""GPUs that are not there, for the demo and for tests; their names say so.

Chosen by the environment variable COCKPIT_SIMULATE_GPUS. GPU i is busy while a process with
LOCAL_RANK=i of an attempt of this state folder runs, else idle. Reads /proc, writes nothing.
"""

from __future__ import annotations

import math
import os
import time

from cockpit.node.gpusample import GpuSample, Json, user_of
from cockpit.protocol import layout

MAX_GPUS = 64
_GIB = 1024**3
_TOTAL = 80 * _GIB
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
        self._known: dict[int, tuple[int | None, int]] = {}
        """pid -> (its local rank, how often its environment was read)"""

    def sample(self) -> GpuSample:
        ranks = self._ranks()
        now = time.time()
        return GpuSample([self._gpu(i, ranks.get(i, []), now) for i in range(self._count)])

    def _gpu(self, index: int, pids: list[int], now: float) -> Json:
        wave = math.sin(now / 7 + index * 1.3) if pids else math.sin(now / 30 + index) * 0.1
        share = 8 * _GIB + int(_GIB * (40 + wave))
        used = share if pids else _GIB // 2
        return {
            "index": index,
            "name": "simulated GPU 80GB",
            "uuid": f"GPU-simulated-{index}",
            "state": "ok",
            "utilization": round(92 + 6 * wave) if pids else 0,
            "memory_used": used,
            "memory_total": _TOTAL,
            "power": round(560 + 90 * wave, 1) if pids else round(70 + 10 * wave, 1),
            "power_limit": 700.0,
            "temperature": round(66 + 4 * wave) if pids else round(31 + 3 * wave),
            "sm_clock": round(1900 + 60 * wave) if pids else 345,
            "processes": [
                {"pid": pid, "user": user_of(pid), "memory": used // len(pids)} for pid in pids
            ],
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
