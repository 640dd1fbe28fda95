"""How a log line, a mark and the status row of a log look, as rows of spans. Pure."""

from __future__ import annotations

import dataclasses
import enum
import functools

from rich.cells import cell_len

from cockpit.model.logtypes import Origin, RawLine
from cockpit.text import clean
from cockpit.tui.draw.spans import RANK_COLOURS, Line, Span, fit, width_of
from cockpit.tui.draw.words import clock_time, fine_clock_time, size_of
from cockpit.tui.logs.level import Level, level_of
from cockpit.tui.logs.query import Query
from cockpit.tui.logs.text import cut_spans, marked, text_of, wrapped

LABEL_LIMIT = 24
"""Cells of the longest label that is shown."""

WIDE = 80
"""Cells from which time stamps show milliseconds."""


class Times(str, enum.Enum):
    """What the time stamps say: the time of day, the seconds since a moment, or nothing."""

    CLOCK = "clock"
    SINCE = "since"
    OFF = "off"


@dataclasses.dataclass(frozen=True)
class Look:
    """How lines are drawn. `since`: the moment that `Times.SINCE` counts from; `queries`: what is
    made conspicuous; `left`: cells that are scrolled out of sight."""

    width: int
    left: int = 0
    wrap: bool = False
    times: Times = Times.CLOCK
    since: float | None = None
    label: int = 8
    queries: tuple[Query, ...] = ()


def label_of(origin: Origin) -> str:
    """ "gpu01 r3", "gpu01 launcher"."""
    rank = "launcher" if origin.rank is None else f"r{origin.rank}"
    return f"{clean(origin.node)} {rank}"


def _stamp(at: float | None, look: Look) -> str:
    if look.times is Times.OFF:
        return ""
    if look.times is Times.SINCE:
        if at is None or look.since is None or abs(at - look.since) > 1e7:
            return f"{'--':>11}"
        return f"{at - look.since:>+11.3f}"
    stamp = fine_clock_time(at)
    return stamp if look.width >= WIDE else stamp[:8]


_MARKS = {Level.ERROR: Span(" E ", "bad"), Level.WARNING: Span(" W ", "warn")}


_STDOUT, _STDERR = Span(" │ ", "dim"), Span(" ┊ ", "dim")


@functools.lru_cache(maxsize=4096)
def _label(origin: Origin, size: int) -> tuple[Span, int]:
    """The label of a stream in at least `size` cells, and the cells that it takes."""
    label = label_of(origin)
    if len(label) > size:
        # The end holds the rank.
        label = "…" + label[len(label) - size + 1 :]
    label = label.ljust(size)
    tone = "dim" if origin.rank is None else f"rank{origin.rank % RANK_COLOURS}"
    return Span(label, tone), cell_len(label)


def draw(line: RawLine, look: Look, folded: int = 0, *, aside: bool = False) -> list[Line]:
    """The rows of a line: one, or as many as it takes when it is wrapped.

    `folded`: lines of other streams that it stands for; `aside`: it is only context of a match.
    """
    origin = line.origin
    prefix = []
    stamp = _stamp(line.at, look)
    if stamp:
        prefix.append(Span(stamp + " ", "dim"))
    label, cells = _label(origin, min(look.label, LABEL_LIMIT, max(look.width // 3, 8)))
    prefix.append(label)
    level = _MARKS.get(level_of(line.data))
    prefix.append(level or (_STDERR if origin.stream == "err" else _STDOUT))
    used = len(stamp) + bool(stamp) + cells + 3
    if folded:
        prefix.append(Span(f"▏×{folded + 1:,} ", "accent"))
        used += len(prefix[-1].text)
    room = max(look.width - used, 1)
    text = text_of(line.data)
    spans = text.spans
    if aside:
        spans = tuple(Span(span.text, "dim") for span in spans)
    for query in look.queries:
        spans = marked(spans, query.spots(text.plain), "match")
    if not look.wrap:
        return [Line((*prefix, *cut_spans(spans, look.left, room)))]
    blank = Span(" " * (look.width - room))
    rows = wrapped(spans, room)
    return [
        Line((*prefix, *rows[0])),
        *(Line((blank, *row)) for row in rows[1:]),
    ]


def draw_mark(at: float | None, width: int) -> Line:
    text = f"── mark {clock_time(at)} "
    return Line((Span(text + "─" * max(width - len(text), 0), "accent"),))


@dataclasses.dataclass(frozen=True)
class Facts:
    """What the status row tells."""

    following: bool = True
    new: int = 0
    held: int = 0
    size: int = 0
    rate: float = 0.0
    level: Level = Level.ALL
    pattern: str = ""
    matches: int = 0
    searched: bool = True
    lag: int = 0
    find: str = ""
    context: int = 0
    wrap: bool = False
    times: Times = Times.CLOCK
    fold: bool = True
    flood: bool = False
    left: int = 0
    marked: int = 0
    streams: str = "all streams"
    notice: str = ""


_LEVELS = {Level.ALL: "all", Level.WARNING: "W+E", Level.ERROR: "E"}


def status(facts: Facts, width: int) -> Line:
    """The last row: the most important things first, as many as there is room for."""
    parts: list[tuple[Span, ...]] = []
    if facts.following:
        parts.append((Span("▼ following", "ok"),))
    else:
        new = (Span(f" +{facts.new:,} lines", "accent"),) if facts.new else ()
        parts.append((Span("■ reading", "warn"), *new, Span(" G follows", "dim")))
    if facts.marked:
        parts.append((Span(f"{facts.marked:,} selected y copies", "accent"),))
    if facts.pattern or facts.level is not Level.ALL:
        found = f" {facts.matches:,} of {facts.held:,}"
        if facts.lag:
            found += f", {facts.lag:,} not searched yet"
        elif not facts.searched:
            found += ", older not searched"
        shown = (Span("/", "dim"), Span(facts.pattern, "match")) if facts.pattern else ()
        parts.append((*shown, Span(found, "dim")))
    if facts.find:
        parts.append((Span("find ", "dim"), Span(facts.find, "match")))
    if facts.notice:
        parts.append((Span(facts.notice, "warn"),))
    switches = [
        f"{facts.streams}(L)",
        f"level {_LEVELS[facts.level]}(e)",
        f"wrap {'on' if facts.wrap else 'off'}(w)",
        f"time {facts.times.value}(t)",
        f"fold {('waits' if facts.flood else 'on') if facts.fold else 'off'}(z)",
    ]
    if facts.context:
        switches.append(f"context {facts.context}(=)")
    if facts.left:
        switches.append(f"from column {facts.left}")
    if facts.rate:
        parts.append((Span(f"in {facts.rate:,.0f}/s"),))
    held = "1 line" if facts.held == 1 else f"{facts.held:,} lines"
    parts.append((Span(f"{held} {size_of(facts.size)}"),))
    parts.extend((Span(text, "dim"),) for text in switches)
    spans: list[Span] = [Span(" ")]
    used = 1
    for number, part in enumerate(parts):
        more = (*((Span(" · ", "dim"),) if number else ()), *part)
        size = width_of(more)
        if used + size > width:
            if number:
                break
            return Line(fit((*spans, *more), width), "bar")
        spans.extend(more)
        used += size
    return Line(tuple(spans), "bar")
