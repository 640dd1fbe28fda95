"""The simulated fleet as a Source: nodes, jobs, logs, and orders that change nothing real."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence

from cockpit import profiles
from cockpit.errors import CockpitError, JobNotFound, UsageError
from cockpit.model.doctor import Finding, Level, Patient, Report, Versions
from cockpit.model.reports import CancelReport, NodeProof, RestartOptions
from cockpit.model.stacks import NodeStacks, RankStacks, StackReport, Thread
from cockpit.model.stacks import report as stack_report
from cockpit.model.stackwords import Frame
from cockpit.model.types import Fleet, Job, LinkState
from cockpit.profiles.types import Cluster, Config, NodeSpec
from cockpit.protocol.records import JobRecord
from cockpit.tui.frame import Clock
from cockpit.tui.simulated.jobs import SimulatedJob, specs
from cockpit.tui.simulated.logs import SLOT, Scribe, SimulatedLog
from cockpit.tui.simulated.nodes import IDLE, Load, SimulatedNodes
from cockpit.tui.simulated.story import CLUSTER, Story
from cockpit.tui.source import Call, Say

ABSENT = "this fleet is simulated"
LEAST, MOST = 2, 256
"""Nodes."""
MAX_GPUS = 16
LINES = 12
"""Lines of a job's log in a tenth of a second."""
_PAUSE = 0.1
_CANCEL_STEPS = 10


