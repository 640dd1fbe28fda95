"""A telemetry sample of a node as typed records, whatever the node sent.

Used by `fleet`. A well-formed sample is converted in one go; of a damaged or hostile one every
value that makes sense is kept and the rest is unknown. All names are cleaned.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from cockpit.model.types import (
    Figure,
    Gpu,
    GpuProcess,
    GpuXid,
    Host,
    MigInstance,
    NvLink,
    PcieLink,
    RemappedRows,
)
from cockpit.text import clean

MAX_NAME = 256
MAX_GPUS = 256
MAX_PROCESSES = 1024
MAX_WORDS = MAX_GPUS * 64

_PARTS: dict[str, type[msgspec.Struct]] = {
    "nvlink": NvLink,
    "remapped_rows": RemappedRows,
    "pcie": PcieLink,
}
"""Fields that are records of their own."""
_LISTS: dict[str, tuple[type[msgspec.Struct], int]] = {
    "processes": (GpuProcess, MAX_PROCESSES),
    "xids": (GpuXid, 64),
    "mig": (MigInstance, 64),
}
"""Fields that are lists of records, and how many are kept at most."""
_MAX_REASONS = 16
_Struct = TypeVar("_Struct", bound=msgspec.Struct)


class Sample(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a node measured. None and empty: it could not be read."""

    host: Host | None = None
    gpus: tuple[Gpu, ...] = ()
    gpu_error: str = ""
    gpu_stalled: Figure | None = None
    """Seconds for which the GPU driver has not answered."""
    driver: str = ""
    cuda: str = ""
    user: str = ""
    simulated: bool = False
    at: Figure | None = None
    """Node's wall clock, seconds."""


def decode(payload: bytes | Mapping[str, Any]) -> Sample:
    """A sample from an EVENT's payload, as bytes or already decoded. Never raises."""
    try:
        if isinstance(payload, bytes):
            return _checked(_DECODER.decode(payload))
        return _checked(msgspec.convert(payload, Sample))
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return _salvage(payload)


_DECODER = msgspec.json.Decoder(Sample)


def _words(sample: Sample) -> list[str]:
    """Every text in a sample that the node chose."""
    words = [sample.gpu_error, sample.driver, sample.cuda, sample.user]
    for gpu in sample.gpus:
        words += (gpu.name, gpu.uuid, gpu.error, gpu.recovery_action or "", *(gpu.throttle or ()))
        for process in gpu.processes:
            words += (process.user, process.command, process.job)
        for instance in gpu.mig:
            words += (instance.name, instance.uuid)
    return words


def _checked(sample: Sample) -> Sample:
    """`sample` if every text is sound; raises ValueError where one is not."""
    words = _words(sample)
    if len(sample.gpus) > MAX_GPUS or len(words) > MAX_WORDS:
        raise ValueError("there are too many of them")
    if any(len(gpu.xids) > _LISTS["xids"][1] for gpu in sample.gpus):
        raise ValueError("there are too many Xids")
    # Joined, since one look at a long text costs less than many at short ones.
    if not "".join(words).isprintable() or max(map(len, words)) > MAX_NAME:
        raise ValueError("a text is not fit to be shown")
    return sample


def _text(text: str) -> str:
    return clean(text[:MAX_NAME])


def _value(source: Mapping[str, Any], key: str, kind: Any) -> Any:
    """`source[key]` if it is of that kind, else None."""
    value = source.get(key)
    if isinstance(value, str):
        value = _text(value)
    try:
        return None if value is None else msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return None


def _list(source: Mapping[str, Any], key: str, most: int) -> list[Any]:
    value = source.get(key)
    return list(value[:most]) if isinstance(value, (list, tuple)) else []


def _record(kind: type[_Struct], source: Any) -> _Struct | None:
    """A record with every value of `source` that makes sense; None where one is missing that
    it cannot be without."""
    if not isinstance(source, Mapping):
        return None
    values: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        name = field.name
        if name in _PARTS:
            value: Any = _record(_PARTS[name], source.get(name))
        elif name in _LISTS:
            item, most = _LISTS[name]
            records = (_record(item, value) for value in _list(source, name, most))
            value = tuple(record for record in records if record is not None)
        elif name == "throttle":
            value = _reasons(source)
        else:
            value = _value(source, name, field.type)
        if value is not None:
            values[name] = value
        elif field.required:
            return None
    return kind(**values)


def _reasons(gpu: Mapping[str, Any]) -> tuple[str, ...] | None:
    if not isinstance(gpu.get("throttle"), (list, tuple)):
        return None
    words = _list(gpu, "throttle", _MAX_REASONS)
    return tuple(_text(word) for word in words if isinstance(word, str))


def _salvage(payload: bytes | Mapping[str, Any]) -> Sample:
    if isinstance(payload, bytes):
        try:
            payload = msgspec.json.decode(payload)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return Sample()
    if not isinstance(payload, Mapping):
        return Sample()
    gpus = []
    for source in _list(payload, "gpus", MAX_GPUS):
        gpu = _record(Gpu, source)
        if gpu is not None:
            known = _value(source, "state", str) in ("ok", "lost", "error")
            gpus.append(gpu if known else msgspec.structs.replace(gpu, state="error"))
    return Sample(
        host=_record(Host, payload.get("host")),
        gpus=tuple(gpus),
        gpu_error=_value(payload, "gpu_error", str) or "",
        gpu_stalled=_value(payload, "gpu_stalled", Figure),
        driver=_value(payload, "driver", str) or "",
        cuda=_value(payload, "cuda", str) or "",
        user=_value(payload, "user", str) or "",
        simulated=bool(_value(payload, "simulated", bool)),
        at=_value(payload, "at", Figure),
    )
