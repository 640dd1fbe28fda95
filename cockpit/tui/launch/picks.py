"""The small dialogs of the launch form: pick a value, pick nodes, name a profile, read the plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, NamedTuple

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Static

from cockpit.model.choosing import Candidate
from cockpit.tui.dialogs import GridDialog, content
from cockpit.tui.draw.spans import Line, Span
from cockpit.tui.launch.wording import STANDING
from cockpit.tui.widgets.chooser import Option
from cockpit.tui.widgets.cleaninput import CleanInput
from cockpit.tui.widgets.grid import Cell, Column, Row, RowGrid, cell
from cockpit.tui.widgets.reader import Reader


class OptionDialog(GridDialog["str | None", Option]):
    """All values of a field. Answers the chosen one, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "close", "Close"),
        Binding("enter", "choose", "Take it"),
    ]

    def __init__(self, title: str, options: Sequence[Option], value: str) -> None:
        super().__init__(
            RowGrid(
                (Column("", 16, grow=1), Column("", 16, grow=2, drop=1)),
                lambda option: Row((cell(option.label), cell(option.about, "dim"))),
                lambda option: option.value,
                header=False,
                id="options",
            )
        )
        self._heading = title
        self._options = options
        self._value = value

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(content(f"{self._heading} — enter takes it"), classes="dialog-title")
            yield self._grid

    def on_mount(self) -> None:
        self._grid.styles.height = len(self._options)
        self._grid.show(self._options)
        self._grid.select(self._value)
        self._grid.focus()

    @on(RowGrid.Opened)
    def action_choose(self) -> None:
        option = self._grid.current
        self.dismiss(None if option is None else option.value)

    def action_close(self) -> None:
        self.dismiss(None)


class Picked(NamedTuple):
    """Names of the only nodes that may take part, and of those that shall not."""

    on: tuple[str, ...]
    without: tuple[str, ...]


_WORDS = {"": ("", ""), "on": ("● only on", "ok"), "without": ("✖ not on", "bad")}
_NEXT = {"": "on", "on": "without", "without": ""}


