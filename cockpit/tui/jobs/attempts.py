"""The attempts and generations of a job: as one drawn line, as rows of a table, and one in full.

Pure. A generation is one rendezvous round; its bar is as long as it ran, and behind it stands
what ended it. Where not all fit, the newest do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from cockpit.model.restarts import CANCELLED
from cockpit.model.types import Cause, Generation
from cockpit.text import count_of
from cockpit.tui.draw.spans import Line, Span, cut, width_of
from cockpit.tui.draw.words import cause_line, clock_time, span_of_time, what
from cockpit.tui.widgets.grid import Column, Row, cell

REASONS = {
    "succeeded": ("✔ succeeded", "ok"),
    "membership": ("⇄ nodes came or went", "accent"),
    "cancelled": ("■ cancelled", "warn"),
    "operator": ("↻ restarted by hand", "accent"),
    "stall": ("◇ stalled", "bad"),
}
MARK_WIDTH = 20
"""Cells of what ended a generation, in the line."""

COLUMNS = (
    Column("ATTEMPT", 12),
    Column("FROM", 8, drop=2),
    Column("TO", 8, drop=3),
    Column("FOR", 7, align="right"),
    Column("RANKS", 5, drop=1, align="right"),
    Column("ENDED BY", 16, grow=1),
)


class GenerationItem(NamedTuple):
    """A generation and how long it ran, in whole seconds. `starting`: nothing tells yet that its
    ranks are at work."""

    generation: Generation
    seconds: int
    starting: bool = False


def key_of(generation: Generation) -> str:
    return f"{generation.attempt}.{generation.generation}"


def items_of(
    history: Sequence[Generation], now: float, *, starting: bool = False
) -> list[GenerationItem]:
    """The newest first. `starting`: of the newest that runs."""
    return [
        GenerationItem(
            item,
            int((item.ended_at or now) - item.started_at),
            starting and item is history[-1] and item.ended_at is None,
        )
        for item in reversed(history)
    ]


def ended_by(generation: Generation, *, starting: bool = False) -> tuple[str, str]:
    """What ended a generation, or how it goes on, and its tone."""
    if generation.ended_at is None:
        if generation.cause is not None:
            return f"● runs on; ✖ {cause_line(generation.cause)}", "bad"
        return ("◔ is starting", "busy") if starting else ("● runs", "ok")
    if generation.cause is not None and generation.cause.kind == CANCELLED:
        return f"■ {cause_line(generation.cause)}", "warn"
    if generation.cause is not None:
        return f"✖ {cause_line(generation.cause)}", "bad"
    if generation.reason == "operator" and generation.by:
        return f"↻ restarted by {generation.by}", "accent"
    return REASONS.get(generation.reason, (f"✖ {generation.reason or 'failed'}", "bad"))


def row(item: GenerationItem) -> Row:
    generation = item.generation
    until = "" if generation.ended_at is None else clock_time(generation.ended_at)
    return Row(
        (
            cell(f"{generation.attempt} gen {generation.generation}", "strong"),
            cell(clock_time(generation.started_at)),
            cell(until),
            cell(span_of_time(item.seconds)),
            cell(str(generation.world_size or "--")),
            cell(*ended_by(generation, starting=item.starting)),
        )
    )


# ------------------------------------------------------------------------------ the line


class _Part(NamedTuple):
    label: str
    mark: str
    tone: str
    seconds: float
    running: bool
    chosen: bool

    @property
    def bar(self) -> int:
        """Cells of the shortest bar."""
        return len(self.label) + 4


def drawn(history: Sequence[Generation], width: int, now: float, selected: str = "") -> Line:
    """`├── 0 ──┤✖ n031 Xid 79├── 1 ──▶` in at most `width` cells."""
    if not history:
        return Line((Span(" nothing has started yet", "dim"),))
    several = len({item.attempt for item in history}) < len(history)
    parts = [_part(item, now, several, key_of(item) == selected) for item in history]
    room = width - 1
    hidden = 0
    while True:
        lead = f"⋯{hidden} " if hidden else ""
        marks = _marks(parts, room - len(lead))
        if marks is not None or len(parts) == 1:
            break
        parts = parts[1:]
        hidden += 1
    marks = marks or [""]
    spans = [Span(" "), *([Span(lead, "dim")] if lead else [])]
    fixed = len(lead) + sum(part.bar for part in parts) + sum(map(_cells, marks))
    for part, mark, extra in zip(parts, marks, _shares(parts, room - fixed), strict=True):
        left = extra // 2
        tone = "accent" if part.chosen else "strong"
        spans.append(Span("├" + "─" * left, "dim"))
        spans.append(Span(f"[{part.label}]" if part.chosen else f" {part.label} ", tone))
        end = "▶" if part.running else "┤"
        spans.append(Span("─" * (extra - left) + end, "ok" if part.running else "dim"))
        if mark:
            spans.append(Span(mark, part.tone))
    return Line(tuple(spans))


def _part(item: Generation, now: float, several: bool, chosen: bool) -> _Part:
    text, tone = ended_by(item)
    if item.cause is not None and item.cause.kind != CANCELLED:
        text = f"✖ {_short(item.cause)}"
    running = item.ended_at is None
    return _Part(
        key_of(item) if several else str(item.attempt),
        "" if running else text,
        tone,
        max((item.ended_at or now) - item.started_at, 0.0),
        running,
        chosen,
    )


def _short(cause: Cause) -> str:
    """The node and what happened there, in few words."""
    return " ".join(part for part in (cause.node, cause.label or what(cause)) if part)


def _marks(parts: Sequence[_Part], room: int) -> list[str] | None:
    """The words behind each bar that leave room for all of them: shapes only for the older ones
    if need be; None where there is no room for that either."""
    marks = [_fit(part.mark, MARK_WIDTH) for part in parts]
    need = sum(part.bar for part in parts) + sum(map(_cells, marks))
    for index, part in enumerate(parts):
        if need <= room:
            return marks
        need -= _cells(marks[index])
        marks[index] = part.mark[:1]
        need += _cells(marks[index])
    return marks if need <= room else None


def _fit(text: str, width: int) -> str:
    return text if _cells(text) <= width else cut(text, 0, width - 1) + "…"


def _cells(text: str) -> int:
    return width_of((Span(text),))


def _shares(parts: Sequence[_Part], spare: int) -> list[int]:
    """Spare cells for each bar, by how long it ran."""
    total = sum(part.seconds for part in parts)
    spare = max(spare, 0)
    if total <= 0:
        return [spare // len(parts)] * len(parts)
    return [int(spare * part.seconds / total) for part in parts]


# ------------------------------------------------------------------------- one in full


def in_full(generation: Generation, rows: int) -> tuple[Line, ...]:
    """One generation in at most `rows` lines: its end, what the others saw, its last words."""
    text, tone = ended_by(generation)
    when = clock_time(generation.started_at)
    if generation.ended_at is not None:
        when += f"–{clock_time(generation.ended_at)}"
    head = f" attempt {generation.attempt} gen {generation.generation} "
    lines = [Line((Span(head, "accent"), Span(f"{when} ", "dim"), Span(text, tone)))]
    lines += victims(generation)
    lines += tail(generation.cause, rows - len(lines))
    return tuple(lines[: max(rows, 1)])


def victims(generation: Generation) -> tuple[Line, ...]:
    """What other ranks saw after the first failure, in one line; nothing without them."""
    if not generation.victim_count:
        return ()
    named = "; ".join(
        f"{clock_time(each.at)} {cause_line(each)}" for each in generation.victims[:3]
    )
    head = f" ▸ then {count_of(generation.victim_count, 'other rank')}: "
    return (Line((Span(head, "warn"), Span(named, "dim"))),)


def tail(cause: Cause | None, rows: int) -> tuple[Line, ...]:
    """The last lines that the rank wrote before it died."""
    if cause is None or rows <= 0:
        return ()
    return tuple(Line((Span(" │ ", "bad"), Span(text))) for text in cause.tail[-rows:])
