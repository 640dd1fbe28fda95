"""Calls into NVML of which any may be missing, unsupported or forbidden.

Used by the parts of the NVML source. What a call does not yield is None; only what concerns the
whole GPU or the whole library is raised.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Calls:
    """`nvml` is the bundled pynvml, initialised."""

    def __init__(self, nvml: Any) -> None:
        self.nvml = nvml
        self._fatal = (
            nvml.NVML_ERROR_GPU_IS_LOST,
            nvml.NVML_ERROR_RESET_REQUIRED,
            nvml.NVML_ERROR_UNINITIALIZED,
        )

    def value(self, name: str, *arguments: Any) -> Any:
        """The result of `nvmlNAME`; None where this GPU, driver, binding or user does not get it.

        Raises NVMLError when the GPU is lost or needs a reset, or NVML has to be initialised.
        """
        nvml = self.nvml
        function: Callable[..., Any] | None = getattr(nvml, "nvml" + name, None)
        if function is None:
            return None
        try:
            return function(*arguments)
        except nvml.NVMLError as error:
            if error.value in self._fatal:
                raise
            return None

    def first(self, *calls: tuple[Any, ...]) -> Any:
        """The first of several ways to ask the same that answers: (name, arguments …)."""
        for name, *arguments in calls:
            value = self.value(name, *arguments)
            if value is not None:
                return value
        return None

    def text(self, name: str, *arguments: Any) -> str | None:
        value = self.value(name, *arguments)
        if isinstance(value, bytes):
            return value.decode("utf-8", "replace")
        return value if isinstance(value, str) else None

    def memory(self, handle: Any) -> tuple[int | None, int | None]:
        """(used, total) bytes; what the driver keeps for itself does not count as used."""
        version = getattr(self.nvml, "nvmlMemory_v2", None)
        memory = None
        if version is not None:
            memory = self.value("DeviceGetMemoryInfo", handle, version)
        memory = memory or self.value("DeviceGetMemoryInfo", handle)
        return (None, None) if memory is None else (memory.used, memory.total)

    def fields(self, handle: Any, wanted: list[Any]) -> dict[int, int]:
        """Field id -> value, of those that this GPU has. `wanted`: ids, or (id, scope)."""
        nvml = self.nvml
        found = {}
        for field in self.value("DeviceGetFieldValues", handle, wanted) or ():
            if field.nvmlReturn == nvml.NVML_SUCCESS:
                found[field.fieldId] = _number(nvml, field)
        return found


def _number(nvml: Any, field: Any) -> int:
    kind, value = field.valueType, field.value
    if kind == nvml.NVML_VALUE_TYPE_DOUBLE:
        return int(value.dVal)
    if kind == nvml.NVML_VALUE_TYPE_UNSIGNED_INT:
        return int(value.uiVal)
    if kind == nvml.NVML_VALUE_TYPE_SIGNED_LONG_LONG:
        return int(value.sllVal)
    if kind == getattr(nvml, "NVML_VALUE_TYPE_SIGNED_INT", -1):
        return int(value.siVal)
    return int(value.ullVal)
