"""Jobs: one row a job, of this session and of earlier ones, and more on the one at the cursor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from textual.app import ComposeResult
from textual.widget import Widget

from cockpit.model.types import Job, LinkState
from cockpit.tui.draw.spans import Line, Span, join
from cockpit.tui.filtered import FilteredView
from cockpit.tui.frame import Frame
from cockpit.tui.jobs import joblist
from cockpit.tui.jobs.joblist import COLUMNS, JobItem, Rows
from cockpit.tui.widgets.grid import MARKER, RowGrid
from cockpit.tui.widgets.lines import Lines

EMPTY = "no jobs: `cockpit run train.py` starts one"


class JobsView(FilteredView):
    """Satisfies `JobsDo`, too."""

    def __init__(self, *, id: str) -> None:  # noqa: A002
        super().__init__(id=id)
        self._title = Lines(id="jobs-title")
        self._detail = Lines(id="jobs-detail")
        self._rows = Rows()
        self._grid: RowGrid[JobItem] = RowGrid(
            COLUMNS, self._rows.row, lambda item: item.job.id, empty=EMPTY, id="jobs-grid"
        )
        self._sort = joblist.SORTS[0]
        self._show = joblist.SHOWS[0]
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
        pattern = self.pattern
        self.set_filter(pattern[1:] if pattern.startswith("!") else f"!{pattern}")

    @property
    def _hides(self) -> bool:
        return super()._hides or self._show != joblist.SHOWS[0]

    def _show_all(self) -> None:
        self._show = joblist.SHOWS[0]
        super()._show_all()

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
        silent = _silent_clusters(frame)
        items = [
            joblist.item_of(
                job, frame.wall, job.id in frame.marked, asked=job.cluster not in silent
            )
            for job in jobs
        ]
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


def _silent_clusters(frame: Frame) -> set[str]:
    """Clusters none of whose nodes can be asked now."""
    nodes = frame.fleet.nodes
    online = {node.cluster for node in nodes if node.link.state is LinkState.ONLINE}
    return {node.cluster for node in nodes} - online


def _after(choices: Sequence[str], current: str) -> str:
    return choices[(choices.index(current) + 1) % len(choices)]
