"""Text with tones: what the views say to the line widgets. No colours, no markup, no Textual.

A tone names a meaning ("bad", "stale"); the theme decides how it looks. A Line is what one row
of a widget shows. Widths are terminal cells.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from rich.cells import cell_len, get_character_cell_size

HEAT_STEPS = 8
RANK_COLOURS = 8


class Span(NamedTuple):
    text: str
    tone: str = ""


class Line(NamedTuple):
    """One row. `base` is the tone under all of it: "" | "cursor" | "bar"."""

    spans: tuple[Span, ...] = ()
    base: str = ""


def line(*parts: str | Span, base: str = "") -> Line:
    """A line of plain strings and spans."""
    return Line(tuple(Span(part) if isinstance(part, str) else part for part in parts), base)


def join(parts: Iterable[tuple[Span, ...]], separator: Span) -> tuple[Span, ...]:
    """All spans in one, `separator` between those that are not empty."""
    joined: list[Span] = []
    for part in parts:
        if not part:
            continue
        if joined:
            joined.append(separator)
        joined.extend(part)
    return tuple(joined)


def plain(spans: Iterable[Span]) -> str:
    return "".join(span.text for span in spans)


def width_of(spans: Iterable[Span]) -> int:
    return sum(cell_len(span.text) for span in spans)


def cut(text: str, start: int, width: int) -> str:
    """The cells [start, start + width) of `text`; a wide character that is cut becomes a space."""
    if width <= 0:
        return ""
    if text.isascii():
        return text[start : start + width]
    taken: list[str] = []
    position = 0
    end = start + width
    for character in text:
        size = get_character_cell_size(character)
        if position >= end:
            break
        if position >= start and position + size <= end:
            taken.append(character)
        elif position + size > start:
            taken.append(" ")
        position += size
    return "".join(taken)


def fit(spans: tuple[Span, ...], width: int, align: str = "left") -> tuple[Span, ...]:
    """`spans` in exactly `width` cells; what is too long ends with "…"."""
    if width <= 0:
        return ()
    length = width_of(spans)
    if length < width:
        pad = Span(" " * (width - length))
        return (pad, *spans) if align == "right" else (*spans, pad)
    if length == width:
        return spans
    kept: list[Span] = []
    room = width - 1
    tone = ""
    for span in spans:
        size = cell_len(span.text)
        tone = span.tone
        if size > room:
            part = cut(span.text, 0, room)
            if part:
                kept.append(Span(part, tone))
            room -= cell_len(part)
            break
        kept.append(span)
        room -= size
    kept.append(Span("…" + " " * room, tone))
    return tuple(kept)
