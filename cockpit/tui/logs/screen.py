"""Logs: the merged log of the selected job on the whole screen."""

from __future__ import annotations

import operator
from typing import Any

from textual import on
from textual.app import ComposeResult
from textual.widget import Widget

from cockpit.tui.draw.spans import Line, Span, join, line
from cockpit.tui.draw.words import extent
from cockpit.tui.frame import Frame
from cockpit.tui.jobs.joblist import state_span
from cockpit.tui.logs.level import Level
from cockpit.tui.logs.pane import LogPane
from cockpit.tui.logs.view import LogView
from cockpit.tui.view import CockpitView
from cockpit.tui.widgets.lines import Lines


class LogsView(CockpitView):
    pace = 0.5  # of all figures it shows the state of one job

    def __init__(self, *, id: str) -> None:  # noqa: A002
        super().__init__(id=id)
        self._title = Lines(id="logs-title")
        self.log_pane = LogPane(id="logs-log")
        self._shown: tuple[Frame, str | None] | None = None
        self._told: tuple[object, ...] | None = None
        """What the title was made of."""

    def compose(self) -> ComposeResult:
        yield self._title
        assert self.log_pane is not None
        yield self.log_pane

    @property
    def panes(self) -> tuple[Widget, ...]:
        assert self.log_pane is not None
        return (self.log_pane.view,)

    @on(LogView.Changed)
    def _changed(self, event: LogView.Changed) -> None:
        event.stop()
        if self._shown is not None:
            self.update(*self._shown)

    def update(self, frame: Frame, job_id: str | None) -> None:
        self._shown = (frame, job_id)
        job = frame.job(job_id)
        pane = self.log_pane
        assert pane is not None
        view = pane.view
        told = (job, view.choice, view.level, view.pattern, view.found)
        if self._told is not None and all(map(operator.is_, told, self._told)):
            return
        self._told = told
        if job is None:
            self._title.show(line(Span(" Logs", "title"), Span("  no job is selected", "dim")))
            return
        parts: list[tuple[Span, ...]] = [
            (Span(" Logs ", "title"), Span(job.name, "strong")),
            (state_span(job),),
            (Span(view.choice.label, "accent" if view.choice.words else ""),),
        ]
        if not view.choice.words:
            parts[-1] = (Span(f"{extent(job)}, merged"),)
        if view.level is not Level.ALL:
            word = "errors" if view.level is Level.ERROR else "warnings and errors"
            parts.append((Span(word, "warn"),))
        if view.pattern:
            parts.append((Span("/", "dim"), Span(view.pattern, "match")))
        if view.found is not None:
            parts.append((Span("find ", "dim"), Span(view.found.text, "match")))
        self._title.show(Line(join(parts, Span(" · ", "dim"))))

    def open_selection(self) -> None:
        """Enter shows the lines that the cursor's line stands for."""
        assert self.log_pane is not None
        self.log_pane.open_fold()

    def memory(self) -> dict[str, Any]:
        assert self.log_pane is not None
        return self.log_pane.memory()

    def recall(self, memory: dict[str, Any]) -> None:
        assert self.log_pane is not None
        self.log_pane.recall(memory)
