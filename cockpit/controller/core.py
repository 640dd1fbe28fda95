"""The controller: sessions to clusters, what they know, and what a person wants done to jobs.

One object for every face. It holds links, folds what arrives into the model, and carries out
intentions (launch, cancel, restart). It prints nothing, asks nothing, and holds no truth of its
own: closing it, or killing it, changes nothing on any node.
"""

from __future__ import annotations

import asyncio
import getpass
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import platformdirs

from cockpit.controller import secrets
from cockpit.controller.logs import JobLog
from cockpit.controller.reports import CancelReport, NodeProof
from cockpit.controller.tracking import NodeKey, Seat, TrackedJob, Tracker
from cockpit.errors import CockpitError, JobNotFound, LinkError, NodeError, StartError, UsageError
from cockpit.executors import places
from cockpit.executors.direct import Archive, Gang, Place, Say, Started, left_over, send_cancel
from cockpit.launchers.plan import Plan, Request
from cockpit.launchers.registry import plan as make_plan
from cockpit.model.find import find
from cockpit.model.fleet import FleetModel
from cockpit.model.mirror import MirrorStore
from cockpit.model.types import Fleet, Job, Leftover, NodeState
from cockpit.profiles.types import Cluster, Config, NodeSpec
from cockpit.protocol.records import CodeRef, JobRecord, Member
from cockpit.tasks import Tasks
from cockpit.text import clean
from cockpit.transport.factory import transport_for
from cockpit.transport.link import NodeLink

LISTING_INTERVAL = 1.0
TELEMETRY_INTERVAL = 1.0
PERSIST_INTERVAL = 10.0
"""Seconds between notes of what the log mirrors hold; a killed cockpit fetches the rest again."""
JOIN_INTERVAL = 2.0
"""Seconds between tries to take an absent node into an elastic job."""
PROOF_MARGIN = 25.0
"""Seconds beyond the grace that a node gets to sweep before the proof is taken."""


def _quiet(text: str) -> None:
    """Progress that nobody listens to."""


