"""The controller: what a face holds. Clusters it opens, jobs it knows, intentions it carries out.

It prints nothing, asks nothing, and holds no truth of its own: closing it, or killing it,
changes nothing on any node.
"""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import os
import socket
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import TracebackType

import platformdirs

from cockpit.controller import (
    allreduce,
    cleaning,
    doctor,
    ending,
    in_place,
    inspecting,
    restarting,
    saving,
    secrets,
)
from cockpit.controller.documents import JobSupply, write_aside
from cockpit.controller.logs import JobLog
from cockpit.controller.sessions import TELEMETRY_INTERVAL, Sessions
from cockpit.controller.starting import Attempt, Starter
from cockpit.controller.tracking import NodeKey
from cockpit.errors import CockpitError, JobNotFound, UsageError
from cockpit.executors import places
from cockpit.executors.direct import Archive, Say
from cockpit.executors.looking import NEEDS, runs_python
from cockpit.launchers.plan import Plan, Request
from cockpit.launchers.registry import plan as make_plan
from cockpit.model.doctor import Deep, Report
from cockpit.model.find import find
from cockpit.model.logdoc import LogDoc
from cockpit.model.logtypes import LogDocument
from cockpit.model.mirror import MirrorStore
from cockpit.model.reports import CancelReport, NodeProof, RestartOptions, RestartReport
from cockpit.model.stacks import StackReport
from cockpit.model.store import JobStore, Seen
from cockpit.model.types import Fleet, Job
from cockpit.profiles.types import Config
from cockpit.protocol import layout
from cockpit.protocol.records import CodeRef, JobRecord
from cockpit.tasks import Tasks
from cockpit.text import after_name
from cockpit.transport.link import Executed
from cockpit.transport.shell import Shell, ShellRequest
from cockpit.transport.trace import TracedCall

_AS_BEFORE = RestartOptions()

PERSIST_INTERVAL = 10.0
"""Seconds between notes of what the log mirrors hold; a killed cockpit fetches the rest again."""


