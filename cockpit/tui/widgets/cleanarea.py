"""Several lines to type in whose every character may be drawn, as `cleaninput` is for one.

Only forms need it, and it takes long to import.
"""

from __future__ import annotations

from typing import Any

from textual.widgets import TextArea
from textual.widgets.text_area import Edit, EditResult

from cockpit.text import clean


class CleanArea(TextArea):
    """Takes the place of Textual's everywhere."""

    def __init__(self, text: str = "", **options: Any) -> None:
        super().__init__(_clean_lines(text), **options)

    def load_text(self, text: str) -> None:
        super().load_text(_clean_lines(text))

    def edit(self, edit: Edit) -> EditResult:
        edit.text = _clean_lines(edit.text)
        return super().edit(edit)


def _clean_lines(text: str) -> str:
    return "\n".join(clean(line) for line in text.replace("\r\n", "\n").split("\n"))
