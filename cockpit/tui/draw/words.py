"""How states, causes and figures are put into words and glyphs. Pure; every state has a shape.

Used by all views and dialogs, so that the same thing is called the same everywhere.
"""

from __future__ import annotations

import signal
import time

from cockpit.model.causewords import predicate, subject
from cockpit.model.doctor import Level
from cockpit.model.types import (
    Cause,
    Job,
    JobState,
    LinkState,
    NodeState,
    Rank,
    RankState,
    Stage,
)
from cockpit.text import count_of

JOB = {
    JobState.STAGING: ("◌", "busy"),
    JobState.STARTING: ("◔", "busy"),
    JobState.RUNNING: ("●", "ok"),
    JobState.SUCCEEDED: ("✔", "dim"),
    JobState.FAILED: ("✖", "bad"),
    JobState.CANCELLED: ("■", "warn"),
}

NODE = {
    NodeState.MISSING: ("?", "stale"),
    NodeState.CLAIMED: ("◌", "busy"),
    NodeState.STARTING: ("◔", "busy"),
    NodeState.RUNNING: ("●", "ok"),
    NodeState.CANCELLING: ("◍", "warn"),
    NodeState.SUCCEEDED: ("✔", "dim"),
    NodeState.FAILED: ("✖", "bad"),
    NodeState.CANCELLED: ("■", "warn"),
    NodeState.WITHDRAWN: ("□", "dim"),
    NodeState.LOST: ("✝", "bad"),
}

RANK = {
    RankState.RUNNING: ("●", "ok"),
    RankState.SUCCEEDED: ("✔", "dim"),
    RankState.FAILED: ("✖", "bad"),
    RankState.STOPPED: ("■", "warn"),
}

STAGE = {
    Stage.STARTING: ("◔", "busy"),
    Stage.TRAINING: ("●", "ok"),
    Stage.SILENT: ("◇", "bad"),
    Stage.UNKNOWN: ("?", "stale"),
}
"""What a running rank does, by its beats; without beats its state stands here."""

LINK = {
    LinkState.CONNECTING: ("◌", "busy"),
    LinkState.ONLINE: ("●", "ok"),
    LinkState.RECONNECTING: ("↻", "warn"),
    LinkState.UNREACHABLE: ("✖", "bad"),
}

HEALTH = {"warn": ("▲", "warn"), "crit": ("✖", "bad")}
"""A node's health where something is wrong with it."""

LEVEL = {
    Level.OK: ("✔", "ok"),
    Level.WARN: ("▲", "warn"),
    Level.CRIT: ("✖", "bad"),
    Level.UNKNOWN: ("?", "stale"),
}
"""How grave a finding of the doctor is."""

COMMAND = "command"
"""The kind of job that has no ranks."""

STALE_AFTER = 3.5
"""Seconds without a sample after which figures are old: three samples were missed."""


def span_of_time(seconds: float) -> str:
    """A duration with its two largest units: "8s", "3m48s", "6h41m", "2d03h"."""
    total = max(int(seconds), 0)
    if total < 60:
        return f"{total}s"
    minutes, rest = divmod(total, 60)
    if minutes < 60:
        return f"{minutes}m{rest:02d}s"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours}h{minutes:02d}m"
    days, hours = divmod(hours, 24)
    return f"{days}d{hours:02d}h"


def clock_time(at: float | None) -> str:
    """Local time of day, "12:03:49"; dashes for a time that is unknown or cannot be."""
    try:
        return "--:--:--" if at is None else time.strftime("%H:%M:%S", time.localtime(at))
    except (OverflowError, ValueError, OSError):
        return "--:--:--"


def fine_clock_time(at: float | None) -> str:
    """Local time of day with milliseconds, "12:03:49.118"."""
    time_of_day = clock_time(at)
    if at is None or time_of_day.startswith("-"):
        return "--:--:--.---"
    return f"{time_of_day}.{int(at % 1 * 1000):03d}"


def size_of(count: float) -> str:
    """Bytes in at most four characters and a unit: "80G", "1.5T"."""
    for unit in ("B", "K", "M", "G", "T"):
        if count < 1000 or unit == "T":
            return f"{count:.0f}{unit}" if count >= 10 or unit == "B" else f"{count:.1f}{unit}"
        count /= 1024
    return ""


def ended_by(exit_code: int | None, number: int | None) -> str:
    """ "exit 7", "SIGKILL", or "" when neither is known."""
    if number is not None:
        try:
            return signal.Signals(number).name
        except ValueError:
            return f"signal {number}"
    return "" if exit_code is None else f"exit {exit_code}"


def doing(rank: Rank) -> tuple[str, str, str]:
    """Glyph, word and tone for what a rank does: its stage while it runs, else its state."""
    if rank.state is RankState.RUNNING and rank.stage in STAGE:
        glyph, tone = STAGE[rank.stage]
        return glyph, rank.stage.value, tone
    glyph, tone = RANK[rank.state]
    return glyph, rank.state.value, tone


def rate_of(step_time: float | None) -> str:
    """Steps per second, or seconds per step where that is the larger figure; "" if unknown."""
    if step_time is None or step_time <= 0:
        return ""
    return f"{step_time:.3g}s/it" if step_time > 1 else f"{1 / step_time:.3g}it/s"


def who(cause: Cause) -> str:
    """Where a cause comes from: "rank 3 on gpu02", "the command on gpu02", "rank 3 and 2 others
    alike", "all 4 ranks, first rank 3 on gpu02"."""
    place = " on ".join(part for part in (subject(cause), cause.node) if part)
    if cause.everyone:
        return ", first ".join(part for part in (f"all {cause.alike + 1} ranks", place) if part)
    if cause.alike:
        return f"rank {cause.rank} and {count_of(cause.alike, 'other')} alike"
    return place


