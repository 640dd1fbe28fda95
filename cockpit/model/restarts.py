"""What the restarts of a job were: which of them its budget paid for, and which were free.

`max_restarts` bounds failures; a restart that somebody asked for, or that mended a stall, mostly
costs none of it. Used by the faces, so that no count is set against a budget that it is none of.
"""

from __future__ import annotations

import itertools

import msgspec

from cockpit.model.types import Cause, Generation, Job

CANCELLED = "cancelled"
"""The kind of a cause that somebody wanted, and the reason of a generation that it ended."""


class Restarts(msgspec.Struct, frozen=True, kw_only=True):
    """Restarts of all attempts of a job by what they were for."""

    counted: int = 0
    """Paid for by `max_restarts`, which each attempt has anew."""
    stalls: int = 0
    asked: int = 0
    """By people: ranks restarted in place, and new attempts."""
    membership: int = 0
    """Nodes came or went."""


def restarts_of(job: Job) -> Restarts:
    """What the generations that have a successor say."""
    found = {"counted": 0, "stall": 0, "operator": 0, "membership": 0}
    for item, following in itertools.pairwise(job.history):
        if item.attempt == following.attempt:
            kind = "counted" if item.counted else item.reason
            found[kind] = found.get(kind, 0) + 1
    return Restarts(
        counted=found["counted"],
        stalls=found["stall"],
        asked=found["operator"] + job.attempt,
        membership=found["membership"],
    )


def restarts_text(job: Job) -> str:
    """ "restarts 2 (1 by failure, of at most 3 an attempt; 1 asked for)"."""
    if not job.restarts:
        return f"restarts 0 (at most {job.max_restarts} an attempt)"
    found = restarts_of(job)
    parts = [f"{found.counted} by failure, of at most {job.max_restarts} an attempt"]
    free = (
        (found.stalls, "after stalls"),
        (found.asked, "asked for"),
        (found.membership, "as nodes came or went"),
    )
    parts += [f"{count} {what}" for count, what in free if count]
    return f"restarts {job.restarts} ({'; '.join(parts)})"


def was_restarted(job: Job) -> bool:
    """Whether ranks ran again after the newest failure in the history."""
    failed = [index for index, item in enumerate(job.history) if item.cause is not None]
    return bool(failed) and failed[-1] + 1 < len(job.history)


def failure_of(job: Job) -> Cause | None:
    """What went wrong first, by itself: somebody's cancel or restart is no failure, but what came
    before it is. None where nothing did."""
    if job.cause is not None and job.cause.kind != CANCELLED:
        return job.cause
    found = (_failure_in(job, item) for item in reversed(job.history))
    return next((cause for cause in found if cause is not None), None)


def before_cancel(job: Job) -> Cause | None:
    """What had gone wrong, and was not mended, when somebody cancelled a job; None where nothing
    had, or where nobody did."""
    if job.cause is None or job.cause.kind != CANCELLED or not job.history:
        return None
    return _failure_in(job, job.history[-1])


def _failure_in(job: Job, item: Generation) -> Cause | None:
    if item.cause is not None and item.cause.kind != CANCELLED:
        return item.cause
    return _stall_in(job, item)


def _stall_in(job: Job, item: Generation) -> Cause | None:
    """The stall from which a generation that is over never recovered."""
    here = [
        stall
        for stall in job.stalls
        if (stall.attempt, stall.generation) == (item.attempt, item.generation)
        and stall.recovered_at is None
    ]
    if not here or item.ended_at is None:
        return None
    first = min(here, key=lambda stall: stall.at)
    return Cause(
        kind="stall",
        node=first.node,
        rank=first.ranks[0] if len(first.ranks) == 1 else None,
        message=f"{first.message}; {first.where}" if first.where else first.message,
        at=first.at,
        generation=item.generation,
    )
