"""The fields of the launch form: what each is called, and the widgets that hold them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rich.text import Text
from textual.app import ComposeResult
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Input, TextArea

from cockpit.profiles.types import Config
from cockpit.text import clean
from cockpit.tui.draw.spans import Line, Span, line
from cockpit.tui.launch import drafts
from cockpit.tui.launch.pad import Draft, Trouble
from cockpit.tui.launch.wording import trouble_line
from cockpit.tui.widgets.chooser import Chooser, Option
from cockpit.tui.widgets.cleanarea import CleanArea
from cockpit.tui.widgets.cleaninput import CleanInput
from cockpit.tui.widgets.lines import LineWidget
from cockpit.tui.widgets.reader import wrapped

LABEL = 16
"""Cells of a label."""
MAX_ROWS = 3
"""Rows of what stands under a field."""


class Field(NamedTuple):
    """`name`: of the Draft; `kind`: text | choice | lines."""

    name: str
    label: str
    kind: str = "text"


FIELDS = (
    Field("job", "job profile", "choice"),
    Field("cluster", "cluster", "choice"),
    Field("launcher", "launcher", "choice"),
    Field("nodes", "nodes"),
    Field("on", "  only on"),
    Field("without", "  not on"),
    Field("spares", "  spares", "choice"),
    Field("nproc_per_node", "ranks a node"),
    Field("kind", "what", "choice"),
    Field("target", "  to run"),
    Field("args", "  arguments"),
    Field("env", "environment", "lines"),
    Field("name", "name"),
    Field("working_dir", "working dir"),
    Field("max_restarts", "restarts"),
)

_KINDS = (
    Option("script", "script", "a Python file"),
    Option("module", "module", "as behind python -m"),
    Option("command", "command", "any program, as it is"),
)
_SPARES = (
    Option("", "stay in reserve", "no job starts on them"),
    Option("yes", "may take part", "behind the nodes of the cluster"),
)


def options(draft: Draft, config: Config) -> dict[str, tuple[Option, ...]]:
    """What can be chosen, by the field."""
    base = config.jobs.get(draft.job)
    cluster, launcher = ("local", "torchrun") if base is None else (base.cluster, base.launcher)
    return {
        "job": (
            Option("", "none, from scratch"),
            *(Option(name, name, _runs(config, name)) for name in config.jobs),
        ),
        "cluster": (
            Option("", cluster, "what the job profile says, or this machine"),
            *(Option(n, n, f"{len(c.nodes)} nodes") for n, c in config.clusters.items()),
        ),
        "launcher": (
            Option("", launcher, "what the job profile says, or torchrun"),
            *(Option(n, n, item.kind) for n, item in config.launchers.items()),
        ),
        "kind": (
            Option("", drafts.kind_of(base), "what the job profile runs, or a script"),
            *_KINDS,
        ),
        "spares": _SPARES,
    }


def _runs(config: Config, name: str) -> str:
    job = config.jobs[name]
    return f"{job.script or job.module or ' '.join(job.command or ())} on {job.cluster}"


class VariableArea(CleanArea):
    """K=V lines; what looks secret is shown as stars. Up and down leave it at its edges."""

    def get_line(self, line_index: int) -> Text:
        return Text(drafts.masked(self.document.get_line(line_index)), end="", no_wrap=True)

    def action_cursor_up(self, select: bool = False) -> None:
        if not select and self.cursor_location[0] == 0:
            self.screen.focus_previous()
        else:
            super().action_cursor_up(select)

    def action_cursor_down(self, select: bool = False) -> None:
        if not select and self.cursor_location[0] == self.document.line_count - 1:
            self.screen.focus_next()
        else:
            super().action_cursor_down(select)


class FieldRow(LineWidget):
    """A label, what is typed, and under it what is wrong with it or worth knowing.

    Label and note are its own lines; the entry is its only child and lies on top of them.
    """

    def __init__(self, field: Field, value: str, choices: Sequence[Option]) -> None:
        super().__init__(id=f"field-{field.name}", classes="launch-field")
        self.field = field
        self._note: Line | None = None
        self._trouble: Trouble | None = None
        self._height = 3 if field.kind == "lines" else 1
        self.entry: Widget
        if field.kind == "choice":
            self.entry = Chooser(choices, value, id=field.name)
        elif field.kind == "lines":
            self.entry = VariableArea(
                value, id=field.name, compact=True, soft_wrap=False, highlight_cursor_line=False
            )
            self.entry.cursor_blink = False
        else:
            self.entry = CleanInput(value, id=field.name, compact=True, select_on_focus=False)
            self.entry.cursor_blink = False
        self.styles.height = self._height

    def compose(self) -> ComposeResult:
        yield self.entry

    @property
    def value(self) -> str:
        if isinstance(self.entry, TextArea):
            return self.entry.text
        assert isinstance(self.entry, (Input, Chooser))
        return self.entry.value

    def put(self, value: str) -> None:
        """Replace what is typed."""
        if isinstance(self.entry, TextArea):
            self.entry.load_text(value)
        elif isinstance(self.entry, (Input, Chooser)):
            self.entry.value = value

    def offer(self, choices: Sequence[Option]) -> None:
        if isinstance(self.entry, Chooser):
            self.entry.offer(choices)

    def suggest(self, text: str) -> None:
        """What holds while nothing is typed."""
        if isinstance(self.entry, Input):
            self.entry.placeholder = text
        elif isinstance(self.entry, TextArea):
            self.entry.placeholder = Content(clean(text))

    def tell(self, note: Line | None) -> None:
        """Show a note where nothing is wrong."""
        if note != self._note:
            self._note = note
            self._draw()

    def blame(self, trouble: Trouble | None) -> None:
        """Show what is wrong, or that nothing is."""
        if trouble != self._trouble:
            self._trouble = trouble
            self._draw()

    def lines(self, width: int, height: int) -> Sequence[Line]:  # noqa: ARG002
        wrong = self._trouble is not None
        tone = "bad" if wrong else "title"
        label = line(Span("✖ " if wrong else "  ", tone), Span(self.field.label, tone))
        return [label, *[Line()] * (self._height - 1), *self._below(width)]

    def _below(self, width: int) -> list[Line]:
        """The rows under the entry, for `width` cells in all."""
        shown = trouble_line(self._trouble) if self._trouble is not None else self._note
        if shown is None:
            return []
        rows = wrapped([shown], max(width - LABEL, 10))[:MAX_ROWS]
        return [Line((Span(" " * LABEL), *row.spans)) for row in rows]

    def _draw(self) -> None:
        self.styles.height = self._height + len(self._below(self.size.width))
        self.redraw()

    def on_resize(self) -> None:
        self._draw()


def collect(rows: Mapping[str, FieldRow]) -> Draft:
    """What stands in the fields."""
    values = {name: row.value for name, row in rows.items()}
    spares = values.pop("spares") == "yes"
    return Draft(**values, spares=spares)


def text_of(draft: Draft, name: str) -> str:
    """What a field shows of a draft."""
    if name == "spares":
        return "yes" if draft.spares else ""
    return str(getattr(draft, name))
