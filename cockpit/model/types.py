"""Snapshots of what is known, frozen: Fleet, Node, Gpu, Job, JobNode, Rank, Generation, Cause.

Three axes are never mixed: the link to a node, the processes on it, the job. All text in here
went through `cockpit.text.clean`. Times are wall-clock seconds since the epoch as the node
stamped them unless said otherwise; durations are seconds; memory bytes; power W; temperature °C.
"""

from __future__ import annotations

import enum
from typing import Annotated, Literal

import msgspec

from cockpit.transport.base import Link, LinkState

__all__ = [
    "Cause",
    "Fleet",
    "Generation",
    "Gpu",
    "GpuProcess",
    "Host",
    "Job",
    "JobNode",
    "JobState",
    "Leftover",
    "Link",
    "LinkState",
    "Node",
    "NodeState",
    "Rank",
    "RankState",
]


class JobState(str, enum.Enum):
    STAGING = "staging"
    """Claims exist, nothing was started yet."""
    STARTING = "starting"
    """Launcher processes run, the first generation has not formed."""
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        return self in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


class NodeState(str, enum.Enum):
    """The processes of a job's attempt on one node."""

    MISSING = "missing"
    """Part of the plan, nothing heard of it yet."""
    CLAIMED = "claimed"
    STARTING = "starting"
    RUNNING = "running"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    WITHDRAWN = "withdrawn"
    LOST = "lost"

    @property
    def ended(self) -> bool:
        return self in _ENDED


_ENDED = frozenset(
    (
        NodeState.SUCCEEDED,
        NodeState.FAILED,
        NodeState.CANCELLED,
        NodeState.WITHDRAWN,
        NodeState.LOST,
    )
)


class RankState(str, enum.Enum):
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STOPPED = "stopped"
    """Ended because of another rank, a cancel, or a membership change."""


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """What ended a generation, an attempt or a job first."""

    kind: str
    """exit | signal | oom | stall | node_lost | start_failed | cancelled | launcher"""
    node: str = ""
    rank: int | None = None
    exit_code: int | None = None
    signal: int | None = None
    message: str = ""
    at: float | None = None
    generation: int | None = None


class Rank(msgspec.Struct, frozen=True, kw_only=True):
    rank: int
    local_rank: int
    pid: int
    state: RankState
    exit_code: int | None = None
    signal: int | None = None
    message: str = ""
    step: int | None = None
    beats: int | None = None
    beat_age: float | None = None
    metrics: dict[str, float] = {}


class Leftover(msgspec.Struct, frozen=True, kw_only=True):
    """A process of an attempt that a cancel had to sweep, or could not end."""

    pid: int
    command: str


class JobNode(msgspec.Struct, frozen=True, kw_only=True):
    """One node of a job's newest attempt."""

    name: str
    node_rank: int
    host: str
    addr: str
    link: Link
    state: NodeState
    supervised: bool = True
    pid: int | None = None
    """Launcher process."""
    group_rank: int | None = None
    generation: int | None = None
    exit_code: int | None = None
    signal: int | None = None
    ranks: tuple[Rank, ...] = ()
    swept: tuple[Leftover, ...] = ()
    left: tuple[Leftover, ...] = ()
    notes: tuple[str, ...] = ()
    """Warnings of the node: "not instrumented: …", dropped log bytes, adoption."""


class Generation(msgspec.Struct, frozen=True, kw_only=True):
    """One rendezvous round of one attempt."""

    attempt: int
    generation: int
    started_at: float
    ended_at: float | None = None
    world_size: int = 0
    nodes: int = 0
    cause: Cause | None = None
    """Why it ended, when it did not succeed and was not ended by a change of membership."""
    reason: str = ""
    """"" while it runs, else succeeded | failed | membership | cancelled | operator"""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: str
    state: JobState
    flags: tuple[str, ...] = ()
    """stalled, degraded, waiting, uninstrumented, cancelling, unknown_nodes (some unreachable)"""
    cluster: str
    launcher: str
    kind: str
    command: tuple[str, ...]
    min_nodes: int
    max_nodes: int
    attempt: int
    restarts: int
    """Generations and attempts after the first."""
    max_restarts: int
    exit_code: int | None = None
    """The job's own exit code once it ended, as `cockpit run` gives it."""
    cause: Cause | None = None
    """First cause of the failure, or of the newest restart while the job runs."""
    created_at: float
    created_by: str
    started_at: float | None = None
    ended_at: float | None = None
    nodes: tuple[JobNode, ...] = ()
    history: tuple[Generation, ...] = ()
    cancelled_by: str = ""

    @property
    def world_size(self) -> int:
        return self.history[-1].world_size if self.history else 0


Count = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
Figure = Annotated[float, msgspec.Meta(ge=-1e15, le=1e15)]
"""Bounds that a sample from a node must keep; they are checked where samples are decoded."""


class GpuProcess(msgspec.Struct, frozen=True, kw_only=True):
    pid: Count
    user: str = ""
    memory: Count | None = None


class Gpu(msgspec.Struct, frozen=True, kw_only=True):
    index: Count
    name: str = ""
    uuid: str = ""
    state: Literal["ok", "lost", "error"] = "ok"
    utilization: Figure | None = None
    memory_used: Count | None = None
    memory_total: Count | None = None
    power: Figure | None = None
    power_limit: Figure | None = None
    temperature: Figure | None = None
    sm_clock: Count | None = None
    processes: tuple[GpuProcess, ...] = ()


class Host(msgspec.Struct, frozen=True, kw_only=True):
    cpus: Count | None = None
    cpu_percent: Figure | None = None
    load1: Figure | None = None
    memory_used: Count | None = None
    memory_total: Count | None = None
    disk_free: Count | None = None
    disk_total: Count | None = None
    uptime: Figure | None = None


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """A machine of a cluster, with its newest telemetry."""

    name: str
    cluster: str
    link: Link
    host: Host | None = None
    gpus: tuple[Gpu, ...] = ()
    gpu_error: str = ""
    simulated: bool = False
    """The GPU figures are made up; say "simulated" wherever they are shown."""
    sampled_at: float | None = None
    """Controller's monotonic clock when the sample arrived; age = now - sampled_at."""


class Fleet(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is known at one moment. `revision` grows with every change."""

    revision: int
    nodes: tuple[Node, ...] = ()
    jobs: tuple[Job, ...] = ()
    """Newest first."""
