"""The nodes and ranks of a job as rows: problems first, many healthy ranks folded into their node.

`items` decides which rows there are, once per snapshot of the job; `row` draws one, and is called
for what is on the screen only, so that a thousand ranks cost no more than ten.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from cockpit.model.figures import step_time_of
from cockpit.model.medians import median
from cockpit.model.types import (
    Gpu,
    Job,
    JobNode,
    LinkState,
    Node,
    NodeState,
    Rank,
    RankState,
    Stage,
)
from cockpit.text import count_of
from cockpit.tui.draw.spans import Span, join
from cockpit.tui.draw.words import (
    LINK,
    NODE,
    STALE_AFTER,
    doing,
    ended_by,
    rate_of,
    size_of,
    span_of_time,
)
from cockpit.tui.orders.wording import numbers
from cockpit.tui.widgets.bars import columns, percent
from cockpit.tui.widgets.grid import Cell, Column, Row, cell

OPEN_UP_TO = 32
"""Ranks of a job up to which every one has its row unless its node is folded by hand."""
MARK = "◆"

COLUMNS = (
    Column("", 1),
    Column("NODE / RANK", 14, grow=1),
    Column("DOING", 11),
    Column("PID", 7, drop=9, align="right"),
    Column("STEP", 7, drop=3, align="right"),
    Column("Δ", 5, drop=6, align="right"),
    Column("RATE", 8, drop=7, align="right"),
    Column("BEAT", 6, drop=5, align="right"),
    Column("GPU", 8, drop=4),
    Column("MEM", 4, drop=8, align="right"),
    Column("RST", 3, drop=10, align="right"),
    Column("EXIT", 8, drop=1),
    Column("", 14, grow=16, drop=2),
)


_HIDDEN_AT_END = ("RATE", "BEAT", "GPU", "MEM", "RST")
_OF_BEATS = ("STEP", "Δ", "RATE", "BEAT")


def columns_for(job: Job, *, gpus: bool) -> tuple[Column, ...]:
    """The columns that say something of this job; the others have no width. `gpus`: something
    is known of its nodes' GPUs."""
    over = job.state.ended or job.seen_at is not None
    hidden = set(_HIDDEN_AT_END) if over else set()
    if job.steps is None:
        hidden.update(_OF_BEATS)
    if step_time_of(job) is None:
        hidden.add("RATE")
    if not gpus:
        hidden.update(("GPU", "MEM"))
    if all(not node.generation for node in job.nodes):
        hidden.add("RST")
    if not any(_has_ended(node) for node in job.nodes):
        hidden.add("EXIT")
    return tuple(
        column._replace(width=0, grow=0) if column.title in hidden else column for column in COLUMNS
    )


def _has_ended(node: JobNode) -> bool:
    """Something of it has ended, with an exit code or by a signal."""
    if node.exit_code is not None or node.signal is not None:
        return True
    return any(rank.exit_code is not None or rank.signal is not None for rank in node.ranks)


class RankItem(NamedTuple):
    """A node of the job, or with `rank` one of its ranks; without a node, that others are hidden.

    `fold` is the shape before a node's name: "▸" some of its ranks are hidden, "▾" none are.
    """

    node: JobNode | None
    rank: Rank | None = None
    culprit: bool = False
    fold: str = ""
    trouble: tuple[str, ...] = ()
    text: str = ""

    @property
    def key(self) -> str:
        if self.node is None:
            return "more"
        return f"{self.node.node_rank}:{'' if self.rank is None else self.rank.rank}"


def rank_trouble(job: Job, node: JobNode, rank: Rank) -> str:
    """What is wrong with a rank, in a word; "" when nothing is."""
    if is_culprit(job, node, rank):
        return "first"
    if rank.state is RankState.FAILED:
        return "failed"
    if job.state.ended or rank.state is not RankState.RUNNING:
        return ""
    if rank.stage is Stage.SILENT:
        return "silent"
    return "straggler" if rank.straggler else ""


def is_culprit(job: Job, node: JobNode, rank: Rank) -> bool:
    """It died first."""
    cause = job.cause
    return (
        cause is not None
        and (cause.rank, cause.node) == (rank.rank, node.name)
        and cause.generation in (None, node.generation)
    )


def node_trouble(job: Job, node: JobNode) -> str:
    """What is wrong with a node itself, in a word."""
    if node.state is NodeState.LOST:
        return "lost"
    if node.left:
        return "left"
    if node.state is NodeState.FAILED and not node.ranks:
        return "failed"
    live = not job.state.ended and job.seen_at is None
    if live and not node.state.ended and node.link.state is not LinkState.ONLINE:
        return str(node.link.state.value)
    return ""


def starts_folded(job: Job) -> bool:
    """Whether nodes of the job show only the ranks that have a problem, unless asked for more."""
    return sum(len(node.ranks) for node in job.nodes) > OPEN_UP_TO


