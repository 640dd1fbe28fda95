"""A new attempt of a job: on the same nodes, without some of them, with spares in their place.

All that can fail while the old attempt still runs is done before it is ended: which nodes take
part, the code for those that are new, the checkpoint. Then the old attempt is proven to be over on
every node of the next one. A node that is left out need not be proven; what may still run there is
said, and ended as soon as it can be reached.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping

import msgspec

from cockpit.controller import checkpoints, codes, ending
from cockpit.controller.sessions import Sessions
from cockpit.controller.starting import Attempt, Starter
from cockpit.controller.tracking import TrackedJob
from cockpit.errors import CockpitError, LinkError, UsageError
from cockpit.executors.direct import Say
from cockpit.model.attempts import INSTRUMENTED
from cockpit.model.reports import CancelReport, LeftOut, RestartOptions, RestartReport
from cockpit.model.types import Job
from cockpit.profiles.types import Cluster, NodeSpec
from cockpit.tasks import Tasks
from cockpit.text import count_of

CONTACT = 10.0
"""Seconds that nodes get to answer before a spare takes their place, and spares to do so."""
REASON = "restart"


class Order(msgspec.Struct, frozen=True, kw_only=True):
    by: str
    options: RestartOptions
    secrets: Mapping[str, str]
    """Their values."""
    preflight: bool
    say: Say


class _Seating(msgspec.Struct, frozen=True, kw_only=True):
    """Who takes part in the next attempt."""

    before: tuple[str, ...]
    """Nodes of the last one, by node rank."""
    candidates: tuple[NodeSpec, ...]
    """In the order in which they are to be tried."""
    left: Mapping[str, str]
    """Nodes of the last attempt that are left out, and why."""


async def restart(
    sessions: Sessions, starter: Starter, tasks: Tasks, job_id: str, order: Order
) -> RestartReport:
    """Raises what `Controller.restart` raises."""
    tracked = sessions.tracked(job_id)
    cluster = sessions.cluster(tracked.cluster)
    seating = await _seat(sessions, tracked, cluster, order.options)
    for name, why in seating.left.items():
        order.say(f"{name} is left out: {why}")
    newcomers = [spec for spec in seating.candidates if spec.name not in seating.before]
    if newcomers:
        order.say(f"spares that may take part: {_names(newcomers)}")
    links = [sessions.open_node(cluster, spec) for spec in newcomers]
    async with codes.carried(tracked, links, by=order.by, say=order.say) as archive:
        saved = await _checkpoint(sessions, job_id, order)
        unproven = await _end(sessions, job_id, seating, order)
        launcher = sessions.config.launchers.get(tracked.record.launcher)
        attempt = Attempt(
            record=tracked.record,
            number=sessions.job(job_id).attempt + 1,
            cluster=cluster,
            candidates=seating.candidates,
            secrets=order.secrets,
            archive=archive,
            port=launcher.rdzv_port if launcher is not None else None,
            preflight=order.preflight,
        )
        order.say(f"starting attempt {attempt.number} of {tracked.record.name}")
        await starter.start(attempt, order.say)
    nodes = tuple(node.name for node in sessions.job(job_id).nodes)
    _tell_of_fresh_folders(tracked, seating, nodes, order.say)
    _end_later(sessions, tasks, job_id, attempt.number - 1, unproven, order)
    left = dict(seating.left)
    for name in seating.before:
        if name not in nodes:
            left.setdefault(name, "it was not ready for the start")
    return RestartReport(
        job=job_id,
        attempt=attempt.number,
        nodes=nodes,
        left_out=tuple(
            LeftOut(name=name, why=why, unproven=unproven.get(name, ""))
            for name, why in left.items()
        ),
        checkpoint=saved,
    )


# -- who takes part ---------------------------------------------------------------------------


async def _seat(
    sessions: Sessions, tracked: TrackedJob, cluster: Cluster, options: RestartOptions
) -> _Seating:
    """Raises UsageError when they are too few, or what was asked for makes no sense."""
    record = tracked.record
    specs = {spec.name: spec for spec in (*cluster.nodes, *cluster.spares)}
    known = {seat.node_rank: seat.key.node for seat in tracked.newest()}
    job = sessions.job(record.id)
    before = tuple(known.get(node.node_rank, node.name) for node in job.nodes)
    left = _left_out(record.name, before, specs, cluster, options)
    if options.spares:
        left.update(
            await _away(sessions, cluster, [specs[name] for name in before if name not in left])
        )
    kept = [specs[name] for name in before if name not in left]
    pool = [spec for spec in cluster.spares if spec.name not in before]
    spares: list[NodeSpec] = []
    unfit: dict[str, str] = {}
    if options.spares and len(kept) < len(before):
        unfit = await _unfit(sessions, cluster, pool, record.id)
        spares = [spec for spec in pool if spec.name not in unfit]
        if record.min_nodes < record.max_nodes:
            # All that are ready would be taken in; it shall be as large as it was.
            spares = spares[: len(before) - len(kept)]
    found = len(kept) + len(spares)
    if found < record.min_nodes:
        why = [f"{name} is left out ({reason})" for name, reason in left.items()]
        why += [f"spare {name} cannot take part ({reason})" for name, reason in unfit.items()]
        hint = "give the cluster more spares, or run the job anew on fewer nodes"
        if pool and not options.spares:
            hint = f"cluster {cluster.name} has spares, which --spares lets take part"
        raise UsageError(
            f"job {record.name} needs {count_of(record.min_nodes, 'node')}, {found} can take part:"
            f" {record.min_nodes - found} missing; {', '.join(why)}",
            hint,
        )
    return _Seating(before=before, candidates=(*kept, *spares), left=left)


def _left_out(
    job: str,
    before: Collection[str],
    specs: Collection[str],
    cluster: Cluster,
    options: RestartOptions,
) -> dict[str, str]:
    """The nodes that are left out whatever can be reached, and why. Raises UsageError."""
    strangers = [name for name in options.without if name not in before]
    if strangers:
        raise UsageError(
            f"{', '.join(strangers)} had no part in the last attempt of job {job}",
            f"its nodes: {', '.join(before)}",
        )
    left = {name: "as was asked for" for name in before if name in options.without}
    gone = [name for name in before if name not in specs and name not in left]
    if gone and not options.spares:
        raise UsageError(
            f"job {job} ran on {', '.join(gone)}, which cluster {cluster.name} does not have any"
            " more",
            "add the node to the profile again, leave it out (--without), or run the job anew",
        )
    return {**left, **dict.fromkeys(gone, f"cluster {cluster.name} does not have it any more")}


async def _away(
    sessions: Sessions, cluster: Cluster, specs: Collection[NodeSpec]
) -> dict[str, str]:
    """Nodes without contact, and why."""

    async def one(spec: NodeSpec) -> str:
        try:
            await sessions.open_node(cluster, spec).ready(CONTACT)
        except LinkError as error:
            return error.message
        return ""

    reasons = await asyncio.gather(*map(one, specs))
    return {spec.name: why for spec, why in zip(specs, reasons, strict=True) if why}


async def _unfit(
    sessions: Sessions, cluster: Cluster, spares: Collection[NodeSpec], job_id: str
) -> dict[str, str]:
    """Spares that cannot take part: without contact, or in use by another job."""
    unfit = await _away(sessions, cluster, spares)
    silent = await sessions.settle(CONTACT, lambda: True)
    for key, error in silent.items():
        if key.cluster == cluster.name and any(spec.name == key.node for spec in spares):
            unfit.setdefault(key.node, error.message)
    for other in sessions.tracker.jobs:
        job = sessions.job(other)
        if other == job_id or job.state.ended:
            continue
        seats = sessions.tracked(other).newest()
        busy = {seat.key.node for seat in seats if seat.key.cluster == cluster.name}
        for spec in spares:
            if spec.name in busy and not _over(job, spec.name):
                unfit.setdefault(spec.name, f"job {job.name} runs there")
    return unfit


def _over(job: Job, name: str) -> bool:
    return all(node.state.ended for node in job.nodes if node.name == name)


def _names(specs: Collection[NodeSpec]) -> str:
    return ", ".join(spec.name for spec in specs)


# -- the end of the last attempt --------------------------------------------------------------


async def _checkpoint(sessions: Sessions, job_id: str, order: Order) -> int | None:
    if not order.options.checkpoint:
        return None
    wish = checkpoints.Order(
        by=order.by, reason=REASON, timeout=order.options.checkpoint_timeout, say=order.say
    )
    return (await checkpoints.make(sessions, job_id, wish)).step


async def _end(sessions: Sessions, job_id: str, seating: _Seating, order: Order) -> dict[str, str]:
    """End what runs; nodes that were left out and could not be proven free, and why.

    Raises CockpitError for any other node that was not proven free.
    """
    job = sessions.job(job_id)
    if job.state.ended:
        return {}
    wish = ending.Order(by=order.by, reason=REASON, say=order.say)
    report = await ending.cancel(sessions, job_id, wish)
    taking = {spec.name for spec in seating.candidates} | set(seating.before) - set(seating.left)
    blocking = tuple(node for node in report.nodes if node.name in taking)
    proof = CancelReport(job=job_id, nodes=blocking)
    if not proof.proven:
        raise CockpitError(
            f"job {job.name} was not restarted: {proof.proof}",
            "end what is left first, or leave the node out (--without)",
        )
    unproven: dict[str, str] = {}
    for node in report.nodes:
        if node.name in taking or not (node.left or node.unreachable):
            continue
        pids = ", ".join(str(process.pid) for process in node.left)
        unproven[node.name] = f"still there: {pids}" if pids else node.unreachable
    return unproven


def _end_later(
    sessions: Sessions,
    tasks: Tasks,
    job_id: str,
    attempt: int,
    unproven: Mapping[str, str],
    order: Order,
) -> None:
    if not unproven:
        return
    record = sessions.tracked(job_id).record
    apart = ""
    if record.kind in INSTRUMENTED:
        apart = f" They cannot join attempt {attempt + 1}: its rendezvous has a name of its own."
    for name, why in unproven.items():
        later = f"They are ended once {name} can be reached from here; `cockpit cancel {job_id}`"
        if not ending.may_return(sessions, job_id, name):
            later = f"Nothing is sent there: once {name} is in a profile, `cockpit cancel {job_id}`"
        order.say(
            f"{name}: processes of attempt {attempt} may still run there ({why}).{apart} {later}"
            " ends them, too"
        )
    wish = ending.Order(by=order.by, reason=REASON, say=order.say)
    tasks.start(
        ending.end_when_back(sessions, job_id, attempt, tuple(unproven), wish),
        f"ending attempt {attempt} of {job_id}",
    )


def _tell_of_fresh_folders(
    tracked: TrackedJob, seating: _Seating, nodes: Collection[str], say: Say
) -> None:
    """Working directories are each node's own where code was synced: files that earlier attempts
    wrote there, such as checkpoints, are on the nodes that wrote them."""
    fresh = [name for name in nodes if name not in seating.before]
    if fresh and tracked.record.code is not None:
        say(
            f"the working directory is fresh on {', '.join(fresh)}: what earlier attempts wrote"
            " into theirs is not there"
        )
