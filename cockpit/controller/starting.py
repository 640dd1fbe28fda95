"""The start of an attempt: a gang on all its nodes, watched until every node runs it.

Used for a new job and for a restart alike. An elastic attempt takes absent nodes in for as long
as its controller lives.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import msgspec

from cockpit.controller import ending
from cockpit.controller.sessions import Sessions, online
from cockpit.controller.tracking import NodeKey, Seat
from cockpit.errors import CockpitError, NodeError, StartError
from cockpit.executors.direct import Archive, Gang, Place, Say, Started
from cockpit.model.types import Job, JobNode, NodeState
from cockpit.profiles.types import Cluster, NodeSpec
from cockpit.protocol.records import AttemptRecord, JobRecord, Member
from cockpit.tasks import Tasks
from cockpit.text import after_name

JOIN_INTERVAL = 2.0
"""Seconds between tries to take an absent node into an elastic job."""


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """What shall be started: which attempt of which job, where, with what."""

    record: JobRecord
    number: int
    cluster: Cluster
    candidates: tuple[NodeSpec, ...]
    secrets: Mapping[str, str]
    archive: Archive | None
    port: int | None
    """Fixed rendezvous port; probed on the head when None."""
    preflight: bool = True
    """Whether nodes are looked at thoroughly before the start."""


class Starter:
    """Starts attempts for one controller. `by` is who is named in the nodes' journals."""

    def __init__(self, sessions: Sessions, tasks: Tasks, by: str) -> None:
        self._sessions = sessions
        self._tasks = tasks
        self._by = by

    async def start(self, attempt: Attempt, say: Say) -> None:
        """Return once every node executes its launcher process.

        Raises StartError with a reason per node, or NodeError "already_claimed"; nothing of the
        attempt runs then.
        """
        cluster, record = attempt.cluster, attempt.record
        gang = Gang(
            record,
            attempt.number,
            by=self._by,
            secrets=attempt.secrets,
            archive=attempt.archive,
            say=say,
            connect_timeout=cluster.connect_timeout + 5.0,
            port=attempt.port,
            preflight=attempt.preflight,
        )
        places = [
            Place(
                spec=spec,
                link=self._sessions.open_node(cluster, spec),
                python=spec.python or cluster.python,
            )
            for spec in attempt.candidates
        ]
        started = await gang.start(places)
        for plan, place in zip(started.records, started.places, strict=True):
            self._sit(attempt, plan, place)
        if len(started.records) < record.max_nodes:
            for name, error in started.absent.items():
                say(f"{name} is not there yet: {after_name(name, error.message)}")
        await self._all_started(attempt, [plan.node_rank for plan in started.records])
        used = {place.spec.name for place in started.places}
        waiting = [place for place in places if place.spec.name not in used]
        if waiting and len(used) < record.max_nodes:
            self._tasks.start(
                self._take_in(gang, attempt, started, waiting, say), f"joining {record.id}"
            )

    def _sit(self, attempt: Attempt, plan: AttemptRecord, place: Place) -> None:
        key = NodeKey(attempt.cluster.name, place.spec.name)
        seat = Seat(attempt.number, plan.node_rank, key, place.link)
        self._sessions.tracker.started(attempt.record, plan, seat)

    async def _all_started(self, attempt: Attempt, node_ranks: Sequence[int]) -> None:
        """Wait for every node; give up everywhere if one cannot execute the launcher process.

        A node whose link drops meanwhile is not waited for: its supervisor starts it anyway.
        """
        job_id = attempt.record.id
        while True:
            job = self._sessions.job(job_id)
            if job.attempt == attempt.number:
                nodes = {node.node_rank: node for node in job.nodes}
                seen = [nodes.get(node_rank) for node_rank in node_ranks]
                failed = {
                    node.name: NodeError("start", _start_failure(node.name, job))
                    for node in seen
                    if node is not None and _never_ran(node)
                }
                if failed:
                    reason = "another node did not start"
                    order = ending.Order(by=self._by, grace=1.0, reason=reason)
                    await ending.cancel(self._sessions, job_id, order)
                    names = ", ".join(failed)
                    raise StartError(
                        f"job {job.name} was not started: {names} could not run it", failed
                    )
                if not any(node is None or _awaited(node) for node in seen):
                    return
            await self._sessions.changed(0.5)

    async def _take_in(
        self, gang: Gang, attempt: Attempt, started: Started, waiting: Sequence[Place], say: Say
    ) -> None:
        """Let absent nodes join a running elastic attempt as they become reachable."""
        most = attempt.record.max_nodes
        planned = _members(started)
        absent = list(waiting)
        running = len(started.records)
        told: dict[str, str] = {}
        while absent and running < most:
            await asyncio.sleep(JOIN_INTERVAL)
            job = self._sessions.job(attempt.record.id)
            if job.state.ended or job.attempt != attempt.number or job.cancelled_by:
                return
            for place in list(absent):
                name = place.spec.name
                if not online(place.link.link.state) or running >= most:
                    continue
                try:
                    plan = await gang.join(place, planned, started.port)
                except CockpitError as error:
                    if told.get(name) != error.message:
                        told[name] = error.message
                        say(f"{name} cannot join yet: {error.message}")
                    continue
                planned, running = [*planned, plan.members[-1]], running + 1
                absent.remove(place)
                say(f"{name} joins as node rank {plan.node_rank}")
                self._sit(attempt, plan, place)


def _members(started: Started) -> list[Member]:
    """The members that run, node rank 0 first."""
    ranks = {record.node_rank for record in started.records}
    return [member for member in started.records[0].members if member.node_rank in ranks]


def _never_ran(node: JobNode) -> bool:
    ended = node.state in (NodeState.FAILED, NodeState.WITHDRAWN)
    return ended and node.generation is None and node.pid is None


def _awaited(node: JobNode) -> bool:
    return node.state in (NodeState.MISSING, NodeState.CLAIMED) and online(node.link.state)


def _start_failure(name: str, job: Job) -> str:
    cause = job.cause
    if cause is not None and cause.node == name and cause.message:
        return f"{name}: {cause.message}"
    return f"{name}: the launcher process could not be started"
