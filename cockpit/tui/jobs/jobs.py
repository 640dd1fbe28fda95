"""Jobs: one row a job, of this session and of earlier ones, and more on the one at the cursor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from textual.app import ComposeResult
from textual.widget import Widget

from cockpit.model.types import Job
from cockpit.tui.draw.spans import Line, Span, join
from cockpit.tui.frame import Frame
from cockpit.tui.jobs import joblist
from cockpit.tui.jobs.joblist import COLUMNS, JobItem, Rows
from cockpit.tui.sifting import Sift
from cockpit.tui.view import CockpitView
from cockpit.tui.widgets.filterline import FilterLine
from cockpit.tui.widgets.grid import MARKER, RowGrid
from cockpit.tui.widgets.lines import Lines

EMPTY = "no jobs: `cockpit run train.py` starts one"


class JobsView(CockpitView):
    """Satisfies `JobsDo` and `Filterable`."""

    def __init__(self, *, id: str) -> None:  # noqa: A002
        super().__init__(id=id)
        self._title = Lines(id="jobs-title")
        self._detail = Lines(id="jobs-detail")
        self._rows = Rows()
        self._grid: RowGrid[JobItem] = RowGrid(
            COLUMNS, self._rows.row, lambda item: item.job.id, empty=EMPTY, id="jobs-grid"
        )
        self._line = FilterLine(id="jobs-filter")
        self._sort = joblist.SORTS[0]
        self._show = joblist.SHOWS[0]
        self._sift = Sift()
        self._frame: Frame | None = None
        self._drawn: tuple[object, ...] = ()

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
        item = self._grid.current
        return None if item is None else item.job

    @property
    def mark_key(self) -> str:
        job = self.job
        return "" if job is None else job.id

    @property
    def mark_order(self) -> Sequence[str]:
        return [item.job.id for item in self._grid.items]

    def open_selection(self) -> None:
        if self.job is not None:
            self.cockpit.show_job(self.job.id)

    # ------------------------------------------------------------- what actions ask (JobsDo)

    def next_sort(self) -> None:
        self._sort = _after(joblist.SORTS, self._sort)
        self._arrange()

    def next_show(self) -> None:
        self._show = _after(joblist.SHOWS, self._show)
        self._arrange()

    def invert_filter(self) -> None:
        pattern = self._sift.pattern
        self.set_filter(pattern[1:] if pattern.startswith("!") else f"!{pattern}")

    @property
    def pattern(self) -> str:
        return self._sift.pattern

    def open_filter(self) -> None:
        self._line.open(self.pattern)

    def set_filter(self, pattern: str) -> None:
        self._sift = Sift(pattern)
        self._arrange()

    def clear_filter(self) -> bool:
        was_open = self._line.close()
        filtered = bool(self.pattern) or self._show != joblist.SHOWS[0]
        if was_open or filtered:
            self._show = joblist.SHOWS[0]
            self.set_filter("")
            self._grid.focus()
        return was_open or filtered

    def on_filter_line_typed(self, event: FilterLine.Typed) -> None:
        event.stop()
        self.set_filter(event.pattern)

    def on_filter_line_left(self, event: FilterLine.Left) -> None:
        event.stop()
        self._grid.focus()

    def memory(self) -> dict[str, Any]:
        return {"sort": self._sort, "show": self._show, "filter": self.pattern}

    def recall(self, memory: dict[str, Any]) -> None:
        if memory.get("sort") in joblist.SORTS:
            self._sort = memory["sort"]
        if memory.get("show") in joblist.SHOWS:
            self._show = memory["show"]
        if isinstance(memory.get("filter"), str):
            self.set_filter(memory["filter"])

    # ---------------------------------------------------------------------------- drawing

    def update(self, frame: Frame, job_id: str | None) -> None:  # noqa: ARG002
        # Figures of nodes come ten times a second and change nothing here.
        state = (frame.fleet.jobs, int(frame.wall), frame.marked)
        same = self._drawn and self._drawn[0] is state[0] and self._drawn[1:] == state[1:]
        self._frame = frame
        if not same:
            self._drawn = state
            self._arrange()

    def _arrange(self) -> None:
        frame = self._frame
        if frame is None:
            return
        self._rows.trends = self.cockpit.trends
        self._rows.keep(frame.fleet.jobs)
        jobs = joblist.arranged(frame.fleet.jobs, self._sort, self._show, self._sift)
        items = [joblist.item_of(job, frame.wall, job.id in frame.marked) for job in jobs]
        hidden = len(frame.fleet.jobs) - len(items)
        self._grid.show(items, f"{hidden} jobs are hidden; esc shows them" if hidden else EMPTY)
        self._title.show(self._heading(frame, len(items)), right=self._options())
        self._show_detail()

    def _heading(self, frame: Frame, shown: int) -> Line:
        jobs = frame.fleet.jobs
        if self._sift.error:
            return Line((Span(" Jobs ", "title"), Span(self._sift.error, "bad")))
        parts = [(Span(" Jobs ", "title"), *joblist.tally(jobs))]
        if shown != len(jobs):
            parts.append((Span(f"{shown}/{len(jobs)} shown", "warn"),))
        marked = sum(1 for job in jobs if job.id in frame.marked)
        if marked:
            parts.append((Span(f"{joblist.MARK} {marked} marked", "accent"),))
        return Line(join(parts, Span(" · ", "dim")))

    def _options(self) -> list[Span]:
        options = []
        if self.pattern:
            options.append(Span(f"filter: {self.pattern}", "warn"))
        if self._show != joblist.SHOWS[0]:
            options.append(Span(f"only: {self._show}", "warn"))
        options.append(Span(f"sort: {self._sort}", "dim"))
        return options

    def on_resize(self) -> None:
        self._show_detail()

    def on_row_grid_moved(self) -> None:
        self._show_detail()

    def _show_detail(self) -> None:
        item = self._grid.current
        if item is None:
            self._detail.show()
            return
        self._detail.show(
            *joblist.detail(item, joblist.dropped_in(self._grid.size.width - len(MARKER)))
        )


def _after(choices: Sequence[str], current: str) -> str:
    return choices[(choices.index(current) + 1) % len(choices)]
