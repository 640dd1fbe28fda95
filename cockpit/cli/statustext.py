"""`cockpit status` as plain text: one job in full, first cause first. Pure functions.

Only what is known is shown: a rank that nothing is heard of beats in no column, and is not
called stalled.
"""

from __future__ import annotations

import math
import shlex
import time
from collections.abc import Sequence

from cockpit.cli.causes import describe, ending_of, headline, node_end, victims_text
from cockpit.cli.figures import range_text, rate_text, seconds_text, sparkline, value_text
from cockpit.cli.jobtables import NONE, columns_in_use, runtime
from cockpit.cli.tables import duration_text, moment_text, table
from cockpit.model.checkpoints import words as checkpoint_words
from cockpit.model.restarts import before_cancel, restarts_text, was_restarted
from cockpit.model.types import (
    Cause,
    Generation,
    Job,
    JobNode,
    LinkState,
    Metric,
    Rank,
    Stage,
)
from cockpit.text import count_of

COMMAND = "command"
"""The kind of job that has no ranks."""
TAIL = 12
"""Last lines of the failed rank that are shown."""
SPARK = 40
"""Width of a metric's history."""
SHOWN_VICTIMS = 3
SHOWN_METRICS = 3
"""Metrics of single ranks that get a column; all are in the list of the job's."""

_STAGES = {Stage.NONE: "no beats", Stage.UNKNOWN: "unknown"}


def status_text(job: Job) -> str:
    """Everything about one job."""
    now = time.time()
    exit_code = "" if job.exit_code is None else f", exit code {job.exit_code}"
    flags = f" ({', '.join(job.flags)})" if job.flags else ""
    lines = [f"{job.name}  {job.id}  {job.state.value}{exit_code}{flags}"]
    if job.cause is not None:
        lines += _cause_lines(_cause_head(job), job.cause)
        earlier = before_cancel(job)
        lines += _cause_lines("failed before that", earlier) if earlier is not None else []
        lines += _victim_lines(job)
    if job.cancelled_by and (job.cause is None or job.cause.kind != "cancelled"):
        lines.append(f"cancelled by {job.cancelled_by}")
    lines += _stall_lines(job, now)
    lines += [
        f"command: {shlex.join(job.command)}",
        f"cluster {job.cluster}, launcher {job.launcher} ({job.kind}), {_extent(job)},"
        f" {restarts_text(job)}",
        f"started {moment_text(job.started_at)} by {job.created_by}, ended"
        f" {moment_text(job.ended_at)}, runtime {duration_text(runtime(job, now))}",
    ]
    if job.finished is not None:
        lines.append("finished flag: " + ("there" if job.finished else "not there"))
    lines += ["", *_node_lines(job.nodes), *_rank_lines(job), *_unknown_lines(job)]
    if job.no_beats:
        lines.append(f"no beats: {job.no_beats}")
    if job.checkpoint is not None:
        by, at = job.checkpoint.by, moment_text(job.checkpoint.at)
        lines.append(f"{checkpoint_words(job.checkpoint)} (asked for by {by}, {at})")
    if job.metrics:
        lines += ["", "metrics:", *_metric_lines(job)]
    if job.history:
        lines += ["", "history:", _history_table(job.history)]
    return "\n".join(lines)


def _extent(job: Job) -> str:
    """ "2 nodes, 4 ranks", "2:4 nodes, -- ranks" before there are any, "1 node" of a command."""
    nodes = count_of(job.min_nodes, "node")
    if job.min_nodes != job.max_nodes:
        nodes = f"{job.min_nodes}:{job.max_nodes} nodes"
    if job.kind == COMMAND and not job.world_size:
        return nodes
    return f"{nodes}, {count_of(job.world_size, 'rank') if job.world_size else f'{NONE} ranks'}"


def _cause_head(job: Job) -> str:
    if job.state.ended:
        return "first cause"
    return "last restart" if was_restarted(job) else "last failure"


