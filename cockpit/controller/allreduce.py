"""The deep part of the doctor: a real all-reduce over nodes, and whose fault it is when it fails.

Each run is a job like any other, started by `Controller.launch` and named "doctor"; it is ended,
proven gone and removed before the next begins, whatever happens. Used by `Controller.doctor_deep`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

import cockpit
from cockpit import packaging
from cockpit.controller.bisect import Blame, Group, blame
from cockpit.controller.sessions import Sessions
from cockpit.controller.tracking import NodeKey
from cockpit.errors import CockpitError, JobNotFound, LinkError, NodeError, StartError
from cockpit.executors.direct import Say
from cockpit.launchers.plan import Request
from cockpit.model.doctor import Bandwidth, Deep, Finding, Level, Report, Versions
from cockpit.model.types import Job, JobState
from cockpit.profiles.types import Cluster, Launcher, NodeSpec

if TYPE_CHECKING:
    from cockpit.controller.core import Controller

SCRIPT = "allreduce.py"
MARK = "COCKPIT-ALLREDUCE "
"""Begins a line with a result, as the script has it."""
LIMIT = 180.0
"""Seconds for one run, the import of torch included."""
LOG_TIMEOUT = 10.0
CLEAN_TIMEOUT = 30.0
_GRACE = 2.0
_HINT = "`cockpit run` a script of yours on that node alone; look at its GPUs, network and dmesg"


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """How one all-reduce over some nodes went. `why` is "" when it passed."""

    nodes: Group
    why: str = ""
    results: tuple[Bandwidth, ...] = ()
    left: str = ""
    """What could not be proven gone afterwards."""


class AllReduce:
    """Runs on the nodes of one cluster. `gpus`: one rank per GPU over NCCL, else gloo."""

    def __init__(
        self,
        controller: Controller,
        sessions: Sessions,
        cluster: Cluster,
        specs: Sequence[NodeSpec],
        *,
        gpus: bool,
        say: Say,
        limit: float = LIMIT,
    ) -> None:
        self._controller = controller
        self._sessions = sessions
        self._cluster = cluster
        self._specs = {spec.name: spec for spec in specs}
        self._backend = "nccl" if gpus else "gloo"
        self._say = say
        self._limit = limit
        self._why: dict[Group, str] = {}
        self._left: list[str] = []

    async def diagnose(self) -> Deep:
        """All nodes together, and smaller groups of them when that fails."""
        nodes = tuple(self._specs)
        source = Path(cockpit.__file__).parent / "deep" / SCRIPT
        with tempfile.TemporaryDirectory(prefix="cockpit-doctor-") as folder:
            package = await asyncio.to_thread(_pack, source, Path(folder))
            try:
                whole = await self._run(nodes, package, folder)
                culprits = Blame()
                if whole.why:
                    self._say(f"{_names(nodes)}: {whole.why}; looking for the node")

                    async def passes(groups: Sequence[Group]) -> list[bool]:
                        runs = [self._run(group, package, folder) for group in groups]
                        return [not run.why for run in await asyncio.gather(*runs)]

                    culprits = await blame(nodes, passes)
            finally:
                await self._remove_code(package.digest)
        return Deep(
            cluster=self._cluster.name,
            backend=self._backend,
            nodes=nodes,
            results=whole.results,
            findings=tuple(self._judge(nodes, whole, culprits)),
        )

    async def _run(self, group: Group, package: packaging.Package, folder: str) -> Run:
        """One all-reduce over `group`; nothing of it is left when this returns."""
        controller = self._controller
        job = controller.new_job_id()
        self._say(f"all-reduce over {_names(group)}")
        why = ""
        results: tuple[Bandwidth, ...] = ()
        try:
            try:
                why, results = await self._watched(job, group, package, folder)
            except StartError as error:
                reasons = [reason.message for reason in error.reasons.values()]
                why = f"it does not start: {'; '.join(reasons) or error.message}"
            except CockpitError as error:
                why = error.message
        finally:
            left = await self._end(job)
        if why:
            self._why[group] = why
        if left:
            self._left.append(left)
        return Run(nodes=group, why=why, results=results, left=left)

    async def _watched(
        self, job: str, group: Group, package: packaging.Package, folder: str
    ) -> tuple[str, tuple[Bandwidth, ...]]:
        controller = self._controller
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._limit
        await controller.launch(
            self._request(group, folder), archive=package, files=package.files, job_id=job
        )
        # The first failure is enough: the others would only wait for whoever is gone.
        while not (now := controller.job(job)).state.ended and now.cause is None:
            if loop.time() > deadline:
                return f"it hangs: no end after {self._limit:.0f} s", ()
            await controller.changed(0.5)
        if now.state is not JobState.SUCCEEDED:
            return _cause(now), ()
        return "", await self._results(job)

    def _request(self, group: Group, folder: str) -> Request:
        specs = tuple(self._specs[name] for name in group)
        launcher = Launcher(
            name="doctor",
            kind="torchrun",
            grace=_GRACE,
            join_timeout=max(int(self._limit), 1),
            instrument=False,
        )
        return Request(
            name="doctor",
            cluster=self._cluster,
            launcher=launcher,
            nodes=specs,
            min_nodes=len(specs),
            max_nodes=len(specs),
            nproc_per_node="gpu" if self._backend == "nccl" else 1,
            script=SCRIPT,
            working_dir=folder,
            env={
                **self._cluster.env,
                "COCKPIT_DEEP_BACKEND": self._backend,
                "COCKPIT_DEEP_LIMIT": f"{self._limit:g}",
            },
            preflight=False,  # the doctor has just looked
        )

    async def _results(self, job: str) -> tuple[Bandwidth, ...]:
        log = self._controller.log(job, from_start=True)
        texts: list[str] = []

        def take() -> None:
            texts.extend(line.text for line in log.poll() if line.stream == "out")

        try:
            await log.complete(timeout=LOG_TIMEOUT, each=take)
            for batch in log.drain():
                texts.extend(line.text for line in batch if line.stream == "out")
        finally:
            log.close()
        found = []
        for text in texts:
            if text.startswith(MARK):
                with contextlib.suppress(ValueError, msgspec.ValidationError):
                    found.append(msgspec.convert(json.loads(text[len(MARK) :]), Bandwidth))
        return tuple(found)

    async def _end(self, job: str) -> str:
        """End, prove and remove a run, if it got as far as running; what is left, for people."""
        controller = self._controller
        try:
            report = await controller.cancel(job, grace=_GRACE, reason="cockpit doctor")
        except JobNotFound:
            return ""
        if not report.proven:
            return f"job {job}: {report.proof}"
        _, errors = await controller.clean(job)
        return "; ".join(error.message for error in errors)

    async def _remove_code(self, digest: str) -> None:
        """A node that never got it, or cannot be asked any more, is none of a doctor's worries."""

        async def remove(name: str) -> None:
            link = self._sessions.links[NodeKey(self._cluster.name, name)]
            with contextlib.suppress(LinkError, NodeError):
                await link.request("clean", timeout=CLEAN_TIMEOUT, digest=digest)

        await asyncio.gather(*map(remove, self._specs))

    def _judge(self, nodes: Group, whole: Run, culprits: Blame) -> list[Finding]:
        found: list[Finding] = []

        def say(node: str, level: Level, message: str, hint: str = "") -> None:
            found.append(
                Finding(
                    node=node,
                    cluster=self._cluster.name,
                    check="allreduce",
                    level=level,
                    message=message,
                    hint=hint,
                )
            )

        for left in self._left:
            say(nodes[0], Level.CRIT, left, "`cockpit cancel` and `cockpit clean` that job")
        if not whole.why:
            for node in nodes:
                say(node, Level.OK, f"took part in an all-reduce over {len(nodes)} nodes")
            return found
        for node in culprits.alone:
            say(node, Level.CRIT, f"fails by itself: {self._reason(node)}", _HINT)
        for node, others in culprits.with_others.items():
            message = f"fails with {_names(others)}, which pass without it: {whole.why}"
            say(node, Level.CRIT, message, _HINT)
        for one, other in culprits.pairs:
            for node, partner in ((one, other), (other, one)):
                message = f"passes by itself and fails together with {partner}: {whole.why}"
                say(node, Level.CRIT, message, "look at the network between the two")
        if not culprits.found:
            message = f"fails with all {len(nodes)} nodes, but no smaller group does: {whole.why}"
            say(nodes[0], Level.CRIT, message, "run it again; look at switches and limits")
        blamed = {item.node for item in found}
        for node in nodes:
            if node not in blamed and culprits.found:
                say(node, Level.OK, "passes alone and with others")
        return found

    def _reason(self, node: str) -> str:
        return self._why.get((node,), "")