class SimulatedOrders:
    """Satisfies `Orders`: does to the simulation what would be done to the real thing."""

    def __init__(self, source: SimulatedSource) -> None:
        self._source = source

    async def cancel(
        self, job_id: str, say: Say, found: Callable[[NodeProof], None]
    ) -> CancelReport:
        job = self._source.simulated(job_id)
        if not self._source.job(job_id).state.ended:
            say("simulated: one SIGTERM to every launcher process")
            await self._empty(job)
        proofs = tuple(NodeProof(name=node.name) for node in self._source.job(job_id).nodes)
        for proof in proofs:
            found(proof)
        return SimulatedReport(job=job_id, nodes=proofs)

    async def cancel_when_back(
        self,
        job_id: str,
        nodes: Collection[str],
        told: Callable[[str], None],
        found: Callable[[NodeProof], None],
    ) -> None:
        """No node of a simulated fleet is ever left out."""

    async def _empty(self, job: SimulatedJob) -> None:
        count = len(job.plot.attempts[-1][1])
        job.begin_cancel()
        for step in range(1, _CANCEL_STEPS + 1):
            await asyncio.sleep(_PAUSE)
            job.emptied(count * step // _CANCEL_STEPS)
        job.cancelled(self._source.now)

    async def restart(self, job_id: str, options: RestartOptions, say: Say) -> int:
        job = self._source.simulated(job_id)
        old = job.plot.attempts[-1][1]
        story = self._source.story
        nodes = tuple(index for index in old if story.name(index) not in options.without)
        if not nodes:
            raise UsageError("no node is left to restart on")
        if not self._source.job(job_id).state.ended:
            if options.checkpoint:
                say("simulated: every rank has written a checkpoint")
            await self._empty(job)
        if options.spares:
            say("the simulated cluster has no spare nodes")
        await asyncio.sleep(_PAUSE)
        job.restarted(self._source.now, nodes)
        say(f"simulated: {len(nodes)} nodes have started")
        return len(job.plot.attempts) - 1

    async def restart_ranks(self, job_id: str, say: Say) -> int:
        job = self._source.simulated(job_id)
        if self._source.job(job_id).state.ended:
            raise UsageError(f"{job.spec.name} has ended")
        say("simulated: the ranks are restarted in place")
        await asyncio.sleep(_PAUSE)
        job.ranks_restarted(self._source.now)
        return job.plot.at(self._source.now).generation + 1


class SimulatedReport(CancelReport, frozen=True, kw_only=True):
    """A proof that says what it is worth."""

    @property
    def proof(self) -> str:
        return f"simulated: {super().proof}"


class SimulatedSource:
    """Satisfies `Source`. `rate`: new figures of each node a second; `lines`: of a log, in a tenth
    of a second. The same `seed` and clock give the same fleet. Raises UsageError for sizes that
    cannot be shown."""

    absent = ABSENT
    banner = "SIMULATED"
    launchpad = None
    profiles = None
    shells = None
    replay = None

    def __init__(
        self,
        nodes: int = 128,
        gpus: int = 8,
        *,
        seed: int = 0,
        rate: float = 1.0,
        lines: int = LINES,
        clock: Clock | None = None,
    ) -> None:
        if not (LEAST <= nodes <= MOST and 1 <= gpus <= MAX_GPUS):
            raise UsageError(
                f"a simulated fleet has {LEAST} to {MOST} nodes of 1 to {MAX_GPUS} GPUs"
            )
        self.story = Story(nodes, seed)
        self.orders = SimulatedOrders(self)
        self.config = _config(self.story)
        self._gpus = gpus
        self._lines = lines
        self._clock = clock or Clock()
        self._wall, self._mono = self._clock.wall(), self._clock.mono()
        self._nodes = SimulatedNodes(
            self.story, gpus, rate, self._load, wall=self._wall, mono=self._mono
        )
        self._jobs = [
            SimulatedJob(spec, self.story, gpus, self._wall, self._nodes.link)
            for spec in specs(self.story)
        ]
        self._loads: dict[tuple[int, int], Load] = {}
        self._loaded: object = None
        self._fleet = Fleet(revision=0)

    @property
    def now(self) -> float:
        """Seconds since the opening."""
        return self._clock.mono() - self._mono

    def snapshot(self) -> Fleet:
        now = self.now
        loaded = (int(now), *(job.revision for job in self._jobs))
        if loaded != self._loaded:
            self._loaded = loaded
            self._loads.clear()
        jobs = tuple(sorted((job.at(now) for job in self._jobs), key=lambda job: -job.created_at))
        nodes = self._nodes.at(now)
        old = self._fleet
        same = len(jobs) == len(old.jobs) and all(
            a is b for a, b in zip(jobs, old.jobs, strict=True)
        )
        if nodes is not old.nodes or not same:
            self._fleet = Fleet(revision=old.revision + 1, nodes=nodes, jobs=jobs)
        return self._fleet

    def _load(self, index: int, at: float) -> Load:
        """What a node does; looked up once a second for each of them."""
        second = int(at)
        known = self._loads.get((second, index))
        if known is None:
            busy = (job.load(index, at) for job in self._jobs)
            known = next((load for load in busy if load.level), IDLE)
            self._loads[second, index] = known
        return known

    def simulated(self, job_id: str) -> SimulatedJob:
        """Raises JobNotFound."""
        for job in self._jobs:
            if job.spec.id == job_id:
                return job
        raise JobNotFound(f"there is no simulated job {job_id}")

    def job(self, job_id: str) -> Job:
        """Raises JobNotFound."""
        return self.simulated(job_id).at(self.now)

    def log(self, job_id: str) -> SimulatedLog:
        job = self.simulated(job_id)
        began = self._wall + job.spec.created

        def failures() -> list[tuple[float, int, tuple[str, ...]]]:
            return [
                (item.ended_at, item.cause.rank or 0, item.cause.tail)
                for item in self.job(job_id).history
                if item.cause is not None and item.ended_at is not None
            ]

        def slots() -> int:
            return max(int((job.worked_until(self.now) - job.spec.created) / SLOT), 0)

        names = [self.story.name(index) for index in job.spec.nodes]
        scribe = Scribe(names, self._gpus, began, self._lines, job.spec.step_time, failures)
        return SimulatedLog(scribe.write, slots, scribe.origins())

    def retry(self, cluster: str, node: str) -> None:
        """Simulated nodes come back by themselves."""

    def calls(self) -> Sequence[Call]:
        return ()

    def received(self) -> int:
        return 0

    def places(self) -> Mapping[str, str]:
        return {}

    def record(self, job_id: str) -> JobRecord | None:  # noqa: ARG002
        return None

    async def stacks(self, job_id: str) -> StackReport:
        job = self.job(job_id)
        if job.state.ended:
            raise UsageError(f"{job.name} has ended")
        return self._stacks(job)

    async def kept_stacks(self, job_id: str) -> StackReport:
        job = self.job(job_id)
        if not job.stalls:
            raise CockpitError(f"no stacks of {job.name} were kept")
        return self._stacks(job)

    def _stacks(self, job: Job) -> StackReport:
        """All ranks wait in an all-reduce for one that reads data."""
        wall = self._clock.wall()
        late = len(job.nodes) // 2 * self._gpus + 3 % self._gpus
        return stack_report(
            [
                NodeStacks(
                    node=node.name,
                    node_rank=node.node_rank,
                    taken_at=wall,
                    generation=node.generation,
                    ranks=tuple(
                        RankStacks(
                            rank=rank.rank,
                            local_rank=rank.local_rank,
                            node=node.name,
                            node_rank=node.node_rank,
                            pid=rank.pid,
                            how="simulated",
                            threads=(_thread(late=rank.rank == late),),
                        )
                        for rank in node.ranks
                    ),
                )
                for node in job.nodes
            ],
            taken_at=wall,
        )

    async def doctor(self, cluster: str, node: str) -> Report:
        found = next((n for n in self.snapshot().nodes if n.name == node), None)
        if found is None:
            raise CockpitError(f"there is no simulated node {node}")
        away = found.link.state is not LinkState.ONLINE
        finding = Finding(
            node=node,
            check="link" if away else "gpus",
            level=Level.CRIT if away else Level.OK,
            message=found.link.why if away else f"{len(found.gpus)} simulated GPUs, all well",
            cluster=cluster,
        )
        versions = None if away else Versions(driver="simulated", gpus=len(found.gpus))
        patient = Patient(cluster=cluster, node=node, versions=versions)
        return Report(findings=(finding,), patients=(patient,))

    async def close(self) -> None:
        """There is nothing to let go of."""


def _config(story: Story) -> Config:
    nodes = tuple(
        NodeSpec(name=story.name(index), host=f"{story.name(index)}.simulated")
        for index in range(story.count)
    )
    return profiles.with_cluster(profiles.builtin(), Cluster(name=CLUSTER, nodes=nodes))


def _thread(*, late: bool) -> Thread:
    torch = "/usr/lib/python3/site-packages/torch/distributed/distributed_c10d.py"
    inner = (
        [Frame("/home/ada/code/data.py", 41, "read_shard")]
        if late
        else [Frame(torch, 2810, "all_reduce"), Frame("/home/ada/code/train.py", 212, "step")]
    )
    return Thread(
        name="MainThread",
        main=True,
        frames=(
            *inner,
            Frame("/home/ada/code/train.py", 260, "main"),
            Frame("/home/ada/code/train.py", 271, "<module>"),
        ),
    )
