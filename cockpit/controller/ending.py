"""The end of a job: cancel everywhere, and the proof that nothing is left.

One SIGTERM per node, grace, SIGKILL by the node's own sweep; then every node is asked again, by
the job's marker, from here. What cannot be asked is never claimed.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Collection, Iterable, Sequence

import msgspec

from cockpit.controller.sessions import Sessions
from cockpit.controller.tracking import NodeKey, Seat, TrackedJob
from cockpit.errors import LinkError, NodeError
from cockpit.executors.direct import Say, left_over, send_cancel
from cockpit.model.reports import CancelReport, NodeProof
from cockpit.model.types import JobNode, Leftover, NodeState
from cockpit.protocol import layout
from cockpit.text import after_name, clean
from cockpit.transport.link import NodeLink

PROOF_MARGIN = 25.0
"""Seconds beyond the grace that a node gets to sweep before the proof is taken."""
PATIENCE = 10.0
"""Seconds that a node whose link is down gets to come back before it counts as unreachable."""
RETURN_INTERVAL = 5.0
"""Seconds after which nodes that were left out are looked for again, if nothing changes before."""
_ACTED = frozenset((NodeState.CANCELLING, *(state for state in NodeState if state.ended)))
"""States of a node whose supervisor has obeyed."""
_MOST_BYTES = 4096
"""Of the document that names a supervisor."""


def _unheard(heard: object) -> None:
    """Nobody listens."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """How a job shall be ended, and who hears of it.

    `told` is called with the name of each node that has the command for good, whatever becomes
    of us. A node without contact is told as soon as it is back within `patience` seconds. `found`
    is called with the proof of each node that was searched, while others may still run.
    """

    by: str
    grace: float | None = None
    """Seconds between SIGTERM and SIGKILL; the job's own when None."""
    reason: str = ""
    patience: float = PATIENCE
    say: Say = _unheard
    told: Callable[[str], None] = _unheard
    found: Callable[[NodeProof], None] = _unheard


async def cancel(sessions: Sessions, job_id: str, order: Order) -> CancelReport:
    """End a job everywhere: its newest attempt, and what nodes that a restart left out still run
    of earlier ones. Raises JobNotFound."""
    tracked = sessions.tracked(job_id)
    seats = (*tracked.newest(), *_forgotten(tracked))
    proofs = await asyncio.gather(
        *(_NodeEnd(sessions, tracked, group, order).run() for group in _by_node(seats))
    )
    known = {proof.name for proof in proofs}
    job = sessions.job(job_id)
    unseen = await asyncio.gather(
        *(
            _look_only(
                sessions,
                tracked,
                _Scope(
                    key=NodeKey(tracked.cluster, node.name),
                    places=frozenset({(job.attempt, node.node_rank)}),
                ),
            )
            for node in job.nodes
            if node.name not in known
        )
    )
    return CancelReport(job=job_id, nodes=(*proofs, *unseen))


async def end_when_back(
    sessions: Sessions, job_id: str, attempt: int, names: Collection[str], order: Order
) -> None:
    """End what is left of attempts up to `attempt` on nodes out of reach, each once it is back.

    A node that is there and has nothing of them is searched only. One that is neither in the
    profiles nor known to have taken part is told as unreachable, and not waited for.
    """
    await asyncio.gather(
        *(_end_on_return(sessions, job_id, attempt, name, order) for name in sorted(set(names)))
    )


def may_return(sessions: Sessions, job_id: str, name: str) -> bool:
    """Whether a node out of reach can come back: it is connected to, or was in this job."""
    tracked = sessions.tracked(job_id)
    known = {seat.key.node for seat in tracked.seats.values()}
    return name in known or NodeKey(tracked.cluster, name) in sessions.links


async def _end_on_return(
    sessions: Sessions, job_id: str, attempt: int, name: str, order: Order
) -> None:
    while (tracked := sessions.tracker.jobs.get(job_id)) is not None:
        seats = _due(tracked, attempt, name)
        back = _by_node([seat for seat in seats if seat.link.online])
        key = NodeKey(tracked.cluster, name)
        if back:
            ends = [_NodeEnd(sessions, tracked, group, order, attempt) for group in back]
            proofs = await asyncio.gather(*(end.run() for end in ends))
            if not any(proof.unreachable for proof in proofs):
                return
        elif not seats and (key not in sessions.links or sessions.has_listed(key)):
            proof = await _look_only(sessions, tracked, _Scope(key=key, newest=attempt))
            if not proof.unreachable or key not in sessions.links:
                order.found(proof)
                return
        else:
            await sessions.changed(RETURN_INTERVAL)
            continue
        # Figures of a node that is there come ten times a second: no reason to ask as often.
        await asyncio.sleep(RETURN_INTERVAL)


