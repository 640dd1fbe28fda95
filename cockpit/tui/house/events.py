"""Events: what happened since the cockpit was opened, the newest first."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.widget import Widget

from cockpit.model.types import Job, Node
from cockpit.text import count_of
from cockpit.tui.draw.spans import Line, Span, cut
from cockpit.tui.draw.words import clock_time
from cockpit.tui.filtered import FilteredView
from cockpit.tui.frame import Frame
from cockpit.tui.house.happenings import KEPT, Happening
from cockpit.tui.widgets.grid import Column, Row, RowGrid, cell
from cockpit.tui.widgets.lines import Lines

GLYPHS = {
    "started": "▶",
    "end": "■",
    "failure": "✖",
    "restart": "↻",
    "stall": "◇",
    "recovered": "●",
    "node": "▲",
    "order": "□",
    "note": "·",
}

COLUMNS = (
    Column("TIME", 8),
    Column("", 1),
    Column("KIND", 9, drop=2),
    Column("CLUSTER", 10, drop=1),
    Column("WHAT", 20, grow=1),
)


def row(happening: Happening) -> Row:
    glyph = GLYPHS.get(happening.kind, "·")
    if happening.kind in ("end", "node") and happening.tone == "ok":
        glyph = "✔"
    return Row(
        (
            cell(clock_time(happening.at), "dim"),
            cell(glyph, happening.tone),
            cell(happening.kind, "dim"),
            cell(happening.cluster, "dim"),
            cell(happening.text, happening.tone if happening.tone == "bad" else ""),
        )
    )


def words(happening: Happening) -> str:
    """What a filter looks at."""
    return " ".join((happening.kind, happening.cluster, happening.node, happening.text))


def key(happening: Happening) -> str:
    return f"{happening.at!r} {happening.kind} {happening.text}"


class EventsView(FilteredView):
    def __init__(self, *, id: str) -> None:  # noqa: A002
        super().__init__(id=id)
        self._title = Lines(id="events-title")
        self._grid: RowGrid[Happening] = RowGrid(
            COLUMNS, row, key, empty="nothing has happened yet", id="events-grid"
        )
        self._detail = Lines(id="events-detail")
        self._frame: Frame | None = None
        self._drawn: Sequence[Happening] | None = None

    def compose(self) -> ComposeResult:
        yield self._title
        yield self._grid
        yield self._detail
        yield self._line

    @property
    def panes(self) -> tuple[Widget, ...]:
        return (self._grid,)

    @property
    def job(self) -> Job | None:
        at = self._grid.current
        return None if at is None or self._frame is None else self._frame.job(at.job)

    @property
    def node(self) -> Node | None:
        at = self._grid.current
        if at is None or self._frame is None or not at.node:
            return None
        return self._frame.node(f"{at.cluster}/{at.node}")

    def open_selection(self) -> None:
        if self.job is not None:
            self.cockpit.show_job(self.job.id)
        elif (node := self.node) is not None:
            self.cockpit.show_node(f"{node.cluster}/{node.name}")
        elif self._grid.current is not None:
            self.cockpit.say("what this was about is not known any more", severity="warning")

    # ------------------------------------------------------------------------ drawing

    def update(self, frame: Frame, job_id: str | None) -> None:  # noqa: ARG002
        self._frame = frame
        if frame.happenings is not self._drawn:
            self._arrange()

    def _arrange(self) -> None:
        if self._frame is None:
            return
        self._drawn = self._frame.happenings
        shown = [each for each in reversed(self._drawn) if self._sift.matches(words(each))]
        self._title.show(self._heading(len(shown)))
        empty = "nothing has happened yet" if not self._drawn else "nothing matches the filter"
        self._grid.show(shown, empty)
        self._draw_detail()

    def on_row_grid_moved(self, event: RowGrid.Moved) -> None:
        event.stop()
        self._draw_detail()

    def on_resize(self) -> None:
        self._draw_detail()

    def _draw_detail(self) -> None:
        """The event under the cursor, in as many rows as there are for it."""
        at = self._grid.current
        text = "" if at is None else at.text
        width = max(self._detail.size.width - 2, 1)
        rows = [cut(text, start, width) for start in range(0, max(cell_len(text), 1), width)]
        self._detail.show(*(Line((Span(f" {row}"),), "bar") for row in rows))

    def _heading(self, shown: int) -> Line:
        total = len(self._drawn or ())
        count = str(total) if shown == total else f"{shown}/{total}"
        spans = [Span(" Events", "title"), Span(f" [{count}]", "dim")]
        if total >= KEPT:
            spans.append(Span(f"  the newest {count_of(KEPT, 'event')}", "dim"))
        return Line((*spans, *self._filter_spans()))
