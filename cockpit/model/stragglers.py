"""Stragglers: ranks that are slower than their peers, by their own time or by their GPU.

Pure functions. `jobs` calls `slow_ranks` with what the beats say; whoever holds telemetry too calls
`gpu_stragglers` and `mark`. In synchronous training every step takes as long as the slowest rank's,
so the time of a whole step shows nobody: only the part that a rank did not wait for others does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from cockpit.model.beats import PERSISTENCE
from cockpit.model.medians import median, median_without
from cockpit.model.types import Gpu, Job, JobNode, Node, Stage

FLAG = "straggler"

FACTOR = 1.5
"""Times the median of the others. Below it lie uneven batches and noise of the clock."""
FACTOR_OF_TWO = 2.0
"""The same where there is one other rank only, which is no measure of what is usual."""
MARGIN = 0.05
"""Seconds above the median. Steps of a few milliseconds differ by more than FACTOR for nothing."""
CLOCK = 0.8
"""A GPU below this share of its peers' SM clock is throttled; boost clocks differ by some percent
from one chip to the next."""
POWER = 0.7
"""The same for power, which depends on the work at hand more than the clock does."""
SIMILAR = 20.0
"""Percentage points of utilization between GPUs that may be compared."""
FEWEST = 3
"""Ranks or GPUs that make a median of the others mean something."""


def slow_ranks(samples: Mapping[int, Sequence[float]]) -> frozenset[int]:
    """Ranks whose own time stands apart in each of their newest digests.

    `samples`: rank -> its newest own times, seconds, at most PERSISTENCE are looked at.
    """
    typical = {rank: median(times[-PERSISTENCE:]) for rank, times in samples.items() if times}
    if len(typical) < 2:
        return frozenset()
    factor = FACTOR if len(typical) >= FEWEST else FACTOR_OF_TWO
    ordered = sorted(typical.values())
    found = []
    for rank, usual in typical.items():
        if len(samples[rank]) < PERSISTENCE:
            continue
        least = min(samples[rank][-PERSISTENCE:])
        others = median_without(ordered, usual)
        if least > others * factor and least - others > MARGIN:
            found.append(rank)
    return frozenset(found)


def gpu_stragglers(job: Job, nodes: Iterable[Node]) -> frozenset[int]:
    """Ranks that train on a GPU whose clock or power stands apart from the job's other GPUs.

    A rank's GPU is the one with the index of its local rank, on nodes that have one rank per GPU;
    what else is on such a node cannot be told. Simulated figures say nothing.
    """
    machines = {node.name: node for node in nodes if node.cluster == job.cluster}
    seats: list[tuple[int, Gpu]] = []
    for place in job.nodes:
        machine = machines.get(place.name)
        if machine is None or machine.simulated or len(machine.gpus) != len(place.ranks):
            continue
        by_index = {gpu.index: gpu for gpu in machine.gpus}
        seats += [
            (rank.rank, by_index[rank.local_rank])
            for rank in place.ranks
            if rank.stage is Stage.TRAINING and rank.local_rank in by_index
        ]
    slow = _below(seats, [gpu.sm_clock for _, gpu in seats], CLOCK)
    weak = _below(seats, [gpu.power for _, gpu in seats], POWER)
    return slow | weak


def mark(job: Job, ranks: frozenset[int]) -> Job:
    """`job` with these ranks marked beside those that are marked already; the same without any."""
    if not any(rank.rank in ranks and not rank.straggler for n in job.nodes for rank in n.ranks):
        return job
    flags = job.flags if FLAG in job.flags else (*job.flags, FLAG)
    return msgspec.structs.replace(job, nodes=mark_nodes(job.nodes, ranks), flags=flags)


def mark_nodes(nodes: tuple[JobNode, ...], ranks: frozenset[int]) -> tuple[JobNode, ...]:
    """`nodes` with these ranks marked."""
    if not ranks:
        return nodes
    return tuple(_mark_node(node, ranks) for node in nodes)


def _mark_node(node: JobNode, ranks: frozenset[int]) -> JobNode:
    if not any(rank.rank in ranks for rank in node.ranks):
        return node
    marked = tuple(
        msgspec.structs.replace(rank, straggler=True) if rank.rank in ranks else rank
        for rank in node.ranks
    )
    return msgspec.structs.replace(node, ranks=marked)


def _below(
    seats: list[tuple[int, Gpu]], figures: Sequence[float | None], share: float
) -> frozenset[int]:
    known = [
        (rank, float(figure), gpu.utilization)
        for (rank, gpu), figure in zip(seats, figures, strict=True)
        if figure is not None and gpu.utilization is not None
    ]
    if len(known) < FEWEST:
        return frozenset()
    ordered = sorted(figure for _, figure, _ in known)
    busy = median(used for _, _, used in known)
    return frozenset(
        rank
        for rank, figure, used in known
        if figure < median_without(ordered, figure) * share and abs(used - busy) <= SIMILAR
    )
