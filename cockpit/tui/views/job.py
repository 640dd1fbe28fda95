"""Job: first what died first and whether the job recovered, then attempts, ranks and the log."""

from __future__ import annotations

from typing import NamedTuple

from textual.app import ComposeResult
from textual.widget import Widget

from cockpit.model.restarts import restarts_text
from cockpit.model.types import Generation, Job, JobNode, JobState, LinkState, Rank, Stage
from cockpit.text import count_of
from cockpit.tui.frame import Frame
from cockpit.tui.spans import Line, Span, join, line
from cockpit.tui.views.base import CockpitView
from cockpit.tui.views.jobs import state_span
from cockpit.tui.widgets.bars import spark
from cockpit.tui.widgets.grid import Cell, Column, Row, RowGrid, cell
from cockpit.tui.widgets.lines import Lines
from cockpit.tui.widgets.logpane import LogPane
from cockpit.tui.words import (
    LINK,
    NODE,
    cause_line,
    clock_time,
    doing,
    ended_by,
    ranks_of,
    rate_of,
    runtime,
    span_of_time,
    verdict,
)

TIMELINE_ROWS = 4
"""Generations in sight at once."""


class RankItem(NamedTuple):
    """A node of the job, or with `rank` one of its ranks."""

    node: JobNode
    rank: Rank | None
    culprit: bool


class GenerationItem(NamedTuple):
    """A generation and how long it ran, in whole seconds."""

    generation: Generation
    seconds: int


_RANKS = (
    Column("NODE / RANK", 14, grow=1),
    Column("DOING", 11),
    Column("PID", 7, drop=6, align="right"),
    Column("STEP", 7, drop=3, align="right"),
    Column("RATE", 8, drop=5, align="right"),
    Column("BEAT", 6, drop=4, align="right"),
    Column("EXIT", 8, drop=1),
    Column("", 14, grow=16, drop=2),
)

_TIMELINE = (
    Column("ATTEMPT", 12),
    Column("FROM", 8, drop=2),
    Column("TO", 8, drop=3),
    Column("FOR", 7, align="right"),
    Column("RANKS", 5, drop=1, align="right"),
    Column("ENDED BY", 16, grow=1),
)


class JobView(CockpitView):
    def __init__(self, *, id: str) -> None:  # noqa: A002
        super().__init__(id=id)
        self._header = Lines(id="job-header")
        self._cause = Lines(id="job-cause")
        self._metrics = Lines(id="job-metrics")
        self._timeline: RowGrid[GenerationItem] = RowGrid(
            _TIMELINE,
            _timeline_row,
            lambda item: f"{item.generation.attempt}.{item.generation.generation}",
            empty="nothing has started yet",
            id="job-timeline",
        )
        self._ranks: RowGrid[RankItem] = RowGrid(
            _RANKS,
            _rank_row,
            lambda item: f"{item.node.node_rank}:{'' if item.rank is None else item.rank.rank}",
            empty="no nodes",
            id="job-ranks",
        )
        self.log_pane = LogPane(id="job-log")
        self._shown = ""

    def compose(self) -> ComposeResult:
        yield self._header
        yield self._cause
        yield self._metrics
        yield self._timeline
        yield self._ranks
        assert self.log_pane is not None
        yield self.log_pane

    @property
    def panes(self) -> tuple[Widget, ...]:
        assert self.log_pane is not None
        return (self._ranks, self.log_pane.view, self._timeline)

    def update(self, frame: Frame, job_id: str | None) -> None:
        job = frame.job(job_id)
        if job is None:
            self._header.show(line(Span(" Job", "title"), Span("  no job is selected", "dim")))
            self._cause.show()
            self._metrics.show()
            self._timeline.show(())
            self._ranks.show(())
            return
        if job.id != self._shown:
            self._shown = job.id
            self._begin(job)
        self._header.show(*_header(job, frame.wall))
        self._cause.show(*_cause(job))
        progress = _progress(job)
        self._metrics.display = progress is not None
        self._metrics.show(*((progress,) if progress is not None else ()))
        self._timeline.styles.max_height = min(len(job.history), TIMELINE_ROWS) + 2
        self._timeline.show(
            [
                GenerationItem(item, int((item.ended_at or frame.wall) - item.started_at))
                for item in reversed(job.history)
            ]
        )
        self._ranks.show(_rank_items(job))

    def _begin(self, job: Job) -> None:
        """Another job: the cursor goes to the rank that died first."""
        at = job.cause
        number = next((n.node_rank for n in job.nodes if at is not None and n.name == at.node), 0)
        rank = "" if at is None or at.rank is None else at.rank
        self._ranks.select(f"{number}:{rank}")
        self._timeline.top()


