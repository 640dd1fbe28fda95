"""The end of a job: cancel everywhere, and the proof that nothing is left.

One SIGTERM per node, grace, SIGKILL by the node's own sweep; then every node is asked again, by
the job's marker, from here. What cannot be asked is never claimed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from cockpit.controller.reports import CancelReport, NodeProof
from cockpit.controller.sessions import Sessions
from cockpit.controller.tracking import Seat, TrackedJob
from cockpit.errors import LinkError, NodeError
from cockpit.executors.direct import Say, left_over, send_cancel
from cockpit.model.types import JobNode, Leftover
from cockpit.protocol import layout
from cockpit.text import clean

PROOF_MARGIN = 25.0
"""Seconds beyond the grace that a node gets to sweep before the proof is taken."""
CONTACT_TIMEOUT = 10.0
"""Seconds that a node whose link is down gets to come back before it counts as unreachable."""


async def cancel(
    sessions: Sessions,
    job_id: str,
    *,
    by: str,
    grace: float | None,
    reason: str,
    say: Say,
    told: Callable[[str], None],
) -> CancelReport:
    """End the newest attempt of a job everywhere. Raises JobNotFound."""
    tracked = sessions.tracked(job_id)
    wait = tracked.record.grace if grace is None else grace
    proofs = await asyncio.gather(
        *(
            _on_node(sessions, tracked, seat, by, wait, reason, say, told)
            for seat in tracked.newest()
        )
    )
    known = {proof.name for proof in proofs}
    unseen = tuple(
        NodeProof(name=node.name, unreachable=node.link.why or "no connection")
        for node in sessions.job(job_id).nodes
        if node.name not in known
    )
    return CancelReport(job=job_id, nodes=(*proofs, *unseen))


async def _on_node(
    sessions: Sessions,
    tracked: TrackedJob,
    seat: Seat,
    by: str,
    grace: float,
    reason: str,
    say: Say,
    told: Callable[[str], None],
) -> NodeProof:
    name = seat.key.node
    job = tracked.record.id
    try:
        await seat.link.ready(CONTACT_TIMEOUT)
        if not _ended(tracked, seat):
            await send_cancel(
                seat.link, job, seat.attempt, seat.node_rank, by=by, reason=reason, grace=grace
            )
            told(name)
            say(f"{name}: SIGTERM sent, up to {grace:.0f} s of grace")
            deadline = time.monotonic() + grace + PROOF_MARGIN
            while not _ended(tracked, seat) and time.monotonic() < deadline:
                await sessions.changed(0.2)
        found = [
            process
            for process in await left_over(seat.link, job)
            if not _of_another_node(tracked, seat, str(process["marker"]))
        ]
    except (LinkError, NodeError) as error:
        return NodeProof(name=name, unreachable=error.message)
    left = tuple(
        Leftover(pid=int(process["pid"]), command=clean(str(process["command"])))
        for process in found
    )
    node = _node(tracked, seat)
    say(f"{name}: {'nothing is left' if not left else f'{len(left)} processes are left'}")
    return NodeProof(name=name, swept=node.swept if node is not None else (), left=left)


def _node(tracked: TrackedJob, seat: Seat) -> JobNode | None:
    nodes = tracked.model.snapshot(time.time()).nodes
    return next((node for node in nodes if node.node_rank == seat.node_rank), None)


def _ended(tracked: TrackedJob, seat: Seat) -> bool:
    node = _node(tracked, seat)
    return node is not None and node.state.ended


def _of_another_node(tracked: TrackedJob, seat: Seat, marker: str) -> bool:
    """Whether a marked process belongs to a node that shares this one's processes.

    Virtual nodes do, and so do several sshds on one machine. In doubt it is this node's.
    """
    parsed = layout.parse_marker(marker)
    if parsed is None:
        return False
    _, attempt, node_rank = parsed
    if attempt == seat.attempt:
        nodes = tracked.model.snapshot(time.time()).nodes
        name = next((n.name for n in nodes if n.node_rank == node_rank), "")
        return node_rank != seat.node_rank and name not in ("", seat.key.node)
    other = tracked.seats.get((attempt, node_rank))
    return other is not None and other.key != seat.key
