"""Xids as NVML tells them, live and without root, and those that the kernel log still has.

Used by the NVML source. A thread waits for events; it never stands in the way of a sample.
"""

from __future__ import annotations

import ctypes
import re
import threading
import time
from collections import deque
from typing import Any

from cockpit.node.sensors.gpusample import Json
from cockpit.node.sensors.nvmlcalls import Calls
from cockpit.node.sensors.xids import XidWatch

KEEP = 3600.0
"""Seconds that an Xid is told after it came."""
MOST = 16
"""Newest Xids of a GPU that are told."""
_WAIT_MS = 2000
_PAUSE = 5.0
"""Seconds until the next try when waiting itself fails."""
_ADDRESS = re.compile(r"([0-9a-f]+):([0-9a-f]+):([0-9a-f]+)", re.IGNORECASE)


class XidEvents:
    """`devices`: (index, handle) of the GPUs that can be asked."""

    def __init__(self, calls: Calls, devices: list[tuple[int, Any]]) -> None:
        self._calls = calls
        self._seen: dict[int, deque[tuple[float, int]]] = {
            index: deque(maxlen=MOST) for index, _ in devices
        }
        self._handles = {_address_of(handle): index for index, handle in devices}
        self._closed = threading.Event()
        self._remember(devices)
        self._set = self._register(devices)
        if self._set is not None:
            threading.Thread(target=self._listen, name="gpu-xids", daemon=True).start()

    def recent(self, index: int) -> list[Json]:
        """One GPU's `xids`, oldest first."""
        limit = time.time() - KEEP
        seen = list(self._seen.get(index, ()))
        return [{"number": number, "at": at} for at, number in seen if at >= limit]

    def close(self) -> None:
        self._closed.set()

    def _remember(self, devices: list[tuple[int, Any]]) -> None:
        """Those of the kernel log, where this user may read it."""
        places = {}
        for index, handle in devices:
            info = self._calls.value("DeviceGetPciInfo", handle)
            if info is not None:
                bus = info.busId
                places[_place(bus.decode() if isinstance(bus, bytes) else str(bus))] = index
        watch = XidWatch(history=True)
        for at, xid in watch.logged():
            index = places.get(_place(xid["gpu"]), -1)
            if index in self._seen:
                self._seen[index].append((at, xid["number"]))
        watch.close()

    def _register(self, devices: list[tuple[int, Any]]) -> Any:
        """The set of events that at least one GPU tells; None where none does."""
        nvml = self._calls.nvml
        events = self._calls.value("EventSetCreate")
        if events is None:
            return None
        told = 0
        for _, handle in devices:
            try:
                nvml.nvmlDeviceRegisterEvents(handle, nvml.nvmlEventTypeXidCriticalError, events)
                told += 1
            except nvml.NVMLError:
                continue  # an old GPU, or one that is lost already
        return events if told else None

    def _listen(self) -> None:
        nvml = self._calls.nvml
        while not self._closed.is_set():
            try:
                event = nvml.nvmlEventSetWait_v2(self._set, _WAIT_MS)
            except nvml.NVMLError as error:
                if error.value != nvml.NVML_ERROR_TIMEOUT:
                    self._closed.wait(_PAUSE)
                continue
            index = self._handles.get(_address_of(event.device), -1)
            if index in self._seen:
                self._seen[index].append((time.time(), int(event.eventData)))


def _address_of(handle: Any) -> int | None:
    return ctypes.cast(handle, ctypes.c_void_p).value


def _place(bus: str) -> tuple[int, ...]:
    """A PCI address as numbers: NVML and the kernel write it with different lengths."""
    match = _ADDRESS.match(bus)
    return () if match is None else tuple(int(part, 16) for part in match.groups())
