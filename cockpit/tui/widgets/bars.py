"""Bars of terminal cells: one column per GPU, meters, their heat. Pure functions to spans.

The scale is fixed, 0 to 1. There is no full block, so that rows above each other do not fuse.
What is not known is a dot, never an empty bar.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from cockpit.tui.draw.spans import HEAT_STEPS, Span

LEVELS = "▁▂▃▄▅▆▇"
UNKNOWN = "·"


def heat(fraction: float) -> str:
    """The tone of a value on the fixed scale 0 to 1."""
    return f"heat{min(max(int(fraction * HEAT_STEPS), 0), HEAT_STEPS - 1)}"


def level(fraction: float) -> str:
    """One character whose height is the value on the fixed scale 0 to 1."""
    return LEVELS[min(max(int(fraction * len(LEVELS)), 0), len(LEVELS) - 1)]


def columns(values: Sequence[float | None], width: int, *, stale: bool = False) -> tuple[Span, ...]:
    """One character per value, padded to `width`; `stale` draws heights without their heat."""
    spans: list[Span] = []
    for value in values:
        if value is None:
            spans.append(Span(UNKNOWN, "stale"))
        else:
            spans.append(Span(level(value), "stale" if stale else heat(value)))
    if len(values) < width:
        spans.append(Span(" " * (width - len(values))))
    return tuple(spans)


def spark(values: Sequence[float], width: int) -> str:
    """The newest `width` values as heights between their own least and greatest.

    A value that is no number is a dot; values that are all equal are a line on the ground.
    """
    shown = list(values)[-width:] if width > 0 else []
    known = [value for value in shown if math.isfinite(value)]
    low, span = min(known, default=0.0), max(known, default=0.0) - min(known, default=0.0)
    return "".join(
        (level((value - low) / span) if span else LEVELS[0]) if math.isfinite(value) else UNKNOWN
        for value in shown
    )


def mean(values: Sequence[float | None]) -> float | None:
    """The mean of those that are known, None without any."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def percent(fraction: float | None) -> str:
    """Four characters: " 93%", "100%", "  --"."""
    return "  --" if fraction is None else f"{fraction * 100:3.0f}%"
