"""The `:` line at the bottom of the screen: completes, remembers, and says what is wrong.

It knows no actions: its owner says how a line could go on, what it means, and carries it out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Protocol

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.suggester import Suggester
from textual.widgets import Input, Static

from cockpit.errors import UsageError
from cockpit.tui.draw.spans import Span, line
from cockpit.tui.widgets.cleaninput import CleanInput
from cockpit.tui.widgets.lines import Lines

PROMPT = ":"
SHOWN = 8
"""Offers in the line above."""


class Interpreter(Protocol):
    def offers(self, text: str) -> Sequence[str]:
        """Whole lines that `text` could become."""

    def usage(self, text: str) -> str:
        """What `text` would do, "" while it is nothing."""

    def execute(self, text: str) -> None:
        """Do it. Raises UsageError; the line stays open then."""

    def history(self) -> Sequence[str]:
        """Lines that were typed before, oldest first."""


class _Ghost(Suggester):
    def __init__(self, offers: Callable[[str], Sequence[str]]) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self._offers = offers

    async def get_suggestion(self, value: str) -> str | None:
        return next((each for each in self._offers(value) if each.startswith(value)), None)


class _Line(CleanInput):
    """Tab takes the next offer, up and down go through the history."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "complete(1)", show=False, priority=True),
        Binding("shift+tab", "complete(-1)", show=False, priority=True),
        Binding("up,ctrl+p", "recall(-1)", show=False, priority=True),
        Binding("down,ctrl+n", "recall(1)", show=False, priority=True),
    ]

    def __init__(self, interpreter: Interpreter) -> None:
        super().__init__(
            compact=True, select_on_focus=False, suggester=_Ghost(interpreter.offers), id="command"
        )
        self.cursor_blink = False
        self._interpreter = interpreter
        self._offered: Sequence[str] = ()
        self._at = -1
        self._completed = ""
        self._age = 0
        self._typed = ""

    def begin(self, text: str) -> None:
        self._age, self._at, self._completed = 0, -1, ""
        self.value = text
        self.cursor_position = len(text)
        # At once: what is typed right behind the colon belongs here.
        self.screen.set_focus(self)

    def action_complete(self, step: int) -> None:
        if self.value != self._completed or not self._offered:
            self._offered, self._at = list(self._interpreter.offers(self.value)), -1
            if self._offered and self._offered[0] == self.value:
                self._offered = self._offered[1:]
            if step < 0:
                self._at = 0
        if self._offered:
            self._at = (self._at + step) % len(self._offered)
            self.value = self._offered[self._at]
            self._completed = self.value
            self.cursor_position = len(self.value)

    def action_recall(self, step: int) -> None:
        lines = self._interpreter.history()
        if self._age == 0:
            self._typed = self.value
        self._age = min(max(self._age - step, 0), len(lines))
        self.value = lines[-self._age] if self._age else self._typed
        self.cursor_position = len(self.value)


class CommandLine(Vertical):
    """Hidden until it is opened; esc, or an empty line, closes it again."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "close", show=False, priority=True)]

    def __init__(self, interpreter: Interpreter, close: Callable[[], None], *, id: str) -> None:  # noqa: A002
        super().__init__(id=id)
        self._interpreter = interpreter
        self._afterwards = close
        self._hint = Lines(id="command-hint")
        self._line = _Line(interpreter)

    def compose(self) -> ComposeResult:
        yield self._hint
        with Horizontal(id="command-entry"):
            yield Static(PROMPT, id="command-prompt")
            yield self._line

    def on_mount(self) -> None:
        self.display = False

    def open(self, text: str) -> None:
        self.display = True
        self._line.begin(text)
        self._show(text)

    def action_close(self) -> None:
        if self.display:
            self.display = False
            self._afterwards()

    def _show(self, text: str) -> None:
        offers = self._interpreter.offers(text)[:SHOWN]
        usage = self._interpreter.usage(text)
        if (" " not in text.strip() and len(offers) > 1) or not usage:
            words = "  ".join(each.rpartition(" ")[2] for each in offers)
            self._hint.show(line(Span(f" {words}", "dim"), base="bar"))
        else:
            self._hint.show(line(Span(f" {usage}", "dim"), base="bar"))

    @on(Input.Changed)
    def _typing(self, event: Input.Changed) -> None:
        event.stop()
        self._show(event.value)

    @on(Input.Submitted)
    def _entered(self, event: Input.Submitted) -> None:
        event.stop()
        if not event.value.strip().strip(":"):
            self.action_close()
            return
        self.display = False
        try:
            self._interpreter.execute(event.value)
        except UsageError as error:
            self.display = True
            self._line.focus()
            hint = f" — {error.hint}" if error.hint else ""
            self._hint.show(line(Span(f" {error.message}{hint}", "bad"), base="bar"))
        else:
            self._afterwards()

    def on_descendant_blur(self) -> None:
        """A click elsewhere ends it."""
        self.action_close()
