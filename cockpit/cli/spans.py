"""Lines of styled text for a terminal: cut to its width, with colours only where they are wanted.

Used by `nodes_table` and `watch`. Pure; it asks nothing about the terminal.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Any, NamedTuple

import click

STYLES: dict[str, dict[str, Any]] = {
    "": {},
    "strong": {"bold": True},
    "dim": {"dim": True},
    "ok": {"fg": "green"},
    "warn": {"fg": "yellow"},
    "bad": {"fg": "red", "bold": True},
    "own": {"fg": "cyan"},
}
_EIGHTHS = " ▏▎▍▌▋▊▉█"


class Span(NamedTuple):
    """`style` is a key of STYLES."""

    text: str
    style: str = ""


Line = tuple[Span, ...]


def width_of(text: str) -> int:
    """Columns that `text` takes on a terminal."""
    if text.isascii():
        return len(text)
    return sum(_columns(character) for character in text)


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def pad(text: str, columns: int, *, right: bool = False) -> str:
    """`text` in exactly that many columns, cut with "…" or filled with spaces."""
    text = cut(text, columns)
    fill = " " * (columns - width_of(text))
    return fill + text if right else text + fill


def cut(text: str, columns: int) -> str:
    """The beginning of `text`, with "…" where something was left out."""
    if width_of(text) <= columns:
        return text
    kept, used = [], 1
    for character in text:
        used += _columns(character)
        if used > columns:
            break
        kept.append(character)
    return "".join(kept) + "…" if columns > 0 else ""


def render(line: Iterable[Span], columns: int | None, *, colour: bool) -> str:
    """A line as text, at most `columns` wide; None for no limit."""
    parts = []
    for span in line:
        text = span.text
        if columns is not None:
            text = cut(text, columns)
            columns -= width_of(text)
        if not text:
            continue
        style = STYLES[span.style]
        parts.append(click.style(text, **style) if colour and style else text)
        if columns is not None and columns <= 0:
            break
    return "".join(parts) if colour else "".join(parts).rstrip()


def bar(share: float | None, columns: int, *, plain: bool = False) -> str:
    """A bar of that many columns for 0 … 1; dots for an unknown share. `plain` for ASCII only."""
    if share is None:
        return "." * columns if plain else "·" * columns
    filled = round(min(max(share, 0.0), 1.0) * columns * 8)
    if plain:
        return ("#" * ((filled + 4) // 8)).ljust(columns, "-")
    full, rest = divmod(filled, 8)
    return ("█" * full + (_EIGHTHS[rest] if rest else "")).ljust(columns, "░")
