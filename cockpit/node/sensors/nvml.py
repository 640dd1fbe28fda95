"""GPU figures from NVIDIA's library through the bundled pynvml.

Used by `gpus`. Every figure is optional: what a GPU, driver or permission does not yield is null.
The quick figures are read with each sample, the others by a tier (`nvmlslow`), Xids by a thread.
"""

from __future__ import annotations

import time
from typing import Any

from cockpit.node.sensors.gpusample import GpuSample, Json, blank, failed, throttle_words
from cockpit.node.sensors.nvmlcalls import Calls
from cockpit.node.sensors.nvmlevents import XidEvents
from cockpit.node.sensors.nvmlslow import PERIOD, SlowFigures
from cockpit.node.sensors.tiers import Tier

PATIENCE = 1.0
"""Seconds that the first sample waits for the slow figures."""
RETRY = 30.0
"""Seconds after which a GPU that could not be opened is tried again."""
_MEMORY_TEMPERATURE = 82


class _Device:
    """A GPU by its index; `trouble` is ("lost" or "error", why) where it has no handle."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.handle: Any = None
        self.name: str | None = None
        self.uuid: str | None = None
        self.trouble = ("error", "")
        self.tried = 0.0


class NvmlSource:
    """`nvml` is the module pynvml."""

    simulated = False

    def __init__(self, nvml: Any) -> None:
        self._nvml = nvml
        self._calls = Calls(nvml)
        self._devices: list[_Device] | None = None
        self._slow: Tier[dict[int, Json]] | None = None
        self._events: XidEvents | None = None
        self._driver = ""
        self._cuda = ""

    def sample(self) -> GpuSample:
        """One object per GPU. A driver that does not answer properly is tried anew next time."""
        nvml = self._nvml
        try:
            devices = self._devices
            if devices is None:
                devices = self._open()
            self._look_again(devices)
            gpus = [self._gpu(device) for device in devices]
            slow = (self._slow and self._slow.latest(PATIENCE)) or {}
        except nvml.NVMLError as error:
            self.close()
            return GpuSample([], self._reason(error))
        age = self._slow.age if self._slow is not None else None
        for gpu in gpus:
            if gpu["state"] == "ok":
                gpu.update(slow.get(gpu["index"], {}), slow_age=age)
        return GpuSample(gpus, "", self._driver, self._cuda)

    def close(self) -> None:
        if self._events is not None:
            self._events.close()
        self._devices = self._slow = self._events = None

    def _open(self) -> list[_Device]:
        calls, nvml = self._calls, self._nvml
        nvml.nvmlInit()
        devices = [_Device(index) for index in range(nvml.nvmlDeviceGetCount())]
        self._driver = calls.text("SystemGetDriverVersion") or ""
        cuda = calls.first(("SystemGetCudaDriverVersion_v2",), ("SystemGetCudaDriverVersion",))
        self._cuda = f"{cuda // 1000}.{cuda % 1000 // 10}" if isinstance(cuda, int) else ""
        for device in devices:
            self._find(device)
        self._watch(devices)
        self._devices = devices
        return devices

    def _watch(self, devices: list[_Device]) -> None:
        """Read the slow figures of these devices, and their Xids, from now on."""
        found = [(device.index, device.handle) for device in devices if device.handle is not None]
        self._slow = Tier(SlowFigures(self._calls, found).read, PERIOD, "gpu-slow")
        if self._events is not None:
            self._events.close()
        self._events = XidEvents(self._calls, found)

    def _look_again(self, devices: list[_Device]) -> None:
        """Try GPUs without handle again, now and then: one may have been reset."""
        due = time.monotonic() - RETRY
        lost = [device for device in devices if device.handle is None and device.tried < due]
        for device in lost:
            self._find(device)
        if any(device.handle is not None for device in lost):
            self._watch(devices)

    def _find(self, device: _Device) -> None:
        nvml, calls = self._nvml, self._calls
        device.tried = time.monotonic()
        try:
            device.handle = nvml.nvmlDeviceGetHandleByIndex(device.index)
            device.name = calls.text("DeviceGetName", device.handle)
            device.uuid = calls.text("DeviceGetUUID", device.handle)
        except nvml.NVMLError as error:
            if error.value == nvml.NVML_ERROR_UNINITIALIZED:
                raise
            device.trouble = self._trouble(error)

    def _trouble(self, error: Any) -> tuple[str, str]:
        lost = error.value == self._nvml.NVML_ERROR_GPU_IS_LOST
        return ("lost" if lost else "error"), str(error)

    def _gpu(self, device: _Device) -> Json:
        nvml = self._nvml
        gpu = blank(device.index, device.name, device.uuid)
        if self._events is not None:
            gpu["xids"] = self._events.recent(device.index)
        if device.handle is None:
            return failed(gpu, *device.trouble)
        try:
            self._fill(gpu, device.handle)
        except nvml.NVMLError as error:
            if error.value == nvml.NVML_ERROR_UNINITIALIZED:
                raise
            return failed(gpu, *self._trouble(error))
        return gpu

    def _fill(self, gpu: Json, handle: Any) -> None:
        calls, nvml = self._calls, self._nvml
        utilization = calls.value("DeviceGetUtilizationRates", handle)
        power = calls.value("DeviceGetPowerUsage", handle)
        reasons = calls.first(
            ("DeviceGetCurrentClocksEventReasons", handle),
            ("DeviceGetCurrentClocksThrottleReasons", handle),
        )
        if utilization is not None:
            gpu["utilization"] = utilization.gpu
            gpu["memory_utilization"] = utilization.memory
        gpu["memory_used"], gpu["memory_total"] = calls.memory(handle)
        gpu["power"] = None if power is None else power / 1000
        gpu["temperature"] = calls.first(
            ("DeviceGetTemperatureV", handle, nvml.NVML_TEMPERATURE_GPU),
            ("DeviceGetTemperature", handle, nvml.NVML_TEMPERATURE_GPU),
        )
        fields = calls.fields(handle, [_MEMORY_TEMPERATURE])
        # 0 is what GPUs say that have no such sensor.
        gpu["memory_temperature"] = fields.get(_MEMORY_TEMPERATURE) or None
        gpu["sm_clock"] = calls.value("DeviceGetClockInfo", handle, nvml.NVML_CLOCK_SM)
        gpu["throttle"] = None if reasons is None else throttle_words(reasons)

    def _reason(self, error: Any) -> str:
        nvml = self._nvml
        if error.value in (nvml.NVML_ERROR_LIBRARY_NOT_FOUND, nvml.NVML_ERROR_DRIVER_NOT_LOADED):
            return "no NVIDIA driver on this node"
        return f"NVML: {error}"
