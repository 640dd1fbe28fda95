"""The modal dialogs: confirm an order, watch it being carried out, help. No logic of their own.

They show what `orders` and the actions say. Text from nodes goes in as Content, never as markup.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar, Generic, NamedTuple, TypeVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.events import Key
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Button, Input, Static

from cockpit.text import clean, count_of
from cockpit.tui.actions import Action, View
from cockpit.tui.frame import Frame
from cockpit.tui.orders.wording import Order
from cockpit.tui.widgets.cleaninput import CleanInput
from cockpit.tui.widgets.grid import Column, Row, RowGrid, cell

MOST = 0.94
"""The part of the terminal's rows that a dialog takes at most; as its style says."""
LEAST = 3
"""Rows of what will happen that are shown in any case."""

_Answer = TypeVar("_Answer")
_Row = TypeVar("_Row")


def content(text: str) -> Content:
    """Text as a widget may take it: clean and without markup."""
    return Content("\n".join(clean(part) for part in text.split("\n")))


class FrameDialog(ModalScreen[_Answer], Generic[_Answer]):
    """A dialog that shows the world as it goes on: the app hands it every new frame."""

    def update(self, frame: Frame) -> None:
        raise NotImplementedError


class ConfirmDialog(FrameDialog[bool]):
    """Says what will happen, also when that changes; answers True only for a deliberate yes."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "answer(False)", "Do nothing"),
        Binding("left,up", "app.focus_previous", show=False),
        Binding("right,down", "app.focus_next", show=False),
        Binding("pagedown", "scroll(1)", show=False),
        Binding("pageup", "scroll(-1)", show=False),
    ]

    def __init__(
        self, order: Order, again: Callable[[Frame], Order | None] = lambda _: None
    ) -> None:
        """`again`: the order as a later frame would have it; None leaves what is shown."""
        super().__init__()
        self._order = order
        self._again = again

    def update(self, frame: Frame) -> None:
        self._tell(self._again(frame))

    def _tell(self, order: Order | None) -> None:
        if order is not None and order.text != self._order.text:
            self._order = order
            for text in self.query("#order-text").results(Static):
                text.update(content("\n".join(order.text)))
            self.call_after_refresh(self._fit)

    def compose(self) -> ComposeResult:
        order = self._order
        with Vertical(classes="dialog"):
            yield Static(content(order.title), classes="dialog-title")
            with VerticalScroll(id="what", can_focus=False):
                yield Static(content("\n".join(order.text)), id="order-text")
            yield Static("", id="more")
            yield from self.choices()
            if order.typed:
                yield Static(content(f"Type {order.typed_name}, {order.typed}, to go on:"))
                yield CleanInput(id="typed", compact=True, select_on_focus=False)
            with Horizontal(classes="buttons"):
                yield Button("Do nothing", id="no", compact=True)
                yield Button(
                    order.button,
                    id="yes",
                    variant="error",
                    compact=True,
                    disabled=bool(order.typed),
                )

    def choices(self) -> Iterable[Widget]:
        """What can be chosen before the answer."""
        return ()

    def on_mount(self) -> None:
        for box in self.query(Input):
            box.cursor_blink = False
        self.query_one("#no").focus()
        self.watch(self.query_one("#what"), "scroll_y", self._tell_of_more, init=False)

    def on_resize(self) -> None:
        self.call_after_refresh(self._fit)

    def _fit(self) -> None:
        """What will happen gets every row that the rest of the dialog leaves."""
        if not self.is_attached:
            return
        box, what, more = self.query_one(".dialog"), self._what, self.query_one("#more")
        rest = sum(
            each.outer_size.height + each.styles.margin.bottom
            for each in box.children
            if each.display and each is not what and each is not more
        )
        most = int(self.size.height * MOST) - box.gutter.height
        room = max(most - rest - what.styles.margin.bottom, LEAST)
        text = self.query_one("#order-text").outer_size.height
        more.display = text > room
        what.styles.max_height = room - more.display
        self.call_after_refresh(self._tell_of_more)

    @property
    def _what(self) -> VerticalScroll:
        return self.query_one("#what", VerticalScroll)

    def _tell_of_more(self) -> None:
        """Say that there is more to read than can be seen, and how to come to it."""
        for more in self.query("#more").results(Static):
            below = self._what.max_scroll_y - self._what.scroll_offset.y
            said = f"… {count_of(below, 'more line')}: pgdn" if below > 0 else "that is all; pgup"
            more.update(content(said))

    def on_key(self, event: Key) -> None:
        """Letters go where they are asked for, though the focus starts on the safe answer."""
        box = next(iter(self.query(Input)), None)
        if box is None or box.has_focus or not event.is_printable or event.key == "space":
            return
        event.stop()
        box.focus()
        box.insert_text_at_cursor(event.character or "")

    def _confirmed(self) -> bool:
        return all(box.value.strip() == self._order.typed for box in self.query(Input))

    @on(Input.Changed)
    def _typing(self) -> None:
        self.query_one("#yes", Button).disabled = not self._confirmed()

    @on(Input.Submitted)
    def _entered(self) -> None:
        if self._confirmed():
            self.dismiss(True)

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "yes" and self._confirmed())

    def action_scroll(self, pages: int) -> None:
        """What will happen may be longer than there is room for."""
        what = self._what
        what.scroll_relative(y=pages * max(what.size.height, 1), animate=False)

    def action_answer(self, answer: bool) -> None:
        self.dismiss(answer)


class HelpItem(NamedTuple):
    """A row of the help: an action and why it cannot be done now, or a heading."""

    action: Action | None
    text: str


def help_items(
    actions: Sequence[Action], view: View, reasons: dict[str, str | None]
) -> list[HelpItem]:
    """All actions, those of this view first."""
    here = [action for action in actions if action.views and action.applies(view)]
    everywhere = [action for action in actions if not action.views]
    items = []
    for heading, group in ((f"in {view.value}", here), ("everywhere", everywhere)):
        items.append(HelpItem(None, heading))
        items.extend(HelpItem(action, reasons.get(action.id) or "") for action in group)
    return items


class GridDialog(ModalScreen[_Answer], Generic[_Answer, _Row]):
    """A dialog around one table that the usual keys move through."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "move(1)", show=False),
        Binding("k,up", "move(-1)", show=False),
        Binding("pagedown,ctrl+f", "page(1)", show=False),
        Binding("pageup,ctrl+b", "page(-1)", show=False),
        Binding("g,home", "edge(True)", show=False),
        Binding("G,end", "edge(False)", show=False),
    ]

    def __init__(self, grid: RowGrid[_Row]) -> None:
        super().__init__()
        self._grid = grid

    def action_move(self, delta: int) -> None:
        self._grid.move(delta)

    def action_page(self, direction: int) -> None:
        self._grid.page(direction)

    def action_edge(self, first: bool) -> None:
        if first:
            self._grid.top()
        else:
            self._grid.bottom()