def items(job: Job, toggled: Iterable[int] = (), *, only_problems: bool = False) -> list[RankItem]:
    """The rows of a job, nodes with problems first. `toggled`: node ranks of the nodes that are
    folded where others are not, or the other way round."""
    folded = starts_folded(job)
    changed = frozenset(toggled)
    seats: list[tuple[int, int, list[RankItem]]] = []
    for node in job.nodes:
        words = [rank_trouble(job, node, rank) for rank in node.ranks]
        own = node_trouble(job, node)
        trouble = tuple(word for word in (own, *words) if word)
        is_open = (node.node_rank in changed) is folded
        shown = [
            RankItem(node, rank, word == "first", trouble=(word,) if word else ())
            for rank, word in zip(node.ranks, words, strict=True)
            if word or (is_open and not only_problems)
        ]
        if only_problems and not trouble:
            continue
        fold = "" if not node.ranks else "▾" if len(shown) == len(node.ranks) else "▸"
        urgency = 0 if "first" in words else 1 if trouble else 2
        rows = [RankItem(node, fold=fold, trouble=trouble), *shown]
        seats.append((urgency, node.node_rank, rows))
    seats.sort(key=lambda seat: seat[:2])
    found = [row for _, _, rows in seats for row in rows]
    hidden = len(job.nodes) - len(seats)
    if only_problems:
        shape = "all ●" if not job.state.ended else "without a failure of their own"
        count = count_of(hidden, "node")
        text = f"⋮ {hidden} more · {shape}" if seats else f"no problems · {count}, {shape}"
        found.append(RankItem(None, text=text))
    return found


def gpu_of(job: Job, node: JobNode, rank: Rank, machine: Node) -> Gpu | None:
    """The GPU that a rank works on: the one with its process, or else by its local rank."""
    for gpu in machine.gpus:
        if any(process.pid == rank.pid for process in gpu.processes):
            return gpu
    told = any(p.job == job.id for gpu in machine.gpus for p in gpu.processes)
    if told or len(machine.gpus) < len(node.ranks):
        return None
    return next((gpu for gpu in machine.gpus if gpu.index == rank.local_rank), None)


