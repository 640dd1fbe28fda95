"""The figures that the Fleet view can show of every GPU, on fixed scales, and their mean per node.

Pure. A scale never depends on what else is shown: the same colour is the same figure tomorrow.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence

from cockpit.model.types import Gpu
from cockpit.tui.fleet.condition import NodeItem
from cockpit.tui.widgets.bars import mean

COOL, HOT = 30.0, 90.0
"""°C at the two ends of the scale of temperatures."""
FIGURE = 5
"""Characters of a figure at most."""


class Gauge(str, enum.Enum):
    UTIL = "util"
    MEMORY = "memory"
    POWER = "power"
    TEMPERATURE = "temperature"
    RATE = "rate"

    @property
    def scale(self) -> str:
        """What height and colour stand for, in a few words."""
        return _SCALES[self]


_SCALES = {
    Gauge.UTIL: "GPU utilization 0-100%",
    Gauge.MEMORY: "GPU memory used",
    Gauge.POWER: "power of its limit",
    Gauge.TEMPERATURE: f"{COOL:.0f}-{HOT:.0f} °C",
    Gauge.RATE: "step rate of its job's best",
}


def fraction(part: float | None, whole: float | None) -> float | None:
    """part / whole; None when either is unknown or the whole is nothing."""
    return None if part is None or not whole else part / whole


def utilizations(gpus: Sequence[Gpu]) -> list[float | None]:
    return [None if gpu.utilization is None else gpu.utilization / 100 for gpu in gpus]


def memories(gpus: Sequence[Gpu]) -> list[float | None]:
    return [fraction(gpu.memory_used, gpu.memory_total) for gpu in gpus]


def powers(gpus: Sequence[Gpu]) -> list[float | None]:
    return [fraction(gpu.power, gpu.power_limit) for gpu in gpus]


def temperatures(gpus: Sequence[Gpu]) -> list[float | None]:
    return [
        None if gpu.temperature is None else (gpu.temperature - COOL) / (HOT - COOL) for gpu in gpus
    ]


def values(gauge: Gauge, item: NodeItem) -> list[float | None]:
    """One part of the scale per GPU; for the rate one per local rank."""
    gpus = item.node.gpus
    if gauge is Gauge.UTIL:
        return utilizations(gpus)
    if gauge is Gauge.MEMORY:
        return memories(gpus)
    if gauge is Gauge.POWER:
        return powers(gpus)
    if gauge is Gauge.TEMPERATURE:
        return temperatures(gpus)
    count = max(len(gpus), max((pace.local_rank + 1 for pace in item.paces), default=0))
    shares: list[float | None] = [None] * min(count, 64)
    for pace in item.paces:
        if 0 <= pace.local_rank < len(shares):
            shares[pace.local_rank] = pace.share
    return shares


def figure(gauge: Gauge, item: NodeItem, average: float | None) -> str:
    """The node's figure in at most FIGURE characters: a mean, the watts of all, the hottest, the
    slowest rank's rate; `average` is that of its `values`."""
    if gauge is Gauge.UTIL or gauge is Gauge.MEMORY:
        return "--" if average is None else f"{average * 100:.0f}%"
    gpus = item.node.gpus
    if gauge is Gauge.POWER:
        known = [gpu.power for gpu in gpus if gpu.power is not None]
        return watts(sum(known)) if known else "--"
    if gauge is Gauge.TEMPERATURE:
        degrees = [gpu.temperature for gpu in gpus if gpu.temperature is not None]
        return f"{max(degrees):.0f}°C" if degrees else "--"
    return short_rate(max(pace.step_time for pace in item.paces)) if item.paces else "--"


def watts(power: float) -> str:
    """ "612W", "4.9kW", "104kW"."""
    if power < 1000:
        return f"{power:.0f}W"
    return f"{power / 1000:.1f}kW" if power < 10_000 else f"{power / 1000:.0f}kW"


def short_rate(step_time: float) -> str:
    """Steps a second, "1.2/s", or seconds a step, "8.3s", where that is the larger figure."""
    if step_time > 1:
        return f"{step_time:.1f}s" if step_time < 10 else f"{min(step_time, 9999):.0f}s"
    rate = 1 / step_time
    return f"{rate:.1f}/s" if rate < 9.95 else f"{min(rate, 999):.0f}/s"


def weight(gauge: Gauge, item: NodeItem) -> float | None:
    """What nodes are put in order by; None where nothing is known."""
    if gauge is Gauge.POWER:
        known = [gpu.power for gpu in item.node.gpus if gpu.power is not None]
        return sum(known) if known else None
    if gauge is Gauge.TEMPERATURE:
        return max((t for t in temperatures(item.node.gpus) if t is not None), default=None)
    if gauge is Gauge.RATE:
        return min((1 / pace.step_time for pace in item.paces), default=None)
    return mean(values(gauge, item))
