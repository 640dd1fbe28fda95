"""The end of a job: cancel everywhere, and the proof that nothing is left.

One SIGTERM per node, grace, SIGKILL by the node's own sweep; then every node is asked again, by
the job's marker, from here. What cannot be asked is never claimed.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import msgspec

from cockpit.controller.sessions import Sessions
from cockpit.controller.tracking import NodeKey, Seat, TrackedJob
from cockpit.errors import LinkError, NodeError
from cockpit.executors.direct import Say, left_over, send_cancel
from cockpit.model.masking import Mask
from cockpit.model.reports import CancelReport, NodeProof
from cockpit.model.types import JobNode, Leftover, NodeState
from cockpit.protocol import layout
from cockpit.text import after_name, clean

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
        *(_NodeEnd(sessions, tracked, seat, order).run() for seat in seats)
    )
    known = {proof.name for proof in proofs}
    others = [node for node in sessions.job(job_id).nodes if node.name not in known]
    unseen = await asyncio.gather(*(_look_only(sessions, tracked, node) for node in others))
    return CancelReport(job=job_id, nodes=(*proofs, *unseen))


async def end_when_back(
    sessions: Sessions, job_id: str, attempt: int, names: Collection[str], order: Order
) -> None:
    """End what is left of attempts up to `attempt` on nodes out of reach, once they are back."""
    waiting = set(names)
    while waiting:
        tracked = sessions.tracker.jobs.get(job_id)
        if tracked is None:
            return
        refused = False
        for name in sorted(waiting):
            seats = [
                seat
                for seat in list(tracked.seats.values())
                if seat.attempt <= attempt and seat.key.node == name and seat.link.online
            ]
            proofs = [await _NodeEnd(sessions, tracked, seat, order).run() for seat in seats]
            if proofs and not any(proof.unreachable for proof in proofs):
                waiting.discard(name)
            refused = refused or any(proof.unreachable for proof in proofs)
        if refused:
            # Figures of a node that is there come ten times a second: no reason to ask as often.
            await asyncio.sleep(RETURN_INTERVAL)
        elif waiting:
            await sessions.changed(RETURN_INTERVAL)


def _forgotten(tracked: TrackedJob) -> list[Seat]:
    """Where an attempt before the newest has not ended, as far as is known."""
    newest = max((attempt for attempt, _ in tracked.seats), default=0)
    found = []
    for (attempt, node_rank), seat in sorted(tracked.seats.items()):
        node = tracked.model.node(attempt, node_rank) if attempt < newest else None
        if node is not None and not node.state.ended:
            found.append(seat)
    return found


async def _look_only(sessions: Sessions, tracked: TrackedJob, node: JobNode) -> NodeProof:
    """The proof for a planned node that lists nothing of the attempt."""
    link = sessions.links.get(NodeKey(tracked.cluster, node.name))
    if link is None:
        return NodeProof(name=node.name, unreachable="it is not in the profile")
    try:
        await link.ready(PATIENCE)
        found = await left_over(link, tracked.record.id)
    except (LinkError, NodeError) as error:
        return NodeProof(name=node.name, unreachable=after_name(node.name, error.message))
    own = [
        process
        for process in found
        if (parsed := layout.parse_marker(str(process["marker"]))) is None
        or parsed[2] == node.node_rank
    ]
    return NodeProof(name=node.name, left=_leftovers(own, tracked.mask))


def _processes(count: int) -> str:
    return "1 process is" if count == 1 else f"{count} processes are"


def _leftovers(processes: Sequence[Mapping[str, Any]], mask: Mask) -> tuple[Leftover, ...]:
    return tuple(
        Leftover(pid=int(process["pid"]), command=mask.text(clean(str(process["command"]))))
        for process in processes
    )


class _NodeEnd:
    """One node's part: the command, the wait, the proof; again after every loss of contact."""

    def __init__(self, sessions: Sessions, tracked: TrackedJob, seat: Seat, order: Order) -> None:
        self._sessions = sessions
        self._tracked = tracked
        self._seat = seat
        self._order = order
        self._grace = tracked.record.grace if order.grace is None else order.grace
        self._give_up_at = time.monotonic() + order.patience

    async def run(self) -> NodeProof:
        name = self._seat.key.node
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
        await self._seat.link.ready(max(self._give_up_at - time.monotonic(), 0.1))

    async def _end(self) -> None:
        seat, order = self._seat, self._order
        if self._ended():
            return
        await send_cancel(
            seat.link,
            self._tracked.record.id,
            seat.attempt,
            seat.node_rank,
            by=order.by,
            reason=order.reason,
            grace=self._grace,
        )
        order.told(seat.key.node)
        order.say(f"{seat.key.node}: asked to end, up to {self._grace:.0f} s of grace")
        until = time.monotonic() + self._grace + PROOF_MARGIN
        signalled = False
        while not self._ended() and time.monotonic() < until:
            await self._contact()
            await self._sessions.changed(0.2)
            # The node's journal says so; the command alone is no signal yet.
            if not signalled and self._is_cancelling():
                signalled = True
                order.say(f"{seat.key.node}: SIGTERM sent")

    async def _prove(self) -> NodeProof:
        seat = self._seat
        found = await left_over(seat.link, self._tracked.record.id)
        left = _leftovers(
            [
                process
                for process in found
                if not _of_another_node(self._tracked, seat, str(process["marker"]))
            ],
            self._tracked.mask,
        )
        node = self._node()
        proven = NodeProof(
            name=seat.key.node,
            swept=node.swept if node is not None else (),
            left=left,
            mute=await self._mute_supervisor() if left else None,
        )
        proof = f"{_processes(len(left))} left" if left else "nothing is left"
        mute = f"; {proven.muteness}" if proven.muteness else ""
        self._order.say(f"{seat.key.node}: {proof}{mute}")
        self._order.found(proven)
        return proven

    async def _mute_supervisor(self) -> int | None:
        """Pid of the attempt's supervisor where that lives and has not acted on the command.

        Raises LinkError.
        """
        node = self._node()
        if node is None or not node.supervised or node.state in _ACTED:
            return None
        seat = self._seat
        folder = layout.attempt_dir(self._tracked.record.id, seat.attempt, seat.node_rank)
        try:
            written = await seat.link.read(f"{folder}/{layout.SUPERVISOR}", 0, _MOST_BYTES)
            return int(json.loads(written)["pid"])
        except (NodeError, ValueError, KeyError, TypeError):
            return None

    def _node(self) -> JobNode | None:
        newest, _ = self._tracked.model.newest_names()
        if self._seat.attempt != newest:
            return self._tracked.model.node(self._seat.attempt, self._seat.node_rank)
        nodes = self._tracked.model.snapshot(time.time()).nodes
        return next((node for node in nodes if node.node_rank == self._seat.node_rank), None)

    def _ended(self) -> bool:
        node = self._node()
        return node is not None and node.state.ended

    def _is_cancelling(self) -> bool:
        """The launcher process was sent its SIGTERM, and has not ended yet."""
        node = self._node()
        return node is not None and node.state is NodeState.CANCELLING and node.pid is not None


def _of_another_node(tracked: TrackedJob, seat: Seat, marker: str) -> bool:
    """Whether a marked process belongs to a node that shares this one's processes.

    Virtual nodes do, and so do several sshds on one machine. In doubt it is this node's.
    """
    parsed = layout.parse_marker(marker)
    if parsed is None:
        return False
    _, attempt, node_rank = parsed
    newest, _ = tracked.model.newest_names()
    if attempt == seat.attempt == newest:
        nodes = tracked.model.snapshot(time.time()).nodes
        name = next((n.name for n in nodes if n.node_rank == node_rank), "")
        return node_rank != seat.node_rank and name not in ("", seat.key.node)
    other = tracked.seats.get((attempt, node_rank))
    return other is not None and other.key != seat.key
