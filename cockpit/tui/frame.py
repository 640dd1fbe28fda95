"""One moment of the world as the views draw it, and the clocks that it is measured by."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable

from cockpit.model.types import Fleet, Job


@dataclasses.dataclass(frozen=True)
class Clock:
    """`mono`: the clock of `Node.sampled_at`; `wall`: seconds since the epoch."""

    mono: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time


@dataclasses.dataclass(frozen=True)
class Frame:
    """A snapshot and when it was taken, in seconds of both clocks."""

    fleet: Fleet
    mono: float
    wall: float

    def job(self, job_id: str | None) -> Job | None:
        return next((job for job in self.fleet.jobs if job.id == job_id), None)

    def running_by_node(self) -> dict[tuple[str, str], tuple[Job, ...]]:
        """(cluster, node name) -> jobs that have not ended there."""
        found: dict[tuple[str, str], tuple[Job, ...]] = {}
        for job in self.fleet.jobs:
            if not job.state.ended:
                for node in job.nodes:
                    key = (job.cluster, node.name)
                    found[key] = (*found.get(key, ()), job)
        return found
