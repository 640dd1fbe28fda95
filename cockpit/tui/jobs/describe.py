"""Everything that is known of a job, as lines: what runs, with which environment, where, and how.

The values of variables that look like a secret are masked, and those of declared secrets are not
known here at all.
"""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Iterator, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Static

from cockpit.model.checkpoints import words as checkpoint_words
from cockpit.model.restarts import restarts_text
from cockpit.model.types import Job, JobNode
from cockpit.protocol.records import JobRecord
from cockpit.protocol.secretref import SecretRef
from cockpit.text import clean, count_of
from cockpit.tui.dialogs import GridDialog, content
from cockpit.tui.draw.spans import Line, Span, line, width_of
from cockpit.tui.draw.words import COMMAND, cause_line, ranks_of, size_of, span_of_time
from cockpit.tui.jobs.joblist import command_of, flags_of
from cockpit.tui.orders.wording import numbers
from cockpit.tui.widgets.grid import MARKER, Cell, Column, Row, RowGrid
from cockpit.tui.widgets.reader import wrapped

_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL|AUTH|COOKIE", re.IGNORECASE)
MASK = "••••••"
LABEL = 13
"""Cells of the words at the left."""
LEAST = 20
"""Cells that must be left beside them to fold a line there."""


class DescribeDialog(GridDialog[None, "tuple[int, Line]"]):
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,d,enter", "close", "Close")]

    def __init__(self, name: str, rows: Sequence[Line]) -> None:
        super().__init__(
            RowGrid(
                (Column("", 20, grow=1),),
                lambda item: Row((Cell(item[1].spans),)),
                lambda item: str(item[0]),
                header=False,
                id="describe",
            )
        )
        self._subject = name
        self._lines = rows

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(content(f"{self._subject} — esc closes"), classes="dialog-title")
            yield self._grid

    def on_mount(self) -> None:
        self._show()
        self._grid.focus()

    def on_resize(self) -> None:
        self.call_after_refresh(self._show)

    def _show(self) -> None:
        """What is wider than the dialog goes on in the next row, behind the words at the left."""
        width = (self._grid.size.width or self.size.width) - len(MARKER)
        rows = [row for each in self._lines for row in folded(each, width)]
        self._grid.styles.height = min(len(rows), max(self.size.height - 6, 3))
        self._grid.show(list(enumerate(rows)))

    def action_close(self) -> None:
        self.dismiss(None)


def folded(row: Line, width: int) -> list[Line]:
    """One line in as many as it needs, each `width` cells at most."""
    if width_of(row.spans) <= width:
        return [row]
    label, *rest = row.spans
    indent = width_of((label,))
    if not rest or width - indent < LEAST:
        return wrapped([row], width)
    first, *more = wrapped([Line(tuple(rest))], width - indent)
    blank = Span(" " * indent)
    return [Line((label, *first.spans)), *(Line((blank, *each.spans)) for each in more)]


def lines(job: Job, record: JobRecord | None, now: float) -> tuple[Line, ...]:
    """What is known, part by part. `record` is what was asked to be run, None where unknown."""
    rows = [*_who(job, now), *_what(job, record)]
    if record is not None:
        rows += [*_plan(record), *_code(record), *_environment(record)]
    rows += [*_nodes(job)]
    return tuple(rows)


def _row(label: str, *parts: str | Span) -> Line:
    return line(Span(f"{label:<{LABEL}}", "dim"), *parts)


def _title(text: str) -> Line:
    return line(Span(text, "title"))


def moment(at: float | None) -> str:
    """Local date and time; "--" for a time that is unknown or cannot be."""
    try:
        return "--" if at is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
    except (OverflowError, ValueError, OSError):
        return "--"