def _header(job: Job, now: float) -> tuple[Line, ...]:
    seconds = runtime(job, now)
    first = [
        (Span(f" {job.name}", "title"),),
        (state_span(job),),
        (Span("--" if seconds is None else span_of_time(seconds)),),
        (Span(f"{count_of(len(job.nodes), 'node')}, {count_of(ranks_of(job), 'rank')}"),),
        (Span(restarts_text(job) if job.restarts else "no restarts", "warn" * bool(job.restarts)),),
        *((Span(flag, "warn"),) for flag in job.flags),
    ]
    second = [
        (Span(f" {job.launcher} on {job.cluster}"),),
        (Span(f"by {job.created_by}"),),
        (Span(job.id, "dim"),),
        (Span("$ ", "dim"), Span(" ".join(job.command))),
    ]
    dot = Span(" · ", "dim")
    return Line(join(first, dot)), Line(join(second, dot))


def _cause(job: Job) -> tuple[Line, ...]:
    cause = job.cause
    if "stalled" in job.flags and job.stalls:
        return _stalled(job)
    if cause is None:
        if job.state is JobState.CANCELLED:
            sentence, tone = verdict(job)
            return (line(Span(f" ■ {sentence}", tone)),)
        return (line(Span(" no failure", "dim")),)
    sentence, tone = verdict(job)
    glyph = "✔" if tone == "ok" else "→"
    return (
        line(
            Span(" ✖ first ", "bad"),
            Span("" if cause.at is None else f"{clock_time(cause.at)} ", "dim"),
            Span(cause_line(cause), "bad"),
        ),
        line(
            Span(f" {glyph} {sentence}", tone),
            Span(f" — {cause.hint}" if cause.hint else "", "dim"),
        ),
    )


_ACTIONS = {
    "warn": "nothing is done about it: `on_stall` is warn",
    "restart": "the ranks are being restarted",
    "cancel": "the job is being ended",
}


def _stalled(job: Job) -> tuple[Line, ...]:
    """The stall of this generation, on however many nodes it was declared, and what is done."""
    newest = job.stalls[0]
    where = (newest.attempt, newest.generation)
    open_ones = [
        stall
        for stall in job.stalls
        if (stall.attempt, stall.generation) == where and stall.recovered_at is None
    ] or [newest]
    stall = min(open_ones, key=lambda each: each.at)
    nodes = sorted({each.node for each in open_ones})
    who = f"{nodes[0]}: {stall.message}"
    if len(nodes) > 1:
        ranks = sorted({rank for each in open_ones for rank in each.ranks})
        who = f"{count_of(len(ranks), 'rank')} on {', '.join(nodes)} silent: {stall.message}"
    stacks = "; b shows where the ranks are" if not job.state.ended else ""
    return (
        line(
            Span(" ◇ stalled ", "bad"),
            Span(f"{clock_time(stall.at)} ", "dim"),
            Span(who, "bad"),
        ),
        line(Span(f" → {_ACTIONS.get(stall.action, stall.action)}{stacks}", "warn")),
    )


SPARK = 12
"""Cells of the history of one metric."""


