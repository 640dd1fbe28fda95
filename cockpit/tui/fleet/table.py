"""One node as a row of the Fleet view's table. Pure: an item in, cells out."""

from __future__ import annotations

from rich.cells import cell_len

from cockpit.model.types import LinkState
from cockpit.tui.draw.spans import Span
from cockpit.tui.draw.words import HEALTH, LINK, size_of, span_of_time
from cockpit.tui.fleet.cell import bars_of, called, shared
from cockpit.tui.fleet.condition import NodeItem
from cockpit.tui.fleet.gauges import Gauge, figure, values
from cockpit.tui.fleet.heatwall import MARK
from cockpit.tui.widgets.bars import columns, heat, mean
from cockpit.tui.widgets.grid import Cell, Column, Row, cell

NAME_LIMIT = 32

_TITLES = {
    Gauge.UTIL: "GPU UTIL",
    Gauge.MEMORY: "GPU MEM",
    Gauge.POWER: "POWER",
    Gauge.TEMPERATURE: "TEMP",
    Gauge.RATE: "STEP RATE",
}
_DROPS = {
    Gauge.UTIL: 1,
    Gauge.MEMORY: 2,
    Gauge.POWER: 4,
    Gauge.TEMPERATURE: 5,
    Gauge.RATE: 8,
}


def columns_for(name: int, slots: int, gauge: Gauge) -> tuple[Column, ...]:
    """`gauge` is the one that stays on a narrow screen."""
    bars = bars_of(slots)
    return (
        Column("NODE", min(max(name, 4), NAME_LIMIT) + 2),
        Column("LINK", 8),
        *(
            Column(
                ("▾" if each is gauge else "") + _TITLES[each],
                max(bars + 7, 10),
                drop=0 if each is gauge else _DROPS[each],
            )
            for each in Gauge
        ),
        Column("LOAD", 8, drop=6, align="right"),
        Column("MEMORY", 10, drop=7, align="right"),
        Column("JOBS", 10, grow=1),
    )


def name_of(item: NodeItem) -> str:
    """What stands in the first column, for its width."""
    return item.called + _suffix(item)


def _suffix(item: NodeItem) -> str:
    mark = " ▲" if item.node.health in HEALTH else ""
    return mark + (" simulated" if item.node.simulated else "")


def row(item: NodeItem, marked: bool) -> Row:
    node = item.node
    name = [Span(f"{MARK} " if marked else "  ", "accent")]
    shown = item.called
    room = NAME_LIMIT - len(_suffix(item))
    if cell_len(shown) > room:
        shown = called(item, room)
    name.append(Span(shown, "stale" if item.stale else "strong"))
    if not item.stale and item.condition.tone in ("warn", "bad"):
        name.append(Span(f" {item.condition.glyph}", item.condition.tone))
    if node.simulated:
        name.append(Span(" simulated", "warn"))
    trouble = _trouble(item)
    jobs = Cell((Span(" ".join(job.name for job in item.jobs)),))
    head = (Cell(tuple(name)), _link(item))
    if trouble is not None:
        return Row((*head, cell(*trouble, columns=len(Gauge) + 2), jobs))
    return Row((*head, *_gpu_cells(item), *_host_cells(item), jobs))


def _link(item: NodeItem) -> Cell:
    state = item.node.link.state
    glyph, tone = LINK[state]
    if state is LinkState.ONLINE:
        if item.age is None:
            return cell("● --", "stale")
        if item.stale:
            return cell(f"? {span_of_time(item.age)}", "warn")
        return cell("● live", tone)
    age = item.age if item.age is not None else item.away
    return cell(f"{glyph} {span_of_time(age)}", tone)


def _trouble(item: NodeItem) -> tuple[str, str] | None:
    """What stands in place of figures, with its tone; None when there are figures."""
    node = item.node
    link = node.link
    if link.state is LinkState.UNREACHABLE:
        return f"unreachable: {link.why or 'no reason known'}", "bad"
    if node.sampled_at is None:
        if link.state is LinkState.ONLINE:
            return "no sample yet", "dim"
        why = f": {link.why}" if link.why else "…"
        return f"{link.state.value}{why}", "warn" if link.why else "dim"
    return None


def _gpu_cells(item: NodeItem) -> tuple[Cell, ...]:
    node = item.node
    if not node.gpus:
        if node.gpu_error:
            text, tone = f"no GPU figures: {node.gpu_error}", "warn"
        else:
            text, tone = "no GPUs", "dim"
        return (cell(text, tone, columns=len(Gauge) - 1), _bars(Gauge.RATE, item))
    sick = [gpu for gpu in node.gpus if gpu.state != "ok"]
    cells = [_bars(each, item) for each in Gauge]
    if sick:
        marks = "".join("▪" if gpu.state == "ok" else "✖" for gpu in node.gpus)
        cells[0] = Cell((Span(marks, "bad"), Span(f" {sick[0].state}", "bad")))
    return tuple(cells)


def _bars(gauge: Gauge, item: NodeItem) -> Cell:
    shown = values(gauge, item)
    width = bars_of(item.slots)
    bars = shared(shown, width)
    average = mean(shown)
    text = figure(gauge, item, average)
    tone = "stale" if item.stale or average is None else heat(average)
    if not shown:
        return Cell((Span(" " * width + text.rjust(6), "stale"),))
    return Cell((*columns(bars, width, stale=item.stale), Span(text.rjust(6), tone)))


def _host_cells(item: NodeItem) -> tuple[Cell, ...]:
    host = item.node.host
    tone = "stale" if item.stale else ""
    if host is None:
        return (cell("--", "stale"), cell("--", "stale"))
    load = "--" if host.load1 is None else f"{host.load1:.1f}"
    cpus = "" if host.cpus is None else f"/{host.cpus}"
    used = "--" if host.memory_used is None else size_of(host.memory_used)
    total = "" if host.memory_total is None else f"/{size_of(host.memory_total)}"
    return (cell(load + cpus, tone), cell(used + total, tone))
