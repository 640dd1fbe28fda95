"""Numbers as people read them: rates, ages, values, sparklines. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence

LEVELS = "▁▂▃▄▅▆▇█"


def rate_text(step_time: float | None) -> str:
    """ "12.5/s", or "4.2 s/step" where a step takes longer than a second; "" for None."""
    if step_time is None or step_time <= 0:
        return ""
    return f"{1 / step_time:.3g}/s" if step_time < 1 else f"{step_time:.3g} s/step"


def seconds_text(seconds: float) -> str:
    """ "0.4 s", "31 s", "12 min", "3.5 h"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 600:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def value_text(value: float) -> str:
    """Four digits, more where they stand before the point: "2.134", "0.0003", "123456", "nan"."""
    if not math.isfinite(value):
        return str(value)
    if value == int(value) and abs(value) < 1e15:
        return str(int(value))
    return f"{value:.4g}" if abs(value) < 10_000 else f"{value:.0f}"


def range_text(low: float, high: float) -> str:
    """ "3 to 5", or just "3" where both are the same."""
    return value_text(low) if low == high else f"{value_text(low)} to {value_text(high)}"


def sparkline(points: Sequence[tuple[float, float]], width: int) -> str:
    """(at, value) as a line of at most `width` blocks, scaled from its least to its highest value.

    A block is the mean of its share of the time; shares without a value, or with one that is NaN
    or infinite, are left blank. "" for fewer than two points, or none that can be drawn.
    """
    if len(points) < 2:
        return ""
    start, end = points[0][0], points[-1][0]
    cells = min(width, len(points))
    sums: list[list[float]] = [[] for _ in range(cells)]
    for at, value in points:
        share = (at - start) / (end - start) if end > start else 0.0
        sums[min(int(share * cells), cells - 1)].append(value)
    means = [
        sum(values) / len(values) if values and all(map(math.isfinite, values)) else None
        for values in sums
    ]
    known = [mean for mean in means if mean is not None]
    if not known:
        return ""
    low, span = min(known), max(known) - min(known)

    def level(mean: float | None) -> str:
        if mean is None:
            return " "
        return LEVELS[min(int((mean - low) / span * len(LEVELS)), len(LEVELS) - 1) if span else 0]

    return "".join(level(mean) for mean in means)