class NodesDialog(GridDialog["Picked | None", Candidate]):
    """The nodes of a cluster as they are now; space says which take part. Answers what was picked,
    or None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "close", "Close"),
        Binding("space", "turn", "Only on, not on, either"),
        Binding("o", "put('on')", "Only on"),
        Binding("x", "put('without')", "Not on"),
        Binding("c", "clear", "Clear"),
        Binding("enter", "take", "Take it"),
    ]

    def __init__(self, cluster: str, known: Sequence[Candidate], picked: Picked) -> None:
        super().__init__(
            RowGrid(
                (
                    Column("NODE", 10, grow=1),
                    Column("TAKES PART", 10),
                    Column("IS", 9),
                    Column("GPUS IDLE", 9, drop=1),
                    Column("", 8, grow=3, drop=2),
                ),
                self._row,
                lambda item: item.name,
                id="candidates",
            )
        )
        self._cluster = cluster
        self._known = known
        self._picked = dict.fromkeys(picked.on, "on") | dict.fromkeys(picked.without, "without")

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(content(f"Nodes of {self._cluster}"), classes="dialog-title")
            yield self._grid
            keys = "space goes on · o only on · x not on · c clears · enter takes it · esc leaves"
            yield Static(content(keys), classes="dialog-keys")

    def on_mount(self) -> None:
        self._grid.styles.height = len(self._known) + 1
        self._grid.show(self._known)
        self._grid.focus()

    def update(self, known: Sequence[Candidate]) -> None:
        """Show how the nodes are now."""
        self._known = known
        self._grid.show(known)

    def _row(self, item: Candidate) -> Row:
        glyph, tone = STANDING[item.standing]
        word, word_tone = _WORDS[self._picked.get(item.name, "")]
        idle = "" if item.gpus is None else f"{item.idle} of {item.gpus}"
        name = f"{item.name} (spare)" if item.spare else item.name
        return Row(
            (
                cell(name),
                cell(word, word_tone),
                Cell((Span(f"{glyph} {item.standing.value}", tone),)),
                cell(idle),
                cell(item.why, "dim"),
            )
        )

    def action_turn(self) -> None:
        item = self._grid.current
        if item is not None:
            self._picked[item.name] = _NEXT[self._picked.get(item.name, "")]
            self._grid.move(1)
            self._grid.redraw()

    def action_put(self, what: str) -> None:
        item = self._grid.current
        if item is not None:
            here = self._picked.get(item.name, "")
            self._picked[item.name] = "" if here == what else what
            self._grid.move(1)
            self._grid.redraw()

    def action_clear(self) -> None:
        self._picked.clear()
        self._grid.redraw()

    @on(RowGrid.Opened)
    def action_take(self) -> None:
        names = [item.name for item in self._known]
        chosen = {
            what: tuple(name for name in names if self._picked.get(name) == what)
            for what in ("on", "without")
        }
        self.dismiss(Picked(**chosen))

    def action_close(self) -> None:
        self.dismiss(None)


class NameDialog(ModalScreen["str | None"]):
    """Asks for the name of a job profile. Answers it, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "close", "Do nothing")]

    def __init__(self, name: str, file: str, taken: Mapping[str, object]) -> None:
        super().__init__()
        self._proposed = name
        self._file = file
        self._taken = taken

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(content("Save as a job profile"), classes="dialog-title")
            yield CleanInput(self._proposed, id="typed", compact=True, select_on_focus=False)
            yield Static("", id="outcome")
            with Horizontal(classes="buttons"):
                yield Button("Do nothing", id="no", compact=True)
                yield Button("Save", id="yes", compact=True)

    def on_mount(self) -> None:
        box = self.query_one(Input)
        box.cursor_blink = False
        box.focus()

    @on(Input.Changed)
    def _typing(self) -> None:
        name = self.query_one(Input).value.strip()
        text = f"[jobs.{name}] in {self._file}" if name else "Type its name."
        if name in self._taken:
            text = f"There is a job profile {name}: in {self._file} it will say this instead."
        self.query_one("#outcome", Static).update(content(text))
        self.query_one("#yes", Button).disabled = not name

    @on(Input.Submitted)
    def _entered(self) -> None:
        name = self.query_one(Input).value.strip()
        if name:
            self.dismiss(name)

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        if event.button.id == "yes":
            self._entered()
        else:
            self.dismiss(None)

    def action_close(self) -> None:
        self.dismiss(None)


class LeaveDialog(ModalScreen["str | None"]):
    """Asks what to do with what was typed: "keep", "discard", or None to stay."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "answer('')", "Stay"),
        Binding("k", "answer('keep')", "Keep it"),
        Binding("d", "answer('discard')", "Discard it"),
        Binding("left,up", "app.focus_previous", show=False),
        Binding("right,down", "app.focus_next", show=False),
    ]

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(content("Leave the form?"), classes="dialog-title")
            yield Static(content("Nothing was started. What is kept stands in the form next time."))
            with Horizontal(classes="buttons"):
                yield Button("Stay", id="stay", compact=True)
                yield Button("Keep it (k)", id="keep", compact=True)
                yield Button("Discard it (d)", id="discard", compact=True)

    def on_mount(self) -> None:
        self.query_one("#stay").focus()

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        self.action_answer("" if event.button.id == "stay" else str(event.button.id))

    def action_answer(self, answer: str) -> None:
        self.dismiss(answer or None)


class ReadDialog(ModalScreen[None]):
    """Lines to scroll through, on nearly all of the screen."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,enter", "close", "Close")]

    def __init__(self, title: str, rows: Sequence[Line]) -> None:
        super().__init__()
        self._heading = title
        self._rows = rows

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(content(self._heading), classes="dialog-title")
            yield Reader(id="read")

    def on_mount(self) -> None:
        reader = self.query_one(Reader)
        reader.show(self._rows)
        reader.focus()

    def action_close(self) -> None:
        self.dismiss(None)
