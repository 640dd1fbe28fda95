"""Dialogs of the Profiles view: what kind of profile, how a cluster answers, its host keys.

They ask the desk in workers and show what it says; closing one stops nothing on any node.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Static
from textual.worker import Worker, WorkerState

from cockpit.errors import CockpitError
from cockpit.model.doctor import Finding, Level, Report
from cockpit.model.types import Node
from cockpit.profiles import Cluster
from cockpit.profiles.checking import SECTIONS
from cockpit.text import count_of
from cockpit.tui.dialogs import FrameDialog, GridDialog, content
from cockpit.tui.draw.spans import line, plain
from cockpit.tui.draw.words import LEVEL, LINK
from cockpit.tui.frame import Frame
from cockpit.tui.profile.desk import FoundKey, ProfileDesk
from cockpit.tui.profile.rows import SINGULAR
from cockpit.tui.widgets.grid import MARKER, Column, Row, RowGrid, cell, widths_for
from cockpit.tui.widgets.reader import wrapped

KINDS = {
    "clusters": "nodes, and how to reach them",
    "launchers": "how worker processes are started on a node",
    "jobs": "what to run",
    "rules": "a pattern that names the cause of a failure",
}

KEY_STATE = {
    "known": ("✔", "ok"),
    "new": ("◇", "warn"),
    "changed": ("✖", "bad"),
    "unreachable": ("?", "stale"),
}


class KindDialog(GridDialog["str | None", str]):
    """Which kind of profile shall be made. Answers its section, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "close", "Close"),
        Binding("enter", "choose", "This one"),
    ]

    def __init__(self, first: str) -> None:
        super().__init__(
            RowGrid(
                (Column("", 10), Column("", 24, grow=1)),
                lambda section: Row((cell(SINGULAR[section]), cell(KINDS[section], "dim"))),
                str,
                header=False,
            )
        )
        self._first = first

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(content("A new… — enter takes it, esc closes"), classes="dialog-title")
            yield self._grid

    def on_mount(self) -> None:
        self._grid.styles.height = len(SECTIONS)
        self._grid.show(list(SECTIONS))
        self._grid.select(self._first)
        self._grid.focus()

    @on(RowGrid.Opened)
    def action_choose(self) -> None:
        self.dismiss(self._grid.current)

    def action_close(self) -> None:
        self.dismiss(None)


TEST_COLUMNS = (Column("NODE", 10, grow=1), Column("", 2), Column("", 30, grow=4))


class NodeLine(NamedTuple):
    """A node of the tested cluster, or something that was found on it."""

    node: str
    mark: str
    tone: str
    text: str
    key: str


def node_lines(cluster: Cluster, nodes: Sequence[Node], report: Report | None) -> list[NodeLine]:
    """What is known of each node of a cluster while it is tested, and thereafter. Pure."""
    known = {node.name: node for node in nodes if node.cluster == cluster.name}
    lines = []
    for spec in (*cluster.nodes, *cluster.spares):
        node = known.get(spec.name)
        mark, tone, text = "◌", "busy", "not asked yet"
        if node is not None:
            mark, tone = LINK[node.link.state]
            why = f": {node.link.why}" if node.link.why else ""
            text = f"{node.link.state.value}{why}"
        found: list[Finding] = []
        if report is not None:
            found = [f for f in report.findings if f.node == spec.name and f.level is not Level.OK]
            sound = sum(1 for f in report.findings if f.node == spec.name) - len(found)
            text = f"{text}, {count_of(sound, 'check')} passed"
        lines.append(NodeLine(spec.name, mark, tone, text, spec.name))
        for number, item in enumerate(found):
            sign, colour = LEVEL[item.level]
            words = f"{item.check}: {item.message}" + (f" — {item.hint}" if item.hint else "")
            lines.append(NodeLine("", sign, colour, words, f"{spec.name}/{number}"))
    return lines


def folded(lines: Sequence[NodeLine], width: int) -> list[NodeLine]:
    """The same with no text wider than `width` cells: the rest stands in rows of its own. Pure."""
    rows: list[NodeLine] = []
    for each in lines:
        first, *more = wrapped([line(each.text)], width)
        rows.append(each._replace(text=plain(first.spans)))
        rows += [
            NodeLine("", "", each.tone, plain(part.spans), f"{each.key}~{number}")
            for number, part in enumerate(more)
        ]
    return rows