KINDS = {
    "exit": "exited",
    "signal": "was ended by a signal",
    "oom": "ran out of memory",
    "stall": "stalled",
    "node_lost": "node lost",
    "start_failed": "could not start",
    "cancelled": "cancelled",
    "launcher": "launcher process failed",
}


def what(cause: Cause) -> str:
    """What happened: "exit 7", "out of memory (SIGKILL)", without its place and message."""
    how = ended_by(cause.exit_code, cause.signal)
    if cause.kind in ("exit", "signal") and how:
        return how
    word = KINDS.get(cause.kind, cause.kind)
    return f"{word} ({how})" if how else word


def cause_line(cause: Cause) -> str:
    """ "rank 3 on gpu02: exit 7: RuntimeError: boom"; what a rule recognised comes first, and
    nothing is said twice."""
    how, message = what(cause), predicate(cause)
    if cause.kind == "cancelled":
        return message or how
    if message and message != cause.message:
        # Its message says what happened to the process that it begins with.
        how = ""
    for same in (f"killed by {how}", f"exited with code {cause.exit_code}"):
        if message == same or message.startswith(f"{same} ("):
            message = message[len(same) :].strip()
    return ": ".join(part for part in (who(cause), how, cause.label, message) if part)


def runtime(job: Job, now: float) -> float | None:
    """Seconds that a job ran, so far or in all; None before it started."""
    if job.started_at is None:
        return None
    return (job.ended_at if job.ended_at is not None else now) - job.started_at


def ranks_of(job: Job) -> int:
    """Ranks of a job: its world size, or how many are known."""
    return job.world_size or sum(len(node.ranks) for node in job.nodes)


def extent(job: Job) -> str:
    """How much a job is: "4 ranks on 2 nodes", "1 command on 1 node"."""
    number, thing = ranks_of(job), "rank"
    if job.kind == COMMAND:
        number, thing = len(job.nodes), "command"
    return f"{count_of(number, thing)} on {count_of(len(job.nodes), 'node')}"


PROVEN_AFTER = 10.0
"""Seconds for which ranks without beats must run before they count as recovered."""


def verdict(job: Job, now: float) -> tuple[str, str]:
    """Did the job recover from its cause? A sentence and its tone: "ok" only where it did."""
    if job.state is JobState.SUCCEEDED:
        return f"recovered: the job succeeded after {count_of(job.restarts, 'restart')}", "ok"
    if job.state is JobState.CANCELLED:
        by = f" by {job.cancelled_by}" if job.cancelled_by else ""
        return f"the job was cancelled{by}", "warn"
    if job.state is JobState.FAILED:
        code = "" if job.exit_code is None else f" with exit code {job.exit_code}"
        used = count_of(job.restarts, "restart")
        return f"not recovered: the job failed{code} after {used}", "bad"
    if "cancelling" in job.flags:
        by = f" by {job.cancelled_by}" if job.cancelled_by else ""
        return f"the job is being cancelled{by}", "warn"
    newest = job.history[-1] if job.history else None
    failed = [node.name for node in job.nodes if node.why and not node.ranks]
    if failed and (newest is None or newest.ended_at is None):
        rest = sum(not node.state.ended for node in job.nodes)
        verb = "goes" if rest == 1 else "go"
        return f"{', '.join(failed)} failed: {count_of(rest, 'node')} {verb} on", "bad"
    if newest is None or newest.ended_at is not None:
        return "recovering: the next generation has not formed yet", "warn"
    number = newest.generation
    name = f"generation {number} of attempt {newest.attempt}"
    if "unknown_nodes" in job.flags:
        return f"restarted: {name}, but some of its nodes are out of reach", "warn"
    if "degraded" in job.flags or any(node.state is NodeState.LOST for node in job.nodes):
        return f"restarted: {name}, but not with all of its nodes", "warn"
    ran = count_of(newest.world_size, "rank")
    if job.kind == COMMAND:
        ran = count_of(len(job.nodes), "command")
    if not _proven(job, number, now - newest.started_at):
        return f"restarted: {name} is starting with {ran}", "warn"
    return f"recovered: {name} runs with {ran} since {clock_time(newest.started_at)}", "ok"


def is_starting(job: Job, now: float) -> bool:
    """Whether the newest generation has formed, and nothing tells yet that its ranks are at work.
    Ranks that were and fell silent, or failed, are not starting."""
    newest = job.history[-1] if job.history else None
    if newest is None or newest.ended_at is not None or job.state.ended:
        return False
    ranks = [rank for node in job.nodes for rank in node.ranks]
    if any(r.stage in (Stage.SILENT, Stage.UNKNOWN) or r.state is RankState.FAILED for r in ranks):
        return False
    return not _proven(job, newest.generation, now - newest.started_at)


def _proven(job: Job, generation: int, seconds: float) -> bool:
    """Whether the ranks of that generation, which began `seconds` ago, are known to be at work."""
    if job.kind == COMMAND:
        return job.state is JobState.RUNNING and seconds >= PROVEN_AFTER
    ranks = [rank for node in job.nodes if node.generation == generation for rank in node.ranks]
    if not ranks or any(rank.state is RankState.FAILED for rank in ranks):
        return False
    stages = {rank.stage for rank in ranks if rank.state is RankState.RUNNING}
    beating = stages - {Stage.NONE}
    if beating:
        return beating == {Stage.TRAINING}
    return seconds >= PROVEN_AFTER
