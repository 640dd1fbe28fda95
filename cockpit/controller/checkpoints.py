"""A checkpoint on request: all ranks of a job save at the same step, and it is waited for.

Every node is told of one step that is a little ahead of the whole world, so that each rank meets
it by itself. That needs every node that takes part: one that is not told in time makes the others
be told to forget it, before they come to that step. The job runs on whatever becomes of it.
"""

from __future__ import annotations

import asyncio
import math
import time
import uuid

import msgspec

from cockpit.controller.sessions import Sessions
from cockpit.controller.tracking import Seat
from cockpit.errors import CockpitError, UsageError
from cockpit.executors.direct import Say
from cockpit.model.checkpoints import of_job, words
from cockpit.model.types import Checkpoint, Job, JobNode, JobState, Rank, RankState

LEAST_STEPS = 5
"""Steps that the world is away from the one that is named, at least."""
LEAD = 3.0
"""The same in seconds; and all nodes must have been told within half of it."""
LAG = 2.0
"""Seconds by which what is known of the ranks' steps may be behind."""
REPLIES = 4.0
"""The slowest node's answer takes so many times as long at worst."""
PACE_PATIENCE = 5.0
"""Seconds to find out how fast the ranks go; slower ones are taken for as slow as that."""
REQUEST_TIMEOUT = 20.0

_HINT = "the job runs on; restart it without a checkpoint, or try again"
_HOW = (
    "its training code has to call cockpit.checkpoint_wanted(step) at every step, see"
    " docs/heartbeats.md"
)


class Order(msgspec.Struct, frozen=True, kw_only=True):
    by: str
    reason: str
    timeout: float
    say: Say


async def make(sessions: Sessions, job_id: str, order: Order) -> Checkpoint:
    """Have every rank that can make a checkpoint do so; returns once all have.

    Raises JobNotFound, UsageError when there is no rank that can, and CockpitError when it did not
    come; nothing is asked of the ranks any more then.
    """
    _check(sessions.job(job_id))
    seats = _seats(sessions, job_id)
    reply = await _slowest_reply(seats)
    pace = await _pace(sessions, job_id)
    job = sessions.job(job_id)
    ahead = LEAD + REPLIES * reply
    newest = max((rank.checkpoint_step or 0 for rank in _able(job)), default=0)
    step = newest + max(LEAST_STEPS, math.ceil((ahead + LAG) / pace))
    asking = _Asking(sessions, job_id, seats, order)
    try:
        await asking.ask(step, ahead / 2)
        return await asking.wait()
    except BaseException:
        await asking.withdraw()
        raise


def _check(job: Job) -> None:
    if job.state is not JobState.RUNNING:
        raise UsageError(
            f"job {job.name} cannot make a checkpoint: it is {job.state.value}",
            "restart it without a checkpoint",
        )
    if not _able(job):
        raise UsageError(f"no rank of job {job.name} makes checkpoints on request", _HOW)
    known = job.checkpoint
    running = known is not None and known.generation == _generation(job)
    if known is not None and running and not known.void and not known.complete:
        raise CockpitError(
            f"job {job.name} is being asked for a checkpoint by {known.by} already: {words(known)}",
            "wait for that one",
        )


def _generation(job: Job) -> int | None:
    return max((node.generation for node in job.nodes if node.generation is not None), default=None)


def _able(job: Job) -> list[Rank]:
    return [rank for node in job.nodes for rank in node.ranks if _can(rank)]


def _can(rank: Rank) -> bool:
    return rank.state is RankState.RUNNING and rank.checkpoint_step is not None


def _seats(sessions: Sessions, job_id: str) -> list[Seat]:
    """The nodes of the ranks that can. Raises CockpitError where not all nodes are in reach."""
    job = sessions.job(job_id)
    seats = {seat.node_rank: seat for seat in sessions.tracked(job_id).newest()}
    for node in job.nodes:
        seat = seats.get(node.node_rank)
        if not node.state.ended and (seat is None or not seat.link.online):
            raise CockpitError(
                f"job {job.name} was not asked for a checkpoint: {node.name} is out of reach, and"
                " its ranks would not save at the same step",
                "restart it without a checkpoint, or once the node is back",
            )
    return [seats[node.node_rank] for node in job.nodes if any(map(_can, node.ranks))]


