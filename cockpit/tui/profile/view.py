"""Profiles: all that is configured, the values in force, and which line of which file says so."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widget import Widget

from cockpit.profiles.checking import KEYS, SECTIONS
from cockpit.text import count_of
from cockpit.tui.draw.spans import Line, Span, line
from cockpit.tui.errands import start
from cockpit.tui.frame import Frame
from cockpit.tui.profile.drawing import (
    ENTRY_COLUMNS,
    VALUE_COLUMNS,
    detail_lines,
    entry_row,
    problem_lines,
    value_row,
)
from cockpit.tui.profile.rows import Entry, ValueRow, entries, key_rows, read_docs, values
from cockpit.tui.view import CockpitView
from cockpit.tui.widgets.grid import RowGrid
from cockpit.tui.widgets.lines import Lines

MOST_PROBLEMS = 5
"""Lines of the panel of problems."""


class ProfilesView(CockpitView):
    def __init__(self, *, id: str) -> None:  # noqa: A002
        super().__init__(id=id)
        self._folded: set[str] = set()
        self._here = ""
        self._docs: Mapping[str, Mapping[str, str]] = {}
        self._title = Lines(id="profiles-title")
        self._tree: RowGrid[Entry] = RowGrid(
            ENTRY_COLUMNS, entry_row, lambda entry: entry.key, header=False, id="profiles-tree"
        )
        self._values: RowGrid[ValueRow] = RowGrid(
            VALUE_COLUMNS,
            lambda row: value_row(row, self._here),
            lambda row: row.key,
            header=False,
            id="profiles-values",
        )
        self._detail = Lines(id="profiles-detail")
        self._problems = Lines(id="profiles-problems")

    def compose(self) -> ComposeResult:
        yield self._title
        with Horizontal(id="profiles-body"):
            yield self._tree
            with Vertical(id="profiles-right"):
                yield self._values
        yield self._detail
        yield self._problems

    def on_mount(self) -> None:
        start(self, self._read_docs(), "reading what the keys mean")

    async def _read_docs(self) -> None:
        self._docs = await asyncio.to_thread(read_docs)
        self._show_values()

    @property
    def panes(self) -> tuple[Widget, ...]:
        return (self._tree, self._values)

    # ------------------------------------------------------------- what actions ask

    @property
    def section(self) -> str:
        entry = self._tree.current
        return entry.section if entry is not None else ""

    @property
    def profile(self) -> str:
        entry = self._tree.current
        return entry.name if entry is not None else ""

    @property
    def key(self) -> str:
        row = self._values.current
        return row.key if row is not None and self._values.has_focus else ""

    def open_selection(self) -> None:
        entry = self._tree.current
        if entry is None:
            return
        if entry.heading:
            self._folded ^= {entry.section}
            self.cockpit.pulse(force=True)
        elif entry.section == KEYS and not self.key:
            self._values.focus()
        else:
            self.cockpit.perform("profile.edit")

    # ---------------------------------------------------------------------- drawing

    def update(self, frame: Frame, job_id: str | None) -> None:  # noqa: ARG002
        cockpit = self.cockpit
        desk = cockpit.source.profiles
        config = cockpit.source.config
        problems = config.warnings if desk is None else desk.problems
        self._here = desk.here if desk is not None else ""
        wanted, cockpit.keeper.wanted = cockpit.keeper.wanted, None
        if wanted is not None:
            self._folded.discard(wanted[0])
        self._tree.show(entries(config, problems, frame.fleet, self._folded))
        if wanted is not None:
            section, name = wanted
            self._tree.select(Entry(section, name).key)
        self._show_values()
        errors = sum(1 for problem in problems if problem.level == "error")
        state = Span(f"✖ {count_of(errors, 'problem')}", "bad") if errors else Span("✔ valid", "ok")
        remark = "the profiles before these errors are in force" if errors else ""
        self._title.show(line(Span(" Profiles ", "title"), state, Span(f"  {remark}", "dim")))
        shown = problem_lines(problems, MOST_PROBLEMS, self._here)
        self._problems.styles.height = len(shown)
        self._problems.display = bool(shown)
        self._problems.show(*shown)

    def _show_values(self) -> None:
        cockpit = self.cockpit
        desk, entry, config = cockpit.source.profiles, self._tree.current, cockpit.source.config
        if entry is None:
            return
        problems = config.warnings if desk is None else desk.problems
        wrong = any(problem.level == "error" for problem in problems)
        # What stands in files with errors is not in force, so it is not shown as if it were.
        written = () if desk is None or wrong else tuple(desk.written)
        if entry.section == KEYS:
            rows = key_rows(config, written, cockpit.actions)
        elif entry.heading:
            rows = []
        else:
            docs = self._docs.get(entry.section, {})
            rows = values(config, written, problems, entry.section, entry.name, docs)
        self._values.show(rows, "" if rows else _nothing(entry))
        self._show_detail()

    def on_row_grid_moved(self, event: RowGrid.Moved) -> None:
        if event.grid is self._tree:
            self._values.top()
            self._show_values()
        else:
            self._show_detail()

    def on_descendant_focus(self) -> None:
        self._show_detail()

    def _show_detail(self) -> None:
        row, entry = self._values.current, self._tree.current
        if self._values.has_focus and row is not None:
            self._detail.show(*detail_lines(row, self._here, short=self._detail.size.height < 2))
        elif entry is not None:
            self._detail.show(
                line(Span(f" {entry.key} ", "title"), Span(entry.remark, "dim")), Line()
            )

    # ----------------------------------------------------------------------- memory

    def memory(self) -> dict[str, Any]:
        return {"folded": sorted(self._folded)}

    def recall(self, memory: dict[str, Any]) -> None:
        folded = memory.get("folded")
        if isinstance(folded, list):
            self._folded = {section for section in folded if section in SECTIONS}


def _nothing(entry: Entry) -> str:
    if not entry.heading:
        return "it is not in force: the files hold errors"
    if not entry.size:
        return f"no {entry.section} yet: a makes the first"
    return "enter folds these away, a makes a new one"