def _progress(job: Job) -> Line | None:
    """Steps, their spread, and each metric with its history; None where nothing beats."""
    parts: list[tuple[Span, ...]] = []
    steps = job.steps
    if steps is not None:
        low, high = steps
        spread = Span(f"–{high} (spread {high - low})", "warn") if high > low else Span("")
        parts.append((Span(" step "), Span(str(low), "strong"), spread))
    times = [
        rank.step_time
        for node in job.nodes
        for rank in node.ranks
        if rank.step_time and rank.stage is Stage.TRAINING
    ]
    if times:
        parts.append((Span(rate_of(sorted(times)[len(times) // 2])),))
    for metric in job.metrics:
        if metric.name in ("step", "step_time"):
            continue  # said already
        history = spark([value for _, value in metric.history], SPARK)
        parts.append(
            (
                Span(f"{metric.name} "),
                Span(history, "accent"),
                Span(f" {metric.value:.4g}", "strong"),
            )
        )
    if not parts:
        return None
    return Line(join(parts, Span(" · ", "dim")))


_REASONS = {
    "succeeded": ("✔ succeeded", "ok"),
    "membership": ("⇄ nodes came or went", "accent"),
    "cancelled": ("■ cancelled", "warn"),
    "operator": ("↻ restarted by hand", "accent"),
    "stall": ("◇ stalled", "bad"),
}


def _timeline_row(item: GenerationItem) -> Row:
    generation = item.generation
    if generation.ended_at is None:
        end = cell("● runs", "ok")
    elif generation.cause is not None:
        end = cell(f"✖ {cause_line(generation.cause)}", "bad")
    else:
        text, tone = _REASONS.get(generation.reason, (f"✖ {generation.reason or 'failed'}", "bad"))
        if generation.reason == "operator" and generation.by:
            text = f"↻ restarted by {generation.by}"
        end = cell(text, tone)
    until = "" if generation.ended_at is None else clock_time(generation.ended_at)
    return Row(
        (
            cell(f"{generation.attempt} gen {generation.generation}", "strong"),
            cell(clock_time(generation.started_at)),
            cell(until),
            cell(span_of_time(item.seconds)),
            cell(str(generation.world_size)),
            end,
        )
    )


def _rank_items(job: Job) -> list[RankItem]:
    cause = job.cause
    items = []
    for node in job.nodes:
        items.append(RankItem(node, None, False))
        for rank in node.ranks:
            first = (
                cause is not None
                and (cause.rank, cause.node) == (rank.rank, node.name)
                and cause.generation in (None, node.generation)
            )
            items.append(RankItem(node, rank, first))
    return items


def _rank_row(item: RankItem) -> Row:
    return _node_cells(item.node) if item.rank is None else _cells(item.rank, item.culprit)


def _node_cells(node: JobNode) -> Row:
    glyph, tone = NODE[node.state]
    remarks: list[tuple[Span, ...]] = []
    if node.link.state is not LinkState.ONLINE:
        mark, link_tone = LINK[node.link.state]
        why = f": {node.link.why}" if node.link.why else ""
        remarks.append((Span(f"{mark} {node.link.state.value}{why}", link_tone),))
    if node.left:
        left = ", ".join(f"{process.pid} {process.command}" for process in node.left)
        remarks.append((Span(f"left: {left}", "bad"),))
    remarks.extend((Span(note, "warn"),) for note in node.notes)
    if not remarks and node.host != node.name:
        remarks.append((Span(node.host, "dim"),))
    return Row(
        (
            cell(node.name, "title"),
            cell(f"{glyph} {node.state.value}", tone),
            cell("--" if node.pid is None else str(node.pid)),
            cell(),
            cell(),
            cell(),
            cell(ended_by(node.exit_code, node.signal)),
            Cell(join(remarks, Span(" · ", "dim"))),
        )
    )


def _cells(rank: Rank, culprit: bool) -> Row:
    glyph, word, tone = doing(rank)
    silent = rank.stage is Stage.SILENT
    remark = [Span("◀ first ", "bad")] if culprit else []
    if rank.straggler:
        remark.append(Span("▲ straggler ", "warn"))
    if rank.message:
        remark.append(Span(rank.message, "bad" if culprit else ""))
    else:
        if rank.note:
            remark.append(Span(f"not instrumented: {rank.note} ", "warn"))
        words = [f"{name} {value:.4g}" for name, value in rank.metrics.items()]
        words += [f"in section {name}" for name in rank.sections]
        remark.append(Span(" ".join(words)))
    return Row(
        (
            Cell((Span(f"  r{rank.rank}"), Span(f" local {rank.local_rank}", "dim"))),
            cell(f"{glyph} {word}", tone),
            cell(str(rank.pid)),
            cell("" if rank.step is None else str(rank.step)),
            cell(rate_of(rank.step_time) if rank.stage is Stage.TRAINING else ""),
            cell("" if rank.beat_age is None else span_of_time(rank.beat_age), "bad" * silent),
            cell(ended_by(rank.exit_code, rank.signal), "bad" if culprit else ""),
            Cell(tuple(remark)),
        )
    )
