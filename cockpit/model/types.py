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
    "Checkpoint",
    "Fleet",
    "Generation",
    "Gpu",
    "GpuProcess",
    "GpuXid",
    "Health",
    "Host",
    "Job",
    "JobNode",
    "JobState",
    "Leftover",
    "Link",
    "LinkState",
    "Metric",
    "MigInstance",
    "Node",
    "NodeState",
    "NvLink",
    "OtherStacks",
    "PcieLink",
    "Rank",
    "RankState",
    "RemappedRows",
    "Stage",
    "Stall",
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
    exception: str = ""
    """Type name, where a rank raised one."""
    label: str = ""
    """What a rule recognised: "CUDA out of memory"; "" when none did."""
    hint: str = ""
    """What to do about it, from that rule."""
    tail: tuple[str, ...] = ()
    """The last lines of the rank's stderr."""
    alike: int = 0
    """Other ranks of its generation that failed in the very same words."""
    everyone: bool = False
    """With them, these are all ranks of the generation."""


class Stage(str, enum.Enum):
    """What a rank is doing, by its beats."""

    NONE = "none"
    """Nothing beats here: not instrumented, or no Python. Not a sign of trouble."""
    STARTING = "starting"
    """No beat yet."""
    TRAINING = "training"
    SILENT = "silent"
    """The last beat, or the start, is longer ago than the limit."""
    ENDED = "ended"
    UNKNOWN = "unknown"
    """Whoever watches the beats is silent or out of reach."""


class Rank(msgspec.Struct, frozen=True, kw_only=True):
    rank: int
    local_rank: int
    pid: int
    state: RankState
    exit_code: int | None = None
    signal: int | None = None
    message: str = ""
    stage: Stage = Stage.NONE
    step: int | None = None
    beats: int | None = None
    beat_age: float | None = None
    """Seconds since the last beat, at the moment of the snapshot; None where that is unknown."""
    beat_limit: float | None = None
    """Seconds after which it counts as stalled."""
    step_time: float | None = None
    """Median seconds of its newest steps; its rate is 1 / step_time."""
    own_time: float | None = None
    """The part of `step_time` that it did not wait for others, where that can be told."""
    straggler: bool = False
    """Its own time, or its GPU's power or clock, stands apart from its peers."""
    metrics: dict[str, float] = {}
    """The newest value of each metric."""
    sections: tuple[str, ...] = ()
    """Open sections that ft_launcher's rank monitor knows of."""
    monitor_age: float | None = None
    """Seconds since ft_launcher's rank monitor heard of it; None without one."""
    note: str = ""
    """Why it is not instrumented."""
    checkpoint_step: int | None = None
    """Where its code makes checkpoints on request: the step at which it asked last for one."""
    checkpoint_pace: float | None = None
    """Median seconds between two such steps."""


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """A figure of a job over time, as its lowest rank that has it reports it.

    Figures may be NaN or infinite: a loss that became so is what people have to see.
    """

    name: str
    rank: int
    value: float
    low: float
    """The least newest value of all ranks that report it; NaN only where all of them are."""
    high: float
    history: tuple[tuple[float, float], ...] = ()
    """(wall time, value), oldest first; at most 240 points, thinned evenly over the job's life."""


class OtherStacks(msgspec.Struct, frozen=True, kw_only=True):
    """Stacks that a node kept because another one had declared a stall."""

    node: str
    node_rank: int
    at: float
    path: str
    """Below the node's state_dir."""


class Stall(msgspec.Struct, frozen=True, kw_only=True):
    """A stall that was declared on one node."""

    attempt: int
    generation: int
    node: str
    ranks: tuple[int, ...]
    at: float
    action: str
    """warn | restart | cancel"""
    message: str
    recovered_at: float | None = None
    stacks: str = ""
    """Where the stacks lie that were taken then: a path below the node's state_dir."""
    node_rank: int = 0
    where: str = ""
    """In which code the silent ranks of the whole job were then, those that the others wait for
    first; "" while no node has told."""
    others: tuple[OtherStacks, ...] = ()
    """Stacks of this generation that nodes kept without declaring a stall of their own."""


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """The newest checkpoint that was asked for, on one node or, of a job, on all of them."""

    command: str
    """Id of the request."""
    generation: int | None
    """None: it was refused before it reached a rank."""
    step: int | None
    """The ranks were to save at the first of their steps from this one on."""
    by: str
    at: float
    ranks: tuple[int, ...] = ()
    """Who was asked."""
    saved: tuple[tuple[int, int], ...] = ()
    """(rank, its step) of those that have saved it."""
    void: str = ""
    """Why it is not wanted any more; "" while it is, or once all have saved it."""

    @property
    def complete(self) -> bool:
        return bool(self.ranks) and {rank for rank, _ in self.saved} >= set(self.ranks)


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
    why: str = ""
    """Why it ended badly, where that is not told by its ranks."""
    ranks: tuple[Rank, ...] = ()
    swept: tuple[Leftover, ...] = ()
    left: tuple[Leftover, ...] = ()
    notes: tuple[str, ...] = ()
    """Warnings of the node: "not instrumented: …", dropped log bytes, adoption."""
    checkpoint: Checkpoint | None = None
    """As this node knows it, by its own clock."""


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
    """"" while it runs, else succeeded | failed | membership | cancelled | operator | stall"""
    by: str = ""
    """Who asked for its end, with reason operator."""
    victims: tuple[Cause, ...] = ()
    """What the other ranks saw then, in order of time; at most 8. Not those that failed alike."""
    victim_count: int = 0
    counted: bool = False
    """The restart that followed it was one of `max_restarts`."""
    told: bool = True
    """Every node of it has said how it ended there: its cause will not change."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: str
    state: JobState
    flags: tuple[str, ...] = ()
    """stalled, straggler, cancelling, degraded, uninstrumented, unknown_nodes (some unreachable),
    waiting"""
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
    metrics: tuple[Metric, ...] = ()
    stalls: tuple[Stall, ...] = ()
    """Newest attempt first."""
    finished: bool | None = None
    """Whether the job's finished flag was there at its end; None where none was asked for."""
    can_checkpoint: bool = False
    """A rank has said how it makes a checkpoint when it is asked for one."""
    checkpoint: Checkpoint | None = None
    """The newest that was asked for in this attempt."""
    no_beats: str = ""
    """Why no rank of it is made to beat: "plain command", "instrument = false"; else ""."""
    seen_at: float | None = None
    """When it was last seen, for a job that is only remembered: no node that was asked lists it.
    Controller's wall clock; None for a job that a node lists."""

    @property
    def steps(self) -> tuple[int, int] | None:
        """The least and the highest step of the ranks that beat; their spread is the difference."""
        known = [r.step for node in self.nodes for r in node.ranks if r.step is not None]
        return (min(known), max(known)) if known else None

    @property
    def world_size(self) -> int:
        return self.history[-1].world_size if self.history else 0