def _due(tracked: TrackedJob, attempt: int, name: str) -> list[Seat]:
    """What a node that was out of reach has of attempts up to `attempt`: the newest of them, and
    earlier ones that have not ended."""
    seats = [
        seat for seat in tracked.seats.values() if seat.attempt <= attempt and seat.key.node == name
    ]
    newest = max((seat.attempt for seat in seats), default=0)
    return [seat for seat in seats if seat.attempt == newest or not _has_ended(tracked, seat)]


def _has_ended(tracked: TrackedJob, seat: Seat) -> bool:
    node = tracked.model.node(seat.attempt, seat.node_rank)
    return node is not None and node.state.ended


def _by_node(seats: Iterable[Seat]) -> list[list[Seat]]:
    """The seats of each node together: it is ended there, and searched, as one."""
    groups: dict[tuple[NodeKey, NodeLink], list[Seat]] = {}
    for seat in seats:
        groups.setdefault((seat.key, seat.link), []).append(seat)
    return list(groups.values())


def _forgotten(tracked: TrackedJob) -> list[Seat]:
    """Where an attempt before the newest has not ended, as far as is known."""
    newest = max((attempt for attempt, _ in tracked.seats), default=0)
    found = []
    for (attempt, node_rank), seat in sorted(tracked.seats.items()):
        node = tracked.model.node(attempt, node_rank) if attempt < newest else None
        if node is not None and not node.state.ended:
            found.append(seat)
    return found


class _Scope(msgspec.Struct, frozen=True, kw_only=True):
    """Which marked processes of a job that a node shows an end there is about."""

    key: NodeKey
    places: frozenset[tuple[int, int]] = frozenset()
    """Attempts and node ranks that are known to be this node's."""
    newest: int | None = None
    """Attempts after this one are left alone; None: no attempt is."""

    def holds(self, tracked: TrackedJob, marker: str) -> bool:
        """Whether a process is this node's, and of an attempt that shall end.

        Virtual nodes share their processes, and so do several sshds on one machine. In doubt it
        is this node's.
        """
        parsed = layout.parse_marker(marker)
        if parsed is None:
            return True
        _, attempt, node_rank = parsed
        if self.newest is not None and attempt > self.newest:
            return False
        if (attempt, node_rank) in self.places:
            return True
        seat = tracked.seats.get((attempt, node_rank))
        planned, names = tracked.model.newest_names()
        name = names.get(node_rank, "") if attempt == planned else ""
        # A seat may be known by another node of the same state folder: the plan knows better.
        if name and (seat is None or any(place[0] == attempt for place in self.places)):
            return name == self.key.node
        return seat is None or seat.key == self.key


async def _left(tracked: TrackedJob, link: NodeLink, scope: _Scope) -> tuple[Leftover, ...]:
    """What a node still runs of the job. Raises LinkError or NodeError."""
    return tuple(
        Leftover(pid=int(process["pid"]), command=tracked.mask.text(clean(str(process["command"]))))
        for process in await left_over(link, tracked.record.id)
        if scope.holds(tracked, str(process["marker"]))
    )


async def _look_only(sessions: Sessions, tracked: TrackedJob, scope: _Scope) -> NodeProof:
    """The proof for a node that lists nothing of the attempt."""
    name = scope.key.node
    link = sessions.links.get(scope.key)
    if link is None:
        return NodeProof(name=name, unreachable="it is not in the profile")
    try:
        await link.ready(PATIENCE)
        return NodeProof(name=name, left=await _left(tracked, link, scope))
    except (LinkError, NodeError) as error:
        return NodeProof(name=name, unreachable=after_name(name, error.message))


def _processes(count: int) -> str:
    return "1 process is" if count == 1 else f"{count} processes are"