class HelpDialog(GridDialog["str | None", HelpItem]):
    """Every key of this view; enter does it. Answers the action's id, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark", "close", "Close"),
        Binding("enter", "choose", "Do it"),
    ]

    def __init__(self, items: Sequence[HelpItem]) -> None:
        super().__init__(
            RowGrid(
                (Column("KEYS", 12), Column("", 24, grow=2), Column("", 16, grow=1, drop=1)),
                self._row,
                lambda item: item.action.id if item.action else item.text,
                header=False,
                id="help",
            )
        )
        self._items = items

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(content("Keys — enter does it, esc closes"), classes="dialog-title")
            yield self._grid

    def on_mount(self) -> None:
        self._grid.styles.height = len(self._items)
        self._grid.show(self._items)
        self._grid.move(1)
        self._grid.focus()

    def _row(self, item: HelpItem) -> Row:
        if item.action is None:
            return Row((cell(item.text, "title", columns=3),))
        mark = "warn" if item.action.dangerous else ""
        return Row(
            (
                cell(
                    item.action.key_text,
                    "dim" if item.text else mark or "key",
                ),
                cell(item.action.title, "dim" if item.text else mark),
                cell(item.text, "dim"),
            )
        )

    @on(RowGrid.Opened)
    def action_choose(self) -> None:
        item = self._grid.current
        if item is not None and item.action is not None:
            self.dismiss(item.action.id)

    def action_close(self) -> None:
        self.dismiss(None)
