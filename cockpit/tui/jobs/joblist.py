"""The list of jobs: which of them are shown, in which order, and what a row says. Pure.

`views.jobs` owns the widget. What is costly to tell of a job with a thousand ranks is told once
per snapshot of that job, and of jobs on the screen only.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Collection, Sequence
from typing import NamedTuple

from cockpit.model.figures import step_time_of
from cockpit.model.restarts import failure_of, restarts_of
from cockpit.model.types import Job, JobState, LinkState, Metric
from cockpit.text import clean
from cockpit.tui.draw.spans import Line, Span, join, line
from cockpit.tui.draw.words import JOB, cause_line, ranks_of, rate_of, runtime, span_of_time
from cockpit.tui.frame import is_live
from cockpit.tui.jobs.trends import Trends
from cockpit.tui.sifting import Sift
from cockpit.tui.widgets.bars import columns
from cockpit.tui.widgets.grid import Cell, Column, Row, cell, widths_for

SORTS = ("state", "newest", "name")
SHOWS = ("all", "not ended", "problems")
TREND = 12
"""Cells of the utilisation of the last ten minutes."""
MARK = "◆"
ALARMING = frozenset(("stalled", "degraded", "unknown_nodes"))
"""Flags that make a job a problem."""


class Flag(NamedTuple):
    """How a flag of a job looks beside its name, and what is said of it where there is room."""

    glyph: str
    words: str
    tone: str

    @property
    def span(self) -> Span:
        return Span(f"{self.glyph} {self.words}", self.tone)


FLAGS = {
    "stalled": Flag("◇", "stalled", "bad"),
    "degraded": Flag("▽", "runs on fewer nodes", "warn"),
    "unknown_nodes": Flag("?", "a node is silent", "stale"),
    "straggler": Flag("▲", "a rank is slow", "warn"),
    "cancelling": Flag("◍", "being cancelled", "warn"),
    "waiting": Flag("◌", "waiting for nodes", "busy"),
    "uninstrumented": Flag("□", "not instrumented", "dim"),
}
"""By the name that a job has for it."""


def flags_of(job: Job) -> list[Flag]:
    return [FLAGS.get(name) or Flag("!", name.replace("_", " "), "warn") for name in job.flags]


COLUMNS = (
    Column("", 1),
    Column("STATE", 11),
    Column("NAME", 12, grow=3),
    Column("NODES", 7, align="right"),
    Column("RANKS", 5, align="right", drop=1),
    Column("RUNTIME", 8, align="right"),
    Column("STEP", 7, align="right", drop=3),
    Column("RATE", 9, align="right", drop=6),
    Column("RST", 5, align="right", drop=2),
    Column("GPU 10m", TREND, drop=4),
    Column("METRIC", 12, grow=1, drop=5),
    Column("CLUSTER", 8, grow=1, drop=8),
    Column("LAUNCHER", 8, grow=1, drop=9),
    Column("BY", 10, grow=1, drop=10),
    Column("ID", 12, grow=1, drop=7),
)

_ORDER = {
    JobState.RUNNING: 0,
    JobState.STARTING: 1,
    JobState.STAGING: 1,
    JobState.FAILED: 3,
    JobState.CANCELLED: 4,
    JobState.SUCCEEDED: 4,
}
_REMEMBERED = 2
"""The place of jobs that ran when they were last seen."""


class JobItem(NamedTuple):
    """A job, how long it ran or, if it is only remembered, when it was seen, and its mark.
    `asked`: a node of its cluster has answered, so that it could have told of the job."""

    job: Job
    runtime: int | None
    seen: int | None
    marked: bool
    asked: bool = True


def command_of(job: Job) -> str:
    """What was asked to be run, as a shell would take it."""
    return clean(shlex.join(job.command))


def is_problem(job: Job) -> bool:
    """Failed, or alive with something that somebody has to look at."""
    if job.state is JobState.FAILED:
        return True
    return not job.state.ended and bool(ALARMING & set(job.flags))


def text_of(job: Job) -> str:
    """What a filter looks at."""
    words = (job.name, job.id, job.state.value, job.cluster, job.launcher, job.created_by)
    flags = (flag.words for flag in flags_of(job))
    return " ".join((*words, *job.flags, *flags, *job.command))


def arranged(jobs: Sequence[Job], sort: str, show: str, sift: Sift) -> list[Job]:
    """The jobs to show, in order. `jobs` are newest first."""
    shown = [job for job in jobs if _shown(job, show) and sift.matches(text_of(job))]
    if sort == "name":
        shown.sort(key=lambda job: job.name.lower())
    elif sort == "state":
        shown.sort(key=_urgency)
    return shown


def _shown(job: Job, show: str) -> bool:
    if show == "problems":
        return is_problem(job)
    return show == "all" or not job.state.ended


def _urgency(job: Job) -> int:
    if not job.state.ended and job.seen_at is not None:
        return _REMEMBERED
    return _ORDER[job.state]


def tally(jobs: Sequence[Job]) -> tuple[Span, ...]:
    """ "[3 running · 1 failed · 57 done]"; empty without jobs."""
    counts = dict.fromkeys(("running", "waiting", "last seen", "failed", "cancelled"), 0)
    done = 0
    for job in jobs:
        if not job.state.ended and job.seen_at is not None:
            counts["last seen"] += 1
        elif job.state in (JobState.STAGING, JobState.STARTING) or "waiting" in job.flags:
            counts["waiting"] += 1
        elif job.state is JobState.SUCCEEDED:
            done += 1
        else:
            counts[job.state.value] += 1
    tones = {"running": "ok", "waiting": "busy", "last seen": "stale", "failed": "bad"}
    parts = [
        (Span(f"{count} {word}", tones.get(word, "warn")),)
        for word, count in counts.items()
        if count
    ]
    if done:
        parts.append((Span(f"{done} done", "dim"),))
    if not parts:
        return ()
    return (Span("["), *join(parts, Span(" · ", "dim")), Span("]"))


def item_of(job: Job, now: float, marked: bool, *, asked: bool = True) -> JobItem:
    seconds = runtime(job, now)
    return JobItem(
        job,
        None if seconds is None else int(seconds),
        None if job.seen_at is None else int(now - job.seen_at),
        marked,
        asked,
    )


def state_span(job: Job) -> Span:
    """Shape and word of a job's state; old where nobody knows it any better."""
    glyph, tone = JOB[job.state]
    if job.seen_at is not None and not job.state.ended:
        return Span(f"? {job.state.value}", "stale")
    return Span(f"{glyph} {job.state.value}", tone)