class _NodeEnd:
    """One node's part: the command, the wait, the proof; again after every loss of contact.

    `seats`: of one node over one link. `newest`: attempts after that one are left alone.
    """

    def __init__(
        self,
        sessions: Sessions,
        tracked: TrackedJob,
        seats: Sequence[Seat],
        order: Order,
        newest: int | None = None,
    ) -> None:
        self._sessions = sessions
        self._tracked = tracked
        self._seats = seats
        self._link = seats[0].link
        self._name = seats[0].key.node
        self._scope = _Scope(
            key=seats[0].key,
            places=frozenset((seat.attempt, seat.node_rank) for seat in seats),
            newest=newest,
        )
        self._order = order
        self._grace = tracked.record.grace if order.grace is None else order.grace
        self._give_up_at = time.monotonic() + order.patience

    async def run(self) -> NodeProof:
        name = self._name
        while True:
            try:
                await self._contact()
                await self._end()
                return await self._prove()
            except LinkError as error:
                if time.monotonic() >= self._give_up_at or not error.retry:
                    return NodeProof(name=name, unreachable=after_name(name, error.message))
            except NodeError as error:
                return NodeProof(name=name, unreachable=after_name(name, error.message))
            await asyncio.sleep(0.1)

    async def _contact(self) -> None:
        await self._link.ready(max(self._give_up_at - time.monotonic(), 0.1))

    async def _end(self) -> None:
        going = [seat for seat in self._seats if not self._ended(seat)]
        told = [seat for seat in going if await self._tell(seat)]
        if not told:
            return
        order = self._order
        order.told(self._name)
        order.say(f"{self._name}: asked to end, up to {self._grace:.0f} s of grace")
        until = time.monotonic() + self._grace + PROOF_MARGIN
        signalled = False
        while not all(self._ended(seat) for seat in told) and time.monotonic() < until:
            await self._contact()
            await self._sessions.changed(0.2)
            # The node's journal says so; the command alone is no signal yet.
            if not signalled and any(self._is_cancelling(seat) for seat in told):
                signalled = True
                order.say(f"{self._name}: SIGTERM sent")

    async def _tell(self, seat: Seat) -> bool:
        """Send the command; False where the node has nothing of the attempt any more."""
        try:
            await send_cancel(
                seat.link,
                self._tracked.record.id,
                seat.attempt,
                seat.node_rank,
                by=self._order.by,
                reason=self._order.reason,
                grace=self._grace,
            )
        except NodeError as error:
            if error.code != "not_found":
                raise
            return False
        return True

    async def _prove(self) -> NodeProof:
        left = await _left(self._tracked, self._link, self._scope)
        nodes = [node for seat in self._seats if (node := self._node(seat)) is not None]
        proven = NodeProof(
            name=self._name,
            swept=tuple(process for node in nodes for process in node.swept),
            left=left,
            mute=await self._mute_supervisor() if left else None,
        )
        proof = f"{_processes(len(left))} left" if left else "nothing is left"
        mute = f"; {proven.muteness}" if proven.muteness else ""
        self._order.say(f"{self._name}: {proof}{mute}")
        self._order.found(proven)
        return proven

    async def _mute_supervisor(self) -> int | None:
        """Pid of a supervisor that lives and has not acted on the command.

        Raises LinkError.
        """
        for seat in self._seats:
            node = self._node(seat)
            if node is None or not node.supervised or node.state in _ACTED:
                continue
            folder = layout.attempt_dir(self._tracked.record.id, seat.attempt, seat.node_rank)
            try:
                written = await seat.link.read(f"{folder}/{layout.SUPERVISOR}", 0, _MOST_BYTES)
                return int(json.loads(written)["pid"])
            except (NodeError, ValueError, KeyError, TypeError):
                continue
        return None

    def _node(self, seat: Seat) -> JobNode | None:
        newest, _ = self._tracked.model.newest_names()
        if seat.attempt != newest:
            return self._tracked.model.node(seat.attempt, seat.node_rank)
        nodes = self._tracked.model.snapshot(time.time()).nodes
        return next((node for node in nodes if node.node_rank == seat.node_rank), None)

    def _ended(self, seat: Seat) -> bool:
        node = self._node(seat)
        return node is not None and node.state.ended

    def _is_cancelling(self, seat: Seat) -> bool:
        """The launcher process was sent its SIGTERM, and has not ended yet."""
        node = self._node(seat)
        return node is not None and node.state is NodeState.CANCELLING and node.pid is not None
