"""One moment of the world as the views draw it, and the clocks that it is measured by."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from cockpit.model.types import Fleet, Job, Node

if TYPE_CHECKING:
    from cockpit.tui.house.happenings import Happening


@dataclasses.dataclass(frozen=True)
class Clock:
    """`mono`: the clock of `Node.sampled_at`; `wall`: seconds since the epoch."""

    mono: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time


@dataclasses.dataclass(frozen=True)
class Frame:
    """A snapshot and when it was taken, in seconds of both clocks.

    `marked`: what is marked, nodes as `node_key` names them and jobs by id. `happenings`: the
    newest last.
    """

    fleet: Fleet
    mono: float
    wall: float
    marked: frozenset[str] = frozenset()
    happenings: Sequence[Happening] = ()

    def job(self, job_id: str | None) -> Job | None:
        return next((job for job in self.fleet.jobs if job.id == job_id), None)

    def node(self, key: str) -> Node | None:
        """The node of this `node_key`."""
        return next((node for node in self.fleet.nodes if node_key(node) == key), None)

    def running_by_node(self) -> dict[tuple[str, str], tuple[Job, ...]]:
        """(cluster, node name) -> jobs that have not ended there."""
        found: dict[tuple[str, str], tuple[Job, ...]] = {}
        for job in self.fleet.jobs:
            if is_live(job):
                for node in job.nodes:
                    key = (job.cluster, node.name)
                    found[key] = (*found.get(key, ()), job)
        return found


def is_live(job: Job) -> bool:
    """It has not ended, as a node says."""
    return not job.state.ended and job.seen_at is None


def node_key(node: Node) -> str:
    """What a node is called in marks: "cluster/name"."""
    return f"{node.cluster}/{node.name}"