def _user() -> str:
    """Who we are; a container may run under a uid that has no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _quiet(heard: object) -> None:
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
        telemetry_interval: float = TELEMETRY_INTERVAL,
    ) -> None:
        self.config = config
        self.by = f"{_user()}@{socket.gethostname()}"
        self._environ = dict(os.environ if environ is None else environ)
        root = state_root or Path(
            self._environ.get("COCKPIT_CONTROLLER_DIR", "")
            or platformdirs.user_state_path("cockpit")
        )
        self._root = root
        self._mirrors = MirrorStore(root / "mirror")
        self._store = JobStore(root / "jobs")
        self._tasks = Tasks()
        self._secrets = secrets.Known(config, self._environ)
        self._sessions = Sessions(
            config,
            self._tasks,
            self._store.recall,
            telemetry=telemetry_interval if telemetry else None,
            mask_of=self._secrets.mask_of,
        )
        self._starter = Starter(self._sessions, self._tasks, self.by)
        self._logs: list[JobLog] = []
        self._supplies: dict[str, JobSupply] = {}

    async def __aenter__(self) -> Controller:
        self._tasks.start(self._keep(), "keeping mirrors")
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
        try:
            await self._tasks.close()
            for log in list(self._logs):
                log.close()
            for supply in list(self._supplies.values()):
                supply.close()
            await self._sessions.close()
        finally:
            await asyncio.to_thread(self._remember, self._known_jobs())
            await asyncio.to_thread(self._mirrors.close)

    async def _keep(self) -> None:
        """Note now and then what the mirrors hold; asked on the loop, written in a thread."""
        while True:
            await asyncio.sleep(PERSIST_INTERVAL)
            write_aside(self._mirrors.unsaved())
            await asyncio.to_thread(self._remember, self._known_jobs())

    def _known_jobs(self) -> list[Job]:
        jobs = self._sessions.tracker.jobs.values()
        return [tracked.model.snapshot(time.time()) for tracked in jobs if tracked.loaded]

    def _remember(self, jobs: Sequence[Job]) -> None:
        """Keep what is known of each job for the day when its nodes cannot be asked."""
        for job in jobs:
            # A full disk here takes nothing from the job; the mirrors report it.
            with contextlib.suppress(CockpitError):
                self._store.remember(job, time.time())

    # -- sessions -----------------------------------------------------------------------------

    def open(
        self, clusters: Sequence[str] | None = None, nodes: Collection[str] | None = None
    ) -> None:
        """Start linking to every node of `clusters` (default: all configured). Idempotent.

        `nodes`: only those of these names. Raises UsageError for a name that no node has.
        """
        self._sessions.open(clusters, nodes)

    def reconfigure(self, config: Config) -> None:
        """Bring other profiles into force: nodes come, go, or are reached in another way.

        Links that stay the same live on, and no job is touched. Jobs of which every node left
        the profiles are shown as last seen.
        """
        self.config = config
        self._secrets.read(config)
        self._sessions.reconfigure(config)

    async def settle(self, timeout: float) -> dict[NodeKey, CockpitError]:
        """Wait until every open node has listed its jobs or has failed to connect.

        Returns the nodes that have not, with the reason.
        """
        return await self._sessions.settle(timeout)

    async def loaded(self, timeout: float) -> None:
        """Wait until the journals that reachable nodes told of were read."""
        await self._sessions.loaded(timeout)

    async def sampled(self, timeout: float) -> None:
        """Wait until every node that is online has sent a telemetry sample."""
        await self._sessions.sampled(timeout)

    async def changed(self, timeout: float) -> None:
        """Wait until anything changed, `timeout` seconds at most."""
        await self._sessions.changed(timeout)

    def node_keys(self) -> tuple[NodeKey, ...]:
        """Every node that was opened."""
        return tuple(self._sessions.links)

    def retry(self, node: str) -> None:
        """Try unreachable nodes of that name again now."""
        self._sessions.retry(node)

    # -- what is known ------------------------------------------------------------------------

    def snapshot(self) -> Fleet:
        """Everything known now; cheap, the same object while nothing changed."""
        return self._sessions.fleet.snapshot()

    def job(self, job_id: str) -> Job:
        """One job by its full id. Raises JobNotFound."""
        return self._sessions.job(job_id)

    def remembered(self) -> list[Seen]:
        """Jobs of earlier sessions that no reachable node knows now, as last seen."""
        seen, _ = self._store.load()
        return [item for item in seen if item.job.id not in self._sessions.tracker.jobs]

    def recall(self) -> None:
        """Have `snapshot` show remembered jobs too, soon; `Job.seen_at` tells them apart."""
        self._tasks.start(self._recall(), "recalling jobs")

    async def _recall(self) -> None:
        seen, _ = await asyncio.to_thread(self._store.load)
        self._sessions.fleet.recall(seen)

    def record(self, job_id: str) -> JobRecord:
        """What was asked to be run. Raises JobNotFound."""
        return self._sessions.tracked(job_id).record

    def calls(self) -> list[TracedCall]:
        """The newest calls to nodes, oldest first."""
        return self._sessions.trace.calls()

    @property
    def received(self) -> int:
        """Bytes that came from nodes so far."""
        return self._sessions.trace.received

    @property
    def places(self) -> dict[str, str]:
        """Folders of this machine that it keeps things in, by what they are for."""
        return {"log mirrors": str(self._root / "mirror"), "job memory": str(self._root / "jobs")}

    def problems(self) -> list[str]:
        """What nodes listed that could not be read, as text for people."""
        return sorted(self._sessions.tracker.problems.values())

    def home_of(self, reference: str) -> str | None:
        """The cluster of a remembered job with that id, or whose id alone begins so."""
        seen, _ = self._store.load()
        begun = [item.job for item in seen if item.job.id.startswith(reference)]
        if len(reference) < 4 or len(begun) != 1 or begun[0].cluster not in self.config.clusters:
            return None
        return begun[0].cluster

    async def find(self, reference: str, timeout: float = 20.0, say: Say = _quiet) -> Job:
        """The job meant by an id, a unique prefix of one, or a name (the newest).

        Waits until the open nodes have listed their jobs, for a few seconds only once one has
        listed it; `say` hears of the job's nodes that were not asked. Raises JobNotFound; its
        hint names nodes that could not be asked.
        """

        def listed() -> bool:
            # Of all that were listed, not only of those whose journals were read.
            records = [tracked.record for tracked in self._sessions.tracker.jobs.values()]
            with contextlib.suppress(JobNotFound):
                find(reference, records)
                return True
            return False

        failed = await self._sessions.settle(timeout, listed)
        self._sessions.tracker.recall(reference)
        await self.loaded(timeout)
        try:
            found = find(reference, [self.job(job) for job in self._sessions.tracker.jobs])
        except JobNotFound as error:
            if failed:
                names = ", ".join(sorted(key.node for key in failed))
                raise JobNotFound(error.message, f"not asked: {names}") from error
            raise
        members = {(found.cluster, node.name) for node in found.nodes}
        for key, reason in sorted(failed.items()):
            if (key.cluster, key.node) in members:
                say(f"{key.node} was not asked: {after_name(key.node, reason.message)}")
        return found

    def log(self, job_id: str, *, from_start: bool = False, first_attempt: int = 0) -> JobLog:
        """Follow the log streams of a job, merged by time; from the first byte or near the tail."""
        tracked = self._sessions.tracked(job_id)
        # Who reads a job's log looks at the job; of one that has ended, the beats are fetched then.
        tracked.want_beats()
        log = JobLog(
            tracked,
            self._mirrors,
            from_start=from_start,
            first_attempt=first_attempt,
            on_close=self._logs.remove,
        )
        self._logs.append(log)
        return log

    def document(self, job_id: str) -> LogDocument:
        """Read a job's log as numbered lines, from near its end. Raises JobNotFound."""
        tracked = self._sessions.tracked(job_id)
        supply = self._supplies.get(job_id)
        if supply is None:
            tracked.want_beats()
            supply = JobSupply(tracked, self._mirrors, lambda: self._supplies.pop(job_id, None))
            self._supplies[job_id] = supply
        return LogDoc(supply, mask=tracked.mask)

    async def stacks(self, job_id: str, *, timeout: float = inspecting.TIMEOUT) -> StackReport:
        """Where every rank of the newest attempt is now, within `timeout` seconds.

        Nodes and ranks that do not answer are named in the report. Raises JobNotFound, or
        UsageError when the job has ended.
        """
        return await inspecting.take_stacks(self._sessions, job_id, timeout)

    async def kept_stacks(
        self, job_id: str, *, timeout: float = inspecting.KEPT_TIMEOUT
    ) -> StackReport:
        """Where the ranks were at the job's newest stall.

        Raises JobNotFound, or CockpitError when no stacks were kept.
        """
        return await inspecting.kept_stacks(self._sessions, job_id, timeout)

    async def save(self, job_id: str, folder: Path, *, logs: bool = True) -> saving.Saved:
        """Copy a job's journals, and its logs, from its nodes to an empty folder, to be replayed.

        Raises JobNotFound, UsageError when the folder holds something, or CockpitError.
        """
        return await saving.save(self._sessions, job_id, folder, logs=logs)

    # -- intentions ---------------------------------------------------------------------------

    def plan(self, request: Request) -> Plan:
        """What every node will run. Pure. Raises UsageError for what makes no sense."""
        return make_plan(request)

    @staticmethod
    def new_job_id() -> str:
        """An id that no job has."""
        return places.new_job_id()

    async def launch(
        self,
        request: Request,
        *,
        archive: Archive | None,
        files: int = 0,
        given_secrets: Mapping[str, str] | None = None,
        say: Say = _quiet,
        job_id: str | None = None,
    ) -> str:
        """Start a new job on all its nodes, or nowhere; its id once every node runs it.

        `archive` is the packed working directory, None when the nodes see it by themselves.
        `job_id` (from `new_job_id`) lets a caller name the job before it runs. Raises StartError
        with a reason per node. Cancelled before the nodes got their `go`, nothing runs; later the
        job is known, and `cancel` ends it.
        """
        plan = self.plan(request)
        job_id = job_id or self.new_job_id()
        values = await secrets.resolve(plan.secrets, given_secrets or {}, self._environ)
        self._secrets.learn(job_id, values.values())
        code = CodeRef(archive.digest, archive.size, files) if archive is not None else None
        record = JobRecord(
            id=job_id,
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
            watch=plan.watch,
            files=plan.files,
            finished_flag=plan.finished_flag,
        )
        attempt = Attempt(
            record=record,
            number=0,
            cluster=request.cluster,
            candidates=request.nodes,
            secrets=values,
            archive=archive,
            port=request.launcher.rdzv_port,
            preflight=request.preflight,
        )
        await self._starter.start(attempt, say)
        return record.id

    async def cancel(
        self,
        job_id: str,
        *,
        grace: float | None = None,
        reason: str = "",
        patience: float = ending.PATIENCE,
        say: Say = _quiet,
        told: Callable[[str], None] = _quiet,
        found: Callable[[NodeProof], None] = _quiet,
    ) -> CancelReport:
        """End the newest attempt of a job everywhere and prove it by asking every node again.

        Sends one SIGTERM per node, kills what is left after `grace` seconds (default: the
        job's), then scans; see `ending.Order` for the rest. Raises JobNotFound.
        """
        order = ending.Order(
            by=self.by,
            grace=grace,
            reason=reason,
            patience=patience,
            say=say,
            told=told,
            found=found,
        )
        return await ending.cancel(self._sessions, job_id, order)

    async def cancel_when_back(
        self,
        job_id: str,
        nodes: Collection[str],
        *,
        reason: str = "",
        told: Callable[[str], None] = _quiet,
        found: Callable[[NodeProof], None] = _quiet,
    ) -> None:
        """End a job on `nodes` that a cancel could not ask, each as soon as it is back.

        Waits for as long as that takes; attempts that start meanwhile are left alone. `told` and
        `found` as in `ending.Order`. Raises JobNotFound.
        """
        order = ending.Order(by=self.by, reason=reason, told=told, found=found)
        attempt = self._sessions.job(job_id).attempt
        await ending.end_when_back(self._sessions, job_id, attempt, nodes, order)

    async def clean_code(self, keep: int) -> tuple[int, list[CockpitError]]:
        """Remove from every node the ended jobs beyond the newest `keep`, and unused code.

        Code is unused when no job that stays on the node names it. Returns the bytes that came
        free, and what was refused.
        """
        freed, errors = 0, []
        for link in list(self._sessions.links.values()):
            try:
                amount, gone = await cleaning.clean_node(link, keep)
                freed += amount
                for job in gone:
                    self._forget(job)
            except CockpitError as error:
                errors.append(error)
        return freed, errors

    async def restart(
        self,
        job_id: str,
        *,
        options: RestartOptions = _AS_BEFORE,
        given_secrets: Mapping[str, str] | None = None,
        preflight: bool = True,
        say: Say = _quiet,
    ) -> RestartReport:
        """End the newest attempt and start the next from the same code and plan.

        `options` say where, and whether a checkpoint comes first; `preflight` False starts in
        spite of what the nodes say of themselves. Raises StartError, UsageError (a secret that
        cannot be found here, too few nodes), or CockpitError when something of the old attempt is
        left and the next would collide with it, or the checkpoint did not come: the job runs on
        then.
        """
        record = self._sessions.tracked(job_id).record
        values = await secrets.resolve(record.secrets, given_secrets or {}, self._environ)
        self._secrets.learn(job_id, values.values())
        order = restarting.Order(
            by=self.by,
            options=options,
            secrets=values,
            preflight=preflight,
            say=say,
        )
        return await restarting.restart(self._sessions, self._starter, self._tasks, job_id, order)

    async def restart_ranks(
        self,
        job_id: str,
        *,
        reason: str = "",
        patience: float | None = None,
        say: Say = _quiet,
    ) -> int:
        """Restart the ranks of a running job where they are; the number of the new generation.

        Attempt, launcher processes and code stay; none of `max_restarts` is spent. Waits
        `patience` seconds (default: the job's grace and a minute) for the generation to form and
        tells `say` for what. Raises JobNotFound, UsageError when there are no ranks to restart,
        LinkError when no node can be reached, CockpitError when it did not come.
        """
        order = in_place.Order(by=self.by, reason=reason, patience=patience, say=say)
        return await in_place.restart_ranks(self._sessions, job_id, order)

    async def doctor(
        self, clusters: Sequence[str] | None = None, nodes: Sequence[str] = ()
    ) -> Report:
        """Look at `nodes` (default: all) of `clusters` (default: all): sound, alike, in reach?

        Starts nothing. Raises UsageError for a name that is not in the profiles.
        """
        names = self.config.clusters if clusters is None else clusters
        return await doctor.examine(self._sessions, list(names), nodes)

    async def preflight(self, request: Request) -> Report:
        """Look at the nodes on which `request` would start now, for what its launcher needs.

        Starts nothing. Raises UsageError.
        """
        names = [spec.name for spec in request.nodes[: request.max_nodes]]
        needs = NEEDS.get(request.launcher.kind, ())
        plan, cluster = self.plan(request), request.cluster.name
        return await doctor.examine(
            self._sessions,
            [cluster],
            names,
            needs=needs,
            env=plan.env,
            packages=runs_python(plan.argv),
        )

    async def doctor_deep(
        self, report: Report, *, say: Say = _quiet, limit: float = allreduce.LIMIT
    ) -> list[Deep]:
        """A real all-reduce per cluster over the nodes of `report` that are fit for it.

        Each run has `limit` seconds. Leaves nothing running; what it cannot end is a finding.
        """
        return await allreduce.diagnose(self, self._sessions, report, say=say, limit=limit)

    async def execute(
        self,
        cluster: str,
        node: str,
        argv: Sequence[str],
        output: Callable[[str, bytes], None],
        *,
        timeout: float | None = None,
    ) -> Executed:
        """Run one command on one node to its end.

        `output("out" | "err", bytes)` is called as it writes. Raises LinkError or NodeError.
        """
        link = self._sessions.links[NodeKey(cluster, node)]
        await link.ready(self.config.clusters[cluster].connect_timeout + 5.0)
        return await link.execute(
            argv,
            timeout=timeout,
            on_output=lambda stream, data: output("err" if stream == "stderr" else "out", data),
        )

    async def shell(self, cluster: str, node: str, request: ShellRequest) -> Shell:
        """Open a shell on a node, over the connection that is there.

        Raises LinkError when there is none or the node refuses, UsageError for its directory.
        """
        link = self._sessions.links.get(NodeKey(cluster, node))
        if link is None:
            raise UsageError(f"cluster {cluster} has no node {node}")
        return await link.shell(request)

    def directory(self, job_id: str, node: str) -> str:
        """Where a job runs on one of its nodes; "" while that is not known."""
        tracked = self._sessions.tracker.jobs.get(job_id)
        if tracked is None:
            return ""
        if tracked.record.code is None:
            return tracked.record.working_dir
        link = self._sessions.links.get(NodeKey(tracked.cluster, node))
        if link is None or link.hello is None:
            return ""
        return f"{link.hello.state_dir}/{layout.work_dir(job_id)}"

    async def clean(self, job_id: str) -> tuple[int, list[CockpitError]]:
        """Remove an ended job from its nodes: bytes that came free, and what was refused."""
        tracked = self._sessions.tracked(job_id)
        links = {seat.key: seat.link for seat in tracked.seats.values()}
        freed, errors = 0, []
        for link in links.values():
            try:
                freed += int((await link.request("clean", timeout=120.0, job=job_id))["freed"])
            except CockpitError as error:
                errors.append(error)
        if not errors:
            self._forget(job_id)
        return freed, errors

    def _forget(self, job_id: str) -> None:
        self._sessions.tracker.forget(job_id)
        self._sessions.fleet.remove_job(job_id)
        self._mirrors.remove(job_id)
        self._store.forget(job_id)
