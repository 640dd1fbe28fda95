"""The figures of NVIDIA GPUs that change slowly or cost more to read: a tier of `nvml`.

Links, errors, instances and processes are read with every call of `read`, the state of the memory
rows with every sixth. Never asks for PCIe throughput, which blocks 20 ms a counter.
"""

from __future__ import annotations

import time
from typing import Any

from cockpit.node.sensors.gpusample import Json
from cockpit.node.sensors.gpuusers import GpuUsers
from cockpit.node.sensors.nvmlcalls import Calls

PERIOD = 5.0
"""Seconds between two calls of `read`."""
RARE = 6
"""Of so many calls one reads the memory rows and the recovery action: every 30 s."""

_ALL_LINKS = 0xFFFFFFFF
_TX, _RX = 138, 139
"""NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_*: KiB since the start, of all links with that scope."""
_TX_BYTES, _RX_BYTES = 202, 204
"""NVML_FI_DEV_NVLINK_COUNT_*_BYTES, from Blackwell on."""
_LINK_ERRORS = (38, 45, 52, 59, 208, 209, 210)
"""CRC of flits and data, replays, recoveries; from Blackwell on three kinds of receive errors."""
_RECOVERY = 230
_ACTIONS = (
    "none",
    "gpu_reset",
    "node_reboot",
    "drain_p2p",
    "drain_and_reset",
    "recover_imex_domain",
    "bus_reset",
    "system_reboot",
)


class SlowFigures:
    """`devices`: (index, handle) of the GPUs that can be asked."""

    def __init__(self, calls: Calls, devices: list[tuple[int, Any]]) -> None:
        self._calls = calls
        self._devices = devices
        self._users = GpuUsers()
        self._rows: dict[int, Json] = {}
        self._traffic: dict[int, tuple[float, int, int]] = {}
        """Index -> (monotonic time, bytes sent, bytes received)"""
        self._reads = 0

    def read(self) -> dict[int, Json]:
        """Index -> figures, without the GPUs that are lost. Raises NVMLError, see Calls."""
        nvml = self._calls.nvml
        found = {}
        for index, handle in self._devices:
            try:
                found[index] = self._gpu(index, handle)
            except nvml.NVMLError as error:
                if error.value == nvml.NVML_ERROR_UNINITIALIZED:
                    raise
        self._users.forget({p["pid"] for gpu in found.values() for p in gpu["processes"]})
        self._reads += 1
        return found

    def _gpu(self, index: int, handle: Any) -> Json:
        calls, nvml = self._calls, self._calls.nvml
        limit = calls.value("DeviceGetEnforcedPowerLimit", handle)
        mig, handles = self._instances(handle)
        if self._reads % RARE == 0:
            self._rows[index] = self._row_state(handle)
        uncorrected = nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED
        return {
            "power_limit": None if limit is None else limit / 1000,
            "sm_clock_max": calls.value("DeviceGetMaxClockInfo", handle, nvml.NVML_CLOCK_SM),
            "ecc_uncorrected": calls.value(
                "DeviceGetTotalEccErrors", handle, uncorrected, nvml.NVML_VOLATILE_ECC
            ),
            "ecc_uncorrected_total": calls.value(
                "DeviceGetTotalEccErrors", handle, uncorrected, nvml.NVML_AGGREGATE_ECC
            ),
            "nvlink": self._links(index, handle),
            "pcie": self._pcie(handle),
            "mig": mig,
            "processes": self._processes([handle, *handles]),
            **self._rows.get(index, {}),
        }

    def _row_state(self, handle: Any) -> Json:
        rows = self._calls.value("DeviceGetRemappedRows", handle)
        action = self._calls.fields(handle, [_RECOVERY]).get(_RECOVERY)
        known = None if action is None else f"action {action}"
        if action is not None and 0 <= action < len(_ACTIONS):
            known = _ACTIONS[action]
        state: Json = {"remapped_rows": None, "recovery_action": known}
        if rows is not None:
            state["remapped_rows"] = {
                "correctable": rows[0],
                "uncorrectable": rows[1],
                "pending": bool(rows[2]),
                "failed": bool(rows[3]),
            }
        return state

    def _links(self, index: int, handle: Any) -> Json | None:
        """None for a GPU without NVLink."""
        states: list[int] = []
        for link in range(self._calls.nvml.NVML_NVLINK_MAX_LINKS):
            state = self._calls.value("DeviceGetNvLinkState", handle, link)
            if state is None:
                break
            states.append(state)
        if not states:
            return None
        wanted: list[Any] = [(_TX, _ALL_LINKS), (_RX, _ALL_LINKS)]
        wanted += [(_TX_BYTES, _ALL_LINKS), (_RX_BYTES, _ALL_LINKS)]
        values = self._calls.fields(handle, wanted + list(_LINK_ERRORS))
        errors = [values[field] for field in _LINK_ERRORS if field in values]
        sent, received = self._rates(index, values)
        return {
            "active": sum(1 for state in states if state),
            "total": len(states),
            "tx": sent,
            "rx": received,
            "errors": sum(errors) if errors else None,
        }

    def _rates(self, index: int, values: dict[int, int]) -> tuple[float | None, float | None]:
        """Bytes a second, sent and received, since the last reading."""
        if _TX_BYTES in values and _RX_BYTES in values:
            sent, received = values[_TX_BYTES], values[_RX_BYTES]
        elif _TX in values and _RX in values:
            sent, received = values[_TX] * 1024, values[_RX] * 1024
        else:
            return None, None
        now = time.monotonic()
        before = self._traffic.get(index)
        self._traffic[index] = (now, sent, received)
        if before is None or sent < before[1] or received < before[2]:
            return None, None
        span = max(now - before[0], 1e-3)
        return round((sent - before[1]) / span), round((received - before[2]) / span)

    def _pcie(self, handle: Any) -> Json | None:
        generation = self._calls.value("DeviceGetCurrPcieLinkGeneration", handle)
        width = self._calls.value("DeviceGetCurrPcieLinkWidth", handle)
        if generation is None and width is None:
            return None
        return {"gen": generation, "width": width}

    def _instances(self, handle: Any) -> tuple[list[Json], list[Any]]:
        """MIG instances with what they know of themselves, and their handles."""
        calls = self._calls
        mode = calls.value("DeviceGetMigMode", handle)
        if mode is None or mode[0] != 1:
            return [], []
        found, handles = [], []
        for index in range(calls.value("DeviceGetMaxMigDeviceCount", handle) or 0):
            instance = calls.value("DeviceGetMigDeviceHandleByIndex", handle, index)
            if instance is None:
                continue
            used, total = calls.memory(instance)
            handles.append(instance)
            found.append(
                {
                    "index": index,
                    "name": calls.text("DeviceGetName", instance) or "",
                    "uuid": calls.text("DeviceGetUUID", instance) or "",
                    "memory_used": used,
                    "memory_total": total,
                }
            )
        return found, handles

    def _processes(self, handles: list[Any]) -> list[Json]:
        """Those of a GPU, and those that only its instances know."""
        memory: dict[int, int | None] = {}
        for handle in handles:
            running = self._calls.first(
                ("DeviceGetComputeRunningProcesses_v3", handle),
                ("DeviceGetComputeRunningProcesses_v2", handle),
            )
            for process in running or ():
                memory[process.pid] = memory.get(process.pid) or process.usedGpuMemory
        return [self._users.describe(pid, used) for pid, used in memory.items()]
