"""What a source of GPU figures is and what it yields; shared by all sources.

Used by `gpus` and the sources it chooses from, and by telemetry. It asks no GPU anything.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

Json = dict[str, Any]

THROTTLE = (
    (0x4, "power_cap"),
    (0x8, "hw_slowdown"),
    (0x10, "sync_boost"),
    (0x20, "sw_thermal"),
    (0x40, "hw_thermal"),
    (0x80, "hw_power_brake"),
    (0x200, "board_limit"),
    (0x400, "reliability"),
)
"""Bits of NVML's clocks event reasons, and our words. Being idle (0x1) and clocks that somebody
has set (0x2, 0x100) are no reasons."""

_UNKNOWN: Json = dict.fromkeys(
    (
        "utilization",
        "memory_utilization",
        "memory_used",
        "memory_total",
        "power",
        "power_limit",
        "temperature",
        "memory_temperature",
        "sm_clock",
        "sm_clock_max",
        "throttle",
        "ecc_uncorrected",
        "ecc_uncorrected_total",
        "remapped_rows",
        "recovery_action",
        "nvlink",
        "pcie",
        "slow_age",
    )
)


class GpuSample(NamedTuple):
    """The `gpus` of a telemetry sample, and why there are none ("" if there are, or are none).

    `driver` and `cuda` are versions, "" when unknown.
    """

    gpus: list[Json]
    error: str = ""
    driver: str = ""
    cuda: str = ""


class GpuSource(Protocol):
    """Sampled from one thread at a time; `sample` never raises for what a GPU does.

    `close` gives back what a source holds (a process, a thread); it is not sampled afterwards.
    """

    @property
    def simulated(self) -> bool: ...

    def sample(self) -> GpuSample: ...

    def close(self) -> None: ...


def blank(index: int, name: str | None = None, uuid: str | None = None) -> Json:
    """A GPU of which no figure is known."""
    return {
        "index": index,
        "name": name or "",
        "uuid": uuid or "",
        "state": "ok",
        "error": "",
        **_UNKNOWN,
        "processes": [],
        "xids": [],
        "mig": [],
    }


def failed(gpu: Json, state: str, error: str) -> Json:
    """That GPU without figures: `state` is "lost" or "error", `error` says why."""
    bare = blank(gpu["index"], gpu["name"], gpu["uuid"])
    return {**bare, "state": state, "error": error, "xids": gpu["xids"]}


def throttle_words(bits: int) -> list[str]:
    """What holds the clocks down, by THROTTLE."""
    return [word for bit, word in THROTTLE if bits & bit]
