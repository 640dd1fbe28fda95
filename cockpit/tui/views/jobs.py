"""Jobs: one row a job, newest first, with what happened to the one under the cursor."""

from __future__ import annotations

from typing import NamedTuple

from textual.app import ComposeResult
from textual.widget import Widget

from cockpit.model.types import Job, JobState, LinkState
from cockpit.tui.frame import Frame
from cockpit.tui.spans import Line, Span, join, line
from cockpit.tui.views.base import CockpitView
from cockpit.tui.widgets.grid import Cell, Column, Row, RowGrid, cell
from cockpit.tui.widgets.lines import Lines
from cockpit.tui.words import JOB, cause_line, ranks_of, runtime, span_of_time

COLUMNS = (
    Column("STATE", 11),
    Column("NAME", 12, grow=3),
    Column("NODES", 6, align="right"),
    Column("RANKS", 5, align="right"),
    Column("RUNTIME", 8, align="right"),
    Column("RST", 5, align="right", drop=1),
    Column("CLUSTER", 10, grow=1, drop=3),
    Column("LAUNCHER", 10, grow=1, drop=4),
    Column("BY", 12, grow=1, drop=5),
    Column("ID", 16, grow=1, drop=2),
)


class JobItem(NamedTuple):
    """A job and how long it has run, in whole seconds."""

    job: Job
    runtime: int | None


def state_span(job: Job) -> Span:
    glyph, tone = JOB[job.state]
    return Span(f"{glyph} {job.state.value}", tone)


def _row(item: JobItem) -> Row:
    job = item.job
    name = [Span(job.name, "strong")]
    name.extend(Span(f" {flag}", "warn") for flag in job.flags)
    seen = sum(1 for node in job.nodes if node.link.state is LinkState.ONLINE)
    total = len(job.nodes)
    nodes = (
        cell(str(total)) if seen == total or job.state.ended else cell(f"{seen}/{total}", "warn")
    )
    restarts = str(job.restarts)
    return Row(
        (
            Cell((state_span(job),)),
            Cell(tuple(name)),
            nodes,
            cell(str(ranks_of(job) or "--")),
            cell("--" if item.runtime is None else span_of_time(item.runtime)),
            cell(restarts, "warn" if job.restarts else ""),
            cell(job.cluster),
            cell(job.launcher),
            cell(job.created_by),
            cell(job.id, "dim"),
        )
    )


class JobsView(CockpitView):
    def __init__(self, *, id: str) -> None:  # noqa: A002
        super().__init__(id=id)
        self._title = Lines(id="jobs-title")
        self._detail = Lines(id="jobs-detail")
        self._grid: RowGrid[JobItem] = RowGrid(
            COLUMNS,
            _row,
            lambda item: item.job.id,
            empty="no jobs: `cockpit run train.py` starts one",
            id="jobs-grid",
        )

    def compose(self) -> ComposeResult:
        yield self._title
        yield self._grid
        yield self._detail

    @property
    def panes(self) -> tuple[Widget, ...]:
        return (self._grid,)

    @property
    def job(self) -> Job | None:
        item = self._grid.current
        return None if item is None else item.job

    def update(self, frame: Frame, job_id: str | None) -> None:  # noqa: ARG002
        items = []
        counts: dict[JobState, int] = {}
        for job in frame.fleet.jobs:
            seconds = runtime(job, frame.wall)
            items.append(JobItem(job, None if seconds is None else int(seconds)))
            counts[job.state] = counts.get(job.state, 0) + 1
        self._grid.show(items)
        tally = [(Span(f"{counts[s]} {s.value}", JOB[s][1]),) for s in JobState if s in counts]
        self._title.show(Line(join([(Span(" Jobs", "title"),), *tally], Span(" · ", "dim"))))
        self._show_detail()

    def on_row_grid_moved(self) -> None:
        self._show_detail()

    def _show_detail(self) -> None:
        job = self.job
        if job is None:
            self._detail.show()
            return
        command = line(Span(" $ ", "dim"), " ".join(job.command))
        if job.cause is None:
            self._detail.show(command, Line())
        else:
            tone = "bad" if job.state is JobState.FAILED else "warn"
            self._detail.show(command, line(Span(f" ✖ {cause_line(job.cause)}", tone)))
