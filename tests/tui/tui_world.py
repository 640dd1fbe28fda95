"""A made-up world for the screen: a FakeSource with frozen clocks and a few telling states."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import msgspec

from cockpit.errors import NodeError
from cockpit.model.doctor import Report
from cockpit.model.logtypes import Origin
from cockpit.model.reports import NodeProof, RestartOptions
from cockpit.model.stacks import StackReport
from cockpit.model.types import (
    Cause,
    Fleet,
    Generation,
    Gpu,
    Host,
    Job,
    JobNode,
    JobState,
    Link,
    LinkState,
    Metric,
    Node,
    NodeState,
    Rank,
    RankState,
    Stage,
    Stall,
)
from cockpit.profiles import Config
from cockpit.profiles import builtin as profiles_builtin
from cockpit.protocol.records import JobRecord
from cockpit.tui.frame import Clock
from cockpit.tui.logs.memorylog import MemoryDocument
from cockpit.tui.source import Call, Say

WALL = 1_760_000_000.0
MONO = 5_000.0


class FrozenClock:
    """Both clocks, moved by the test only."""

    def __init__(self) -> None:
        self.passed = 0.0

    @property
    def clock(self) -> Clock:
        return Clock(mono=lambda: MONO + self.passed, wall=lambda: WALL + self.passed)


def origin(rank: int | None = 0, node: str = "gpu01", stream: str = "out") -> Origin:
    return Origin(node, 0, rank, rank, stream, 0, None if rank is None else 0)


class FakeLine(NamedTuple):
    origin: Origin = origin()
    at: float | None = WALL
    data: bytes = b""


NodeResult = NodeProof


class Result(msgspec.Struct, frozen=True, kw_only=True):
    job: str
    nodes: tuple[NodeResult, ...]
    proof: str


class FakeOrders:
    """Records the orders it is given; `release` lets them end."""

    def __init__(self) -> None:
        self.given: list[tuple[str, str]] = []
        self.options: list[RestartOptions] = []
        self.release = asyncio.Event()
        self.failure: Exception | None = None
        self.result: Result | None = None
        self.found: Callable[[NodeProof], None] = lambda _: None
        self.awaited: list[tuple[str, tuple[str, ...]]] = []
        """Jobs and the nodes whose return is waited for."""
        self.back: asyncio.Queue[NodeProof | None] = asyncio.Queue()
        """What is found on nodes that came back; None once none is awaited any more."""

    async def _order(self, what: str, job_id: str) -> None:
        self.given.append((what, job_id))
        await self.release.wait()
        if self.failure is not None:
            raise self.failure

    async def cancel(self, job_id: str, say: Say, found: Callable[[NodeProof], None]) -> Any:
        self.found = found
        await self._order("cancel", job_id)
        assert self.result is not None
        return self.result

    async def cancel_when_back(
        self,
        job_id: str,
        nodes: Collection[str],
        told: Callable[[str], None],
        found: Callable[[NodeProof], None],
    ) -> None:
        self.awaited.append((job_id, tuple(nodes)))
        while (proof := await self.back.get()) is not None:
            told(proof.name)
            found(proof)

    async def restart(self, job_id: str, options: RestartOptions, say: Say) -> int:
        self.options.append(options)
        await self._order("restart", job_id)
        return 1

    async def restart_ranks(self, job_id: str, say: Say) -> int:
        await self._order("restart_ranks", job_id)
        return 1


class FakeShells:
    """Remembers which shells were opened; a `failure` is raised instead."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.opened: list[tuple[str, str, str]] = []
        self._failure = failure

    def directory(self, job_id: str, node: str) -> str:
        return f"/jobs/{job_id}/{node}"

    async def shell(self, cluster: str, node: str, directory: str = "") -> int:
        self.opened.append((cluster, node, directory))
        if self._failure is not None:
            raise self._failure
        return 3


class FakeReplay:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.orders: list[str] = []

    def __getattr__(self, order: str) -> Any:
        return lambda *_: self.orders.append(order)


