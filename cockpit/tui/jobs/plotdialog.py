"""One metric of a job, large: the plot, and going from metric to metric."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical

from cockpit.model.types import Job, Metric
from cockpit.text import count_of
from cockpit.tui.dialogs import FrameDialog
from cockpit.tui.draw.spans import Line, Span
from cockpit.tui.frame import Frame
from cockpit.tui.jobs import plot
from cockpit.tui.widgets.lines import Lines, LineWidget

TALL = 0.94
"""The most of the screen that a dialog takes."""
FRAME = 4
"""Rows of the dialog beside the drawing."""

_HINT = "tab or → the next metric · esc closes"


class PlotBox(LineWidget):
    """The drawing of one metric, as large as there is room."""

    def __init__(self, *, id: str) -> None:  # noqa: A002
        super().__init__(id=id)
        self._metric: Metric | None = None

    def show(self, metric: Metric | None) -> None:
        self._metric = metric
        self.redraw()

    def lines(self, width: int, height: int) -> Sequence[Line]:
        if self._metric is None:
            return (Line((Span("no metric was reported", "dim"),)),)
        return plot.drawn(self._metric.history, width, height)


class PlotDialog(FrameDialog[None]):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter", "close", "Close"),
        Binding("tab,right,M,l,j,down", "turn(1)", "Next metric"),
        Binding("shift+tab,left,h,k,up", "turn(-1)", "Metric before"),
    ]

    def __init__(self, job: Job) -> None:
        super().__init__()
        self._job = job
        self._chosen = next((metric.name for metric in job.metrics), "")
        self._heading = Lines(id="plot-title", classes="line")
        self._box = PlotBox(id="plot")
        self._hint = Lines(id="plot-hint", classes="line")

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield self._heading
            yield self._box
            yield self._hint

    def on_mount(self) -> None:
        self._draw()

    def on_resize(self) -> None:
        self._box.styles.height = max(int(self.size.height * TALL) - FRAME, 4)

    def update(self, frame: Frame) -> None:
        """Draw the job's metrics as they are now."""
        job = frame.job(self._job.id)
        if job is not None and job is not self._job:
            self._job = job
            self._draw()

    @property
    def metric(self) -> Metric | None:
        """The one that is shown."""
        metrics = self._job.metrics
        return next((each for each in metrics if each.name == self._chosen), None)

    def _draw(self) -> None:
        metric = self.metric
        if metric is not None:
            self._heading.show(
                plot.summary(metric.name, metric.rank, metric.history, metric.value),
                right=(Span(self._job.name, "dim"),),
            )
        self._box.show(metric)
        names = [each.name for each in self._job.metrics]
        place = f"{names.index(self._chosen) + 1} of " if self._chosen in names else ""
        self._hint.show(Line((Span(f" {place}{count_of(len(names), 'metric')} · {_HINT}", "dim"),)))

    def action_turn(self, step: int) -> None:
        names = [metric.name for metric in self._job.metrics]
        if names:
            at = names.index(self._chosen) if self._chosen in names else 0
            self._chosen = names[(at + step) % len(names)]
            self._draw()

    def action_close(self) -> None:
        self.dismiss(None)