def metric_of(job: Job) -> Metric | None:
    """The job's first own metric."""
    return next((m for m in job.metrics if m.name not in ("step", "step_time")), None)


def figure(value: float) -> Span:
    """A figure of a job; one that is no number is what people have to see."""
    return Span(f"{value:.4g}", "strong" if math.isfinite(value) else "bad")


class Rows:
    """Draws rows; keeps what it told of each job until the job changes."""

    def __init__(self) -> None:
        self._told: dict[str, tuple[Job, tuple[Cell, ...]]] = {}
        self.trends: Trends | None = None

    def keep(self, jobs: Sequence[Job]) -> None:
        """Forget jobs that are gone."""
        if len(self._told) > len(jobs):
            known = {job.id for job in jobs}
            self._told = {key: each for key, each in self._told.items() if key in known}

    def row(self, item: JobItem) -> Row:
        job = item.job
        told = self._told.get(job.id)
        if told is None or told[0] is not job:
            told = self._told[job.id] = (job, _figures(job))
        steps, rate, restarts, metric = told[1]
        return Row(
            (
                cell(MARK if item.marked else "", "accent"),
                Cell((state_span(job),)),
                _name(job),
                _nodes(job),
                cell(str(ranks_of(job) or "--")),
                _time(item),
                steps,
                rate,
                restarts,
                self._trend(job),
                metric,
                cell(job.cluster),
                cell(job.launcher),
                cell(job.created_by),
                cell(job.id, "dim"),
            )
        )

    def _trend(self, job: Job) -> Cell:
        values = self.trends.of(job.id, TREND) if self.trends is not None else ()
        if not any(value is not None for value in values):
            return cell("no data" if is_live(job) else "", "dim")
        return Cell(columns(values, 0, stale=not is_live(job)))