Count = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
Figure = Annotated[float, msgspec.Meta(ge=-1e15, le=1e15)]
"""Bounds that a sample from a node must keep; they are checked where samples are decoded."""


# Thousands of the following come and go each second. They hold no cycles, so the garbage collector
# need not look at them (`gc=False`).


class GpuProcess(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    pid: Count
    user: str = ""
    """"": hidden, as processes of another container are."""
    memory: Count | None = None
    command: str = ""
    """Its first 60 characters."""
    job: str = ""
    """Id of the job of ours that it belongs to."""


class GpuXid(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An error that the NVIDIA driver told, by its number."""

    number: Count
    at: Figure | None = None
    """Node's wall clock."""


class NvLink(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """All links of a GPU together."""

    active: Count | None = None
    total: Count | None = None
    tx: Figure | None = None
    """Bytes a second."""
    rx: Figure | None = None
    errors: Count | None = None
    """Since the driver was loaded."""


class RemappedRows(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Rows of a GPU's memory that were replaced."""

    correctable: Count | None = None
    uncorrectable: Count | None = None
    pending: bool | None = None
    """A row is replaced at the next reset."""
    failed: bool | None = None
    """No spare row was left."""


class PcieLink(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    gen: Count | None = None
    width: Count | None = None


class MigInstance(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A part of a GPU; power, temperature and clock are the whole GPU's."""

    index: Count
    name: str = ""
    uuid: str = ""
    memory_used: Count | None = None
    memory_total: Count | None = None


class Gpu(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    index: Count
    name: str = ""
    uuid: str = ""
    state: Literal["ok", "lost", "error"] = "ok"
    error: str = ""
    """Why the state is not "ok"."""
    utilization: Figure | None = None
    memory_utilization: Figure | None = None
    memory_used: Count | None = None
    memory_total: Count | None = None
    power: Figure | None = None
    power_limit: Figure | None = None
    temperature: Figure | None = None
    memory_temperature: Figure | None = None
    sm_clock: Count | None = None
    """MHz"""
    sm_clock_max: Count | None = None
    throttle: tuple[str, ...] | None = None
    """What holds the clocks down: power_cap, hw_slowdown, hw_thermal, sw_thermal, hw_power_brake,
    sync_boost, board_limit, reliability. None: unknown."""
    ecc_uncorrected: Count | None = None
    """Since the driver was loaded."""
    ecc_uncorrected_total: Count | None = None
    remapped_rows: RemappedRows | None = None
    recovery_action: str | None = None
    """What the driver wants done: "none", "gpu_reset", "node_reboot", "drain_and_reset", …"""
    nvlink: NvLink | None = None
    pcie: PcieLink | None = None
    slow_age: Figure | None = None
    """Seconds since links, ECC, rows and processes were read, where that is too long ago."""
    processes: tuple[GpuProcess, ...] = ()
    xids: tuple[GpuXid, ...] = ()
    """Of the last hour, oldest first."""
    mig: tuple[MigInstance, ...] = ()


class Host(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """`disk_*` but the rates: the file system of the node's state folder. Rates in bytes/s."""

    cpus: Count | None = None
    cpu_percent: Figure | None = None
    load1: Figure | None = None
    memory_used: Count | None = None
    memory_total: Count | None = None
    swap_used: Count | None = None
    swap_total: Count | None = None
    disk_free: Count | None = None
    disk_total: Count | None = None
    disk_read: Figure | None = None
    disk_written: Figure | None = None
    network_in: Figure | None = None
    """Physical devices and InfiniBand ports together."""
    network_out: Figure | None = None
    temperature: Figure | None = None
    blocked: Count | None = None
    """Processes that wait in the kernel (state D): for a disk, a file server or a driver."""
    uptime: Figure | None = None


Health = Literal["unknown", "ok", "warn", "crit"]


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """A machine of a cluster, with its newest telemetry."""

    name: str
    cluster: str
    link: Link
    host: Host | None = None
    gpus: tuple[Gpu, ...] = ()
    gpu_error: str = ""
    gpu_stalled: float | None = None
    """Seconds for which the GPU driver has not answered; None while it does."""
    driver: str = ""
    cuda: str = ""
    """Newest CUDA that the driver knows."""
    user: str = ""
    """Whose agent it is: processes of other users are foreign."""
    health: Health = "unknown"
    """By the newest sample, however old that is; "unknown" before the first."""
    health_reasons: tuple[str, ...] = ()
    """Worst first."""
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
