"""Several lines to type in whose every character may be drawn, as `cleaninput` is for one.

Only forms need it, and it takes long to import.
"""

from __future__ import annotations

from typing import Any

from textual import events
from textual.widgets import TextArea
from textual.widgets.text_area import Edit, EditResult

from cockpit.text import clean
from cockpit.tui.widgets.entry import Entry


class CleanArea(Entry, TextArea):
    """Takes the place of Textual's everywhere."""

    def does_alone(self, event: events.Event) -> bool:
        return not self.read_only and super().does_alone(event)

    def __init__(self, text: str = "", **options: Any) -> None:
        super().__init__(_clean_lines(text), **options)

    def load_text(self, text: str) -> None:
        super().load_text(_clean_lines(text))

    def edit(self, edit: Edit) -> EditResult:
        edit.text = _clean_lines(edit.text)
        return super().edit(edit)


def _clean_lines(text: str) -> str:
    return "\n".join(clean(line) for line in text.replace("\r\n", "\n").split("\n"))
