"""Lines that are read by scrolling: a plan, a report. What is too wide goes on in the next row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType

from cockpit.tui.draw.spans import Line, Span, cut, width_of
from cockpit.tui.widgets.lines import LineWidget

CONTINUED = "  "
"""In front of what goes on in the next row."""


def wrapped(rows: Sequence[Line], width: int) -> list[Line]:
    """`rows` with none wider than `width` cells."""
    result: list[Line] = []
    for row in rows:
        if width_of(row.spans) <= width or width <= len(CONTINUED) + 1:
            result.append(row)
            continue
        current: list[Span] = []
        room = width
        for span in row.spans:
            text = span.text
            while text:
                part = cut(text, 0, room)
                if part and part[-1] == " " != text[len(part) - 1]:
                    # A wide character that does not fit any more goes to the next row.
                    part = part[:-1]
                if len(part) < len(text) and not text[len(part)].isspace():
                    part = part[: _word_end(part, room - width // 2)]
                if part:
                    current.append(Span(part, span.tone))
                text = text[len(part) :]
                room -= width_of((Span(part),))
                if text:
                    result.append(Line(tuple(current), row.base))
                    current = [Span(CONTINUED)]
                    room = width - len(CONTINUED)
        result.append(Line(tuple(current), row.base))
    return result


def _word_end(part: str, least: int) -> int:
    """Where to break what is too long: behind its last word, but not before `least`."""
    space = part.rfind(" ") + 1
    return space if space and space >= least else len(part)


class Reader(LineWidget, can_focus=True):
    """Satisfies `Pane`. Keeps its place when it is told other lines of the same number."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "move(1)", show=False),
        Binding("k,up", "move(-1)", show=False),
        Binding("pagedown,ctrl+f,space", "page(1)", show=False),
        Binding("pageup,ctrl+b", "page(-1)", show=False),
        Binding("g,home", "top", show=False),
        Binding("G,end", "bottom", show=False),
    ]

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._all: Sequence[Line] = ()
        self._first = 0
        self._wrapped: list[Line] = []
        self._wrapped_at = -1

    def show(self, rows: Sequence[Line]) -> None:
        """Show these lines."""
        if rows != self._all:
            self._all = tuple(rows)
            self._wrapped_at = -1
            self.redraw()

    @property
    def shown(self) -> Sequence[Line]:
        """All lines, those beyond the edge too."""
        return self._all

    def lines(self, width: int, height: int) -> Sequence[Line]:
        if self._wrapped_at != width:
            self._wrapped, self._wrapped_at = wrapped(self._all, width - 1), width
        self._first = max(min(self._first, len(self._wrapped) - height), 0)
        rows = list(self._wrapped[self._first : self._first + height])
        below = len(self._wrapped) - self._first - height
        if below > 0 and rows:
            rows[-1] = Line((Span(f"… {below + 1} more lines", "dim"),))
        return rows

    def move(self, delta: int) -> None:
        self._first = max(self._first + delta, 0)
        self.redraw()

    def page(self, direction: int) -> None:
        self.move(direction * max(self.size.height - 2, 1))

    def top(self) -> None:
        self.move(-len(self._wrapped))

    def bottom(self) -> None:
        self.move(len(self._wrapped))

    def action_move(self, delta: int) -> None:
        self.move(delta)

    def action_page(self, direction: int) -> None:
        self.page(direction)

    def action_top(self) -> None:
        self.top()

    def action_bottom(self) -> None:
        self.bottom()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.move(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.move(-3)
