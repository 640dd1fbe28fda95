"""A field of one line with a few possible values: left and right go through them.

Enter opens whatever list its owner shows; letters go to the first value that begins so. Up and down
are not its own, so that they leave it as they leave any other field.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message

from cockpit.tui.draw.spans import Line, Span, line
from cockpit.tui.widgets.lines import LineWidget


class Option(NamedTuple):
    """`label`: how the value is shown; `about`: a few words beside it in a list."""

    value: str
    label: str
    about: str = ""


class Chooser(LineWidget, can_focus=True):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "step(-1)", show=False),
        Binding("right,space", "step(1)", show=False),
        Binding("enter", "ask", show=False),
    ]

    class Changed(Message):
        """Another value was chosen, by key or mouse."""

        def __init__(self, choice: Chooser) -> None:
            super().__init__()
            self.choice = choice

    class Asked(Message):
        """Its owner shall show all values."""

        def __init__(self, choice: Chooser) -> None:
            super().__init__()
            self.choice = choice

    def __init__(
        self,
        options: Sequence[Option],
        value: str = "",
        *,
        id: str | None = None,  # noqa: A002
    ) -> None:
        super().__init__(id=id)
        self._options: tuple[Option, ...] = ()
        self._value = value
        self._typed = ""
        self.offer(options)

    @property
    def value(self) -> str:
        return self._value

    @value.setter
    def value(self, value: str) -> None:
        self._value = value
        self.redraw()

    @property
    def options(self) -> tuple[Option, ...]:
        return self._options

    def offer(self, options: Sequence[Option]) -> None:
        """Take other options. A value that is none of them stays and is shown as it is."""
        self._options = tuple(options)
        self.redraw()

    def choose(self, value: str) -> None:
        """Take a value as if it had been chosen by key."""
        if value != self._value:
            self.value = value
            self.post_message(self.Changed(self))

    def lines(self, width: int, height: int) -> Sequence[Line]:  # noqa: ARG002
        labels = {option.value: option.label for option in self._options}
        label = labels.get(self._value, self._value)
        arrows = "key" if self.has_focus else "dim"
        return [
            line(
                Span("‹ ", arrows),
                Span(label, "" if self._value else "dim"),
                Span(" ›", arrows),
                base="cursor" if self.has_focus else "bar",
            )
        ]

    def action_step(self, delta: int) -> None:
        values = [option.value for option in self._options]
        if values:
            at = values.index(self._value) if self._value in values else -1
            self.choose(values[(at + delta) % len(values)])

    def action_ask(self) -> None:
        self.post_message(self.Asked(self))

    def on_key(self, event: events.Key) -> None:
        character = event.character or ""
        if not event.is_printable or event.key == "space":
            return
        event.stop()
        # Letters typed one after the other are a beginning; one that fits nothing begins anew.
        for typed in (self._typed + character.lower(), character.lower()):
            for option in self._options:
                if option.value.lower().startswith(typed):
                    self._typed = typed
                    self.choose(option.value)
                    return

    def on_click(self) -> None:
        self.action_ask()

    def on_focus(self) -> None:
        self.redraw()

    def on_blur(self) -> None:
        self._typed = ""
        self.redraw()
