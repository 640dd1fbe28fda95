"""A log view with its filter line; what the Job and the Logs view both hold."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Input

from cockpit.tui.feed import LogFeed
from cockpit.tui.widgets.logview import LogView


class LogPane(Vertical):
    """`/` opens the filter line, enter goes back to the log, esc clears the filter."""

    def __init__(self, *, id: str) -> None:  # noqa: A002
        super().__init__(id=id)
        self.view = LogView()
        self._filter = Input(placeholder="filter: text or regular expression", compact=True)
        self._filter.cursor_blink = False

    def compose(self) -> ComposeResult:
        yield self.view
        yield self._filter

    def on_mount(self) -> None:
        self._filter.display = False

    def attach(self, feed: LogFeed | None) -> None:
        """Show the log of a feed, from its end unless it is shown already."""
        if feed is not None:
            self.view.attach(feed.ring, feed.error)

    def arrived(self) -> None:
        self.view.arrived()

    def open_filter(self) -> None:
        """Edit the filter, beginning with the one that is set."""
        self._filter.display = True
        self._filter.value = self.view.pattern
        self._filter.focus()

    def clear_filter(self) -> bool:
        """Show all lines; False when they were shown already."""
        was_open = self._filter.display or bool(self.view.pattern)
        self._filter.value = ""
        self._filter.display = False
        self.view.filter("")
        if was_open:
            self.view.focus()
        return was_open

    def sideways(self, steps: int) -> None:
        self.view.sideways(steps)

    def follow(self) -> None:
        self.view.bottom()

    def toggle_times(self) -> None:
        self.view.toggle_times()

    @on(Input.Changed)
    def _typing(self, event: Input.Changed) -> None:
        event.stop()
        if self._filter.display:
            self.view.filter(event.value)

    @on(Input.Submitted)
    def _entered(self, event: Input.Submitted) -> None:
        event.stop()
        self._filter.display = False
        self.view.focus()