class TestDialog(FrameDialog[None]):
    """Connects to the nodes of a cluster and has each looked at."""

    __test__ = False  # for pytest: not a test

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,q", "close", "Close"),
        Binding("j,down", "move(1)", show=False),
        Binding("k,up", "move(-1)", show=False),
    ]

    def __init__(self, desk: ProfileDesk, cluster: Cluster, frame: Frame) -> None:
        super().__init__()
        self._desk = desk
        self._cluster = cluster
        self._frame = frame
        self._report: Report | None = None
        self._grid: RowGrid[NodeLine] = RowGrid(
            TEST_COLUMNS,
            lambda row: Row((cell(row.node), cell(row.mark, row.tone), cell(row.text, row.tone))),
            lambda row: row.key,
        )
        self._outcome = Static("", id="outcome")

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            title = f"Connect test of {self._cluster.name}"
            yield Static(content(title), classes="dialog-title")
            yield self._grid
            yield self._outcome
            with Horizontal(classes="buttons"):
                yield Button("Close", id="close", compact=True)

    def on_mount(self) -> None:
        self._outcome.update(content("asking the nodes…"))
        self.update(self._frame)
        self.query_one("#close").focus()
        self.run_worker(self._ask(), "connect test", exit_on_error=False)

    async def _ask(self) -> None:
        try:
            self._report = await self._desk.test(self._cluster.name)
        except CockpitError as error:
            self._outcome.update(content(f"{error.message}\n{error.hint}".strip()))
            return
        bad = sum(1 for item in self._report.findings if item.level is Level.CRIT)
        warnings = sum(1 for item in self._report.findings if item.level is Level.WARN)
        total = len(self._cluster.nodes) + len(self._cluster.spares)
        words = [count_of(bad, "error"), count_of(warnings, "warning")]
        self._outcome.update(content(f"{count_of(total, 'node')} asked: {', '.join(words)}"))
        self.update(self._frame)

    @on(Worker.StateChanged)
    def _broken(self, event: Worker.StateChanged) -> None:
        if event.state is WorkerState.ERROR:
            error = event.worker.error
            self._outcome.update(content(f"{type(error).__name__}: {error}"))

    def update(self, frame: Frame) -> None:
        self._frame = frame
        width = self._grid.size.width or self.size.width
        room = widths_for(TEST_COLUMNS, width - len(MARKER))[-1]
        rows = folded(node_lines(self._cluster, frame.fleet.nodes, self._report), room)
        self._grid.styles.height = min(len(rows), 16) + 1
        self._grid.show(rows)

    def on_resize(self) -> None:
        self.call_after_refresh(lambda: self.update(self._frame))

    def action_close(self) -> None:
        self.dismiss(None)

    def action_move(self, delta: int) -> None:
        self._grid.move(delta)

    @on(Button.Pressed)
    def _pressed(self) -> None:
        self.dismiss(None)


class TrustDialog(ModalScreen[None]):
    """Shows the host keys of a cluster and remembers the new ones after a yes."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "close", "Close"),
        Binding("j,down", "move(1)", show=False),
        Binding("k,up", "move(-1)", show=False),
        Binding("left", "app.focus_previous", show=False),
        Binding("right", "app.focus_next", show=False),
    ]

    def __init__(self, desk: ProfileDesk, cluster: str) -> None:
        super().__init__()
        self._desk = desk
        self._cluster = cluster
        self._keys: Sequence[FoundKey] = ()
        self._grid: RowGrid[FoundKey] = RowGrid(
            (
                Column("NODE", 12, grow=1),
                Column("", 13),
                Column("FINGERPRINT", 50),
                Column("KEY", 12, drop=1),
                Column("ADDRESS", 16, grow=1, drop=2),
            ),
            _key_row,
            lambda key: f"{key.node}/{key.address}",
        )
        self._outcome = Static("", id="outcome")

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(content(f"Host keys of {self._cluster}"), classes="dialog-title")
            yield self._grid
            yield self._outcome
            with Horizontal(classes="buttons"):
                yield Button("Do nothing", id="no", compact=True)
                yield Button("Remember", id="yes", compact=True, disabled=True)

    def on_mount(self) -> None:
        self._grid.styles.height = 2
        self._grid.show((), "asking the nodes for their keys…")
        self.query_one("#no").focus()
        self.run_worker(self._scan(""), "host keys", exit_on_error=False)

    @property
    def _new(self) -> list[FoundKey]:
        return [key for key in self._keys if key.state == "new"]

    async def _scan(self, before: str) -> None:
        try:
            self._keys = await self._desk.host_keys(self._cluster)
        except CockpitError as error:
            self._say(f"{error.message}\n{error.hint}")
            return
        self._grid.styles.height = min(len(self._keys), 14) + 1
        self._grid.show(self._keys, "it has no nodes")
        button = self.query_one("#yes", Button)
        button.disabled = not self._new
        button.label = f"Remember {count_of(len(self._new), 'key')}" if self._new else "Remember"
        self._say(f"{before}\n{advice(self._keys)}")

    async def _remember(self) -> None:
        try:
            done = await self._desk.trust(self._cluster, self._new)
        except CockpitError as error:
            self._say(f"{error.message}\n{error.hint}")
            return
        # What was behind a jump host can be asked now.
        await self._scan("; ".join(done))

    def _say(self, text: str) -> None:
        self._outcome.update(content(text.strip()))

    @on(Worker.StateChanged)
    def _broken(self, event: Worker.StateChanged) -> None:
        if event.state is WorkerState.ERROR:
            self._say(f"{type(event.worker.error).__name__}: {event.worker.error}")

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        if event.button.id != "yes":
            self.dismiss(None)
            return
        event.button.disabled = True
        self.query_one("#no").focus()
        self.run_worker(self._remember(), "trust", exit_on_error=False)

    def action_close(self) -> None:
        self.dismiss(None)

    def action_move(self, delta: int) -> None:
        self._grid.move(delta)


def _key_row(key: FoundKey) -> Row:
    mark, tone = KEY_STATE.get(key.state, ("?", "stale"))
    shown = key.fingerprint or key.error
    return Row(
        (
            cell(key.node),
            cell(f"{mark} {key.state}", tone),
            cell(shown, "" if key.fingerprint else "dim"),
            cell(key.kind, "dim"),
            cell(key.address, "dim"),
        )
    )


def advice(keys: Sequence[FoundKey]) -> str:
    """What to make of these keys. Pure."""
    lines = [
        f"{key.node}: its host key CHANGED; {key.file or 'known_hosts'} has "
        f"{', '.join(key.known) or 'another one'}. Someone may be between you and it, or it was set"
        " up anew. Ask its owner; then remove the old line yourself."
        for key in keys
        if key.state == "changed"
    ]
    new = sum(1 for key in keys if key.state == "new")
    if new:
        lines.append(
            f"{count_of(new, 'key')} nobody here has seen yet: compare with what the machine's"
            " owner tells you."
        )
    elif not lines and keys and all(key.state == "known" for key in keys):
        lines.append("Every key is known already.")
    return "\n".join(lines)