async def _slowest_reply(seats: list[Seat]) -> float:
    """Seconds. Raises LinkError."""
    begin = time.monotonic()
    await asyncio.gather(*(seat.link.request("clock", timeout=REQUEST_TIMEOUT) for seat in seats))
    return time.monotonic() - begin


async def _pace(sessions: Sessions, job_id: str) -> float:
    """Seconds that the fastest rank takes from one step to the next."""
    deadline = time.monotonic() + PACE_PATIENCE
    while True:
        ranks = _able(sessions.job(job_id))
        known = [rank.checkpoint_pace for rank in ranks if rank.checkpoint_pace]
        if known:
            return max(min(known), 1e-6)
        if time.monotonic() >= deadline:
            return PACE_PATIENCE
        await sessions.changed(0.5)


class _Asking:
    """One request, from the first node that hears of it to the last rank that has saved."""

    def __init__(self, sessions: Sessions, job_id: str, seats: list[Seat], order: Order) -> None:
        self._sessions = sessions
        self._id = job_id
        self._seats = seats
        self._order = order
        self._command = uuid.uuid4().hex
        self._attempt = sessions.job(job_id).attempt
        self._said = ""

    async def ask(self, step: int, limit: float) -> None:
        """Tell every node within `limit` seconds. Raises CockpitError for one that was not."""
        self._order.say(f"asking for a checkpoint at step {step}")
        answers = await asyncio.gather(
            *(self._send(seat, self._command, limit, step=step) for seat in self._seats),
            return_exceptions=True,
        )
        for seat, answer in zip(self._seats, answers, strict=True):
            if isinstance(answer, CockpitError):
                raise self._failed(f"{seat.key.node} was not told in time: {answer.message}")
            if isinstance(answer, BaseException):
                raise answer
            if not answer:
                raise self._failed(f"{seat.key.node} takes no part any more")

    async def wait(self) -> Checkpoint:
        """Until every rank that was asked has saved. Raises CockpitError."""
        deadline = time.monotonic() + self._order.timeout
        while True:
            job = self._sessions.job(self._id)
            told = self._told(job)
            state = of_job(told, {})
            if state is not None:
                if state.complete and len(told) == len(self._seats):
                    self._say(words(state))
                    return state
                if state.void:
                    raise self._failed(state.void)
                self._say(words(state))
            if job.state.ended or job.attempt != self._attempt:
                raise CockpitError(
                    f"job {job.name} {job.state.value} before its checkpoint was saved",
                    "`cockpit status` says why",
                )
            if time.monotonic() >= deadline:
                what = words(state) if state is not None else "no node has said that it was asked"
                raise self._failed(f"it did not come within {self._order.timeout:g} s; {what}")
            await self._sessions.changed(0.5)

    async def withdraw(self) -> None:
        """Have the nodes forget it; ranks that save already go on with that."""
        await asyncio.gather(
            *(self._send(seat, uuid.uuid4().hex, REQUEST_TIMEOUT) for seat in self._seats),
            return_exceptions=True,
        )

    async def _send(
        self, seat: Seat, command: str, limit: float, *, step: int | None = None
    ) -> bool:
        answer = await seat.link.request(
            "command",
            timeout=limit,
            job=self._id,
            attempt=seat.attempt,
            node_rank=seat.node_rank,
            id=command,
            do="checkpoint",
            by=self._order.by,
            reason=self._order.reason,
            step=step,
        )
        return bool(answer.get("accepted", True))

    def _told(self, job: Job) -> list[JobNode]:
        """What the nodes say of this request."""
        return [
            node
            for node in job.nodes
            if node.checkpoint is not None and node.checkpoint.command == self._command
        ]

    def _failed(self, why: str) -> CockpitError:
        name = self._sessions.job(self._id).name
        return CockpitError(f"job {name} made no checkpoint: {why}", _HINT)

    def _say(self, text: str) -> None:
        if text != self._said:
            self._said = text
            self._order.say(text)
