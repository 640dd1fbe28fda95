"""A figure over time as a drawing of braille dots, with axes. Pure: numbers in, lines out.

What is no number (NaN, infinite) is a gap in the curve and a mark below it, at its time: that a
loss became NaN, and when, is what people look for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from cockpit.tui.draw.spans import Line, Span
from cockpit.tui.draw.words import clock_time

MARGIN = 10
"""Cells of the values at the left."""
NAN, HIGH, LOW = "×", "↑", "↓"
"""Marks of NaN, infinity and minus infinity."""

Point = tuple[float, float]
"""Wall time and value."""

_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""The bits of a braille character, by row and column of its eight dots."""


class Scale(NamedTuple):
    """From low to high over `cells` dots."""

    low: float
    high: float
    dots: int

    def at(self, value: float) -> int:
        span = self.high - self.low
        share = (value - self.low) / span if span > 0 else 0.5
        return min(max(round(share * (self.dots - 1)), 0), self.dots - 1)


class Canvas:
    """Dots, two by four to a cell; (0, 0) is the lower left one."""

    def __init__(self, width: int, height: int) -> None:
        self.width = width
        self.height = height
        self._cells = [[0] * width for _ in range(height)]

    def dot(self, x: int, y: int) -> None:
        row = self.height - 1 - y // 4
        self._cells[row][x // 2] |= _DOTS[3 - y % 4][x % 2]

    def stroke(self, x0: int, y0: int, x1: int, y1: int) -> None:
        """Dots from one place to another, both included."""
        steps = max(abs(x1 - x0), abs(y1 - y0), 1)
        for step in range(steps + 1):
            self.dot(
                round(x0 + (x1 - x0) * step / steps),
                round(y0 + (y1 - y0) * step / steps),
            )

    def rows(self) -> list[str]:
        return [
            "".join(chr(0x2800 + bits) if bits else " " for bits in cells) for cells in self._cells
        ]


def drawn(points: Sequence[Point], width: int, height: int) -> tuple[Line, ...]:
    """The points, in order of time, in exactly `height` lines of `width` cells."""
    columns, rows = width - MARGIN - 1, height - 2
    if columns < 8 or rows < 2:
        return (Line((Span("no room for a plot", "dim"),)), *([Line()] * (height - 1)))
    if not points:
        return (Line((Span("nothing was reported yet", "dim"),)), *([Line()] * (height - 1)))
    known = [value for _, value in points if math.isfinite(value)]
    low, high = _range(known)
    times = Scale(points[0][0], points[-1][0], columns * 2)
    values = Scale(low, high, rows * 4)
    canvas = Canvas(columns, rows)
    before: tuple[int, int] | None = None
    for at, value in points:
        if not math.isfinite(value):
            before = None
            continue
        here = times.at(at), values.at(value)
        canvas.stroke(*(before or here), *here)
        before = here
    labels = _labels(low, high, rows) if known else {}
    lines = []
    for index, row in enumerate(canvas.rows()):
        label = labels.get(index, "")
        axis = "┤" if label else "│"
        lines.append(
            Line((Span(f"{label:>{MARGIN}}", "dim"), Span(axis, "dim"), Span(row, "accent")))
        )
    lines.append(_floor(points, times, columns))
    lines += _time_axis(points[0][0], points[-1][0], columns)
    return tuple(lines)


def _range(known: Sequence[float]) -> tuple[float, float]:
    if not known:
        return 0.0, 1.0
    low, high = min(known), max(known)
    if low == high:
        room = abs(low) / 10 or 1.0
        return low - room, high + room
    return low, high


def _labels(low: float, high: float, rows: int) -> dict[int, str]:
    """Values beside the rows: every fourth or so, the highest and the least for sure."""
    count = max(rows // 4, 1)
    marks = {}
    for number in range(count + 1):
        share = number / count
        row = round((rows - 1) * (1 - share))
        marks[row] = f"{low + (high - low) * share:.4g}"
    return marks


def _floor(points: Sequence[Point], times: Scale, columns: int) -> Line:
    """The line below the curve, with marks where a value is no number."""
    cells = ["─"] * columns
    odd = False
    for at, value in points:
        if not math.isfinite(value):
            odd = True
            mark = NAN if math.isnan(value) else HIGH if value > 0 else LOW
            cells[times.at(at) // 2] = mark
    spans = [Span(" " * MARGIN), Span("└", "dim")]
    for cell in cells:
        tone = "dim" if cell == "─" else "bad"
        if spans[-1].tone == tone:
            spans[-1] = Span(spans[-1].text + cell, tone)
        else:
            spans.append(Span(cell, tone))
    return Line(tuple(spans)) if odd else Line((*spans[:1], Span("└" + "─" * columns, "dim")))


def _time_axis(start: float, stop: float, columns: int) -> list[Line]:
    """The time of day at both ends and, where there is room, between; then what marks mean."""
    ends = [clock_time(start), clock_time(stop)]
    middle = clock_time((start + stop) / 2) if columns >= 40 else ""
    row = [" "] * columns
    for text, at in (
        (ends[0], 0),
        (middle, (columns - len(middle)) // 2),
        (ends[1], columns - len(ends[1])),
    ):
        row[at : at + len(text)] = text
    return [Line((Span(" " * (MARGIN + 1)), Span("".join(row), "dim")))]


def summary(name: str, rank: int, points: Sequence[Point], newest: float) -> Line:
    """The newest, least and highest value, and how many are none."""
    known = [value for _, value in points if math.isfinite(value)]
    odd = len(points) - len(known)
    spans = [
        Span(f" {name} ", "title"),
        Span(f"of rank {rank}  now ", "dim"),
        Span(f"{newest:.6g}", "strong" if math.isfinite(newest) else "bad"),
    ]
    if odd:
        spans.append(Span(f"  {odd} not a number {NAN}{HIGH}{LOW}", "bad"))
    if known:
        spans.append(Span(f"  least {min(known):.6g}  highest {max(known):.6g}", "dim"))
    return Line(tuple(spans))
