"""The dialog of an order while it is carried out: node by node, what is said, then the proof."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Button, Static

from cockpit.errors import CockpitError
from cockpit.model.reports import CancelReport, NodeProof
from cockpit.model.types import Job, JobNode, LinkState
from cockpit.text import clean
from cockpit.tui.dialogs import FrameDialog, content
from cockpit.tui.draw.spans import Line, Span, line
from cockpit.tui.draw.words import NODE, clock_time
from cockpit.tui.frame import Frame
from cockpit.tui.orders.ending import Ending, Seat, seats
from cockpit.tui.widgets.grid import Cell, Column, Row, RowGrid, cell
from cockpit.tui.widgets.lines import Lines

HEARD = 3
"""Lines about the progress that stay in sight."""
NARROW = 54
"""Cells for the steps while the dialog has no size yet."""


class Place(NamedTuple):
    """A node of one of the jobs."""

    job: Job
    node: JobNode

    @property
    def seat(self) -> Seat:
        return self.job.id, self.node.name


class ProgressDialog(FrameDialog[None]):
    """Closing it stops nothing. `ending` where the order ends the jobs for good."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,q", "close", "Close"),
        Binding("j,down", "move(1)", show=False),
        Binding("k,up", "move(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
        Binding("pageup", "page(-1)", show=False),
    ]

    def __init__(self, title: str, jobs: Sequence[Job], now: float, ending: Ending | None) -> None:
        super().__init__()
        self._heading = title
        self._jobs = {job.id: job for job in jobs}
        self._ending = ending
        self._now = now
        self._proofs: dict[Seat, NodeProof] = {}
        self._outcomes: dict[str, str] = {}
        self._heard: list[Line] = []
        self._steps = Lines(id="steps", classes="line")
        self._said = Lines(id="heard")
        self._grid: RowGrid[Place] = RowGrid(
            (Column("NODE", 12, grow=1), Column("STATE", 13), Column("", 16, grow=3)),
            self._row,
            lambda place: "/".join(place.seat),
            id="progress",
        )

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(content(self._heading), classes="dialog-title")
            if self._ending is not None:
                yield self._steps
            yield self._grid
            yield self._said
            yield Static("", id="outcome")
            with Horizontal(classes="buttons"):
                yield Button("Close", id="close", compact=True)

    def on_mount(self) -> None:
        count = sum(len(job.nodes) for job in self._jobs.values())
        self._grid.styles.height = min(max(count, 1), 12) + 1
        self._said.styles.height = len(self._heard)
        self._show()
        self._show_outcome()
        self.query_one("#close").focus()

    @property
    def outcome(self) -> str:
        """How it ended, "" while it goes on."""
        if len(self._outcomes) < len(self._jobs):
            return ""
        if len(self._outcomes) == 1:
            return next(iter(self._outcomes.values()))
        return "\n".join(
            f"{self._jobs[job_id].name}: {text}" for job_id, text in self._outcomes.items()
        )

    def update(self, frame: Frame) -> None:
        """Show the jobs' nodes as they are now."""
        self._now = frame.wall
        for job_id in self._jobs:
            self._jobs[job_id] = frame.job(job_id) or self._jobs[job_id]
        self._show()

    def _show(self) -> None:
        jobs = self._jobs.values()
        self._grid.show([Place(job, node) for job in jobs for node in job.nodes])
        if self._ending is not None:
            nodes = {seat: node for job in jobs for seat, node in seats(job.id, job.nodes).items()}
            self._ending.observe(nodes, self._proofs, self._now)
            steps = self._ending.lines(self._steps.size.width or NARROW)
            self._steps.styles.height = len(steps)
            self._steps.show(*steps)

    def on_resize(self) -> None:
        self._show()

    def hear(self, text: str) -> None:
        """A line about the progress."""
        said = line(Span(f" {clock_time(self._now)} ", "dim"), Span(clean(text)))
        self._heard = [*self._heard, said][-HEARD:]
        self._said.styles.height = len(self._heard)
        self._said.show(*self._heard)

    def found(self, job_id: str, proof: NodeProof) -> None:
        """One node was searched; the others may not be done yet."""
        self._proofs[job_id, proof.name] = proof
        self._show()
        self._grid.redraw()

    def prove(self, job_id: str, report: CancelReport, follow_up: str = "") -> None:
        """A job is ended; show per node what was found. `follow_up`: what still goes on."""
        self._proofs.update({(job_id, node.name): node for node in report.nodes})
        self._done(job_id, f"{report.proof}\n{follow_up}" if follow_up else report.proof)

    def succeed(self, job_id: str, text: str) -> None:
        self._done(job_id, text)

    def fail(self, job_id: str, error: CockpitError) -> None:
        self._done(job_id, f"{error.message}\n{error.hint}" if error.hint else error.message)

    def _done(self, job_id: str, text: str) -> None:
        self._outcomes[job_id] = text
        self._show()
        self._show_outcome()

    def _show_outcome(self) -> None:
        # The order may end before the dialog is there, or after it was closed.
        for label in self.query("#outcome").results(Static):
            label.update(content(self.outcome or self._waiting()))
        for button in self.query("#close").results(Button):
            button.label = "Close" if self.outcome else "Close (it goes on)"
        self._grid.redraw()

    def _waiting(self) -> str:
        if len(self._jobs) == 1:
            return "waiting for the nodes…"
        return f"{len(self._outcomes)} of {len(self._jobs)} jobs are done…"

    def _row(self, place: Place) -> Row:
        node = place.node
        several = f"{place.job.name} " if len(self._jobs) > 1 else ""
        return Row(
            (
                Cell((Span(several, "dim"), Span(node.name))),
                _state(node, self._proofs.get(place.seat)),
                _found(node, self._proofs.get(place.seat)),
            )
        )

    def action_close(self) -> None:
        self.dismiss(None)

    def action_move(self, delta: int) -> None:
        self._grid.move(delta)

    def action_page(self, direction: int) -> None:
        self._grid.page(direction)

    @on(Button.Pressed)
    def _pressed(self) -> None:
        self.dismiss(None)


def _state(node: JobNode, report: NodeProof | None) -> Cell:
    """What a node does; of one out of reach, what it did last."""
    asked = report is not None and not report.unreachable
    away = node.link.state is not LinkState.ONLINE or report is not None
    if away and not asked and not node.state.ended:
        return cell(f"? {node.state.value}", "stale")
    glyph, tone = NODE[node.state]
    return cell(f"{glyph} {node.state.value}", tone)


def _found(node: JobNode, report: NodeProof | None) -> Cell:
    """What is known about the processes that are left on a node."""
    if report is None:
        if node.link.state is not LinkState.ONLINE:
            return cell(f"{node.link.state.value}: {node.link.why}".rstrip(": "), "warn")
        if node.left:
            return cell(f"{_processes(len(node.left))} left", "bad")
        return cell("done" if node.state.ended else "", "dim")
    if report.unreachable:
        return cell(f"not proven: {report.unreachable}", "warn")
    if report.left:
        names = ", ".join(f"{left.pid} {left.command}" for left in report.left)
        mute = f"{report.muteness}; " if report.muteness else ""
        return cell(f"{mute}left: {names}", "bad")
    swept = f", {len(report.swept)} swept" if report.swept else ""
    return Cell((Span(f"✔ nothing left{swept}", "ok"),))


def _processes(count: int) -> str:
    return "1 process" if count == 1 else f"{count} processes"
