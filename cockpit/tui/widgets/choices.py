"""A list of choices in a dialog: one of several, and switches beside it. Shapes, not colours, tell
what is chosen; what cannot be chosen stays in sight with its reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message

from cockpit.tui.draw.spans import Line, Span, fit
from cockpit.tui.widgets.lines import LineWidget


class Choice(NamedTuple):
    """`reason`: why it cannot be chosen, "" when it can. `switch`: on or off by itself; the others
    are one of several."""

    id: str
    text: str
    reason: str = ""
    switch: bool = False


class Choices(LineWidget, can_focus=True):
    """`chosen` is the one of several, `switched` the switches that are on."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", show=False),
        Binding("down,j", "move(1)", show=False),
        Binding("space,enter", "take", show=False),
    ]

    class Changed(Message):
        """Something else is chosen."""

    def __init__(self, choices: Sequence[Choice], *, id: str) -> None:  # noqa: A002
        super().__init__(id=id)
        self._choices = tuple(choices)
        self._cursor = 0
        self.chosen = next((c.id for c in choices if not c.switch and not c.reason), "")
        self.switched: frozenset[str] = frozenset()

    def on_mount(self) -> None:
        self.styles.height = len(self._choices)

    def lines(self, width: int, height: int) -> Sequence[Line]:  # noqa: ARG002
        return [self._line(index, choice, width) for index, choice in enumerate(self._choices)]

    def _line(self, index: int, choice: Choice, width: int) -> Line:
        here = self.has_focus and index == self._cursor
        if choice.switch:
            box = "[x]" if choice.id in self.switched else "[ ]"
        else:
            box = "(•)" if choice.id == self.chosen else "( )"
        tone = "dim" if choice.reason else "strong" if "•" in box or "x" in box else ""
        spans = [Span("❯ " if here else "  ", "accent"), Span(f"{box} {choice.text}", tone)]
        if choice.reason:
            spans.append(Span(f" — {choice.reason}", "warn"))
        return Line(fit(tuple(spans), width), "cursor" if here else "")

    def action_move(self, delta: int) -> None:
        """To the next choice; beyond the last, to what comes next in the dialog."""
        at = self._cursor + delta
        if 0 <= at < len(self._choices):
            self._cursor = at
            self.redraw()
        elif delta > 0:
            self.screen.focus_next()
        else:
            self.screen.focus_previous()

    def action_take(self) -> None:
        self.take(self._choices[self._cursor].id)

    def take(self, choice_id: str) -> None:
        """Choose it, or turn the switch over, if that can be."""
        choice = next(each for each in self._choices if each.id == choice_id)
        if choice.reason:
            self.app.bell()
            return
        if choice.switch:
            self.switched ^= {choice.id}
        else:
            self.chosen = choice.id
        self.redraw()
        self.post_message(self.Changed())

    def on_click(self, event: events.Click) -> None:
        if event.y < len(self._choices):
            self._cursor = event.y
            self.action_take()

    def on_focus(self) -> None:
        self.redraw()

    def on_blur(self) -> None:
        self.redraw()
