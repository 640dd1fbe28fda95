"""Restart of a job's ranks where they are: a new generation of the same attempt.

The launcher processes stay, and so do the code and the nodes; none of `max_restarts` is spent.
Every node is asked, under one id, so that the restart comes as soon as the first one hears of it
and only once. What cannot be asked is named, never waited for.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable

import msgspec

from cockpit.controller.sessions import Sessions
from cockpit.controller.tracking import NodeKey, Seat, TrackedJob
from cockpit.errors import CockpitError, LinkError, NodeError, UsageError
from cockpit.executors.direct import Say
from cockpit.model.types import Job, JobState
from cockpit.text import after_name

CONTACT = 5.0
"""Seconds that a node whose link is down gets to come back before the others go without it."""
REQUEST_TIMEOUT = 20.0
FORMING = 60.0
"""Seconds, beyond the grace of the ranks, in which a new generation should have formed."""
NARRATION = 5.0
"""Seconds between two words on what is waited for."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    by: str
    reason: str
    say: Say
    patience: float | None = None
    """Seconds to wait for the new generation; the job's grace and FORMING when None."""


async def restart_ranks(sessions: Sessions, job_id: str, order: Order) -> int:
    """The number of the generation that runs then.

    Raises JobNotFound, UsageError when there are no ranks to restart, LinkError when no node can
    be reached, and CockpitError when the new generation does not come in time, or never will.
    """
    tracked = sessions.tracked(job_id)
    before = _check(sessions.job(job_id))
    command = uuid.uuid4().hex
    answers = await asyncio.gather(
        *(_ask(tracked, seat, command, order) for seat in tracked.newest())
    )
    _name_others(sessions, tracked, order)
    refused = [error for error in answers if error is not None]
    if len(refused) == len(answers):
        raise refused[0] if refused else CockpitError(f"no node of job {job_id} is known")
    return await _wait(sessions, job_id, before, order)


def _check(job: Job) -> int:
    """The generation that runs. Raises UsageError where none does."""
    if job.kind == "command":
        raise UsageError(
            f"job {job.name} has no ranks to restart: its launcher only runs a command",
            "`cockpit restart` without --ranks starts a new attempt",
        )
    if job.state.ended:
        raise UsageError(
            f"the ranks of job {job.name} cannot be restarted: it has {job.state.value}",
            "`cockpit restart` without --ranks starts a new attempt",
        )
    newest = _newest(job)
    if job.state is not JobState.RUNNING or newest is None:
        raise UsageError(
            f"the ranks of job {job.name} cannot be restarted: it is {job.state.value}",
            "wait until it runs; `cockpit status` shows it",
        )
    return newest


def _newest(job: Job) -> int | None:
    numbers = [item.generation for item in job.history if item.attempt == job.attempt]
    return max(numbers, default=None)


def _name_others(sessions: Sessions, tracked: TrackedJob, order: Order) -> None:
    """Nodes of the job that have not listed it, so far as this controller could see."""
    seen = {seat.key.node for seat in tracked.newest()}
    for node in sessions.job(tracked.record.id).nodes:
        link = sessions.links.get(NodeKey(tracked.cluster, node.name))
        if node.name not in seen:
            why = link.link.why if link is not None else "it is not in the profile"
            why = after_name(node.name, why) or "it lists nothing of the job"
            order.say(f"{node.name} was not asked: {why}")


async def _ask(
    tracked: TrackedJob, seat: Seat, command: str, order: Order
) -> LinkError | NodeError | None:
    """Leave the command with one node; why that was not possible."""
    name = seat.key.node
    try:
        await seat.link.ready(CONTACT)
        answer = await seat.link.request(
            "command",
            timeout=REQUEST_TIMEOUT,
            job=tracked.record.id,
            attempt=seat.attempt,
            node_rank=seat.node_rank,
            id=command,
            do="restart",
            by=order.by,
            reason=order.reason,
            cost=False,
        )
    except (LinkError, NodeError) as error:
        order.say(f"{name} was not asked: {after_name(name, error.message)}")
        return error
    if not answer.get("accepted", True):
        order.say(f"{name} takes no part any more")
        return NodeError("ended", f"{name}: the job has ended there")
    order.say(f"{name}: asked")
    return None


async def _wait(sessions: Sessions, job_id: str, before: int, order: Order) -> int:
    job = sessions.job(job_id)
    patience = order.patience
    if patience is None:
        patience = sessions.tracked(job_id).record.grace + FORMING
    begin = time.monotonic()
    heard = _Narration(order.say)
    while time.monotonic() - begin < patience:
        job = sessions.job(job_id)
        newest = _newest(job)
        if newest is not None and newest > before:
            return newest
        if job.state.ended:
            why = f": {job.cause.message}" if job.cause is not None else ""
            raise CockpitError(
                f"job {job.name} {job.state.value} before its ranks were restarted{why}",
                "`cockpit status` says more",
            )
        heard.about(_what_it_waits_for(job, before))
        await sessions.changed(0.5)
    raise CockpitError(
        f"job {job.name} was asked to restart its ranks, but no new generation has formed in"
        f" {patience:.0f} s; it waits for {_what_it_waits_for(job, before)}",
        "the request stays; `cockpit status` shows when it is obeyed, `cockpit restart` starts a"
        " new attempt",
    )


def _what_it_waits_for(job: Job, before: int) -> str:
    running = next(
        (g for g in job.history if (g.attempt, g.generation) == (job.attempt, before)), None
    )
    if running is None or running.ended_at is None:
        return "the end of the ranks"
    away = [node.name for node in job.nodes if node.state.ended]
    if away:
        return f"the rendezvous; {', '.join(away)} takes no part any more"
    return "the rendezvous of all nodes"


class _Narration:
    """Says a thing when it is new, and again now and then."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._last = ""
        self._at = 0.0

    def about(self, what: str) -> None:
        now = time.monotonic()
        if what != self._last or now - self._at >= NARRATION:
            self._last, self._at = what, now
            self._say(f"waiting for {what}")
