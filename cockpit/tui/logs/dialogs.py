"""The two menus of the log: which streams to show, and to which moment to go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from cockpit.tui.dialogs import content
from cockpit.tui.logs.streams import Offer
from cockpit.tui.widgets.cleaninput import CleanInput
from cockpit.tui.widgets.grid import Column, Row, RowGrid, cell

ROWS = 14
"""Offers in sight at once."""


class ChoiceDialog(ModalScreen["str | None"]):
    """Type to narrow the offers down, or something of one's own; enter answers it, esc None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", "Close"),
        Binding("down", "move(1)", show=False, priority=True),
        Binding("up", "move(-1)", show=False, priority=True),
        Binding("pagedown", "page(1)", show=False, priority=True),
        Binding("pageup", "page(-1)", show=False, priority=True),
    ]

    def __init__(self, title: str, placeholder: str, offers: Sequence[Offer]) -> None:
        super().__init__()
        self._heading = title
        self._offers = offers
        self._box = CleanInput(placeholder=placeholder, compact=True)
        self._box.cursor_blink = False
        self._grid: RowGrid[Offer] = RowGrid(
            (Column("", 18), Column("", 24, grow=1)),
            lambda offer: Row((cell(offer.words, "key"), cell(offer.about))),
            lambda offer: offer.words,
            empty="enter takes what is typed",
            header=False,
        )

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(content(self._heading), classes="dialog-title")
            yield self._box
            yield self._grid

    def on_mount(self) -> None:
        self._grid.can_focus = False
        self._grid.styles.height = min(max(len(self._offers), 1), ROWS)
        self._grid.show(self._offers)
        self._box.focus()

    @property
    def offered(self) -> Sequence[Offer]:
        """What is left of the offers."""
        return self._grid.items

    @on(Input.Changed)
    def _typing(self, event: Input.Changed) -> None:
        event.stop()
        typed = event.value.strip().lower()
        begun = [each for each in self._offers if each.words.lower().startswith(typed)]
        others = [
            each
            for each in self._offers
            if each not in begun and typed in f"{each.words} {each.about}".lower()
        ]
        self._grid.show([*begun, *others])
        self._grid.top()

    @on(Input.Submitted)
    def _entered(self, event: Input.Submitted) -> None:
        event.stop()
        typed = event.value.strip()
        chosen = self._grid.current
        # Several words are never one of the offers, and a whole one is meant as it stands.
        own = chosen is None or " " in typed or "," in typed
        self.dismiss(typed if own or chosen is None else chosen.words)

    @on(RowGrid.Opened)
    def _opened(self, event: RowGrid.Opened) -> None:
        event.stop()
        if self._grid.current is not None:
            self.dismiss(self._grid.current.words)

    def action_move(self, delta: int) -> None:
        self._grid.move(delta)

    def action_page(self, direction: int) -> None:
        self._grid.page(direction)

    def action_close(self) -> None:
        self.dismiss(None)
