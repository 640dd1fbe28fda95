"""Which nodes of a cluster a launch would take: what is known of each, and the order to try them.

Pure: a snapshot of the fleet in, standings out. Used by the launch form, to show what is free and
to put the free nodes first; the start itself looks at every node again.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence

import msgspec

from cockpit.model.types import Fleet, Gpu, LinkState, Node
from cockpit.profiles.types import Cluster, NodeSpec

__all__ = ["Candidate", "Standing", "candidates", "order"]

BUSY_UTILIZATION = 5.0
"""Percent above which a GPU is in use by somebody, whether or not its processes can be seen."""
BUSY_MEMORY = 1 << 30
"""Bytes in use of which the same holds; a driver and a display need less."""

SILENT_AFTER = 3.5
"""Seconds without a sample after which a node is not called free: three samples were missed."""


class Standing(str, enum.Enum):
    """In the order in which nodes are taken."""

    FREE = "free"
    UNKNOWN = "unknown"
    """Not reached or not heard of yet, or not any more."""
    BUSY = "busy"
    """A job of ours runs there, or somebody uses its GPUs."""
    AWAY = "away"
    """It cannot be reached."""


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A node that could take part, as it is now."""

    name: str
    standing: Standing
    why: str = ""
    """What it is busy with, or why it is away, in words; "" where it is free."""
    gpus: int | None = None
    """None: unknown."""
    idle: int | None = None
    """GPUs that nobody uses. None: unknown, or not known any more."""
    spare: bool = False


def candidates(cluster: Cluster, fleet: Fleet, mono: float | None = None) -> tuple[Candidate, ...]:
    """Every node of `cluster`, spares last. `mono`: now, on the clock of `Node.sampled_at`; None
    where nothing goes stale."""
    nodes = {node.name: node for node in fleet.nodes if node.cluster == cluster.name}
    jobs: dict[str, list[str]] = {}
    for job in fleet.jobs:
        if job.cluster == cluster.name and not job.state.ended:
            for seat in job.nodes:
                if not seat.state.ended:
                    jobs.setdefault(seat.name, []).append(job.name)
    return tuple(
        _candidate(
            spec.name,
            nodes.get(spec.name),
            jobs.get(spec.name, ()),
            spare=spare,
            silent=_silence(nodes.get(spec.name), mono),
        )
        for specs, spare in ((cluster.nodes, False), (cluster.spares, True))
        for spec in specs
    )


def order(specs: Sequence[NodeSpec], known: Sequence[Candidate]) -> tuple[NodeSpec, ...]:
    """`specs` in the order to try them: free first, and nodes before spares of equal standing."""
    standing: Mapping[str, Candidate] = {item.name: item for item in known}
    ranks = list(Standing)

    def rank(spec: NodeSpec) -> tuple[int, bool]:
        item = standing.get(spec.name)
        if item is None:
            return ranks.index(Standing.UNKNOWN), False
        return ranks.index(item.standing), item.spare

    return tuple(sorted(specs, key=rank))


def _silence(node: Node | None, mono: float | None) -> int:
    """Whole seconds since a node was heard of; 0 while that is not long."""
    if node is None or node.sampled_at is None or mono is None:
        return 0
    age = int(mono - node.sampled_at)
    return age if age > SILENT_AFTER else 0


def _candidate(
    name: str, node: Node | None, jobs: Sequence[str], *, spare: bool, silent: int
) -> Candidate:
    def standing(standing: Standing, why: str = "") -> Candidate:
        known = node is not None and node.sampled_at is not None and not silent
        gpus = node.gpus if node is not None and known else None
        return Candidate(
            name=name,
            standing=standing,
            why=why,
            gpus=None if gpus is None else len(gpus),
            idle=None if gpus is None else sum(not _used(gpu) for gpu in gpus),
            spare=spare,
        )

    if node is None:
        return standing(Standing.UNKNOWN, "not opened")
    if node.link.state in (LinkState.UNREACHABLE, LinkState.RECONNECTING):
        return standing(Standing.AWAY, node.link.why or node.link.state.value)
    if jobs:
        return standing(Standing.BUSY, f"runs {', '.join(jobs)}")
    if node.link.state is not LinkState.ONLINE:
        return standing(Standing.UNKNOWN, node.link.state.value)
    if node.sampled_at is None:
        return standing(Standing.UNKNOWN, "no figures yet")
    if silent:
        return standing(Standing.UNKNOWN, f"silent for {silent} s")
    used = [gpu for gpu in node.gpus if _used(gpu)]
    if used:
        return standing(Standing.BUSY, _users(used))
    return standing(Standing.FREE)


def _used(gpu: Gpu) -> bool:
    return bool(
        gpu.state != "ok"
        or gpu.processes
        or (gpu.utilization or 0.0) >= BUSY_UTILIZATION
        or (gpu.memory_used or 0) >= BUSY_MEMORY
    )


def _users(used: Sequence[Gpu]) -> str:
    """Who uses these GPUs: "3 GPUs used by bob", "GPU 2 lost"."""
    broken = [gpu for gpu in used if gpu.state != "ok"]
    if broken:
        return f"GPU {broken[0].index} {broken[0].state}"
    users = sorted({process.user for gpu in used for process in gpu.processes} - {""})
    count = "1 GPU" if len(used) == 1 else f"{len(used)} GPUs"
    return f"{count} used by {', '.join(users) or 'somebody'}"
