"""What stands at the top of a job: who it is, what died first and whether it recovered, progress.

Pure; `views.job` shows it before anything that scrolls.
"""

from __future__ import annotations

from cockpit.model.figures import step_time_of
from cockpit.model.history import evenly
from cockpit.model.restarts import failure_of, restarts_text
from cockpit.model.types import Job, JobState
from cockpit.text import count_of
from cockpit.tui.draw.spans import Line, Span, join, line
from cockpit.tui.draw.words import (
    cause_line,
    clock_time,
    extent,
    rate_of,
    runtime,
    span_of_time,
    verdict,
)
from cockpit.tui.jobs.joblist import command_of, figure, flags_of, state_span
from cockpit.tui.widgets.bars import spark

SPARK = 12
"""Cells of the history of one metric."""

_DOT = Span(" · ", "dim")


def header(job: Job, now: float) -> tuple[Line, ...]:
    """Two lines: its state and size, then what runs where and for whom."""
    seconds = runtime(job, now)
    time = "--" if seconds is None else span_of_time(seconds)
    first = [(Span(f" {job.name}", "title"),), (state_span(job),)]
    first += [(flag.span,) for flag in flags_of(job)]
    if job.seen_at is not None:
        first.append((Span(f"? last seen {span_of_time(now - job.seen_at)} ago", "stale"),))
    if job.seen_at is None or job.state.ended:
        first.append((Span(time),))
    first += [
        (Span(extent(job)),),
        (Span(restarts_text(job) if job.restarts else "no restarts", "warn" * bool(job.restarts)),),
    ]
    second = [
        (Span(f" {job.launcher} on {job.cluster}"),),
        (Span(f"by {job.created_by}"),),
        (Span(job.id, "dim"),),
        (Span("$ ", "dim"), Span(command_of(job))),
    ]
    return Line(join(first, _DOT)), Line(join(second, _DOT))


def cause(job: Job, now: float, *, tall: bool = True) -> tuple[Line, ...]:
    """What died first, on which rank and why, what to do about it, and whether the job recovered.

    `tall`: there is room for a line of its own for the hint.
    """
    if "stalled" in job.flags and job.stalls:
        return _stalled(job, now)
    found = failure_of(job)
    sentence, tone = verdict(job, now)
    if found is None:
        if job.state is JobState.CANCELLED or "cancelling" in job.flags:
            glyph = "■" if job.state is JobState.CANCELLED else "◍"
            return (line(Span(f" {glyph} {sentence}", tone)),)
        return (line(Span(" no failure", "dim")),)
    glyph = "✔" if tone == "ok" else "→"
    first = line(
        Span(" ✖ first ", "bad"),
        Span("" if found.at is None else f"{clock_time(found.at)} ", "dim"),
        Span(cause_line(found), "bad"),
    )
    last = line(Span(f" {glyph} {sentence}", tone))
    if not found.hint:
        return first, last
    hint = Span(f"hint: {found.hint}", "dim")
    if tall:
        return first, line("   ", hint), last
    return first, line(*last.spans, _DOT, hint)


_STALL_ACTIONS = {
    "warn": "nothing is done about it: `on_stall` is warn",
    "restart": "the ranks are being restarted",
    "cancel": "the job is being ended",
}


def _stalled(job: Job, now: float) -> tuple[Line, ...]:
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
    done = _STALL_ACTIONS.get(stall.action, stall.action)
    if "cancelling" in job.flags:
        done, _ = verdict(job, now)
    stacks = "; b shows where the ranks are" if not job.state.ended else ""
    seen = f"{stall.where}; " if stall.where else ""
    return (
        line(
            Span(" ◇ stalled ", "bad"),
            Span(f"{clock_time(stall.at)} ", "dim"),
            Span(who, "bad"),
        ),
        line(Span(f" → {seen}{done}{stacks}", "warn")),
    )


def progress(job: Job) -> Line | None:
    """Steps, their spread, and each metric with its history; None where nothing beats."""
    parts: list[tuple[Span, ...]] = []
    steps = job.steps
    if steps is not None:
        low, high = steps
        spread = Span(f"–{high} (spread {high - low})", "warn") if high > low else Span("")
        parts.append((Span("step "), Span(str(low), "strong"), spread))
    rate = rate_of(step_time_of(job))
    if rate:
        parts.append((Span(rate),))
    for metric in job.metrics:
        if metric.name in ("step", "step_time"):
            continue  # said already
        history = spark([value for _, value in evenly(metric.history, SPARK)], SPARK)
        parts.append(
            (Span(f"{metric.name} "), Span(history, "accent"), Span(" "), figure(metric.value))
        )
    if not parts:
        return None
    return Line((Span(" "), *join(parts, _DOT)))
