"""Where GPU figures come from: NVIDIA's library, a simulation, or nowhere for a stated reason.

Used by telemetry and facts, always off the agent's loop, since a wedged driver blocks for ever.
A figure that a GPU, driver or permission does not yield is null; no call may fail a sample.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.machinery import PathFinder
from typing import Any

from cockpit.node.gpusample import GpuSample, GpuSource, Json, user_of

SIMULATE = "COCKPIT_SIMULATE_GPUS"
"""Environment variable: how many GPUs to simulate."""
_COMPILE_TIMEOUT = 20.0
_DRIVER_FOLDER = "/proc/driver/nvidia/gpus"


class NoSource:
    """No GPU figures, for a reason that a person can read."""

    simulated = False

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def sample(self) -> GpuSample:
        return GpuSample([], self._reason)


class NvmlSource:
    """Figures from NVML through the bundled pynvml. `nvml` is that module."""

    simulated = False

    def __init__(self, nvml: Any) -> None:
        self._nvml = nvml
        self._handles: list[Any] | None = None
        self._fixed: dict[int, tuple[str | None, str | None]] = {}

    def sample(self) -> GpuSample:
        """One object per GPU. A driver that does not answer properly is tried anew next time."""
        nvml = self._nvml
        try:
            if self._handles is None:
                nvml.nvmlInit()
                count = nvml.nvmlDeviceGetCount()
                # A GPU that fell off the bus has no handle; it keeps its place in the list.
                self._handles = [
                    self._value(nvml.nvmlDeviceGetHandleByIndex, i) for i in range(count)
                ]
            return GpuSample([self._gpu(i, handle) for i, handle in enumerate(self._handles)])
        except nvml.NVMLError as error:
            self._handles = None
            return GpuSample([], _reason(nvml, error))

    def _gpu(self, index: int, handle: Any) -> Json:
        nvml = self._nvml
        if handle is None:
            self._handles = None  # look again next time
        name, uuid = self._fixed.get(index, (None, None))
        if handle is not None and name is None:
            name = _text(self._value(nvml.nvmlDeviceGetName, handle))
            uuid = _text(self._value(nvml.nvmlDeviceGetUUID, handle))
            self._fixed[index] = (name, uuid)
        gpu: Json = {"index": index, "name": name, "uuid": uuid, "state": "ok"}
        gpu.update(dict.fromkeys(_FIGURES))
        gpu["processes"] = []
        if handle is None:
            gpu["state"] = "lost"
            return gpu
        try:
            self._fill(gpu, handle)
        except nvml.NVMLError as error:
            lost = error.value == nvml.NVML_ERROR_GPU_IS_LOST
            if error.value == nvml.NVML_ERROR_UNINITIALIZED:
                raise
            gpu.update(dict.fromkeys(_FIGURES))
            gpu["state"] = "lost" if lost else "error"
        return gpu

    def _fill(self, gpu: Json, handle: Any) -> None:
        nvml = self._nvml
        utilization = self._value(nvml.nvmlDeviceGetUtilizationRates, handle)
        memory = self._memory(handle)
        power = self._value(nvml.nvmlDeviceGetPowerUsage, handle)
        limit = self._value(nvml.nvmlDeviceGetEnforcedPowerLimit, handle)
        gpu["utilization"] = None if utilization is None else utilization.gpu
        if memory is not None:
            gpu["memory_used"], gpu["memory_total"] = memory.used, memory.total
        gpu["power"] = None if power is None else power / 1000
        gpu["power_limit"] = None if limit is None else limit / 1000
        gpu["temperature"] = self._temperature(handle)
        gpu["sm_clock"] = self._value(nvml.nvmlDeviceGetClockInfo, handle, nvml.NVML_CLOCK_SM)
        gpu["processes"] = self._processes(handle)

    def _memory(self, handle: Any) -> Any:
        nvml = self._nvml
        version = getattr(nvml, "nvmlMemory_v2", None)
        memory = None
        if version is not None:
            memory = self._value(nvml.nvmlDeviceGetMemoryInfo, handle, version)
        return memory or self._value(nvml.nvmlDeviceGetMemoryInfo, handle)

    def _temperature(self, handle: Any) -> int | None:
        nvml = self._nvml
        modern = getattr(nvml, "nvmlDeviceGetTemperatureV", None)
        value = None
        if modern is not None:
            value = self._value(modern, handle, nvml.NVML_TEMPERATURE_GPU)
        if value is None:
            value = self._value(nvml.nvmlDeviceGetTemperature, handle, nvml.NVML_TEMPERATURE_GPU)
        return value if isinstance(value, int) else None

    def _processes(self, handle: Any) -> list[Json]:
        nvml = self._nvml
        running = None
        for version in ("_v3", "_v2"):
            function = getattr(nvml, "nvmlDeviceGetComputeRunningProcesses" + version, None)
            if running is None and function is not None:
                running = self._value(function, handle)
        return [
            {"pid": process.pid, "user": user_of(process.pid), "memory": process.usedGpuMemory}
            for process in running or ()
        ]

    def _value(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """The result; None where this GPU, driver or user does not get it."""
        nvml = self._nvml
        try:
            return function(*arguments)
        except nvml.NVMLError as error:
            fatal = (nvml.NVML_ERROR_GPU_IS_LOST, nvml.NVML_ERROR_UNINITIALIZED)
            if error.value in fatal and function is not nvml.nvmlDeviceGetHandleByIndex:
                raise
            return None


_FIGURES = (
    "utilization",
    "memory_used",
    "memory_total",
    "power",
    "power_limit",
    "temperature",
    "sm_clock",
)


def make_source(state_dir: str, environ: dict[str, str] | None = None) -> GpuSource:
    """The source for this node. May take seconds or hang where a driver is wedged."""
    simulate = (os.environ if environ is None else environ).get(SIMULATE, "")
    if simulate:
        from cockpit.node.simulation import SimulatedSource

        try:
            return SimulatedSource(int(simulate), state_dir)
        except ValueError:
            return NoSource(f"{SIMULATE}={simulate!r} is not a number of GPUs")
    try:
        _compile_bindings()
        import pynvml
    except ImportError:
        return NoSource("the NVML bindings are missing from the node runtime")
    return NvmlSource(pynvml)


def _compile_bindings() -> None:
    """See to it that pynvml has bytecode, made by another process.

    Compiling its 8,000 lines here would leave this process 15 MB larger for good. Where it fails,
    the import does all by itself.
    """
    spec = PathFinder.find_spec("pynvml")
    if spec is None or not spec.origin or not spec.cached or os.path.exists(spec.cached):
        return
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        subprocess.run(
            [sys.executable, "-I", "-S", "-m", "py_compile", spec.origin],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_COMPILE_TIMEOUT,
            check=False,
        )


def count_from_driver() -> int:
    """GPUs that the NVIDIA driver announces, without asking any of them. 0 without a driver."""
    with contextlib.suppress(OSError):
        return len(os.listdir(_DRIVER_FOLDER))
    return 0


def _reason(nvml: Any, error: Any) -> str:
    missing = (nvml.NVML_ERROR_LIBRARY_NOT_FOUND, nvml.NVML_ERROR_DRIVER_NOT_LOADED)
    if error.value in missing:
        return "no NVIDIA driver on this node"
    return f"NVML: {error}"


def _text(value: Any) -> str | None:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if isinstance(value, str) else None
