"""A telemetry sample of a node as typed records, whatever the node sent.

Used by `fleet`. A well-formed sample is converted in one go; of a damaged or hostile one every
value that makes sense is kept and the rest is unknown. All names are cleaned.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from cockpit.model.types import Count, Figure, Gpu, GpuProcess, Host
from cockpit.text import clean

MAX_NAME = 256
MAX_GPUS = 256
MAX_PROCESSES = 1024
MAX_WORDS = MAX_GPUS * 64

_State = Literal["ok", "lost", "error"]


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """What a node measured. None and empty: it could not be read."""

    host: Host | None = None
    gpus: tuple[Gpu, ...] = ()
    gpu_error: str = ""
    simulated: bool = False
    at: Figure | None = None
    """Node's wall clock, seconds."""


def decode(payload: bytes | Mapping[str, Any]) -> Sample:
    """A sample from an EVENT's payload, as bytes or already decoded. Never raises."""
    try:
        if isinstance(payload, bytes):
            payload = msgspec.json.decode(payload)
        if not isinstance(payload, Mapping):
            return Sample()
        return _checked(msgspec.convert(payload, Sample))
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return _salvage(payload) if isinstance(payload, Mapping) else Sample()


def _name(text: str) -> str:
    return clean(text[:MAX_NAME])


def _checked(sample: Sample) -> Sample:
    """`sample` if every name is sound; raises ValueError where one is not."""
    words = [sample.gpu_error]
    for gpu in sample.gpus:
        words += (gpu.name, gpu.uuid)
        words.extend([process.user for process in gpu.processes])
    if len(sample.gpus) > MAX_GPUS or len(words) > MAX_WORDS:
        raise ValueError("there are too many of them")
    # Joined, since one look at a long text costs less than many at short ones.
    if not "".join(words).isprintable() or max(map(len, words)) > MAX_NAME:
        raise ValueError("a name is not fit to be shown")
    return sample


def _value(source: Any, key: str, kind: Any) -> Any:
    """`source[key]` if it is of that kind, else None."""
    try:
        value = source.get(key)
        if isinstance(value, str):
            value = _name(value)
        return None if value is None else msgspec.convert(value, kind)
    except (msgspec.ValidationError, AttributeError):
        return None


def _list(source: Any, key: str, most: int) -> list[Any]:
    value = source.get(key)
    if not isinstance(value, (list, tuple)):
        return []
    return [item for item in value[:most] if isinstance(item, Mapping)]


def _salvage(payload: Mapping[str, Any]) -> Sample:
    host = payload.get("host")
    gpus = [_gpu(item) for item in _list(payload, "gpus", MAX_GPUS)]
    return Sample(
        host=_host(host) if isinstance(host, Mapping) else None,
        gpus=tuple(gpu for gpu in gpus if gpu is not None),
        gpu_error=_value(payload, "gpu_error", str) or "",
        simulated=bool(_value(payload, "simulated", bool)),
        at=_value(payload, "at", Figure),
    )


def _host(source: Mapping[str, Any]) -> Host:
    return Host(
        cpus=_value(source, "cpus", Count),
        cpu_percent=_value(source, "cpu_percent", Figure),
        load1=_value(source, "load1", Figure),
        memory_used=_value(source, "memory_used", Count),
        memory_total=_value(source, "memory_total", Count),
        disk_free=_value(source, "disk_free", Count),
        disk_total=_value(source, "disk_total", Count),
        uptime=_value(source, "uptime", Figure),
    )


def _gpu(source: Mapping[str, Any]) -> Gpu | None:
    index = _value(source, "index", Count)
    if index is None:
        return None
    state: _State = _value(source, "state", _State) or "error"
    processes = [_process(item) for item in _list(source, "processes", MAX_PROCESSES)]
    return Gpu(
        index=index,
        name=_value(source, "name", str) or "",
        uuid=_value(source, "uuid", str) or "",
        state=state,
        utilization=_value(source, "utilization", Figure),
        memory_used=_value(source, "memory_used", Count),
        memory_total=_value(source, "memory_total", Count),
        power=_value(source, "power", Figure),
        power_limit=_value(source, "power_limit", Figure),
        temperature=_value(source, "temperature", Figure),
        sm_clock=_value(source, "sm_clock", Count),
        processes=tuple(process for process in processes if process is not None),
    )


def _process(source: Mapping[str, Any]) -> GpuProcess | None:
    pid = _value(source, "pid", Count)
    if pid is None:
        return None
    return GpuProcess(
        pid=pid, user=_value(source, "user", str) or "", memory=_value(source, "memory", Count)
    )