def _pack(source: Path, folder: Path) -> packaging.Package:
    # A folder of its own: the installed one may be ignored by somebody's git.
    (folder / SCRIPT).write_bytes(source.read_bytes())
    return packaging.pack(folder)


def _names(names: Sequence[str]) -> str:
    return ", ".join(names)


def _cause(job: Job) -> str:
    cause = job.cause
    if cause is None:
        return f"it {job.state.value}"
    what = cause.message or cause.kind
    return f"{cause.node}: {what}" if cause.node else what


async def diagnose(
    controller: Controller, sessions: Sessions, report: Report, *, say: Say, limit: float = LIMIT
) -> list[Deep]:
    """One all-reduce per cluster of `report`, over its nodes that are not in a critical state."""
    deep = []
    for name in dict.fromkeys(patient.cluster for patient in report.patients):
        cluster = sessions.cluster(name)
        specs = {spec.name: spec for spec in (*cluster.nodes, *cluster.spares)}
        fit: dict[str, Versions] = {}
        for patient in report.patients:
            if patient.cluster != name:
                continue
            critical = any(item.level is Level.CRIT for item in report.of(patient))
            if patient.versions is None or critical:
                say(f"{patient.node} takes no part in the all-reduce")
            else:
                fit[patient.node] = patient.versions
        if fit:
            chosen = [specs[node] for node in fit]
            gpus = all(versions.cuda and versions.gpus for versions in fit.values())
            work = AllReduce(controller, sessions, cluster, chosen, gpus=gpus, say=say, limit=limit)
            deep.append(await work.diagnose())
    return deep
