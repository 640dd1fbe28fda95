"""Fleet: every node and its GPUs, one row a node. Old figures are drawn as old, never as zero."""

from __future__ import annotations

from typing import NamedTuple

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.widget import Widget

from cockpit.model.types import Gpu, Job, LinkState, Node
from cockpit.text import count_of
from cockpit.tui.frame import Frame
from cockpit.tui.spans import Line, Span, join, line
from cockpit.tui.views.base import CockpitView
from cockpit.tui.widgets.bars import columns, heat, mean, percent
from cockpit.tui.widgets.grid import Cell, Column, Row, RowGrid, cell
from cockpit.tui.widgets.lines import Lines
from cockpit.tui.words import HEALTH, JOB, LINK, STALE_AFTER, size_of, span_of_time

NAME_LIMIT = 32


class NodeItem(NamedTuple):
    """A node at one moment. `age` is that of its sample in whole seconds, None without one;
    `away` how long its link has been in its state; `slots` the most GPUs that a node has."""

    node: Node
    jobs: tuple[Job, ...]
    age: int | None
    away: int
    slots: int

    @property
    def stale(self) -> bool:
        return self.node.link.state is not LinkState.ONLINE or (
            self.age is not None and self.age > STALE_AFTER
        )


def _columns(name: int, gpus: int) -> tuple[Column, ...]:
    bar = max(gpus, 4) + 5
    return (
        Column("NODE", name),
        Column("LINK", 8),
        Column("GPU UTIL", bar),
        Column("GPU MEM", bar, drop=1),
        Column("POWER", max(gpus, 4) + 7, drop=3),
        Column("LOAD", 8, drop=4, align="right"),
        Column("MEMORY", 10, drop=5, align="right"),
        Column("JOBS", 10, grow=1),
    )


def _name_of(node: Node) -> str:
    mark = " ▲" if node.health in HEALTH else ""
    return node.name + mark + (" simulated" if node.simulated else "")


def fraction(part: float | None, whole: float | None) -> float | None:
    """part / whole; None when either is unknown or the whole is nothing."""
    return None if part is None or not whole else part / whole


def utilizations(gpus: tuple[Gpu, ...]) -> list[float | None]:
    return [None if gpu.utilization is None else gpu.utilization / 100 for gpu in gpus]


def memories(gpus: tuple[Gpu, ...]) -> list[float | None]:
    return [fraction(gpu.memory_used, gpu.memory_total) for gpu in gpus]


class FleetView(CockpitView):
    def __init__(self, *, id: str) -> None:  # noqa: A002
        super().__init__(id=id)
        self._title = Lines(id="fleet-title")
        self._detail = Lines(id="fleet-detail")
        self._grid: RowGrid[NodeItem] = RowGrid(
            _columns(12, 8),
            _row,
            lambda item: f"{item.node.cluster}/{item.node.name}",
            empty="no nodes: name a cluster in cockpit.toml",
            id="fleet-grid",
        )

    def compose(self) -> ComposeResult:
        yield self._title
        yield self._grid
        yield self._detail

    @property
    def panes(self) -> tuple[Widget, ...]:
        return (self._grid,)

    @property
    def node(self) -> Node | None:
        item = self._grid.current
        return None if item is None else item.node

    @property
    def job(self) -> Job | None:
        item = self._grid.current
        return item.jobs[0] if item is not None and item.jobs else None

    def update(self, frame: Frame, job_id: str | None) -> None:  # noqa: ARG002
        running = frame.running_by_node()
        nodes = frame.fleet.nodes
        gpus = max((len(node.gpus) for node in nodes), default=0)
        items = []
        for node in nodes:
            age = None if node.sampled_at is None else int(max(frame.mono - node.sampled_at, 0))
            away = int(max(frame.wall - node.link.since, 0))
            jobs = running.get((node.cluster, node.name), ())
            items.append(NodeItem(node, jobs, age, away, gpus))
        name = max((cell_len(_name_of(node)) for node in nodes), default=8)
        self._grid.columns = _columns(min(max(name, 4), NAME_LIMIT), gpus)
        self._grid.show(items)
        self._title.show(_summary(items))
        self._show_detail()

    def on_row_grid_moved(self) -> None:
        self._show_detail()

    def _show_detail(self) -> None:
        item = self._grid.current
        self._detail.show(*(_detail(item) if item is not None else ()))


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


