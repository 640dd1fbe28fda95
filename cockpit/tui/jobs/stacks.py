"""The dialog that shows where every rank is in its code: equal stacks together, the odd one first.

Opened by the app. It asks for the stacks when it opens and whenever `b` is pressed again; of a job
that has ended, and with `s`, it shows those that were kept at the newest stall. It draws what the
report says; grouping and wording are the model's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import ClassVar, NamedTuple

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Static

from cockpit.errors import CockpitError
from cockpit.model.stacks import StackReport
from cockpit.model.stackwords import Owner, locate
from cockpit.model.types import Job
from cockpit.text import count_of
from cockpit.tui.dialogs import GridDialog, content
from cockpit.tui.draw.spans import Span
from cockpit.tui.draw.words import clock_time
from cockpit.tui.errands import start
from cockpit.tui.source import Source
from cockpit.tui.widgets.grid import Cell, Column, Row, RowGrid, cell

WORKER = "stacks"
"""Group of the worker that asks the nodes."""


class StackLine(NamedTuple):
    """A row: the head of a group (or a rank without stacks), or with `function` a frame."""

    key: str
    text: str
    function: str = ""
    tone: str = ""


class StacksDialog(GridDialog[None, StackLine]):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "close", "Close"),
        Binding("b", "take", "Take them again"),
        Binding("s", "recall", "Those of the newest stall"),
    ]

    def __init__(self, job: Job, source: Source) -> None:
        super().__init__(
            RowGrid(
                (Column("", 20, grow=3), Column("", 12, grow=2)),
                _row,
                lambda item: item.key,
                header=False,
                id="stacks",
            )
        )
        self._job = job
        self._source = source

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            live, kept = "b takes the stacks again", "s shows those of the newest stall"
            keys = [live] * (not self._over) + [kept] * self._kept
            title = f"Where is {self._job.name}? — {', '.join((*keys, 'esc closes'))}"
            yield Static(content(title), classes="dialog-title")
            yield Static("", id="summary")
            yield self._grid

    def on_mount(self) -> None:
        self._grid.focus()
        if self._over:
            self.action_recall()
        else:
            self.action_take()

    @property
    def _over(self) -> bool:
        return self._job.state.ended or self._job.seen_at is not None

    @property
    def _kept(self) -> bool:
        return any(stall.stacks or stall.others for stall in self._job.stalls)

    def action_take(self) -> None:
        """Ask the nodes where the ranks are now, beside the screen."""
        if not self._over:
            self._ask(self._source.stacks, f"asking {count_of(len(self._job.nodes), 'node')}…")

    def action_recall(self) -> None:
        """Fetch what was kept at the newest stall."""
        if self._kept:
            self._ask(self._source.kept_stacks, "fetching what was kept at the newest stall…")

    def _ask(self, ask: Callable[[str], Awaitable[StackReport]], text: str) -> None:
        self._say(text)
        work = self._take(ask)
        start(self, work, WORKER, group=WORKER, exclusive=True, failed=self._say)

    async def _take(self, ask: Callable[[str], Awaitable[StackReport]]) -> None:
        try:
            report = await ask(self._job.id)
        except CockpitError as error:
            self._say(f"{error.message}\n{error.hint}" if error.hint else error.message)
            return
        self._say(f"{clock_time(report.taken_at)}  {report.summary}")
        rows = stack_lines(report)
        self._grid.styles.height = min(len(rows), max(self.size.height - 8, 3))
        self._grid.show(rows)

    def _say(self, text: str) -> None:
        self.query_one("#summary", Static).update(content(text))

    def action_close(self) -> None:
        self.dismiss(None)


def stack_lines(report: StackReport) -> list[StackLine]:
    """The report as rows: each group with its frames, then the ranks without stacks."""
    rows: list[StackLine] = []
    for number, group in enumerate(report.groups):
        head = f"{group.listed}: {group.words.long}"
        if group.aside:
            head += f" — {group.aside}"
        rows.append(StackLine(f"g{number}", head, tone="title" if number else "bad"))
        for depth, frame in enumerate(group.stack):
            owner, place = locate(frame.file)
            tone = "strong" if owner is Owner.USER else "dim"
            line = f"  {place}:{frame.line or '?'}"
            rows.append(StackLine(f"g{number}.{depth}", line, frame.function, tone))
    for number, item in enumerate(report.missing):
        rows.append(StackLine(f"m{number}", f"{item.name}: {item.error}", tone="warn"))
    return rows


def _row(item: StackLine) -> Row:
    if not item.function:
        return Row((cell(item.text, item.tone, columns=2),))
    return Row((cell(item.text, item.tone), Cell((Span(item.function, item.tone),))))