class RankRows:
    """Draws rows of one job with what is known of its nodes' GPUs. `last`: the newest line of the
    log by (node, rank)."""

    def __init__(self) -> None:
        self._job: Job | None = None
        self._middle: float | None = None
        self.machine: Callable[[JobNode], Node | None] = lambda _: None
        self.last: Mapping[tuple[str, int], str] = {}
        self.mono = self.wall = 0.0
        self.marked: frozenset[str] = frozenset()

    def begin(self, job: Job) -> None:
        """From now on rows are of this snapshot."""
        if job is not self._job:
            self._job = job
            steps = [r.step for node in job.nodes for r in node.ranks if r.step is not None]
            self._middle = median(steps) if steps else None

    def row(self, item: RankItem) -> Row:
        if item.node is None:
            return Row((cell(), cell(item.text, "dim", columns=len(COLUMNS) - 1)))
        if item.rank is None:
            return self._node(item, item.node)
        return self._rank(item, item.node, item.rank)

    @property
    def _live(self) -> bool:
        job = self._job
        return job is not None and not job.state.ended and job.seen_at is None

    def _behind(self, step: int | None) -> Cell:
        if step is None or self._middle is None:
            return cell()
        behind = step - round(self._middle)
        return cell(f"{behind:+d}" if behind else "0", "warn" if behind < -1 else "dim")

    def silent(self, node: JobNode) -> tuple[Span, ...] | None:
        """That a node tells nothing now, and since when; None where it does, or need not."""
        if not self._live or node.state.ended:
            return None
        link, machine = node.link, self.machine(node)
        if link.state is not LinkState.ONLINE:
            mark, tone = LINK[link.state]
            why = f": {link.why}" if link.why else ""
            age = span_of_time(self.wall - link.since)
            return (Span(f"{mark} {link.state.value}{why}", tone), Span(f" {age}", "stale"))
        if machine is None or machine.sampled_at is None or not self._stale(machine):
            return None
        return (Span(f"? no sample for {span_of_time(self.mono - machine.sampled_at)}", "stale"),)

    # ------------------------------------------------------------------------- nodes

    def _node(self, item: RankItem, node: JobNode) -> Row:
        glyph, tone = ("?", "stale") if self.silent(node) else NODE[node.state]
        steps = [rank.step for rank in node.ranks if rank.step is not None]
        ages = [rank.beat_age for rank in node.ranks if rank.beat_age is not None]
        times = [r.step_time for r in node.ranks if r.step_time and r.stage is Stage.TRAINING]
        name = [Span(f"{item.fold} ", "dim"), Span(node.name, "title")]
        if node.ranks:
            name.append(Span(f" r{numbers([rank.rank for rank in node.ranks])}", "dim"))
        machine = self.machine(node)
        job = self._job
        marked = job is not None and f"{job.cluster}/{node.name}" in self.marked
        return Row(
            (
                cell(MARK if marked else "", "accent"),
                Cell(tuple(name)),
                cell(f"{glyph} {node.state.value}", tone),
                cell("--" if node.pid is None else str(node.pid)),
                cell(str(min(steps)) if steps else ""),
                self._behind(min(steps, default=None)),
                cell(rate_of(median(times)) if times and glyph != "?" else ""),
                cell(
                    span_of_time(max(ages)) if ages and self._live else "", "stale" * (glyph == "?")
                ),
                self._bars(machine),
                self._memory(machine.gpus if machine is not None else ()),
                cell(str(node.generation) if node.generation else ""),
                cell(ended_by(node.exit_code, node.signal)),
                Cell(join(self._remarks(item, node), Span(" · ", "dim"))),
            )
        )

    def _bars(self, machine: Node | None) -> Cell:
        if machine is None or not machine.gpus or not self._live:
            return cell()
        values = [None if g.utilization is None else g.utilization / 100 for g in machine.gpus]
        return Cell(columns(values[:8], 0, stale=self._stale(machine)))

    def _memory(self, gpus: Iterable[Gpu]) -> Cell:
        used = [gpu.memory_used for gpu in gpus if gpu.memory_used is not None]
        return cell(size_of(max(used)), "dim") if used and self._live else cell()

    def _stale(self, machine: Node) -> bool:
        return machine.sampled_at is None or self.mono - machine.sampled_at > STALE_AFTER

    def _remarks(self, item: RankItem, node: JobNode) -> list[tuple[Span, ...]]:
        remarks: list[tuple[Span, ...]] = []
        silent = self.silent(node)
        if silent is not None:
            remarks.append(silent)
        if node.left:
            left = ", ".join(f"{process.pid} {process.command}" for process in node.left)
            remarks.append((Span(f"left: {left}", "bad"),))
        counts = {
            # Whoever died first failed like the others.
            "failed": sum(1 for rank in node.ranks if rank.state is RankState.FAILED),
            "silent": item.trouble.count("silent"),
            "straggler": item.trouble.count("straggler"),
        }
        for word, count in counts.items():
            if count and node.ranks:
                remarks.append((Span(f"{count_of(count, 'rank')} {word}", "bad"),))
        remarks.extend((Span(note, "warn"),) for note in node.notes)
        if not remarks and node.host != node.name:
            remarks.append((Span(node.host, "dim"),))
        return remarks

    # ------------------------------------------------------------------------- ranks

    def _rank(self, item: RankItem, node: JobNode, rank: Rank) -> Row:
        glyph, word, tone = doing(rank)
        away = rank.state is RankState.RUNNING and self.silent(node) is not None
        if away:
            glyph, tone = "?", "stale"
        age_tone = "stale" if away else "bad" * (rank.stage is Stage.SILENT)
        beats = rank.stage is Stage.TRAINING and not away
        usage, memory = self._gpu(node, rank)
        return Row(
            (
                cell(),
                Cell((Span(f"  r{rank.rank}"), Span(f" local {rank.local_rank}", "dim"))),
                cell(f"{glyph} {word}", tone),
                cell(str(rank.pid)),
                cell("" if rank.step is None else str(rank.step), "stale" if away else ""),
                self._behind(rank.step),
                cell(rate_of(rank.step_time) if beats else ""),
                cell("" if rank.beat_age is None else span_of_time(rank.beat_age), age_tone),
                usage,
                memory,
                cell(),
                cell(ended_by(rank.exit_code, rank.signal), "bad" if item.culprit else ""),
                Cell(tuple(self._remark(item, node, rank))),
            )
        )

    def _gpu(self, node: JobNode, rank: Rank) -> tuple[Cell, Cell]:
        machine = self.machine(node) if self._live and rank.state is RankState.RUNNING else None
        gpu = gpu_of(self._job, node, rank, machine) if machine and self._job else None
        if gpu is None or machine is None:
            return cell(), cell()
        level = None if gpu.utilization is None else gpu.utilization / 100
        bar = columns((level,), 1, stale=self._stale(machine))
        tone = "stale" if self._stale(machine) else ""
        return Cell((*bar, Span(percent(level), tone))), self._memory((gpu,))

    def _remark(self, item: RankItem, node: JobNode, rank: Rank) -> list[Span]:
        remark = [Span("◀ first ", "bad")] if item.culprit else []
        if rank.straggler:
            remark.append(Span("▲ straggler ", "warn"))
        if rank.message:
            return [*remark, Span(rank.message, "bad" if item.culprit else "")]
        if rank.note:
            remark.append(Span(f"not instrumented: {rank.note} ", "warn"))
        words = [f"{name} {value:.4g}" for name, value in rank.metrics.items()]
        words += [f"in section {name}" for name in rank.sections]
        away = rank.state is RankState.RUNNING and self.silent(node) is not None
        if words:
            remark.append(Span(" ".join(words), "stale" if away else ""))
        # The last line of a rank out of reach is as old as nobody knows.
        said = "" if away else self.last.get((node.name, rank.rank), "")
        if said:
            remark.append(Span(f" │ {said}" if words else said, "dim"))
        return remark
