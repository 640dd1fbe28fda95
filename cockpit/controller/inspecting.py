"""Looks into the processes of a job: the stacks of all its ranks, now or at the last stall.

Called by the controller for its faces. It asks all nodes at once and waits for none beyond the
time given; what cannot be had is named in the report, never left out.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterator, Sequence

import msgspec

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
    found = newest_kept(job.stalls)
    if not found:
        raise CockpitError(
            f"no stacks of job {job.name} were kept",
            "they are kept when a stall is declared; without --last they are taken now",
        )

    async def fetch(kept: Kept) -> NodeStacks | Missing:
        seat = tracked.seats.get((kept.attempt, kept.node_rank))
        if seat is None:
            return Missing(node=kept.node, error="no node that was asked has that attempt")
        name = seat.key.node
        try:
            data = await seat.link.read(kept.path, 0, KEPT_LIMIT, timeout=timeout)
            return stacks.read(name, seat.node_rank, data)
        except (CockpitError, ValueError) as error:
            return Missing(node=name, error=str(error))

    outcomes = await asyncio.gather(*(fetch(kept) for kept in found))
    where = (found[0].attempt, found[0].generation)
    declared = [item for item in job.stalls if (item.attempt, item.generation) == where]
    silent = {rank for stall in declared for rank in stall.ranks}
    # A node that has declared nothing does not say which of its ranks were silent.
    unsaid = {kept.node_rank for kept in found if not kept.declared}
    at = min(kept.at for kept in found)
    return _report(
        outcomes, at, lambda rank: "" if rank.node_rank in unsaid else aside(rank, silent)
    )


def aside(rank: RankStacks, silent: Collection[int]) -> str:
    """What a rank that was not among the `silent` ones did instead, "" for one that was."""
    if rank.rank is None or not silent or rank.rank in silent:
        return ""
    # A main thread without a frame of the user's has left the script, or has never begun it.
    return "was not silent" if describe(rank.stack).place else "has ended its script"


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """Stacks that one node kept at a stall."""

    attempt: int
    generation: int
    node: str
    node_rank: int
    at: float
    path: str
    declared: bool
    """The node has declared the stall itself."""


def newest_kept(stalls: Sequence[Stall]) -> list[Kept]:
    """Of the newest generation that has stacks: the newest ones of each node."""
    found = [kept for stall in stalls for kept in _kept_at(stall)]
    if not found:
        return []
    where = max((kept.attempt, kept.generation) for kept in found)
    newest: dict[int, Kept] = {}
    for kept in found:
        known = newest.get(kept.node_rank)
        if (kept.attempt, kept.generation) == where and (known is None or known.at < kept.at):
            newest[kept.node_rank] = kept
    return [newest[rank] for rank in sorted(newest)]


def _kept_at(stall: Stall) -> Iterator[Kept]:
    where = {"attempt": stall.attempt, "generation": stall.generation}
    if stall.stacks:
        yield Kept(
            **where,
            node=stall.node,
            node_rank=stall.node_rank,
            at=stall.at,
            path=stall.stacks,
            declared=True,
        )
    for other in stall.others:
        yield Kept(
            **where,
            node=other.node,
            node_rank=other.node_rank,
            at=other.at,
            path=other.path,
            declared=False,
        )


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
