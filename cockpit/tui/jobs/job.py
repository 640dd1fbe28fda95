"""Job: first what died first and whether the job recovered, then attempts, ranks and the log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from textual.app import ComposeResult
from textual.widget import Widget

from cockpit.model.logtypes import Origin
from cockpit.model.types import Generation, Job, JobNode, Node, Rank
from cockpit.text import clean_line, count_of
from cockpit.tui.actions import View
from cockpit.tui.draw.spans import Line, Span, line
from cockpit.tui.draw.words import is_starting
from cockpit.tui.frame import Frame
from cockpit.tui.jobs import attempts, jobhead, ranktable
from cockpit.tui.jobs.attempts import GenerationItem
from cockpit.tui.jobs.ranktable import RankItem, RankRows
from cockpit.tui.logs.feed import LogFeed
from cockpit.tui.logs.pane import LogPane
from cockpit.tui.view import CockpitView
from cockpit.tui.widgets.grid import RowGrid
from cockpit.tui.widgets.lines import Lines

TIMELINE_ROWS = 4
"""Generations in sight at once."""
LAST_LINES = 300
"""Newest lines of the log in which the last line of each rank is looked for."""
LAST_WIDTH = 200


class JobView(CockpitView):
    """Satisfies `JobDo`."""

    def __init__(self, *, id: str) -> None:  # noqa: A002
        super().__init__(id=id)
        self._header = Lines(id="job-header")
        self._cause = Lines(id="job-cause")
        self._metrics = Lines(id="job-metrics")
        self._attempts = Lines(id="job-attempts")
        self._generation = Lines(id="job-generation")
        self._timeline: RowGrid[GenerationItem] = RowGrid(
            attempts.COLUMNS,
            attempts.row,
            lambda item: attempts.key_of(item.generation),
            empty="nothing has started yet",
            id="job-timeline",
        )
        self._summary = Lines(id="job-summary")
        self._rows = RankRows()
        self._ranks: RowGrid[RankItem] = RowGrid(
            ranktable.COLUMNS,
            self._rows.row,
            lambda item: item.key,
            empty="no nodes",
            id="job-ranks",
        )
        self.log_pane = LogPane(id="job-log")
        self._feed: LogFeed | None = None
        self._frame: Frame | None = None
        self._shown: Job | None = None
        self._fleet_nodes: tuple[Node, ...] = ()
        self._machines: dict[tuple[str, str], Node] = {}
        self._toggled: set[int] = set()
        self._only_problems = False
        self._chosen = ""
        """The generation that was asked for with `,` and `.`; "" is the newest."""
        self._arriving: str | None = None
        """The row that the cursor goes to once the rows of another job are there; "": the first."""
        self._listed: tuple[object, ...] = ()
        self._read: tuple[object, ...] = ()

    def compose(self) -> ComposeResult:
        yield self._header
        yield self._cause
        yield self._metrics
        yield self._attempts
        yield self._timeline
        yield self._generation
        yield self._summary
        yield self._ranks
        assert self.log_pane is not None
        yield self.log_pane

    @property
    def panes(self) -> tuple[Widget, ...]:
        assert self.log_pane is not None
        several = (self._timeline,) if self._timeline.display else ()
        return (self._ranks, self.log_pane.view, *several)

    @property
    def node(self) -> Node | None:
        item = self._ranks.current
        if item is None or item.node is None:
            return None
        return self._machine(item.node)

    @property
    def mark_key(self) -> str:
        item = self._ranks.current
        return "" if item is None else self._mark(item)

    @property
    def mark_order(self) -> list[str]:
        return [key for key in map(self._mark, self._ranks.items) if key]

    def _mark(self, item: RankItem) -> str:
        if item.node is None or item.rank is not None or self._shown is None:
            return ""
        return f"{self._shown.cluster}/{item.node.name}"

    def attach(self, feed: LogFeed | None) -> None:
        self._feed = feed
        super().attach(feed)

    def open_selection(self) -> None:
        """Fold or unfold a node; from a rank, to the log; from an attempt, to its cause."""
        if self.app.screen_stack[0].focused is self._timeline:
            item = self._timeline.current
            if item is not None:
                self._choose(attempts.key_of(item.generation))
            return
        row = self._ranks.current
        if row is None or row.node is None:
            self.toggle_problems()
        elif row.rank is None and row.node.ranks:
            self._toggled ^= {row.node.node_rank}
            self._redraw()
        else:
            self._show_log(row.rank)

    def _show_log(self, rank: Rank | None) -> None:
        """The log of one rank; of all that are chosen already, from a node without ranks."""
        assert self.log_pane is not None
        if rank is not None:
            self.log_pane.choose(f"r{rank.rank}")
        self.cockpit.show(View.LOGS)

    # -------------------------------------------------------------- what actions ask (JobDo)

    def toggle_problems(self) -> None:
        self._only_problems = not self._only_problems
        self._redraw()

    def fold_all(self) -> None:
        """Fold every node, or unfold them all when they are."""
        if self._shown is None:
            return
        every = {node.node_rank for node in self._shown.nodes}
        self._toggled = set() if self._toggled == every else every
        self._redraw()

    def step_attempt(self, step: int) -> None:
        """To an older (-1) or newer (1) generation."""
        job = self._shown
        if job is None or not job.history:
            return
        keys = [attempts.key_of(item) for item in job.history]
        at = keys.index(self._chosen) if self._chosen in keys else len(keys) - 1
        self._choose(keys[min(max(at + step, 0), len(keys) - 1)])

    def _choose(self, key: str) -> None:
        job = self._shown
        newest = attempts.key_of(job.history[-1]) if job is not None and job.history else ""
        self._chosen = "" if key == newest else key
        self._timeline.select(key)
        self._redraw()

    def memory(self) -> dict[str, Any]:
        return {"problems": self._only_problems}

    def recall(self, memory: dict[str, Any]) -> None:
        self._only_problems = memory.get("problems") is True

    # ---------------------------------------------------------------------------- drawing

    def _redraw(self) -> None:
        if self._frame is not None and self._shown is not None:
            self._draw(self._frame, self._shown)

    def on_resize(self) -> None:
        self._redraw()

    def update(self, frame: Frame, job_id: str | None) -> None:
        self._frame = frame
        job = frame.job(job_id)
        if job is None:
            self._shown = None
            self._header.show(line(Span(" Job", "title"), Span("  no job is selected", "dim")))
            for part in (self._cause, self._metrics, self._attempts, self._generation):
                part.show()
            self._summary.show()
            self._timeline.show(())
            self._ranks.show(())
            return
        another = self._shown is None or self._shown.id != job.id
        self._shown = job
        if another:
            self._begin(job)
        self._draw(frame, job)

    def _begin(self, job: Job) -> None:
        """Another job: the cursor goes to the rank that died first."""
        at = job.cause
        number = next((n.node_rank for n in job.nodes if at is not None and n.name == at.node), 0)
        rank = "" if at is None or at.rank is None else at.rank
        self._toggled = set()
        self._chosen = ""
        self._listed = ()
        self._arriving = "" if at is None else f"{number}:{rank}"

    def _draw(self, frame: Frame, job: Job) -> None:
        tall = self.size.height >= 20
        self._header.show(*jobhead.header(job, frame.wall))
        cause = jobhead.cause(job, frame.wall, tall=tall)
        self._cause.styles.height = len(cause)
        self._cause.show(*cause)
        progress = jobhead.progress(job)
        self._metrics.display = progress is not None
        self._metrics.show(*((progress,) if progress is not None else ()))
        self._draw_attempts(frame, job, tall)
        self._draw_ranks(frame, job)

    def _draw_attempts(self, frame: Frame, job: Job, tall: bool) -> None:
        width = self._attempts.size.width or self.size.width
        self._attempts.show(attempts.drawn(job.history, width, frame.wall, self._chosen))
        self._timeline.display = tall and len(job.history) > 1
        self._timeline.styles.max_height = min(len(job.history), TIMELINE_ROWS) + 1
        starting = is_starting(job, frame.wall)
        self._timeline.show(attempts.items_of(job.history, frame.wall, starting=starting))
        if self._arriving is not None:
            self._timeline.top()
        lines = _told(job, self._generation_chosen(job), 5 if tall else 2, bool(self._chosen))
        self._generation.styles.height = len(lines)
        self._generation.display = bool(lines)
        self._generation.show(*lines)

    def _generation_chosen(self, job: Job) -> Generation | None:
        for item in job.history:
            if attempts.key_of(item) == self._chosen:
                return item
        return job.history[-1] if job.history else None

    def _draw_ranks(self, frame: Frame, job: Job) -> None:
        if frame.fleet.nodes is not self._fleet_nodes:
            self._fleet_nodes = frame.fleet.nodes
            self._machines = {(node.cluster, node.name): node for node in self._fleet_nodes}
        self._read_last_lines(int(frame.wall))
        rows = self._rows
        rows.begin(job)
        rows.machine = self._machine
        rows.mono, rows.wall = frame.mono, frame.wall
        rows.marked = frame.marked
        machines = [self._machine(node) for node in job.nodes]
        gpus = any(machine is not None and machine.gpus for machine in machines)
        quiet = sum(1 for node in job.nodes if rows.silent(node) is not None)
        state = (job, frozenset(self._toggled), self._only_problems, gpus, quiet)
        same = self._listed and self._listed[0] is job and self._listed[1:] == state[1:]
        if same:
            self._ranks.redraw()
            return
        self._listed = state
        self._ranks.columns = ranktable.columns_for(job, gpus=gpus)
        items = ranktable.items(job, self._toggled, only_problems=self._only_problems)
        self._summary.show(_summary(job, items, self._only_problems, quiet))
        self._ranks.show(items)
        if self._arriving is not None:
            # From the top, so that the rank that died first has its node above it.
            keys = [item.key for item in items]
            self._ranks.top()
            self._ranks.move(keys.index(self._arriving) if self._arriving in keys else 0)
            self._arriving = None

    def _machine(self, node: JobNode) -> Node | None:
        job = self._shown
        return None if job is None else self._machines.get((job.cluster, node.name))

    def _read_last_lines(self, second: int) -> None:
        """What each rank said last in its present generation, as far as it is among the newest
        lines; once a second."""
        document = self._feed.document if self._feed is not None else None
        if document is None:
            self._rows.last = {}
            return
        state = (document, second)
        if state == self._read:
            return
        self._read = state
        end = document.end
        job = self._shown
        now = {} if job is None else {node.name: node.generation for node in job.nodes}
        last: dict[tuple[str, int], str] = {}
        for raw in reversed(document.lines(max(end - LAST_LINES, document.first), end)):
            if raw.origin.rank is not None and _is_of(raw.origin, job, now):
                key = (raw.origin.node, raw.origin.rank)
                if key not in last and raw.data.strip():
                    last[key] = clean_line(raw.data, LAST_WIDTH)
        self._rows.last = last


def _is_of(origin: Origin, job: Job | None, generations: Mapping[str, int | None]) -> bool:
    """Whether a stream belongs to the processes that its node runs now, or ran last."""
    if job is None or origin.attempt != job.attempt:
        return False
    running = generations.get(origin.node)
    return origin.generation is None or running is None or origin.generation == running


def _told(job: Job, generation: Generation | None, rows: int, asked: bool) -> tuple[Line, ...]:
    """Of the generation that was asked for all there is room for; of the newest only what the
    lines above do not say: what the others saw, and the last words of the rank that died."""
    if generation is None:
        return ()
    if asked:
        return attempts.in_full(generation, rows)
    if generation.cause is None or rows < 4:
        return ()
    tail = attempts.tail(job.cause or generation.cause, rows - 2)
    return (*attempts.victims(generation), *tail)


def _summary(job: Job, items: list[RankItem], only_problems: bool, quiet: int) -> Line:
    """How many nodes have a problem, above the rows. `quiet`: nodes that tell nothing now."""
    nodes = [item for item in items if item.node is not None and item.rank is None]
    troubled = sum(1 for item in nodes if item.trouble)
    count = count_of(len(job.nodes), "node")
    if troubled:
        said = Span(f" {troubled} of {count} with problems", "bad")
    else:
        said = Span(f" {count}, no problems", "dim")
    spans = [said]
    if quiet:
        spans.append(Span(f" · ? {quiet} of {count} silent", "stale"))
    if only_problems:
        spans.append(Span(" · problems only", "warn"))
    if ranktable.starts_folded(job):
        spans.append(Span(" · enter unfolds a node", "dim"))
    return Line(tuple(spans))