class FakeSource:
    """Holds a fleet that tests replace. Parts that a test needs are put in its place by it."""

    absent = "this is a test"
    banner = ""
    replay: Any = None

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.config: Config = profiles_builtin()
        self.records: dict[str, JobRecord] = {}
        self.documents: dict[str, MemoryDocument] = {}
        self.orders = FakeOrders()
        self.launchpad: Any = None
        self.profiles: Any = None
        self.shells: Any = FakeShells()
        self.retried: list[str] = []
        self.asked: list[tuple[str, str]] = []
        self.made_calls: list[Call] = []
        self.bytes_in = 0
        self.closed = False
        self.report: StackReport | None = None
        self.findings: Report | None = None

    def snapshot(self) -> Fleet:
        return self.fleet

    def change(self, *jobs: Job, nodes: tuple[Node, ...] | None = None) -> None:
        """Replace jobs of the same id, and all nodes if given; the revision grows."""
        new = {job.id: job for job in jobs}
        old = [new.pop(job.id, job) for job in self.fleet.jobs]
        self.fleet = Fleet(
            revision=self.fleet.revision + 1,
            nodes=self.fleet.nodes if nodes is None else nodes,
            jobs=(*new.values(), *old),
        )

    def document(self, job_id: str) -> MemoryDocument:
        return self.documents.setdefault(job_id, MemoryDocument())

    def write(self, job_id: str, *lines: FakeLine) -> None:
        for line in lines:
            self.document(job_id).append(*line)

    def record(self, job_id: str) -> JobRecord | None:
        return self.records.get(job_id)

    def log(self, job_id: str) -> MemoryDocument:
        return self.document(job_id)

    def retry(self, cluster: str, node: str) -> None:
        self.retried.append(node)

    def calls(self) -> list[Call]:
        return self.made_calls

    def received(self) -> int:
        return self.bytes_in

    def places(self) -> dict[str, str]:
        return {"log mirrors": "/home/ada/mirror"}

    async def stacks(self, job_id: str) -> StackReport:
        self.asked.append(("stacks", job_id))
        if self.orders.failure is not None:
            raise self.orders.failure
        if self.report is None:
            raise NodeError("gone", "no node answers")
        return self.report

    async def kept_stacks(self, job_id: str) -> StackReport:
        return await self.stacks(job_id)

    async def doctor(self, cluster: str, node: str) -> Report:
        self.asked.append(("doctor", node))
        if self.findings is None:
            raise NodeError("no findings", "none were made up")
        return self.findings

    async def close(self) -> None:
        self.closed = True


ONLINE = Link(state=LinkState.ONLINE, since=WALL - 600)
AWAY = Link(
    state=LinkState.UNREACHABLE,
    since=WALL - 41,
    why="ssh ada@gpu02.lab: Connection refused [port 22]",
    hint="is the machine up?",
    attempts=3,
)


def gpus(count: int, level: float, name: str = "NVIDIA H100") -> tuple[Gpu, ...]:
    return tuple(
        Gpu(
            index=index,
            name=name,
            utilization=max(level - 3 * index, 0),
            memory_used=int(80e9 * level / 100),
            memory_total=int(80e9),
            power=7 * level,
            power_limit=700,
            temperature=40 + level / 4,
        )
        for index in range(count)
    )


def node(
    name: str,
    *,
    link: Link = ONLINE,
    age: float | None = 0.5,
    level: float = 94,
    count: int = 8,
    simulated: bool = False,
) -> Node:
    seen = age is not None
    return Node(
        name=name,
        cluster="lab",
        link=link,
        host=Host(
            cpus=64, load1=3.2, memory_used=120 << 30, memory_total=512 << 30, disk_free=900 << 30
        )
        if seen
        else None,
        gpus=gpus(count, level) if seen else (),
        simulated=simulated,
        sampled_at=None if age is None else MONO - age,
    )


def ranks(first: int, count: int, state: RankState = RankState.RUNNING) -> tuple[Rank, ...]:
    return tuple(
        Rank(
            rank=first + index,
            local_rank=index,
            pid=4200 + first + index,
            state=state,
            step=1200,
            beats=1200,
            beat_age=0.4,
            metrics={"loss": 2.131},
        )
        for index in range(count)
    )


def job_node(
    number: int,
    *,
    state: NodeState = NodeState.RUNNING,
    link: Link = ONLINE,
    count: int = 2,
    members: tuple[Rank, ...] | None = None,
) -> JobNode:
    return JobNode(
        name=f"gpu{number + 1:02d}",
        node_rank=number,
        host=f"gpu{number + 1:02d}.lab",
        addr=f"10.0.0.{number + 1}",
        link=link,
        state=state,
        pid=4100 + number,
        generation=0,
        ranks=ranks(number * count, count) if members is None else members,
    )


def job(
    job_id: str = "llama-1a2b",
    name: str = "llama",
    *,
    state: JobState = JobState.RUNNING,
    nodes: tuple[JobNode, ...] | None = None,
    cause: Cause | None = None,
    history: tuple[Generation, ...] | None = None,
    restarts: int = 0,
    age: float = 724,
    exit_code: int | None = None,
) -> Job:
    started = WALL - age
    nodes = (job_node(0), job_node(1)) if nodes is None else nodes
    ended = WALL - 60 if state.ended else None
    world = sum(len(each.ranks) for each in nodes)
    if history is None:
        history = (
            Generation(
                attempt=0,
                generation=0,
                started_at=started,
                ended_at=ended,
                world_size=world,
                nodes=len(nodes),
                cause=cause if state.ended else None,
                reason=state.value if state.ended else "",
            ),
        )
    return Job(
        id=job_id,
        name=name,
        state=state,
        cluster="lab",
        launcher="ddp",
        kind="torchrun",
        command=("train.py", "--config", "70b.yaml"),
        min_nodes=len(nodes),
        max_nodes=len(nodes),
        attempt=0,
        restarts=restarts,
        max_restarts=3,
        exit_code=exit_code,
        cause=cause,
        created_at=started,
        created_by="ada@laptop",
        started_at=started,
        ended_at=ended,
        nodes=nodes,
        history=history,
    )