def _cause_lines(head: str, cause: Cause) -> list[str]:
    lines = [f"{head}: {headline(cause)}"]
    if cause.hint:
        lines.append(f"  hint: {cause.hint}")
    shown = cause.tail[-TAIL:]
    # A last line that is the message itself tells nothing new.
    if [line for line in shown if line.strip() and line.strip() != cause.message]:
        lines.append("  its last lines:")
        lines += [f"  ┊ {line}" for line in shown]
    return lines


def _victim_lines(job: Job) -> list[str]:
    last = next((item for item in reversed(job.history) if item.cause is not None), None)
    if last is None or not last.victim_count:
        return []
    lines = [f"  {victims_text(last)}:"]
    lines += [f"    {describe(victim)}" for victim in last.victims[:SHOWN_VICTIMS]]
    more = last.victim_count - min(len(last.victims), SHOWN_VICTIMS)
    return [*lines, f"    and {more} more"] if more else lines


def _stall_lines(job: Job, now: float) -> list[str]:
    """Stalls of the running generation; of older ones the history tells."""
    if not job.history:
        return []
    current = (job.history[-1].attempt, job.history[-1].generation)
    stalls = [stall for stall in job.stalls if (stall.attempt, stall.generation) == current]
    lines = []
    for stall in stalls:
        if stall.recovered_at is not None:
            took = seconds_text(max(stall.recovered_at - stall.at, 0.0))
            lines.append(f"stalled on {stall.node} for {took}, and recovered: {stall.message}")
        elif not job.state.ended:
            since = seconds_text(max(now - stall.at, 0.0))
            lines.append(f"STALLED on {stall.node}, seen {since} ago: {stall.message}")
            lines.append(f"  `cockpit stacks {job.id}` shows where every rank is")
        else:
            lines.append(f"stalled on {stall.node} at {moment_text(stall.at)}: {stall.message}")
    lines += dict.fromkeys(f"  {stall.where}" for stall in stalls if stall.where)
    if any(stall.stacks for stall in stalls):
        lines.append(f"  stacks were kept: `cockpit stacks --last {job.id}`")
    return lines


def _node_lines(nodes: Sequence[JobNode]) -> list[str]:
    rows = []
    notes = []
    for node in nodes:
        link = node.link.state.value
        if node.link.why and node.link.state is not LinkState.ONLINE:
            link += f" ({node.link.why})"
        pid = "" if node.pid is None else str(node.pid)
        rows.append((node.name, str(node.node_rank), node.state.value, pid, link, node_end(node)))
        notes += [f"{node.name}: {note}" for note in node.notes]
        notes += [f"{node.name}: swept {p.pid} {p.command}" for p in node.swept]
        notes += [f"{node.name}: STILL THERE {p.pid} {p.command}" for p in node.left]
    header = ("NODE", "NODE RANK", "STATE", "PID", "LINK", "END")
    return [columns_in_use(header, rows, optional=("END",)), *notes]


_RANKS = ("RANK", "NODE", "LOCAL", "PID", "STATE", "STAGE", "STEP", "RATE", "OWN", "LAST BEAT",
          "SECTIONS")  # fmt: skip


def _rank_lines(job: Job) -> list[str]:
    ranks = sorted(
        ((rank, node) for node in job.nodes for rank in node.ranks), key=lambda pair: pair[0].rank
    )
    if not ranks:
        return []
    beating = any(rank.stage not in (Stage.NONE, Stage.ENDED) for rank, _ in ranks)
    metrics = _shown_metrics(job)
    furthest = job.steps[1] if job.steps is not None else 0
    rows = [
        (
            *_rank_row(rank, node, furthest, beating),
            *(value_text(rank.metrics[name]) if name in rank.metrics else "" for name in metrics),
            _end(rank),
        )
        for rank, node in ranks
    ]
    header = (*_RANKS, *(name.upper() for name in metrics), "END")
    notes = dict.fromkeys(f"no beats: {rank.note}" for rank, _ in ranks if rank.note)
    return ["", columns_in_use(header, rows, optional=(*_RANKS[5:], "END")), *notes]


