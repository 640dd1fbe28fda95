"""A line to type in whose every character may be drawn.

Textual's own draws what it holds as it is, and we put the names and commands of jobs into it. What
comes in is cleaned here, wherever it comes from: set, typed, pasted or suggested.
"""

from __future__ import annotations

from textual import events
from textual.widgets import Input

from cockpit.text import clean
from cockpit.tui.widgets.entry import Entry


class CleanInput(Entry, Input):
    """Takes the place of Textual's everywhere."""

    def does_alone(self, event: events.Event) -> bool:
        if isinstance(event, events.Key) and event.key == "right" and self.suggester is not None:
            return False  # it takes what a worker suggests
        return super().does_alone(event)

    def validate_value(self, value: str) -> str:
        return clean(value)

    def validate_placeholder(self, placeholder: str) -> str:
        return clean(placeholder)

    def validate__suggestion(self, suggestion: str) -> str:
        # What is suggested is drawn from behind the value, and taken as a whole.
        safe = clean(suggestion)
        return safe if safe.startswith(self.value) else ""
