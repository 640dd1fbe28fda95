"""Rows of widgets that nothing covers, straight to the terminal.

Most frames change some rows of one or two widgets. Textual's compositor then cuts and joins the
lines of everything that is on the screen; where a row has its place to itself, that can only end
in the row itself, and costs more than to draw it. Used by `terminal.MainScreen`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rich.console import Console
from textual._compositor import CompositorUpdate
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget


class RowWidget(Widget):
    """A widget whose `render_lines` gives rows that are finished, and as wide as it is."""


class Rows(CompositorUpdate):
    """A frame of single rows: each with the cell where it begins."""

    def __init__(self, rows: list[tuple[int, int, Strip]]) -> None:
        self.rows = rows

    def render_segments(self, console: Console) -> str:
        return "".join(
            [f"\x1b[{y + 1};{x + 1}H{strip.render(console)}" for x, y, strip in self.rows]
        )


Placed = Mapping[Widget, tuple[Region, Region]]
"""Where widgets are, and what can be seen of them; those in front come first."""


def rows_of(widgets: Iterable[Widget], placed: Placed) -> Rows | None:
    """What these widgets ask to be repainted, which is taken from them; None, and nothing taken,
    where that is not only rows that nothing covers."""
    seen = [widget for widget in widgets if widget in placed]
    if not all(_has_its_place(widget, placed) for widget in seen):
        return None
    rows: list[tuple[int, int, Strip]] = []
    for widget in seen:
        x, y, width, height = placed[widget][0]
        regions = widget._exchange_repaint_regions()  # noqa: SLF001 - as the compositor does
        wanted = {line for region in regions for line in region.line_range}
        strips = widget.render_lines(Region(0, 0, width, height))
        rows += [(x, y + line, strips[line]) for line in sorted(wanted) if line < len(strips)]
    return Rows(rows)


def _has_its_place(widget: Widget, placed: Placed) -> bool:
    """All of it can be seen, it has no border, and it asks for whole rows."""
    region, clip = placed[widget]
    size = region.size
    if not isinstance(widget, RowWidget) or widget.outer_size != size or widget.size != size:
        return False
    if not clip.contains_region(region):
        return False
    regions = widget._repaint_regions  # noqa: SLF001 - to be looked at, not taken
    if any(each.x or each.width != size.width for each in regions):
        return False
    for other, (theirs, _) in placed.items():
        if other is widget:
            return True
        if theirs.overlaps(region):
            return False
    return True
