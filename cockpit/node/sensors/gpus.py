"""Where GPU figures come from: NVML, a tool, the kernel's files, a simulation, or nowhere.

Used by telemetry and facts, always off the agent's loop, since a wedged driver blocks for ever.
A figure that a GPU, driver or permission does not yield is null; no call may fail a sample.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from importlib.machinery import PathFinder
from typing import Any

from cockpit.node.sensors.gpusample import GpuSample, GpuSource

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

    def close(self) -> None:
        """Nothing is held."""


def make_source(state_dir: str, environ: dict[str, str] | None = None) -> GpuSource:
    """The source for this node. May take seconds or hang where a driver is wedged."""
    simulate = (os.environ if environ is None else environ).get(SIMULATE, "")
    if simulate:
        from cockpit.node.sensors.simulation import SimulatedSource

        try:
            return SimulatedSource(int(simulate), state_dir)
        except ValueError:
            return NoSource(f"{SIMULATE}={simulate!r} is not a number of GPUs")
    try:
        _compile_bindings()
        import pynvml
    except ImportError:
        return _without_nvml() or NoSource("the NVML bindings are missing from the node runtime")
    from cockpit.node.sensors.nvml import NvmlSource

    # Where nothing else is there either, NVML is asked again with each sample: it may come.
    return (None if _has_library(pynvml) else _without_nvml()) or NvmlSource(pynvml)


def _has_library(nvml: Any) -> bool:
    """Whether NVML answers. Anything but the lack of it is for the source to tell."""
    missing = (nvml.NVML_ERROR_LIBRARY_NOT_FOUND, nvml.NVML_ERROR_DRIVER_NOT_LOADED)
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return error.value not in missing
    return True


def _without_nvml() -> GpuSource | None:
    """What there is on a node whose NVML is missing."""
    from cockpit.node.sensors import amd

    source = amd.find()
    if source is not None:
        return source
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    from cockpit.node.sensors.nvidiasmi import NvidiaSmiSource

    return NvidiaSmiSource(tool)


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
