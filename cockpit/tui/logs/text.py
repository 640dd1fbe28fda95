"""From the bytes of a log line to what is shown of them: cut, wrapped, with marked spots. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rich.cells import get_character_cell_size

from cockpit.text import MAX_LINE
from cockpit.tui.draw.spans import Span, cut, plain
from cockpit.tui.logs import sgr

Spans = tuple[Span, ...]


class Text(NamedTuple):
    """A line without its escapes, and the same with the colours that they meant."""

    plain: str
    spans: Spans


def text_of(data: bytes, limit: int = MAX_LINE) -> Text:
    """A line's bytes as safe text, cut after `limit` characters: then it ends "… (+N bytes)"."""
    bound = limit * 4
    if len(data) > bound and b"\r" in data:
        data = data.rstrip(b"\r").rpartition(b"\r")[2]
    decoded = data[:bound].decode("utf-8", "replace")
    if len(decoded) <= limit and len(data) <= bound:
        if decoded.isprintable():
            return Text(decoded, (Span(decoded),) if decoded else ())
        spans = tuple(sgr.runs(decoded))
        return Text(plain(spans), spans)
    spans = _first(sgr.runs(decoded), limit)
    shown = plain(spans)
    rest = max(len(data) - len(shown.encode("utf-8", "replace")), 1)
    spans = (*spans, Span(f"… (+{rest} bytes)", "dim"))
    return Text(plain(spans), spans)


def _first(spans: Iterable[Span], limit: int) -> Spans:
    kept = []
    for span in spans:
        if limit <= 0:
            break
        kept.append(span._replace(text=span.text[:limit]))
        limit -= len(span.text)
    return tuple(kept)


def marked(spans: Spans, spots: Sequence[tuple[int, int]], tone: str) -> Spans:
    """`spans` with another tone at some ascending spots of their text."""
    if not spots:
        return spans
    edges = iter([*spots, (1 << 60, 1 << 60)])
    begin, end = next(edges)
    done: list[Span] = []
    position = 0
    for text, own in spans:
        start = 0
        while start < len(text):
            at = position + start
            while at >= end:
                begin, end = next(edges)
            inside = at >= begin
            stop = min((end if inside else begin) - position, len(text))
            done.append(Span(text[start:stop], tone if inside else own))
            start = stop
        position += len(text)
    return tuple(done)


def cut_spans(spans: Spans, start: int, width: int) -> Spans:
    """The cells [start, start + width) of `spans`."""
    if len(spans) == 1:
        return (Span(cut(spans[0].text, start, width), spans[0].tone),)
    kept = []
    for text, tone in spans:
        if width <= 0:
            break
        size = len(text) if text.isascii() else sum(map(get_character_cell_size, text))
        if start >= size:
            start -= size
            continue
        part = cut(text, start, width)
        kept.append(Span(part, tone))
        width -= min(size - start, width)
        start = 0
    return tuple(kept)


def wrapped(spans: Spans, width: int) -> list[Spans]:
    """`spans` in rows of at most `width` cells, in time that grows with their length only."""
    rows: list[Spans] = []
    row: list[Span] = []
    room = width = max(width, 2)
    for text, tone in spans:
        start = 0
        while start < len(text):
            stop, used = _fitting(text, start, room)
            if stop > start:
                row.append(Span(text[start:stop], tone))
                room -= used
                start = stop
            if start < len(text):
                rows.append(tuple(row))
                row, room = [], width
    if row or not rows:
        rows.append(tuple(row))
    return rows


def _fitting(text: str, start: int, room: int) -> tuple[int, int]:
    """Where the part of `text` that fits into `room` cells ends, and the cells it takes."""
    if text.isascii():
        stop = min(start + room, len(text))
        return stop, stop - start
    used = 0
    for index in range(start, len(text)):
        size = get_character_cell_size(text[index])
        if used + size > room:
            return index, used
        used += size
    return len(text), used