def _unknown_lines(job: Job) -> list[str]:
    """The nodes whose ranks cannot be listed, as nobody could be asked."""
    if job.state.ended or job.kind == COMMAND:
        return []
    return [
        f"ranks of {node.name}: unknown, {node.name} is {node.link.state.value}"
        for node in job.nodes
        if not node.ranks and node.link.state is not LinkState.ONLINE
    ]


def _shown_metrics(job: Job) -> list[str]:
    reported = {name for node in job.nodes for rank in node.ranks for name in rank.metrics}
    return [metric.name for metric in job.metrics if metric.name in reported][:SHOWN_METRICS]


def _rank_row(rank: Rank, node: JobNode, furthest: int, beating: bool) -> tuple[str, ...]:
    step = "" if rank.step is None else str(rank.step)
    if rank.step is not None and rank.step < furthest:
        step += f" (-{furthest - rank.step})"
    own = "" if rank.own_time is None else seconds_text(rank.own_time)
    if rank.own_time is not None and rank.own_time < 1:
        own = f"{rank.own_time * 1000:.0f} ms"
    age = "" if rank.beat_age is None else f"{seconds_text(rank.beat_age)} ago"
    if rank.monitor_age is not None:
        age += f" (monitor {seconds_text(rank.monitor_age)} ago)"
    return (
        str(rank.rank),
        node.name,
        str(rank.local_rank),
        str(rank.pid),
        rank.state.value,
        _stage(rank) if beating else "",
        step,
        rate_text(rank.step_time) if rank.stage is Stage.TRAINING else "",
        own if rank.stage is Stage.TRAINING else "",
        age.strip(),
        ", ".join(rank.sections),
    )


def _stage(rank: Rank) -> str:
    if rank.stage is Stage.SILENT:
        return "silent" if rank.beat_age is None else f"silent {seconds_text(rank.beat_age)}"
    text = _STAGES.get(rank.stage, rank.stage.value)
    return f"{text}, straggler" if rank.straggler else text


def _end(rank: Rank) -> str:
    end = ""
    if rank.signal is not None:
        end = f"signal {rank.signal}"
    elif rank.exit_code is not None:
        end = f"exit {rank.exit_code}"
    return f"{end} {rank.message}".strip()


def _metric_lines(job: Job) -> list[str]:
    width = max(len(metric.name) for metric in job.metrics)
    lines = []
    for metric in job.metrics:
        spread = _spread(job, metric)
        spark = sparkline(metric.history, SPARK)
        value = value_text(metric.value)
        lines.append(f"  {metric.name:<{width}}  {value:>10}  {spark}{spread}".rstrip())
    return lines


def _spread(job: Job, metric: Metric) -> str:
    """How far the ranks are apart, and how many have no number."""
    values = [
        rank.metrics[metric.name]
        for node in job.nodes
        for rank in node.ranks
        if metric.name in rank.metrics
    ]
    parts = []
    if metric.low < metric.high:
        parts.append(f"{range_text(metric.low, metric.high)} over the ranks")
    strange = sum(1 for value in values if math.isnan(value))
    if 0 < strange < len(values):
        parts.append(f"nan on {count_of(strange, 'rank')}")
    return f"  {', '.join(parts)}" if parts else ""


def _history_table(history: Sequence[Generation]) -> str:
    rows = [
        (
            f"{item.attempt}.{item.generation}",
            moment_text(item.started_at),
            duration_text(None if item.ended_at is None else item.ended_at - item.started_at),
            f"{item.world_size or NONE} on {item.nodes}",
            ending_of(item),
            "; ".join(
                text
                for text in (headline(item.cause) if item.cause else "", victims_text(item))
                if text
            ),
        )
        for item in history
    ]
    return table(("GEN", "STARTED", "TOOK", "RANKS ON NODES", "ENDED", "FIRST CAUSE"), rows)