def _who(job: Job, now: float) -> Iterator[Line]:
    yield _row("id", job.id)
    flags = [part for flag in flags_of(job) for part in (Span("  "), flag.span)]
    yield _row("state", job.state.value, *flags)
    if job.seen_at is not None:
        yield _row("last seen", Span(f"{span_of_time(now - job.seen_at)} ago", "stale"))
    yield _row("launched", f"{moment(job.created_at)} by {job.created_by}")
    yield _row("started", moment(job.started_at))
    if job.ended_at is not None:
        code = "" if job.exit_code is None else f", exit code {job.exit_code}"
        yield _row("ended", moment(job.ended_at) + code)
    if job.cancelled_by:
        yield _row("cancelled by", job.cancelled_by)
    if job.cause is not None:
        yield _row("first cause", Span(cause_line(job.cause), "bad"))
    yield _row("restarts", restarts_text(job))
    if job.finished is not None:
        yield _row("finished", "it said that it finished" if job.finished else "it did not say so")
    if job.no_beats:
        yield _row("beats", f"none: {job.no_beats}")
    yield _row("checkpoints", "can be asked for" if job.can_checkpoint else "cannot be asked for")
    if job.checkpoint is not None:
        yield _row("last asked for", checkpoint_words(job.checkpoint))


def _what(job: Job, record: JobRecord | None) -> Iterator[Line]:
    yield _title("what runs")
    yield _row("command", command_of(job))
    if record is not None:
        yield _row("argv", clean(shlex.join(record.argv)))
        yield _row("folder", clean(record.working_dir))


def _plan(record: JobRecord) -> Iterator[Line]:
    yield _title("plan")
    yield _row("launcher", clean(f"{record.launcher} ({record.kind}) on {record.cluster}"))
    span = (
        count_of(record.min_nodes, "node")
        if record.min_nodes == record.max_nodes
        else f"{record.min_nodes} to {record.max_nodes} nodes"
    )
    number = record.nproc_per_node
    ranks = count_of(number, "rank") if isinstance(number, int) else f"{number} ranks"
    yield _row("nodes", span if record.kind == COMMAND else f"{span}, {ranks} on each")
    yield _row("restarts", f"at most {record.max_restarts} an attempt")
    yield _row("grace", f"{record.grace:g} s between SIGTERM and SIGKILL")
    if record.log_limit:
        yield _row("log limit", f"{size_of(record.log_limit)} a stream")
    if record.files:
        yield _row("files", clean(", ".join(sorted(record.files))))
    if record.finished_flag:
        yield _row("flag", clean(record.finished_flag))


def _code(record: JobRecord) -> Iterator[Line]:
    if record.code is None:
        yield _row("code", "not packed: the nodes see the folder by themselves")
        return
    files = count_of(record.code.files, "file")
    yield _row("code", f"{clean(record.code.digest)} ({size_of(record.code.size)}, {files})")


def _environment(record: JobRecord) -> Iterator[Line]:
    if not record.env and not record.secrets:
        return
    yield _title("environment")
    for name, value in sorted(record.env.items()):
        shown = MASK if _SECRET.search(name) else clean(value)
        yield line(Span(f"{clean(name)}=", "dim"), shown)
    for name, secret in sorted(record.secrets.items()):
        yield line(Span(f"{clean(name)}=", "dim"), MASK, Span(f"  {_origin(secret)}", "dim"))


def _origin(secret: SecretRef) -> str:
    if secret.env:
        return f"from ${clean(secret.env)} of the controller"
    return "from a command on the controller" if secret.cmd else "from the controller"


def _nodes(job: Job) -> Iterator[Line]:
    ranks = f", {count_of(ranks_of(job), 'rank')}" if ranks_of(job) else ""
    yield _title(f"{count_of(len(job.nodes), 'node')}{ranks}")
    for node in job.nodes:
        yield _row(f"{node.node_rank} {node.name}", _place(node))


def _place(node: JobNode) -> str:
    parts = [f"{node.state.value}", f"ssh {node.host}", f"traffic {node.addr}"]
    if node.ranks:
        parts.append(f"ranks {numbers([rank.rank for rank in node.ranks])}")
    if node.pid is not None:
        parts.append(f"pid {node.pid}")
    return ", ".join(parts)