BOOM = Cause(
    kind="exit",
    node="gpu02",
    rank=3,
    exit_code=7,
    message="RuntimeError: boom in [rank3] [/data/x]",
    at=WALL - 61,
    generation=0,
)


def failed_job() -> Job:
    stopped = ranks(0, 2, RankState.STOPPED)
    culprit = msgspec.structs.replace(
        ranks(2, 2, RankState.STOPPED)[1],
        state=RankState.FAILED,
        exit_code=7,
        message=BOOM.message,
    )
    other = ranks(2, 1, RankState.STOPPED)
    return job(
        "dpo-77aa",
        "dpo",
        state=JobState.FAILED,
        cause=BOOM,
        exit_code=7,
        nodes=(
            job_node(0, state=NodeState.FAILED, members=stopped),
            job_node(1, state=NodeState.FAILED, members=(*other, culprit)),
        ),
    )


def recovered_job() -> Job:
    cause = Cause(kind="signal", node="gpu01", rank=1, signal=9, at=WALL - 300, generation=0)
    return job(
        "abl-9f9f",
        "ablate",
        cause=cause,
        restarts=1,
        nodes=tuple(msgspec.structs.replace(job_node(n), generation=1) for n in (0, 1)),
        history=(
            Generation(
                attempt=0, generation=0, started_at=WALL - 724, ended_at=WALL - 300,
                world_size=4, nodes=2, cause=cause, reason="failed",
            ),
            Generation(
                attempt=0, generation=1, started_at=WALL - 290, world_size=4, nodes=2,
            ),
        ),
    )  # fmt: skip


def beating_job() -> Job:
    members = [
        msgspec.structs.replace(rank, stage=Stage.TRAINING, step=1200 + rank.rank, step_time=0.25)
        for rank in ranks(0, 4)
    ]
    slow = msgspec.structs.replace(members[2], straggler=True)
    mute = msgspec.structs.replace(
        members[3],
        stage=Stage.NONE,
        step=None,
        beats=None,
        beat_age=None,
        step_time=None,
        note="torch 1.9 has no step hook",
    )
    running = job(
        nodes=(job_node(0, members=tuple(members[:2])), job_node(1, members=(slow, mute)))
    )
    history = tuple((WALL - 60 + n, 3 - n / 10) for n in range(20))
    loss = Metric(name="loss", rank=0, value=1.1, low=1.1, high=1.2, history=history)
    return msgspec.structs.replace(running, metrics=(loss,))


def stalled_job() -> Job:
    base = beating_job()

    def silent(rank: Rank) -> Rank:
        return msgspec.structs.replace(rank, stage=Stage.SILENT, beat_age=31.0)

    quiet = tuple(
        msgspec.structs.replace(each, ranks=tuple(silent(rank) for rank in each.ranks))
        for each in base.nodes
    )
    stall = Stall(
        attempt=0, generation=0, node="gpu02", ranks=(3,), at=WALL - 5, action="warn",
        message="rank 3 silent for 31 s at step 1203 (limit 30 s)",
    )  # fmt: skip
    return msgspec.structs.replace(base, nodes=quiet, flags=("stalled",), stalls=(stall,))


def healthy() -> Fleet:
    return Fleet(
        revision=1,
        nodes=(node("gpu01"), node("gpu02", level=55), node("gpu03", level=12)),
        jobs=(job(), recovered_job(), failed_job()),
    )


def measured() -> Fleet:
    """One job that reports a loss."""
    history = tuple((WALL - 60 + n, 3 - n / 10) for n in range(20))
    loss = Metric(name="loss", rank=0, value=1.1, low=1.1, high=1.2, history=history)
    return Fleet(revision=1, jobs=(msgspec.structs.replace(job(), metrics=(loss,)),))


def troubled() -> Fleet:
    """One node live, one stale, one unreachable, one connecting, one with simulated GPUs."""
    return Fleet(
        revision=1,
        nodes=(
            node("gpu01"),
            node("gpu02", link=AWAY, age=None),
            node("gpu03", age=9.0, level=80),
            node("gpu04", link=Link(since=WALL - 2), age=None),
            node("gpu05", simulated=True, count=2),
        ),
        jobs=(job(nodes=(job_node(0), job_node(1, link=AWAY))),),
    )


def large() -> Fleet:
    return Fleet(
        revision=1,
        nodes=tuple(node(f"n{index:03d}", level=90 - index % 40) for index in range(128)),
        jobs=(job(),),
    )


def chatter(count: int, start: int = 0, *, generation: int = 0) -> list[FakeLine]:
    return [
        FakeLine(
            origin(
                index % 4,
                f"gpu{1 + index % 4 // 2:02d}",
                "err" if index % 10 == 3 else "out",
            )._replace(generation=generation),
            WALL - 60 + index / 100,
            f"step={index} loss={3 - index / 1000:.3f}".encode(),
        )
        for index in range(start, start + count)
    ]