def _row(item: NodeItem) -> Row:
    node = item.node
    name = [Span(node.name, "stale" if item.stale else "strong")]
    if node.health in HEALTH and not item.stale:
        glyph, tone = HEALTH[node.health]
        name.append(Span(f" {glyph}", tone))
    if node.simulated:
        name.append(Span(" simulated", "warn"))
    trouble = _trouble(item)
    jobs = Cell((Span(" ".join(job.name for job in item.jobs)),))
    head = (Cell(tuple(name)), _link(item))
    if trouble is not None:
        return Row((*head, cell(*trouble, columns=5), jobs))
    return Row((*head, *_gpu_cells(item), *_host_cells(item), jobs))


def _gpu_cells(item: NodeItem) -> tuple[Cell, ...]:
    node = item.node
    if not node.gpus:
        if node.gpu_error:
            return (cell(f"no GPU figures: {node.gpu_error}", "warn", columns=3),)
        return (cell("no GPUs", "dim", columns=3),)
    sick = [gpu for gpu in node.gpus if gpu.state != "ok"]
    power = [gpu.power for gpu in node.gpus if gpu.power is not None]
    watts = f" {sum(power):5.0f}W" if power else "     --"
    draw = [fraction(gpu.power, gpu.power_limit) for gpu in node.gpus]
    cells = [
        _bars(utilizations(node.gpus), item),
        _bars(memories(node.gpus), item),
        Cell((*columns(draw, item.slots, stale=item.stale), _figure(watts, mean(draw), item))),
    ]
    if sick:
        marks = "".join("▪" if gpu.state == "ok" else "✖" for gpu in node.gpus)
        cells[0] = Cell((Span(marks, "bad"), Span(f" {sick[0].state}", "bad")))
    return tuple(cells)


def _bars(values: list[float | None], item: NodeItem) -> Cell:
    average = mean(values)
    number = _figure(f" {percent(average)}", average, item)
    return Cell((*columns(values, item.slots, stale=item.stale), number))


def _figure(text: str, value: float | None, item: NodeItem) -> Span:
    if item.stale or value is None:
        return Span(text, "stale")
    return Span(text, heat(value))


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


def _summary(items: list[NodeItem]) -> Line:
    """The line above the table: only live nodes count."""
    live = [item for item in items if not item.stale and item.age is not None]
    gpus = tuple(gpu for item in live for gpu in item.node.gpus)
    parts = [
        (Span(" Fleet", "title"),),
        (
            Span(
                f"{len(live)}/{len(items)} nodes live", "ok" if len(live) == len(items) else "warn"
            ),
        ),
    ]
    if any(item.node.simulated for item in items):
        parts.append((Span("simulated GPUs", "warn"),))
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
    return Line(join(parts, Span(" · ", "dim")))


def _detail(item: NodeItem) -> tuple[Line, ...]:
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
    hot = [gpu.temperature for gpu in node.gpus if gpu.temperature is not None]
    if hot and not item.stale:
        parts.append((Span(f"{max(hot):.0f} °C"),))
    if node.host is not None and node.host.disk_free is not None:
        parts.append((Span(f"{size_of(node.host.disk_free)} disk free"),))
    first = Line(join(parts, Span(" · ", "dim")))
    if node.link.why:
        tries = f" ({count_of(node.link.attempts, 'try' if node.link.attempts == 1 else 'trie')})"
        hint = Span(f" — {node.link.hint}", "dim") if node.link.hint else Span("")
        return first, line(Span(f" {node.link.why}", "bad"), Span(tries, "dim"), hint)
    if node.health in HEALTH:
        glyph, tone = HEALTH[node.health]
        return first, line(Span(f" {glyph} {'; '.join(node.health_reasons)}", tone))
    jobs = [(Span(f"{JOB[job.state][0]} ", JOB[job.state][1]), Span(job.name)) for job in item.jobs]
    return first, Line((Span(" "), *join(jobs, Span("  ")))) if jobs else line(
        Span(" no job runs here", "dim")
    )
