"""The line in which the filter of a list is typed; it is there only while it is needed."""

from __future__ import annotations

from textual import events
from textual.message import Message
from textual.widgets import Input

from cockpit.tui.widgets.cleaninput import CleanInput


class FilterLine(CleanInput):
    """Typing filters at once, enter goes back to the list, esc clears the filter."""

    class Typed(Message):
        """The pattern changed by typing."""

        def __init__(self, pattern: str) -> None:
            super().__init__()
            self.pattern = pattern

    class Left(Message):
        """The list shall have the focus again."""

    def __init__(self, *, id: str) -> None:  # noqa: A002
        super().__init__(
            placeholder="filter: text or /regular expression/, ! before it inverts",
            compact=True,
            select_on_focus=False,
            id=id,
        )
        self.cursor_blink = False
        self.display = False

    def open(self, pattern: str) -> None:
        """Edit the filter, beginning with the one that is set."""
        self.display = True
        self.value = pattern
        self.cursor_position = len(pattern)
        if self.is_attached:
            self.screen.set_focus(self)  # at once: more keys may be waiting
        else:
            self.call_later(self.focus)

    def close(self) -> bool:
        """Go away; False when it was not there."""
        was_open = self.display
        self.display = False
        return was_open

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        if self.display:
            self.post_message(self.Typed(event.value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.close()
        self.post_message(self.Left())

    def on_key(self, event: events.Key) -> None:
        """Up and down leave for the list, as in every search box."""
        if event.key in ("down", "up"):
            event.stop()
            self.close()
            self.post_message(self.Left())
