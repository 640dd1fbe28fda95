"""Looks into the processes of a job: the stacks of all its ranks, now or at the last stall.

Called by the controller for its faces. It asks all nodes at once and waits for none beyond the
time given; what cannot be had is named in the report, never left out.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Sequence

from cockpit.controller.sessions import Sessions
from cockpit.controller.tracking import Seat
from cockpit.errors import CockpitError, UsageError
from cockpit.model import stacks
from cockpit.model.stacks import Missing, NodeStacks, RankStacks, StackReport
from cockpit.model.stackwords import describe
from cockpit.model.types import Job, Stall
from cockpit.text import after_name

TIMEOUT = 2.0
"""Seconds from the question to the report, on links that are up."""
NODES_PART = 0.8
"""Of that time; the rest is for the way there and back."""
KEPT_TIMEOUT = 20.0
KEPT_LIMIT = 16 * 1024 * 1024
"""Bytes of kept stacks that are read from one node."""


async def take_stacks(sessions: Sessions, job_id: str, timeout: float) -> StackReport:
    """The stacks of all ranks of the newest attempt, now; `timeout` in seconds.

    Raises JobNotFound, or UsageError when the job has ended.
    """
    tracked, job = sessions.tracked(job_id), sessions.job(job_id)
    if job.state.ended:
        raise UsageError(
            f"job {job.name} has ended: its ranks have no stacks any more",
            f"`cockpit stacks --last {job.id}` shows those that were kept at its newest stall",
        )

    async def ask(seat: Seat) -> NodeStacks | Missing:
        name = seat.key.node
        try:
            answer = await seat.link.request(
                "stacks",
                timeout=timeout,
                job=job_id,
                attempt=seat.attempt,
                node_rank=seat.node_rank,
                within=timeout * NODES_PART,
            )
            return stacks.read(name, seat.node_rank, answer)
        except (CockpitError, ValueError) as error:
            return Missing(node=name, error=str(error))

    taken_at = time.time()
    seats = tracked.newest()
    outcomes = await asyncio.gather(*(ask(seat) for seat in seats))
    return _report([*outcomes, *_unseen(job, seats)], taken_at)


async def kept_stacks(sessions: Sessions, job_id: str, timeout: float) -> StackReport:
    """The stacks that nodes kept at the newest stall of a job, each read within `timeout` seconds.

    Raises JobNotFound, or CockpitError when none were kept.
    """
    tracked, job = sessions.tracked(job_id), sessions.job(job_id)
    stalls = newest_kept(job.stalls)
    if not stalls:
        raise CockpitError(
            f"no stacks of job {job.name} were kept",
            "they are kept when a stall is declared; without --last they are taken now",
        )

    async def fetch(stall: Stall) -> NodeStacks | Missing:
        seat = tracked.seats.get((stall.attempt, stall.node_rank))
        if seat is None:
            return Missing(node=stall.node, error="no node that was asked has that attempt")
        name = seat.key.node
        try:
            data = await seat.link.read(stall.stacks, 0, KEPT_LIMIT, timeout=timeout)
            return stacks.read(name, seat.node_rank, data)
        except (CockpitError, ValueError) as error:
            return Missing(node=name, error=str(error))

    outcomes = await asyncio.gather(*(fetch(stall) for stall in stalls))
    where = (stalls[0].attempt, stalls[0].generation)
    silent = {
        rank
        for stall in job.stalls
        if (stall.attempt, stall.generation) == where
        for rank in stall.ranks
    }
    at = min(stall.at for stall in stalls)
    return _report(outcomes, at, lambda rank: aside(rank, silent))


def aside(rank: RankStacks, silent: Collection[int]) -> str:
    """What a rank that was not among the `silent` ones did instead, "" for one that was."""
    if rank.rank is None or not silent or rank.rank in silent:
        return ""
    # A main thread without a frame of the user's has left the script, or has never begun it.
    return "was not silent" if describe(rank.stack).place else "has ended its script"


def newest_kept(stalls: Sequence[Stall]) -> list[Stall]:
    """Of the newest generation that has stacks: each node's newest stall that has some."""
    kept = [stall for stall in stalls if stall.stacks]
    if not kept:
        return []
    where = max((stall.attempt, stall.generation) for stall in kept)
    newest: dict[int, Stall] = {}
    for stall in kept:
        known = newest.get(stall.node_rank)
        if (stall.attempt, stall.generation) == where and (known is None or known.at < stall.at):
            newest[stall.node_rank] = stall
    return [newest[rank] for rank in sorted(newest)]


def _unseen(job: Job, seats: Sequence[Seat]) -> list[Missing]:
    """Nodes of the newest attempt that no link has shown."""
    seen = {seat.node_rank for seat in seats}
    return [
        Missing(
            node=node.name,
            error=after_name(node.name, node.link.why) or "it was not asked: no contact yet",
        )
        for node in job.nodes
        if node.node_rank not in seen
    ]


def _report(
    outcomes: Sequence[NodeStacks | Missing],
    taken_at: float,
    aside: Callable[[RankStacks], str] = lambda _: "",
) -> StackReport:
    answered = [item for item in outcomes if isinstance(item, NodeStacks)]
    missing = [item for item in outcomes if isinstance(item, Missing)]
    missing += [
        Missing(node=item.node, error="no Python process of the job runs there now")
        for item in answered
        if not item.ranks
    ]
    return stacks.report(answered, missing, taken_at=taken_at, aside=aside)
