"""What the debug page shows, as rows and lines. Pure but for `gather`, which reads the system."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import cockpit
from cockpit.model.types import LinkState, Node
from cockpit.tui.draw.spans import Line, Span, join
from cockpit.tui.draw.words import LINK, clock_time, size_of, span_of_time
from cockpit.tui.frame import Frame
from cockpit.tui.house.vitals import Spread
from cockpit.tui.pulse import RATES
from cockpit.tui.source import Call
from cockpit.tui.terminal import BUSY_AFTER
from cockpit.tui.widgets.grid import Column, Row, cell

PACKAGES = ("textual", "rich", "asyncssh", "msgspec")
TERMINAL = (
    "TERM",
    "COLORTERM",
    "TERM_PROGRAM",
    "TMUX",
    "SSH_CONNECTION",
    "LANG",
    "LC_ALL",
    "NO_COLOR",
)
LAG_BAD = 0.05
"""Seconds of lag at which a person feels it."""


class Fact(NamedTuple):
    name: str
    value: str


class Readings(NamedTuple):
    """The state of the screen's own machinery. Seconds, bytes, bytes a second."""

    rate: int
    frames: int
    skipped: int
    lag: Spread | None
    cost: Spread | None
    memory: int
    traffic: float
    terminal_waiting: float
    terminal_slowest: float


LINK_COLUMNS = (
    Column("NODE", 12, grow=1),
    Column("LINK", 13),
    Column("SINCE", 8, align="right"),
    Column("TRIES", 5, align="right", drop=4),
    Column("RTT", 7, align="right", drop=2),
    Column("CLOCK", 9, align="right", drop=3),
    Column("LAST ERROR", 12, grow=4, drop=1),
)

CALL_COLUMNS = (
    Column("TIME", 8),
    Column("NODE", 10, grow=1),
    Column("TOOK", 8, align="right"),
    Column("WHAT", 20, grow=4),
    Column("OUTCOME", 8, grow=2, drop=1),
)

FACT_COLUMNS = (Column("", 14), Column("", 20, grow=1))


def took(seconds: float | None) -> str:
    """ "0.42 ms", "17 ms", "2.3 s", "3m48s"."""
    if seconds is None:
        return ""
    if seconds < 0.001:
        return f"{seconds * 1000:.2f} ms"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 60 else span_of_time(seconds)


def _spread(name: str, values: Spread | None) -> tuple[Span, ...]:
    if values is None:
        return (Span(f"{name} --", "dim"),)
    tone = "warn" if values.p99 > LAG_BAD else ""
    return (
        Span(f"{name} ", "dim"),
        Span(f"p50 {took(values.p50)}  p99 {took(values.p99)}  worst {took(values.worst)}", tone),
    )


def reading_lines(now: Readings) -> list[Line]:
    """Three lines."""
    gap = Span("   ")
    slow = now.rate < RATES[0]
    behind = now.terminal_waiting > BUSY_AFTER
    pace = (
        Span("pulse ", "dim"),
        Span(f"{now.rate} fps", "warn" if slow else ""),
        Span(f", {now.frames} drawn in the last second, {now.skipped} left out in all", "dim"),
    )
    terminal = (
        Span("terminal ", "dim"),
        Span(
            f"behind for {took(now.terminal_waiting)}" if behind else "in time",
            "warn" if behind else "",
        ),
        Span(f", slowest write {took(now.terminal_slowest)}", "dim"),
    )
    memory = (Span("memory ", "dim"), Span(size_of(now.memory) if now.memory else "--"))
    traffic = (Span("from nodes ", "dim"), Span(f"{size_of(now.traffic)}/s"))
    lead = Span(" ")
    return [
        Line((lead, *join([_spread("loop lag", now.lag), memory], gap))),
        Line((lead, *join([_spread("pulse cost", now.cost), traffic], gap))),
        Line((lead, *join([pace, terminal], gap))),
    ]


def link_row(node: Node, frame: Frame) -> Row:
    link = node.link
    glyph, tone = LINK[link.state]
    skew = "" if link.clock_offset is None else f"{link.clock_offset * 1000:+.0f} ms"
    return Row(
        (
            cell(node.name),
            cell(f"{glyph} {link.state.value}", tone),
            cell(span_of_time(frame.wall - link.since) if link.since else "--", "dim"),
            cell(str(link.attempts) if link.attempts else ""),
            cell(took(link.rtt)),
            cell(skew, "warn" if abs(link.clock_offset or 0) > 1 else ""),
            cell(link.why, "bad" if link.state is LinkState.UNREACHABLE else "warn"),
        )
    )


def call_row(call: Call, frame: Frame) -> Row:
    is_open = call.seconds is None
    lasted = max(frame.wall - call.at, 0.0) if call.seconds is None else call.seconds
    outcome = "open" if is_open else call.outcome
    tone = "busy" if is_open else "dim" if call.outcome == "ok" else "bad"
    mark = "◌ " if is_open else "" if call.outcome == "ok" else "✖ "
    return Row(
        (
            cell(clock_time(call.at), "dim"),
            cell(call.node),
            cell(took(lasted), "dim" if is_open else ""),
            cell(call.what),
            cell(f"{mark}{outcome}", tone),
        )
    )


def call_words(call: Call) -> str:
    """What a filter looks at."""
    return f"{call.cluster} {call.node} {call.what} {call.outcome or 'open'}"


def fact_row(fact: Fact) -> Row:
    return Row((cell(fact.name, "dim"), cell(fact.value)))


def gather(
    files: Iterable[str],
    places: Mapping[str, str],
    environ: Mapping[str, str] | None = None,
    more: Sequence[str] = (),
) -> list[Fact]:
    """Versions, terminal and paths; `more` is known of the terminal. Reads files: call it off the
    event loop."""
    environ = os.environ if environ is None else environ
    versions = [f"cockpit {cockpit.__version__}"]
    for name in PACKAGES:
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        versions.append(f"{name} {version}")
    shown = [f"{name}={environ[name]}" for name in TERMINAL if environ.get(name)]
    return [
        Fact("versions", ", ".join(versions)),
        Fact("python", f"{platform.python_version()} on {platform.platform()}"),
        Fact("terminal", " ".join((*shown, *more))),
        *(Fact("configuration", file) for file in files),
        *(Fact(name, place) for name, place in places.items()),
    ]
