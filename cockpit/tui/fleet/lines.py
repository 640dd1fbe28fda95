"""The lines around the heat wall and the table of the Fleet view. Pure: figures in, lines out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rich.cells import cell_len

from cockpit.model.types import LinkState
from cockpit.text import count_of
from cockpit.tui.draw.spans import Line, Span, fit, join, line, width_of
from cockpit.tui.draw.words import HEALTH, JOB, LINK, clock_time, size_of, span_of_time
from cockpit.tui.fleet.alerts import Alert
from cockpit.tui.fleet.cell import SIMULATED
from cockpit.tui.fleet.condition import Condition, NodeItem
from cockpit.tui.fleet.gauges import Gauge, memories, utilizations, watts
from cockpit.tui.house.happenings import Happening
from cockpit.tui.widgets.bars import UNKNOWN, level, mean

SEPARATOR = Span(" · ", "dim")
MOST_ALERTS = 3
"""Lines of alerts, where there is room."""
TREND = " 10 min"
FEWEST_BARS = 4
"""A trend of fewer says nothing."""

_SORTS = {"problems": "problems first", "name": "by name", "metric": "highest first"}


class Setting(NamedTuple):
    """How the view was asked to show the fleet. `total`: nodes before filters."""

    wall: bool
    gauge: Gauge
    sort: str
    problems: bool
    clusters: Sequence[str]
    pattern: str
    error: str
    shown: int
    total: int
    marked: int


def _live(items: Iterable[NodeItem]) -> list[NodeItem]:
    return [item for item in items if not item.stale and item.age is not None]


def summary(items: Sequence[NodeItem], setting: Setting | None = None) -> Line:
    """The first line: only live nodes count. With `setting`, what hides nodes stands there too."""
    live = _live(items)
    gpus = tuple(gpu for item in live for gpu in item.node.gpus)
    tone = "ok" if len(live) == len(items) else "warn"
    parts: list[tuple[Span, ...]] = [
        (Span(" Fleet", "title"),),
        (Span(f"{len(live)}/{len(items)} nodes live", tone),),
    ]
    if any(item.node.simulated for item in items):
        parts.append((Span("simulated GPUs", "warn"),))
    if setting is not None:
        parts += hidden(setting)
    if gpus:
        parts.append((Span(count_of(len(gpus), "GPU")),))
        util, memory = mean(utilizations(gpus)), mean(memories(gpus))
        if util is not None:
            parts.append((Span(f"util {util * 100:.0f}%"),))
        if memory is not None:
            parts.append((Span(f"mem {memory * 100:.0f}%"),))
        power = [gpu.power for gpu in gpus if gpu.power is not None]
        if power:
            parts.append((Span(f"{sum(power) / 1000:.1f} kW"),))
        heat = [gpu.temperature for gpu in gpus if gpu.temperature is not None]
        if heat:
            parts.append((Span(f"{sum(heat) / len(heat):.0f} °C, hottest {max(heat):.0f}"),))
    return Line(join(parts, SEPARATOR))


def hidden(setting: Setting) -> list[tuple[Span, ...]]:
    """Why not all nodes are there."""
    parts: list[tuple[Span, ...]] = []
    if setting.clusters:
        parts.append((Span(" ".join(f"@{name}" for name in setting.clusters), "accent"),))
    if setting.problems:
        parts.append((Span("problems only", "accent"),))
    if setting.pattern:
        parts.append((Span("filter ", "dim"), Span(setting.pattern, "match")))
    if setting.error:
        parts.append((Span(setting.error, "bad"),))
    if setting.shown < setting.total:
        parts.append((Span(f"{setting.shown} of {setting.total} shown", "accent"),))
    return parts


def tools(setting: Setting) -> Line:
    """The second line: how the fleet is shown."""
    parts: list[tuple[Span, ...]] = [
        (Span(" heat wall" if setting.wall else " table"),),
        (Span(setting.gauge.scale),),
        (Span(_SORTS[setting.sort]),),
        *hidden(setting),
    ]
    if setting.marked:
        parts.append((Span(f"{setting.marked} marked", "accent"),))
    return Line(join(parts, SEPARATOR), "bar")


def legend(items: Iterable[NodeItem]) -> list[Span]:
    """The shapes that are on the screen, and what they say."""
    seen = {item.condition for item in items}
    shown = [Span(f"{each.glyph} {each.word}", each.tone) for each in Condition if each in seen]
    if any(item.node.simulated for item in items):
        shown.insert(0, Span(f"{SIMULATED} simulated", "warn"))
    return shown


def alert_lines(
    alerts: Sequence[Alert], width: int, height: int, items: Sequence[NodeItem] = ()
) -> list[Line]:
    """The worst alerts that there is room for in `height` lines, and how many more there are.
    `items`: all nodes; one that was never reached may yet have something to say."""
    if not alerts:
        return [_all_well(items)]
    rows: list[Line] = []
    shown = 0
    while shown < len(alerts) and len(rows) < height:
        row, count = _alert_line(alerts[shown:], width, len(rows) == height - 1)
        rows.append(row)
        shown += count
    return rows


def _all_well(items: Sequence[NodeItem]) -> Line:
    """That nothing is wrong, as far as anybody knows."""
    unheard = sum(1 for item in items if item.node.link.state is LinkState.CONNECTING)
    if not unheard:
        return line(Span(" ● nothing is wrong", "dim"))
    glyph, tone = LINK[LinkState.CONNECTING]
    if unheard == len(items):
        text = f"connecting to {count_of(unheard, 'node')}: nothing is known yet"
        return line(Span(f" {glyph} {text}", tone))
    text = f"{unheard} of {count_of(len(items), 'node')} not reached yet"
    return line(Span(" ● nothing is wrong so far", "dim"), SEPARATOR, Span(f"{glyph} {text}", tone))


def _alert_line(alerts: Sequence[Alert], width: int, last: bool) -> tuple[Line, int]:
    """One line and how many alerts are on it; the `last` one counts those that are not."""
    spans: list[Span] = [Span(" ")]
    for index, alert in enumerate(alerts):
        text = f"{alert.glyph} {alert.text}"
        rest = len(alerts) - index - 1
        more = f" · +{rest} more" if rest and last else ""
        left = width - width_of(spans) - cell_len(more)
        if index and cell_len(text) + len(SEPARATOR.text) > left:
            if last:
                spans += (SEPARATOR, Span(f"+{rest + 1} more", "accent"))
            return Line(tuple(spans)), index
        if index:
            spans.append(SEPARATOR)
            left -= len(SEPARATOR.text)
        size = min(cell_len(text), max(left, 1))
        spans += fit((Span(text, alert.severity),), size)
    return Line(tuple(spans)), len(alerts)


def event_line(happenings: Sequence[Happening], clusters: frozenset[str]) -> Line:
    """The newest events of these clusters, newest first."""
    parts: list[tuple[Span, ...]] = []
    for event in reversed(happenings):
        if not clusters or not event.cluster or event.cluster in clusters:
            parts.append((Span(f"{clock_time(event.at)} ", "dim"), Span(event.text, event.tone)))
            if len(parts) == 4:
                break
    return Line((Span(" ⚑ ", "dim"), *join(parts, Span("   ")))) if parts else Line()


def detail(item: NodeItem) -> tuple[Line, ...]:
    """Two lines about the node under the cursor."""
    node = item.node
    glyph, tone = LINK[node.link.state]
    parts: list[tuple[Span, ...]] = [
        (Span(f" {node.name}", "strong"), Span(f" of {node.cluster}", "dim")),
        (Span(f"{glyph} {node.link.state.value}", tone),),
    ]
    if item.age is not None and item.stale:
        parts.append((Span(f"last sample {span_of_time(item.age)} ago", "stale"),))
    models = sorted({gpu.name for gpu in node.gpus if gpu.name})
    if models:
        parts.append((Span(f"{len(node.gpus)} × {', '.join(models)}"),))
    if node.simulated:
        parts.append((Span("simulated", "warn"),))
    watt = [gpu.power for gpu in node.gpus if gpu.power is not None]
    hot = [gpu.temperature for gpu in node.gpus if gpu.temperature is not None]
    if watt and not item.stale:
        parts.append((Span(watts(sum(watt))),))
    if hot and not item.stale:
        parts.append((Span(f"{max(hot):.0f} °C"),))
    if node.host is not None and node.host.disk_free is not None:
        parts.append((Span(f"{size_of(node.host.disk_free)} disk free"),))
    return Line(join(parts, SEPARATOR)), _second(item)


def _second(item: NodeItem) -> Line:
    node = item.node
    if node.link.why:
        tries = f" ({count_of(node.link.attempts, 'try' if node.link.attempts == 1 else 'trie')})"
        hint = Span(f" — {node.link.hint}", "dim") if node.link.hint else Span("")
        return line(Span(f" {node.link.why}", "bad"), Span(tries, "dim"), hint)
    if node.health in HEALTH:
        glyph, tone = HEALTH[node.health]
        return line(Span(f" {glyph} {'; '.join(node.health_reasons)}", tone))
    if not item.jobs:
        return line(Span(" no job runs here", "dim"))
    parts: list[tuple[Span, ...]] = []
    for job in item.jobs:
        glyph, tone = JOB[job.state]
        ranks = [r.rank for place in job.nodes if place.name == node.name for r in place.ranks]
        told = f" ranks {min(ranks)}–{max(ranks)}" if ranks else ""
        parts.append((Span(f"{glyph} ", tone), Span(job.name), Span(told, "dim")))
    return Line((Span(" "), *join(parts, Span("  "))))


def trend_room(width: int, taken: Line) -> int:
    """Terminal cells for the bars of `trend` behind a line of so many cells; 0 if too few."""
    room = width - width_of(taken.spans) - len(TREND) - 2
    return room if room >= FEWEST_BARS else 0


def trend(values: Sequence[float | None]) -> list[Span]:
    """The utilization of ten minutes for the end of a line; a dot where nothing was known."""
    bars = "".join(UNKNOWN if value is None else level(value) for value in values)
    return [Span(bars + TREND, "accent")] if bars else []