class Controller:
    """`async with Controller(config) as controller:` … Not thread-safe; lives on one loop."""

    def __init__(
        self,
        config: Config,
        *,
        state_root: Path | None = None,
        environ: Mapping[str, str] | None = None,
        telemetry: bool = False,
    ) -> None:
        self.config = config
        self._environ = dict(os.environ if environ is None else environ)
        self._telemetry = telemetry
        root = state_root or Path(
            self._environ.get("COCKPIT_CONTROLLER_DIR", "")
            or platformdirs.user_state_path("cockpit")
        )
        self.mirrors = MirrorStore(root / "mirror")
        self.by = f"{getpass.getuser()}@{socket.gethostname()}"
        self._links: dict[NodeKey, NodeLink] = {}
        self._listed: dict[NodeKey, asyncio.Event] = {}
        self._tracker = Tracker(self._job_changed)
        self._fleet = FleetModel()
        self._tasks = Tasks()
        self._change = asyncio.Event()
        self._logs: list[JobLog] = []
        self._persisting = False

    async def __aenter__(self) -> Controller:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Leave the nodes; jobs go on."""
        await self._tasks.close()
        for log in list(self._logs):
            log.close()
        await asyncio.gather(*(link.close() for link in self._links.values()))
        self.mirrors.close()

    # -- sessions -----------------------------------------------------------------------------

    def open(self, clusters: Sequence[str] | None = None) -> None:
        """Start linking to every node of `clusters` (default: all configured). Idempotent."""
        for name in clusters if clusters is not None else self.config.clusters:
            cluster = self.config.clusters.get(name)
            if cluster is None:
                raise UsageError(
                    f"there is no cluster {name!r}",
                    f"there are: {', '.join(sorted(self.config.clusters))}",
                )
            for spec in (*cluster.nodes, *cluster.spares):
                self._open_node(cluster, spec)

    def _open_node(self, cluster: Cluster, spec: NodeSpec) -> NodeLink:
        key = NodeKey(cluster.name, spec.name)
        link = self._links.get(key)
        if link is not None:
            return link
        link = NodeLink(
            spec.name, transport_for(cluster, spec), on_change=lambda: self._link_changed(key)
        )
        self._links[key] = link
        listed = self._listed[key] = asyncio.Event()
        self._fleet.node(key.node, key.cluster, link.link)
        if not self._persisting:
            self._persisting = True
            self._tasks.start(self._persist_mirrors(), "keeping log mirrors")

        def jobs(event: dict[str, Any]) -> None:
            self._tracker.listed(key, link, event["jobs"], time.time())
            listed.set()
            self._changed()

        link.subscribe("watch_jobs", jobs, interval=LISTING_INTERVAL)
        if self._telemetry:

            def sample(event: dict[str, Any]) -> None:
                self._fleet.sample(key.node, key.cluster, event, time.monotonic())
                self._changed()

            link.subscribe("telemetry", sample, interval=TELEMETRY_INTERVAL)
        self._tasks.start(link.start(), f"link to {spec.name}")
        return link

    async def _persist_mirrors(self) -> None:
        while True:
            await asyncio.sleep(PERSIST_INTERVAL)
            await asyncio.to_thread(self.mirrors.persist)

    async def settle(self, timeout: float) -> dict[NodeKey, CockpitError]:
        """Wait until every open node has listed its jobs or has failed to connect.

        Returns the nodes that have not, with the reason.
        """

        async def one(key: NodeKey) -> None:
            await self._links[key].ready(timeout)
            await asyncio.wait_for(self._listed[key].wait(), timeout)

        keys = list(self._links)
        outcomes = await asyncio.gather(*(one(key) for key in keys), return_exceptions=True)
        failed: dict[NodeKey, CockpitError] = {}
        for key, outcome in zip(keys, outcomes, strict=True):
            if isinstance(outcome, CockpitError):
                failed[key] = outcome
            elif isinstance(outcome, asyncio.TimeoutError):
                failed[key] = LinkError(f"{key.node}: no listing of jobs in {timeout:.0f} s")
            elif isinstance(outcome, BaseException):
                raise outcome
        return failed

    def retry(self, node: str) -> None:
        """Try unreachable nodes of that name again now."""
        for key, link in self._links.items():
            if key.node == node:
                link.retry()

    def _link_changed(self, key: NodeKey) -> None:
        link = self._links[key].link
        self._fleet.node(key.node, key.cluster, link)
        for tracked in self._tracker.jobs.values():
            if tracked.cluster == key.cluster:
                tracked.model.link(key.node, link)
                self._job_changed(tracked)
        self._changed()

    def _job_changed(self, tracked: TrackedJob) -> None:
        for seat in tracked.seats.values():
            tracked.model.link(seat.key.node, seat.link.link)
        self._fleet.job(tracked.model)
        self._changed()

    def _changed(self) -> None:
        change, self._change = self._change, asyncio.Event()
        change.set()

    async def changed(self, timeout: float) -> None:
        """Wait until anything changed, `timeout` seconds at most."""
        try:
            await asyncio.wait_for(self._change.wait(), timeout)
        except asyncio.TimeoutError:
            return

    # -- what is known ------------------------------------------------------------------------

    def snapshot(self) -> Fleet:
        """Everything known now; cheap, the same object while nothing changed."""
        return self._fleet.snapshot()

    def job(self, job_id: str) -> Job:
        """One job by its full id. Raises JobNotFound."""
        return self._tracked(job_id).model.snapshot(time.time())

    def record(self, job_id: str) -> JobRecord:
        """The immutable record of a job. Raises JobNotFound."""
        return self._tracked(job_id).record

    def _tracked(self, job_id: str) -> TrackedJob:
        tracked = self._tracker.jobs.get(job_id)
        if tracked is None:
            raise JobNotFound(f"no reachable node knows a job {job_id}")
        return tracked

    async def find(self, reference: str, timeout: float = 20.0) -> Job:
        """The job meant by an id, a unique prefix of one, or a name (the newest).

        Waits until the open nodes have listed their jobs. Raises JobNotFound; its hint names
        nodes that could not be asked.
        """
        failed = await self.settle(timeout)
        self._tracker.recall(reference)
        await self.loaded(timeout)
        try:
            return find(reference, [self.job(job) for job in self._tracker.jobs])
        except JobNotFound as error:
            if failed:
                names = ", ".join(sorted(key.node for key in failed))
                raise JobNotFound(error.message, f"not asked: {names}") from error
            raise

    async def loaded(self, timeout: float) -> None:
        """Wait until the journals that reachable nodes told of were read."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if all(tracked.loaded for tracked in self._tracker.jobs.values()):
                return
            await self.changed(0.1)

    async def sampled(self, timeout: float) -> None:
        """Wait until every node that is online has sent a telemetry sample."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            nodes = self.snapshot().nodes
            if all(n.sampled_at is not None or not _online(n.link.state) for n in nodes):
                return
            await self.changed(0.1)

    def node_keys(self) -> tuple[NodeKey, ...]:
        """Every node that was opened."""
        return tuple(self._links)

    def log(self, job_id: str, *, from_start: bool = False, first_attempt: int = 0) -> JobLog:
        """Follow the log streams of a job, merged by time; from the first byte or near the tail."""
        tracked = self._tracked(job_id)
        log = JobLog(
            tracked,
            self.mirrors,
            from_start=from_start,
            first_attempt=first_attempt,
            on_close=self._logs.remove,
        )
        self._logs.append(log)
        return log

    # -- intentions ---------------------------------------------------------------------------

    def plan(self, request: Request) -> Plan:
        """What every node will run. Pure. Raises UsageError for what makes no sense."""
        return make_plan(request)

    async def launch(
        self,
        request: Request,
        *,
        archive: Archive | None,
        files: int = 0,
        given_secrets: Mapping[str, str] | None = None,
        say: Say = _quiet,
    ) -> str:
        """Start a new job on all its nodes, or nowhere; its id once every node runs it.

        `archive` is the packed working directory, None when the nodes see it by themselves.
        Raises StartError with a reason per node.
        """
        plan = self.plan(request)
        values = await secrets.resolve(plan.secrets, given_secrets or {}, self._environ)
        code = CodeRef(archive.digest, archive.size, files) if archive is not None else None
        record = JobRecord(
            id=places.new_job_id(),
            name=request.name,
            created_at=time.time(),
            created_by=self.by,
            cluster=request.cluster.name,
            launcher=request.launcher.name,
            kind=plan.kind,
            min_nodes=request.min_nodes,
            max_nodes=request.max_nodes,
            nproc_per_node=request.nproc_per_node,
            command=request.asked,
            argv=plan.argv,
            env=plan.env,
            secrets=plan.secrets,
            working_dir=request.working_dir,
            code=code,
            max_restarts=plan.max_restarts,
            grace=plan.grace,
            log_limit=request.launcher.log_limit,
        )
        candidates = [self._place(request.cluster, spec) for spec in request.nodes]
        await self._start(record, 0, request.cluster, candidates, values, archive, say)
        return record.id

    def _place(self, cluster: Cluster, spec: NodeSpec) -> Place:
        return Place(
            spec=spec,
            link=self._open_node(cluster, spec),
            python=spec.python or cluster.python,
        )

    async def _start(
        self,
        record: JobRecord,
        attempt: int,
        cluster: Cluster,
        candidates: Sequence[Place],
        values: Mapping[str, str],
        archive: Archive | None,
        say: Say,
    ) -> None:
        launcher = self.config.launchers.get(record.launcher)
        gang = Gang(
            record,
            attempt,
            by=self.by,
            secrets=values,
            archive=archive,
            say=say,
            connect_timeout=cluster.connect_timeout + 5.0,
            port=launcher.rdzv_port if launcher is not None else None,
        )
        started = await gang.start(candidates)
        for member, place in zip(started.members, started.places, strict=True):
            self._sit(record, attempt, cluster, member, place)
        for name, error in started.absent.items():
            say(f"{name} is not there yet: {error.message}")
        await self._all_started(record.id, attempt, started.members)
        used = {member.name for member in started.members}
        waiting = [place for place in candidates if place.spec.name not in used]
        if waiting and len(used) < record.max_nodes:
            self._tasks.start(
                self._take_in(gang, record, attempt, cluster, started, waiting, say),
                f"nodes joining {record.id}",
            )

    def _sit(
        self, record: JobRecord, attempt: int, cluster: Cluster, member: Member, place: Place
    ) -> None:
        key = NodeKey(cluster.name, place.spec.name)
        self._tracker.started(record, Seat(attempt, member.node_rank, key, place.link))

    async def _all_started(self, job_id: str, attempt: int, members: Sequence[Member]) -> None:
        """Wait until every node executes its launcher process; give up everywhere if one cannot.

        A node whose link drops meanwhile is not waited for: its supervisor starts it anyway.
        """
        expected = {member.node_rank for member in members}
        while True:
            job = self.job(job_id)
            if job.attempt == attempt:
                nodes = {node.node_rank: node for node in job.nodes if node.node_rank in expected}
                failed = {
                    node.name: NodeError("start", _start_failure(node.name, job))
                    for node in nodes.values()
                    if node.state in (NodeState.FAILED, NodeState.WITHDRAWN)
                    and node.generation is None
                    and node.pid is None
                }
                if failed:
                    await self.cancel(job_id, grace=1.0, reason="another node did not start")
                    raise StartError(
                        f"job {job.name} was not started: {', '.join(failed)} could not run it",
                        failed,
                    )
                pending = [
                    node
                    for rank in expected
                    if (node := nodes.get(rank)) is None
                    or node.state in (NodeState.MISSING, NodeState.CLAIMED)
                ]
                if not [node for node in pending if node is None or _online(node.link.state)]:
                    return
            await self.changed(0.5)

    async def _take_in(
        self,
        gang: Gang,
        record: JobRecord,
        attempt: int,
        cluster: Cluster,
        started: Started,
        waiting: Sequence[Place],
        say: Say,
    ) -> None:
        """Let absent nodes join a running elastic attempt as they become reachable."""
        present = list(started.members)
        absent = list(waiting)
        told: dict[str, str] = {}
        while absent and len(present) < record.max_nodes:
            await asyncio.sleep(JOIN_INTERVAL)
            job = self.job(record.id)
            if job.state.ended or job.attempt != attempt or job.cancelled_by:
                return
            for place in list(absent):
                place.link.retry()
                if not _online(place.link.link.state) or len(present) >= record.max_nodes:
                    continue
                try:
                    member = await gang.join(place, present, started.port)
                except CockpitError as error:
                    if told.get(place.spec.name) != error.message:
                        told[place.spec.name] = error.message
                        say(f"{place.spec.name} cannot join yet: {error.message}")
                    continue
                present.append(member)
                absent.remove(place)
                say(f"{member.name} joins as node rank {member.node_rank}")
                self._sit(record, attempt, cluster, member, place)

    async def cancel(
        self,
        job_id: str,
        *,
        grace: float | None = None,
        reason: str = "",
        say: Say = _quiet,
    ) -> CancelReport:
        """End the newest attempt of a job everywhere and prove it by asking every node again.

        Sends one SIGTERM per node, kills what is left after `grace` seconds (default: the
        job's), then scans. Raises JobNotFound.
        """
        tracked = self._tracked(job_id)
        wait = tracked.record.grace if grace is None else grace
        proofs = await asyncio.gather(
            *(self._cancel_on(tracked, seat, wait, reason, say) for seat in tracked.newest())
        )
        known = {proof.name for proof in proofs}
        job = self.job(job_id)
        unseen = tuple(
            NodeProof(name=node.name, unreachable=node.link.why or "no connection")
            for node in job.nodes
            if node.name not in known
        )
        return CancelReport(job=job_id, nodes=(*proofs, *unseen))

    async def _cancel_on(
        self, tracked: TrackedJob, seat: Seat, grace: float, reason: str, say: Say
    ) -> NodeProof:
        name = seat.key.node
        job = tracked.record.id
        try:
            if not self._seat_ended(tracked, seat):
                await send_cancel(
                    seat.link,
                    job,
                    seat.attempt,
                    seat.node_rank,
                    by=self.by,
                    reason=reason,
                    grace=grace,
                )
                say(f"{name}: SIGTERM sent, up to {grace:.0f} s of grace")
                deadline = time.monotonic() + grace + PROOF_MARGIN
                while not self._seat_ended(tracked, seat) and time.monotonic() < deadline:
                    await self.changed(0.2)
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
        swept = self._swept(tracked, seat)
        say(f"{name}: {'nothing is left' if not left else f'{len(left)} processes are left'}")
        return NodeProof(name=name, swept=swept, left=left)

    def _seat_ended(self, tracked: TrackedJob, seat: Seat) -> bool:
        return any(
            node.node_rank == seat.node_rank and node.state.ended
            for node in tracked.model.snapshot(time.time()).nodes
        )

    def _swept(self, tracked: TrackedJob, seat: Seat) -> tuple[Leftover, ...]:
        for node in tracked.model.snapshot(time.time()).nodes:
            if node.node_rank == seat.node_rank:
                return node.swept
        return ()

    async def execute(
        self,
        cluster: str,
        node: str,
        argv: Sequence[str],
        output: Callable[[str, bytes], None],
        *,
        timeout: float | None = None,
    ) -> int:
        """Run one command on one node; its exit code, 128 + n for signal n.

        `output("out" | "err", bytes)` is called as it writes. Raises LinkError or NodeError.
        """
        link = self._links[NodeKey(cluster, node)]
        await link.ready(self.config.clusters[cluster].connect_timeout + 5.0)
        result = await link.execute(
            argv,
            timeout=timeout,
            on_output=lambda stream, data: output("err" if stream == "stderr" else "out", data),
        )
        return 128 + result.signal if result.signal else result.code or 0

    async def clean(self, job_id: str) -> tuple[int, list[CockpitError]]:
        """Remove an ended job from its nodes: bytes that came free, and what was refused."""
        tracked = self._tracked(job_id)
        links = {seat.key: seat.link for seat in tracked.seats.values()}
        freed, errors = 0, []
        for link in links.values():
            try:
                freed += int((await link.request("clean", timeout=120.0, job=job_id))["freed"])
            except CockpitError as error:
                errors.append(error)
        if not errors:
            self._tracker.forget(job_id)
            self._fleet.remove_job(job_id)
            self.mirrors.remove(job_id)
            self._changed()
        return freed, errors

    async def restart(
        self,
        job_id: str,
        *,
        given_secrets: Mapping[str, str] | None = None,
        say: Say = _quiet,
    ) -> int:
        """End the newest attempt and start the next from the same code and plan; its number.

        Raises StartError, UsageError (a secret that cannot be found here), or CockpitError when
        something of the old attempt is left and the next would collide with it.
        """
        tracked = self._tracked(job_id)
        record = tracked.record
        cluster = self.config.clusters.get(tracked.cluster)
        assert cluster is not None
        values = await secrets.resolve(record.secrets, given_secrets or {}, self._environ)
        job = self.job(job_id)
        if not job.state.ended:
            report = await self.cancel(job_id, reason="restart", say=say)
            if not report.proven:
                raise CockpitError(
                    f"job {record.name} was not restarted: {report.proof}",
                    "end what is left first, then restart",
                )
        specs = {spec.name: spec for spec in (*cluster.nodes, *cluster.spares)}
        seats = {seat.node_rank: seat for seat in tracked.newest()}
        candidates = []
        for node in job.nodes:
            seat = seats.get(node.node_rank)
            spec = specs.get(seat.key.node if seat is not None else node.name)
            if spec is not None:
                candidates.append(self._place(cluster, spec))
        attempt = job.attempt + 1
        say(f"starting attempt {attempt} of {record.name}")
        await self._start(record, attempt, cluster, candidates, values, None, say)
        return attempt


def _of_another_node(tracked: TrackedJob, seat: Seat, marker: str) -> bool:
    """Whether a marked process belongs to a node that shares this one's processes.

    Virtual nodes do, and so do several sshds on one machine.
    """
    _, attempt, node_rank = marker.split("/")
    if int(attempt) == seat.attempt:
        nodes = tracked.model.snapshot(time.time()).nodes
        name = next((n.name for n in nodes if n.node_rank == int(node_rank)), "")
        return int(node_rank) != seat.node_rank and name not in ("", seat.key.node)
    other = tracked.seats.get((int(attempt), int(node_rank)))
    return other is not None and other.key != seat.key


def _online(state: object) -> bool:
    return getattr(state, "value", state) == "online"


def _start_failure(name: str, job: Job) -> str:
    cause = job.cause
    if cause is not None and cause.node == name and cause.message:
        return f"{name}: {cause.message}"
    return f"{name}: the launcher process could not be started"
