"""GPU figures from two long-lived `nvidia-smi`, for a node whose NVML cannot be loaded.

Used by `gpus`. One prints a line per GPU each second, the other a line per process every five,
until the source is closed or this process is gone; nothing is started per sample. Fields that the
tool's version does not know are left out and it is started again.
"""

from __future__ import annotations

import os
import re
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Optional

from cockpit.node.sensors.gpusample import GpuSample, Json, blank, failed, throttle_words
from cockpit.node.sensors.gpuusers import GpuUsers
from cockpit.node.tether import tethered

PERIOD = 1.0
PROCESS_PERIOD = 5.0
PATIENCE = 2.0
"""Seconds that the first sample waits for the first line."""
SETTLE = 0.2
"""Seconds from the first GPU's line until the first sample: those of the others come with it."""
STALE = 5.0
"""Seconds without a line after which the tool counts as stuck."""
_PAUSE = 5.0
"""Seconds until a tool that ended is started again."""
_MIB = 1024 * 1024

_GPU_FIELDS = (
    "index",
    "name",
    "uuid",
    "utilization.gpu",
    "utilization.memory",
    "memory.used",
    "memory.total",
    "power.draw",
    "power.limit",
    "temperature.gpu",
    "temperature.memory",
    "clocks.sm",
    "clocks.max.sm",
    "clocks_event_reasons.active",
    "clocks_throttle_reasons.active",
    "ecc.errors.uncorrected.volatile.total",
    "ecc.errors.uncorrected.aggregate.total",
    "remapped_rows.correctable",
    "remapped_rows.uncorrectable",
    "remapped_rows.pending",
    "remapped_rows.failure",
    "pcie.link.gen.current",
    "pcie.link.width.current",
    "driver_version",
)
_PROCESS_FIELDS = ("gpu_uuid", "pid", "used_gpu_memory")
_REFUSED = re.compile(r'Field "([^"]+)" is not a valid field to query')
_Values = dict[str, Optional[str]]
"""Field -> what the tool printed, None for "[N/A]" and its like."""


class _Query:
    """One `nvidia-smi --query-WHAT`, started again when it ends. Calls `row` in its thread."""

    def __init__(
        self,
        tool: str,
        what: str,
        fields: tuple[str, ...],
        period: float,
        row: Callable[[_Values, str], None],
    ) -> None:
        self._tool = tool
        self._what = what
        self._fields = list(fields)
        self._period = period
        self._row = row
        self.said = ""
        """The newest line that was no row, "" after a row."""
        self.first = threading.Event()
        """A row came, or the tool ended without one."""
        self._closed = threading.Event()
        self._process: subprocess.Popen[str] | None = None
        threading.Thread(target=self._run, name=f"nvidia-smi-{what}", daemon=True).start()

    def close(self) -> None:
        self._closed.set()
        if self._process is not None:
            self._process.kill()

    def _run(self) -> None:
        while not self._closed.is_set():
            refused = self._follow()
            if refused in self._fields:
                self._fields.remove(refused)
                continue
            self.first.set()
            self._closed.wait(_PAUSE)

    def _follow(self) -> str:
        """Run the tool to its end; the name of a field that it does not know, or ""."""
        query = f"--query-{self._what}={','.join(self._fields)}"
        loop = ["--format=csv,noheader,nounits", "-lms", str(round(self._period * 1000))]
        refused = ""
        try:
            process = subprocess.Popen(
                tethered([self._tool, query, *loop]),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                env={**os.environ, "LC_ALL": "C"},
            )
        except OSError as error:
            self.said = f"it cannot be run: {error.strerror}"
            return ""
        self._process = process
        with process:
            if self._closed.is_set():
                process.kill()
            for line in process.stdout or ():
                match = _REFUSED.search(line)
                refused = match.group(1) if match else refused
                self._take(line.strip())
        return refused

    def _take(self, line: str) -> None:
        parts = [part.strip() for part in line.split(",")]
        if len(parts) != len(self._fields):
            self.said = line or self.said
            return
        pairs = zip(self._fields, parts)
        self._row({name: None if _is_unknown(part) else part for name, part in pairs}, line)
        self.said = ""
        self.first.set()


