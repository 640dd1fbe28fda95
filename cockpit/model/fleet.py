"""All nodes and jobs that the controller knows, as one frozen snapshot.

The controller reports links, telemetry samples and jobs; the faces ask for `snapshot` at their
own pace. What has not changed is not built again, and of samples that came since the last snapshot
only each node's newest is decoded.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from cockpit.model import samples
from cockpit.model.health import assess
from cockpit.model.jobs import AGE_STEP, JobModel
from cockpit.model.store import Seen
from cockpit.model.stragglers import gpu_stragglers, mark
from cockpit.model.types import Fleet, Job, Link, Node
from cockpit.text import clean

GPUS_EVERY = 1.0
"""Seconds between two comparisons of a job's GPUs."""


class _Slow(NamedTuple):
    """Ranks of a job on GPUs that stand apart. `parts`: what else the comparison is about."""

    parts: tuple[object, ...]
    heard: float
    ranks: frozenset[int]


class FleetModel:
    """Nodes by (cluster, name) in the order of their appearance, jobs newest first.

    `clock` is the controller's wall clock.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._revision = 0
        self._nodes: dict[tuple[str, str], Node] = {}
        self._jobs: dict[str, JobModel] = {}
        self._past: dict[str, Job] = {}
        self._shown: tuple[Job, ...] = ()
        self._samples: dict[tuple[str, str], tuple[bytes | Mapping[str, Any], float]] = {}
        """Newest samples that were not looked at yet."""
        self._heard = 0.0
        """When the newest of all samples came."""
        self._slow: dict[str, _Slow] = {}
        self._marked: dict[str, tuple[Job, frozenset[int], Job]] = {}
        self._looks: dict[str, tuple[JobModel, int, float, Job]] = {}
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

    def remove_node(self, name: str, cluster: str) -> None:
        """A node is not looked at any more. Unknown ones are ignored."""
        self._samples.pop((cluster, name), None)
        if self._nodes.pop((cluster, name), None) is not None:
            self._node_list = None
            self._revision += 1

    def sample(
        self, name: str, cluster: str, payload: bytes | Mapping[str, Any], now: float
    ) -> None:
        """A telemetry sample arrived. `now` is the controller's monotonic clock, seconds."""
        key = (cluster, name)
        if key in self._nodes:
            self._samples[key] = (payload, now)
            self._heard = max(self._heard, now)

    def _take_samples(self) -> None:
        for key, (payload, now) in self._samples.items():
            known = self._nodes[key]
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
        self._samples.clear()

    def job(self, model: JobModel) -> None:
        """A job is known. Its later changes are seen without being told."""
        if self._jobs.get(model.record.id) is not model:
            self._jobs[model.record.id] = model
            self._revision += 1

    def recall(self, seen: Iterable[Seen]) -> None:
        """Show these jobs of earlier days, as last seen, unless a node lists them."""
        for item in seen:
            self._past[item.job.id] = msgspec.structs.replace(item.job, seen_at=item.seen_at)
        self._revision += 1

    def remove_job(self, job: str) -> None:
        """Forget a job. Unknown ones are ignored."""
        self._marked.pop(job, None)
        self._slow.pop(job, None)
        self._looks.pop(job, None)
        known = self._jobs.pop(job, None), self._past.pop(job, None)
        if any(each is not None for each in known):
            self._revision += 1

    def snapshot(self) -> Fleet:
        """Everything known now; the same object while nothing changed."""
        now = self._clock()
        self._take_samples()
        jobs = [self._with_gpus(self._look(model, now)) for model in self._jobs.values()]
        jobs += [job for job in self._past.values() if job.id not in self._jobs]
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

    def _look(self, model: JobModel, now: float) -> Job:
        """The job as it is; as it was a moment ago where nothing but beats came since.

        The nodes of a large job beat all the time, one after the other.
        """
        news = model.revision - model.beats_only
        known = self._looks.get(model.record.id)
        if (
            known is not None
            and known[0] is model
            and known[1] == news
            and 0 <= now - known[2] < AGE_STEP
        ):
            return known[3]
        job = model.snapshot(now)
        self._looks[model.record.id] = (model, news, now, job)
        return job

    def _with_gpus(self, job: Job) -> Job:
        """`job` with ranks marked whose GPU stands apart; the same object while nothing changed."""
        if job.state.ended:
            self._marked.pop(job.id, None)
            self._slow.pop(job.id, None)
            return job
        ranks = self._slow_ranks(job)
        cached = self._marked.get(job.id)
        if cached is None or cached[0] is not job or cached[1] != ranks:
            cached = self._marked[job.id] = (job, ranks, mark(job, ranks))
        return cached[2]

    def _slow_ranks(self, job: Job) -> frozenset[int]:
        """Ranks whose GPU stands apart, by samples that are GPUS_EVERY seconds old at most."""
        known = [self._nodes.get((job.cluster, node.name)) for node in job.nodes]
        nodes = [node for node in known if node is not None and node.sampled_at is not None]
        parts = (job.attempt, job.restarts, len(job.nodes), len(nodes))
        slow = self._slow.get(job.id)
        if slow is None or slow.parts != parts or self._heard - slow.heard >= GPUS_EVERY:
            slow = _Slow(parts, self._heard, gpu_stragglers(job, nodes))
            self._slow[job.id] = slow
        return slow.ranks

    def _set(self, key: tuple[str, str], node: Node) -> None:
        self._nodes[key] = node
        self._node_list = None
        self._revision += 1
