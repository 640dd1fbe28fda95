"""All nodes and jobs that the controller knows, as one frozen snapshot.

The controller reports links, telemetry samples and jobs; the faces ask for `snapshot` at their
own pace. What has not changed is not built again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from cockpit.model import samples
from cockpit.model.health import assess
from cockpit.model.jobs import JobModel
from cockpit.model.stragglers import gpu_stragglers, mark
from cockpit.model.types import Fleet, Job, Link, Node
from cockpit.text import clean


class FleetModel:
    """Nodes by (cluster, name) in the order of their appearance, jobs newest first.

    `clock` is the controller's wall clock.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._revision = 0
        self._nodes: dict[tuple[str, str], Node] = {}
        self._jobs: dict[str, JobModel] = {}
        self._shown: tuple[Job, ...] = ()
        self._marked: dict[str, tuple[Job, list[Node], Job]] = {}
        self._snapshot: Fleet | None = None
        self._node_list: tuple[Node, ...] | None = ()

    def node(self, name: str, cluster: str, link: Link) -> None:
        """A node is known, or its link changed."""
        key = (cluster, name)
        known = self._nodes.get(key)
        if known is None:
            self._set(key, Node(name=clean(name), cluster=clean(cluster), link=link))
        elif known.link != link:
            self._set(key, msgspec.structs.replace(known, link=link))

    def sample(
        self, name: str, cluster: str, payload: bytes | Mapping[str, Any], now: float
    ) -> None:
        """A telemetry sample arrived. `now` is the controller's monotonic clock, seconds."""
        key = (cluster, name)
        known = self._nodes.get(key)
        if known is None:
            return
        sample = samples.decode(payload)
        stalled = "" if sample.gpu_stalled is None else sample.gpu_error or "telemetry stalled"
        health, reasons = assess(sample.host, sample.gpus, stalled)
        node = Node(
            name=known.name,
            cluster=known.cluster,
            link=known.link,
            host=sample.host,
            gpus=sample.gpus,
            gpu_error=sample.gpu_error,
            gpu_stalled=sample.gpu_stalled,
            driver=sample.driver,
            cuda=sample.cuda,
            user=sample.user,
            health=health,
            health_reasons=reasons,
            simulated=sample.simulated,
            sampled_at=now,
        )
        self._set(key, node)

    def job(self, model: JobModel) -> None:
        """A job is known. Its later changes are seen without being told."""
        if self._jobs.get(model.record.id) is not model:
            self._jobs[model.record.id] = model
            self._revision += 1

    def remove_job(self, job: str) -> None:
        """Forget a job. Unknown ones are ignored."""
        self._marked.pop(job, None)
        if self._jobs.pop(job, None) is not None:
            self._revision += 1

    def snapshot(self) -> Fleet:
        """Everything known now; the same object while nothing changed."""
        now = self._clock()
        jobs = [self._with_gpus(model.snapshot(now)) for model in self._jobs.values()]
        jobs.sort(key=lambda job: (-job.created_at, job.id))
        # Identity is enough: a job model hands out the same object while nothing changed.
        if len(jobs) != len(self._shown) or any(
            new is not old for new, old in zip(jobs, self._shown, strict=True)
        ):
            self._shown = tuple(jobs)
            self._revision += 1
        if self._node_list is None:
            self._node_list = tuple(self._nodes.values())
        if self._snapshot is None or self._snapshot.revision != self._revision:
            self._snapshot = Fleet(revision=self._revision, nodes=self._node_list, jobs=self._shown)
        return self._snapshot

    def _with_gpus(self, job: Job) -> Job:
        """`job` with ranks marked whose GPU stands apart; the same object while nothing changed."""
        if job.state.ended:
            self._marked.pop(job.id, None)
            return job
        known = [self._nodes.get((job.cluster, node.name)) for node in job.nodes]
        nodes = [node for node in known if node is not None]
        cached = self._marked.get(job.id)
        if (
            cached is None
            or cached[0] is not job
            or len(cached[1]) != len(nodes)
            or any(new is not old for new, old in zip(nodes, cached[1], strict=True))
        ):
            marked = mark(job, gpu_stragglers(job, nodes))
            cached = self._marked[job.id] = (job, nodes, marked)
        return cached[2]

    def _set(self, key: tuple[str, str], node: Node) -> None:
        self._nodes[key] = node
        self._node_list = None
        self._revision += 1