class NvidiaSmiSource:
    """`tool` is the program's path."""

    simulated = False

    def __init__(self, tool: str) -> None:
        self._gpus: dict[int, tuple[float, Json]] = {}
        """Index -> (monotonic time of the line, figures)"""
        self._running: dict[tuple[str, int], tuple[float, int | None]] = {}
        """(UUID of the GPU, pid) -> (monotonic time of the line, bytes)"""
        self._users = GpuUsers()
        self._driver = ""
        self._sampled = False
        self._heard = time.monotonic()
        self._query = _Query(tool, "gpu", _GPU_FIELDS, PERIOD, self._gpu_row)
        self._apps = _Query(
            tool, "compute-apps", _PROCESS_FIELDS, PROCESS_PERIOD, self._process_row
        )

    def sample(self) -> GpuSample:
        if not self._sampled:
            self._sampled = True
            if self._query.first.wait(PATIENCE):
                time.sleep(SETTLE)
        now = time.monotonic()
        gpus = [dict(gpu) for _, (at, gpu) in sorted(self._gpus.items()) if at > now - STALE]
        if not gpus:
            why = self._query.said or f"it has printed nothing for {now - self._heard:.0f} s"
            return GpuSample([], f"nvidia-smi: {why}")
        limit = now - 1.5 * PROCESS_PERIOD
        running = {key: value for key, value in list(self._running.items()) if value[0] > limit}
        for gpu in gpus:
            gpu["processes"] = [
                self._users.describe(pid, memory)
                for (uuid, pid), (_, memory) in sorted(running.items())
                if uuid == gpu["uuid"]
            ]
        self._users.forget({pid for _, pid in running})
        return GpuSample(gpus, "", self._driver)

    def close(self) -> None:
        self._query.close()
        self._apps.close()

    def _gpu_row(self, values: _Values, line: str) -> None:
        index = values["index"] or ""
        if index.isdigit():
            self._driver = values.get("driver_version") or self._driver
            self._heard = time.monotonic()
            self._gpus[int(index)] = (self._heard, _figures(values, line))

    def _process_row(self, values: _Values, _: str) -> None:
        now = time.monotonic()
        uuid, pid = values["gpu_uuid"] or "", values["pid"] or ""
        if pid.isdigit():
            self._running[uuid, int(pid)] = (now, _whole(values, "used_gpu_memory", _MIB))
        old = [key for key, (at, _) in self._running.items() if at < now - 10 * PROCESS_PERIOD]
        for key in old:
            del self._running[key]


def _is_unknown(text: str) -> bool:
    """ "[N/A]", "[Not Supported]", "[Unknown Error]", "[GPU requires reset]" and their like."""
    return text in ("", "N/A") or text.startswith("[")


def _number(values: _Values, name: str) -> float | None:
    text = values.get(name)
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def _whole(values: _Values, name: str, unit: int = 1) -> int | None:
    value = _number(values, name)
    return None if value is None else int(value) * unit


def _figures(values: _Values, line: str) -> Json:
    gpu = blank(int(values["index"] or 0), values.get("name"), values.get("uuid"))
    for word, state in (("GPU is lost", "lost"), ("GPU requires reset", "error")):
        if word in line:
            return failed(gpu, state, word)
    bits = values.get("clocks_event_reasons.active") or values.get("clocks_throttle_reasons.active")
    rows = {
        "correctable": _whole(values, "remapped_rows.correctable"),
        "uncorrectable": _whole(values, "remapped_rows.uncorrectable"),
        "pending": _flag(values.get("remapped_rows.pending")),
        "failed": _flag(values.get("remapped_rows.failure")),
    }
    pcie = {
        "gen": _whole(values, "pcie.link.gen.current"),
        "width": _whole(values, "pcie.link.width.current"),
    }
    gpu.update(
        utilization=_number(values, "utilization.gpu"),
        memory_utilization=_number(values, "utilization.memory"),
        memory_used=_whole(values, "memory.used", _MIB),
        memory_total=_whole(values, "memory.total", _MIB),
        power=_number(values, "power.draw"),
        power_limit=_number(values, "power.limit"),
        temperature=_number(values, "temperature.gpu"),
        memory_temperature=_number(values, "temperature.memory"),
        sm_clock=_whole(values, "clocks.sm"),
        sm_clock_max=_whole(values, "clocks.max.sm"),
        throttle=_throttle(bits),
        ecc_uncorrected=_whole(values, "ecc.errors.uncorrected.volatile.total"),
        ecc_uncorrected_total=_whole(values, "ecc.errors.uncorrected.aggregate.total"),
        remapped_rows=None if all(value is None for value in rows.values()) else rows,
        pcie=None if all(value is None for value in pcie.values()) else pcie,
    )
    return gpu


def _throttle(bits: str | None) -> list[str] | None:
    try:
        return None if bits is None else throttle_words(int(bits, 16))
    except ValueError:
        return None


def _flag(text: str | None) -> bool | None:
    return {"yes": True, "no": False, "1": True, "0": False}.get((text or "").lower())
