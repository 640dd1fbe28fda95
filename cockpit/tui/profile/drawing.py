"""How the rows of the Profiles view look. Pure; every state differs by its shape, too."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cockpit.errors import Problem
from cockpit.text import count_of
from cockpit.tui.draw.spans import Line, Span, line
from cockpit.tui.places import place, short
from cockpit.tui.profile.rows import Entry, ValueRow
from cockpit.tui.widgets.grid import Cell, Column, Row, cell

ENTRY_COLUMNS = (Column("", 16, grow=1), Column("", 5, align="right"))
VALUE_COLUMNS = (
    Column("", 20, grow=1),
    Column("", 12, grow=3),
    Column("", 26, grow=1, drop=1),
)


def entry_row(entry: Entry) -> Row:
    marks = Span(f" ✖{entry.problems}", "bad") if entry.problems else Span("")
    if entry.heading:
        sign = "▸" if entry.folded else "▾"
        return Row(
            (Cell((Span(f"{sign} {entry.section}", "strong"), marks)), cell(str(entry.size), "dim"))
        )
    if entry.online is None:
        indent = "  " if entry.name else ""
        return Row((Cell((Span(f"{indent}  {entry.name or entry.section}"), marks)), cell()))
    up, total = entry.online
    glyph, tone = _reached(entry, up, total)
    figure = str(total) if up == total else f"{up}/{total}"
    return Row(
        (
            Cell((Span("  "), Span(f"{glyph} ", tone), Span(entry.name), marks)),
            cell(figure if total else "", tone if up != total else "dim"),
        )
    )


def _reached(entry: Entry, up: int, total: int) -> tuple[str, str]:
    """How much of a cluster can be reached; bad only where nothing is left to hope for."""
    if not total:
        return "○", "dim"
    if up == total:
        return "●", "ok"
    if entry.connecting:
        return "◌", "busy"
    return ("◐", "warn") if up else ("✖", "bad")


def value_row(row: ValueRow, here: str) -> Row:
    """Defaults are dim, and say that they are some. `here`: the folder that paths are seen from."""
    tone = "dim" if row.default else ""
    name = row.key.split(".", 1)[1] if row.depth else row.key
    label = Span("  " * row.depth + name, tone or "strong")
    text = Span(row.text, "bad" if row.problem else tone)
    value = Cell((Span("✖ ", "bad"), text)) if row.problem else Cell((text,))
    return Row((Cell((label,)), value, Cell(source_spans(row, here))))


def source_spans(row: ValueRow, here: str) -> tuple[Span, ...]:
    """The place that set it; then what it overrides."""
    if row.default:
        return (Span("default", "dim"),)
    winner, *others = row.sources
    spans = [Span(place(winner, here))]
    if others:
        spans.append(
            Span(f" overrides {', '.join(place(other, here) for other in others)}", "warn")
        )
    return tuple(spans)


def detail_lines(row: ValueRow, here: str, *, short: bool) -> list[Line]:
    """A value in full. `short`: there is a single line, and no column says where it was set."""
    key, source = Span(f" {row.key} ", "title"), source_spans(row, here)
    if row.problem:
        text = Span(row.problem, "bad")
        return [line(key, text), line(Span(" "), *source, Span(f"  {row.text}", "dim"))]
    if short:
        return [line(key, *source, Span(f"  {row.doc}", "dim"))]
    return [line(key, row.doc), line(Span(" "), *source, Span(f"  {row.text}", "dim"))]


def problem_lines(problems: Sequence[Problem], most: int, here: str) -> list[Line]:
    """A line each, errors first; the last one counts what there is no room for."""
    ordered = sorted(problems, key=lambda problem: problem.level != "error")
    lines = []
    for problem in ordered[: most if len(ordered) <= most else most - 1]:
        glyph, tone = ("✖", "bad") if problem.level == "error" else ("▲", "warn")
        where = short(Path(problem.file), here) if problem.file else ""
        where += f":{problem.line}" if problem.line else ""
        hint = f" — {problem.hint}" if problem.hint else ""
        lines.append(
            line(Span(f" {glyph} ", tone), Span(f"{where} ", "dim"), problem.message + hint)
        )
    if len(ordered) > most:
        rest = count_of(len(ordered) - most + 1, "more problem")
        lines.append(line(Span(f"   and {rest}", "dim")))
    return lines