def _figures(job: Job) -> tuple[Cell, ...]:
    steps = job.steps
    metric = metric_of(job)
    found = restarts_of(job)
    free = job.restarts - found.counted
    restarts = f"{found.counted}/{job.max_restarts}" + (f"+{free}" if free > 0 else "")
    return (
        cell("--" if steps is None else str(steps[0])),
        cell(rate_of(step_time_of(job)) if not job.state.ended else ""),
        cell(restarts, "warn" if job.restarts else ""),
        cell("--", "dim")
        if metric is None
        else Cell((Span(f"{metric.name} ", "dim"), figure(metric.value))),
    )


def _name(job: Job) -> Cell:
    spans = [Span(job.name, "strong")]
    spans += [Span(f" {flag.glyph}", flag.tone) for flag in flags_of(job)]
    return Cell(tuple(spans))


def _nodes(job: Job) -> Cell:
    total = len(job.nodes)
    if not is_live(job):
        return cell(str(total))
    seen = sum(1 for node in job.nodes if node.link.state is LinkState.ONLINE)
    return cell(str(total)) if seen == total else cell(f"{seen}/{total}", "warn")


def _time(item: JobItem) -> Cell:
    if item.seen is not None and not item.job.state.ended:
        return cell(f"? {span_of_time(item.seen)}", "stale")
    return cell("--" if item.runtime is None else span_of_time(item.runtime))


def last_seen(item: JobItem) -> Line | None:
    """That the job is only remembered, and since when; None for one that a node lists."""
    if item.seen is None:
        return None
    why = "no node that was asked knows it now"
    if not item.asked:
        why = f"no node of {item.job.cluster} answers"
    return line(
        Span(f" ? last seen {span_of_time(item.seen)} ago", "stale"), Span(f": {why}", "dim")
    )


def dropped_in(width: int) -> frozenset[str]:
    """The columns that a list of `width` cells has no room for."""
    widths = widths_for(COLUMNS, width)
    return frozenset(c.title for c, size in zip(COLUMNS, widths, strict=True) if not size)


def detail(item: JobItem, dropped: Collection[str] = ()) -> tuple[Line, ...]:
    """What stands below the list of the job under the cursor; the most telling line first.
    `dropped`: titles of columns that are not in the list; some of them are told here then."""
    job = item.job
    lines = []
    seen = last_seen(item)
    if seen is not None:
        lines.append(seen)
    found = None if job.state is JobState.SUCCEEDED else failure_of(job)
    if found is not None:
        tone = "bad" if job.state is JobState.FAILED else "warn"
        lines.append(line(Span(f" ✖ {cause_line(found)}", tone)))
    elif job.state is JobState.CANCELLED and job.cancelled_by:
        lines.append(line(Span(f" ■ cancelled by {job.cancelled_by}", "warn")))
    spans = [part for flag in flags_of(job) for part in (Span(" "), flag.span)]
    words = {
        "CLUSTER": job.cluster,
        "LAUNCHER": job.launcher,
        "BY": f"by {job.created_by}",
    }
    said = " · ".join(word for title, word in words.items() if title in dropped)
    if said:
        spans.append(Span(f" {said}"))
    lines.append(line(*spans, Span(" $ ", "dim"), command_of(job)))
    return tuple(lines)
