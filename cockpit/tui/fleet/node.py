"""Node: one machine in full. Its GPUs and who uses them, its jobs, its link, the doctor."""

from __future__ import annotations

from typing import NamedTuple

from textual.app import ComposeResult
from textual.widget import Widget
from textual.worker import Worker, WorkerState

from cockpit.errors import CockpitError
from cockpit.model.types import Job, Node
from cockpit.tui.draw.spans import Span, line
from cockpit.tui.draw.words import clock_time, span_of_time
from cockpit.tui.fleet import nodegpus, nodelines
from cockpit.tui.fleet.condition import NodeItem, Roster
from cockpit.tui.fleet.nodegpus import GpuRow
from cockpit.tui.fleet.nodelines import Note
from cockpit.tui.frame import Frame, node_key
from cockpit.tui.view import CockpitView
from cockpit.tui.widgets.grid import RowGrid
from cockpit.tui.widgets.lines import Lines

DOCTOR = "doctor"
"""Group of the workers that examine nodes."""


class Visit(NamedTuple):
    """The doctor at a node: since when, and what came of it. `at` is wall clock."""

    at: float
    notes: tuple[Note, ...] | None = None


class NodeView(CockpitView):
    def __init__(self, *, id: str) -> None:  # noqa: A002
        super().__init__(id=id)
        self._title = Lines(id="node-title")
        self._host = Lines(id="node-host")
        self._health = Lines(id="node-health")
        self._detail = Lines(id="node-detail")
        self._gpus: RowGrid[GpuRow] = RowGrid(
            nodegpus.GPU_COLUMNS, nodegpus.gpu_row, lambda item: item.key, id="node-gpus"
        )
        self._jobs: RowGrid[Job] = RowGrid(
            nodelines.JOB_COLUMNS,
            lambda job: nodelines.job_row(job, self._shown, self._wall),
            lambda job: job.id,
            empty="no job runs here",
            id="node-jobs",
        )
        self._link: RowGrid[Note] = RowGrid(
            nodelines.LINK_COLUMNS, nodelines.note_row, lambda note: note.key, id="node-link"
        )
        self._doctor: RowGrid[Note] = RowGrid(
            nodelines.DOCTOR_COLUMNS, nodelines.note_row, lambda note: note.key, id="node-doctor"
        )
        self._roster = Roster()
        self._frame: Frame | None = None
        self._node: Node | None = None
        self._shown = ""
        self._wall = 0.0
        self._visits: dict[str, Visit] = {}

    def compose(self) -> ComposeResult:
        yield self._title
        yield self._host
        yield self._health
        yield self._gpus
        yield self._jobs
        yield self._link
        yield self._doctor
        yield self._detail

    @property
    def panes(self) -> tuple[Widget, ...]:
        return (self._gpus, self._jobs, self._link, self._doctor)

    @property
    def node(self) -> Node | None:
        return self._node

    @property
    def job(self) -> Job | None:
        """The job under the cursor, by its row or by its process, or else the first one here."""
        row = self._gpus.current
        if self._gpus.has_focus and row is not None and row.process is not None:
            found = self._frame.job(row.process.job) if self._frame is not None else None
            if found is not None:
                return found
        return self._jobs.current

    @property
    def mark_key(self) -> str:
        return "" if self._node is None else node_key(self._node)

    def open_selection(self) -> None:
        job = self.job
        if job is not None:
            self.cockpit.show_job(job.id)
        else:
            self.cockpit.say("no job runs here")

    # ---------------------------------------------------------------- drawing

    def update(self, frame: Frame, job_id: str | None) -> None:  # noqa: ARG002
        self._frame, self._wall = frame, frame.wall
        item = self._item(frame)
        self._node = None if item is None else item.node
        if item is None:
            self._title.show(line(Span(" Node", "title"), Span(" not known any more", "dim")))
            for each in (self._host, self._health, self._detail):
                each.show()
            for grid in (self._gpus, self._jobs, self._link, self._doctor):
                grid.show(())
            return
        self._shown = item.node.name
        self._title.show(nodelines.title(item))
        self._host.show(*nodelines.host_lines(item))
        self._health.show(nodelines.health_line(item))
        rows = tuple(nodegpus.gpu_rows(item.node, item.stale, frame.fleet.jobs))
        self._gpus.show(rows, _no_gpus(item))
        self.set_class(not rows, "-bare")
        self._jobs.show(item.jobs)
        self._link.show(nodelines.link_notes(item, frame.happenings))
        self._doctor.show(self._findings(item))
        self._show_detail()

    def _item(self, frame: Frame) -> NodeItem | None:
        """The node that the app says this is about."""
        chosen = self.cockpit.node
        if chosen is None:
            return None
        key = node_key(chosen)
        items = self._roster.items(frame, frozenset((chosen.cluster,)), paces=False)
        return next((item for item in items if item.key == key), None)

    def _findings(self, item: NodeItem) -> tuple[Note, ...]:
        visit = self._visits.get(item.key)
        if visit is None:
            return (Note("none", "D", "key", "has the doctor look at this node", "dim"),)
        if visit.notes is None:
            passed = span_of_time(self._wall - visit.at)
            return (Note("busy", "◔ running", "busy", f"the doctor looks at it for {passed}"),)
        return visit.notes

    def _show_detail(self) -> None:
        row = self._gpus.current
        self._detail.show(*(nodegpus.gpu_detail(row) if row is not None else ()))

    def on_row_grid_moved(self) -> None:
        self._show_detail()

    # ------------------------------------------------------------------ doctor

    def examining(self) -> bool:
        visit = None if self._node is None else self._visits.get(node_key(self._node))
        return visit is not None and visit.notes is None

    def examine(self) -> None:
        node = self._node
        if node is None or self.examining():
            return
        key = node_key(node)
        self._visits[key] = Visit(self._wall)
        self.run_worker(self._visit(node), name=key, group=DOCTOR, exit_on_error=False)
        self._again()

    async def _visit(self, node: Node) -> None:
        key = node_key(node)
        try:
            report = await self.cockpit.source.doctor(node.cluster, node.name)
        except CockpitError as error:
            hint = f" — {error.hint}" if error.hint else ""
            self._settle(key, (Note("failed", "✖ failed", "bad", error.message + hint, "bad"),))
            return
        own = [found for found in report.findings if found.node == node.name]
        worst = sorted(own, key=lambda found: -found.level.gravity)
        notes = [nodelines.finding_note(found, at) for at, found in enumerate(worst)]
        done = Note("at", clock_time(self._wall), "dim", f"{len(notes)} findings", "dim")
        self._settle(key, (done, *notes))

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """A doctor that broke in a way that nobody thought of is told, too."""
        if event.worker.group == DOCTOR and event.state is WorkerState.ERROR:
            event.stop()
            text = f"{type(event.worker.error).__name__}: {event.worker.error}"
            self._settle(event.worker.name, (Note("failed", "✖ failed", "bad", text, "bad"),))

    def _settle(self, key: str, notes: tuple[Note, ...]) -> None:
        self._visits[key] = self._visits[key]._replace(notes=notes)
        self._again()

    def _again(self) -> None:
        if self._frame is not None:
            self.update(self._frame, None)


def _no_gpus(item: NodeItem) -> str:
    if item.node.gpu_error:
        return f"no GPU figures: {item.node.gpu_error}"
    return "no sample yet" if item.age is None else "no GPUs"
