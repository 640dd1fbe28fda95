"""The dialog over the form while a launch is carried out: what it says, and why it failed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Static

from cockpit.tui.dialogs import content
from cockpit.tui.draw.spans import Line, Span, line
from cockpit.tui.widgets.reader import Reader


class LaunchProgress(ModalScreen[None]):
    """Closing it while the start goes on stops nothing; giving up does."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", "Close"),
        Binding("g", "give_up", "Give the start up"),
        Binding("n", "renew", "Launch with what is there now"),
        Binding("left,up", "app.focus_previous", show=False),
        Binding("right,down", "app.focus_next", show=False),
    ]

    def __init__(self, title: str, give_up: Callable[[], None]) -> None:
        super().__init__()
        self._heading = title
        self._give_up = give_up
        self._rows: list[Line] = []
        self._composed = False
        self.failed = False
        self._renew: Callable[[], None] | None = None

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(content(self._heading), classes="dialog-title")
            yield Reader(id="said")
            with Horizontal(classes="buttons"):
                yield Button("Give up (g)", id="stop", compact=True)
                yield Button("Launch with what is there now (n)", id="renew", compact=True)
                yield Button("Close (it goes on)", id="close", compact=True)

    def on_mount(self) -> None:
        self._composed = True
        self.query_one("#close").focus()
        self._draw()

    def hear(self, text: str) -> None:
        """A line about the progress."""
        self._rows.append(line(text))
        self._draw()

    def fail(self, rows: Sequence[Line], renew: Callable[[], None] | None = None) -> None:
        """It was not started; why. `renew`: starts it with the folder as it is now, if that would
        help."""
        self.failed = True
        self._renew = renew
        self._rows.extend(rows)
        self._draw()

    def _draw(self) -> None:
        # It may say something, or be over, before the dialog is there or after it was closed.
        if not self._composed or not self.is_attached:
            return
        reader = self.query_one(Reader)
        rows = self._rows or [line(Span("waiting for the nodes…", "dim"))]
        reader.styles.height = min(len(rows) + 2, max(self.size.height - 6, 3))
        reader.show(rows)
        reader.bottom()
        self.query_one("#stop", Button).display = not self.failed
        self.query_one("#renew", Button).display = self._renew is not None
        label = "Back to the form" if self.failed else "Close (it goes on)"
        self.query_one("#close", Button).label = label

    def action_give_up(self) -> None:
        if not self.failed:
            self._give_up()

    def action_renew(self) -> None:
        if self._renew is not None:
            self.dismiss(None)
            self._renew()

    def action_close(self) -> None:
        self.dismiss(None)

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        if event.button.id == "stop":
            self.action_give_up()
        elif event.button.id == "renew":
            self.action_renew()
        else:
            self.dismiss(None)
