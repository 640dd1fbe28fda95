"""Logs: the merged log of the selected job on the whole screen."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.widget import Widget

from cockpit.text import count_of
from cockpit.tui.frame import Frame
from cockpit.tui.spans import Span, line
from cockpit.tui.views.base import CockpitView
from cockpit.tui.views.jobs import state_span
from cockpit.tui.widgets.lines import Lines
from cockpit.tui.widgets.logpane import LogPane
from cockpit.tui.words import ranks_of


class LogsView(CockpitView):
    def __init__(self, *, id: str) -> None:  # noqa: A002
        super().__init__(id=id)
        self._title = Lines(id="logs-title")
        self.log_pane = LogPane(id="logs-log")

    def compose(self) -> ComposeResult:
        yield self._title
        assert self.log_pane is not None
        yield self.log_pane

    @property
    def panes(self) -> tuple[Widget, ...]:
        assert self.log_pane is not None
        return (self.log_pane.view,)

    def update(self, frame: Frame, job_id: str | None) -> None:
        job = frame.job(job_id)
        if job is None:
            self._title.show(line(Span(" Logs", "title"), Span("  no job is selected", "dim")))
            return
        size = f"{count_of(ranks_of(job), 'rank')} on {count_of(len(job.nodes), 'node')}, merged"
        self._title.show(
            line(
                Span(" Logs ", "title"),
                Span(f" {job.name}  ", "strong"),
                state_span(job),
                Span(f"  {size}", "dim"),
            )
        )
