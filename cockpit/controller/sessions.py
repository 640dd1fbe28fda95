"""Links to the nodes of the open clusters, and what arrives over them: listings and telemetry.

Holds the tracker and the fleet model and tells whoever waits that something changed. It asks
nothing of a node beyond looking; launching and ending are elsewhere.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

from cockpit.controller.tracking import NodeKey, TrackedJob, Tracker
from cockpit.errors import CockpitError, JobNotFound, LinkError, UsageError
from cockpit.model.fleet import FleetModel
from cockpit.model.rules import Rules
from cockpit.model.types import Job, LinkState
from cockpit.profiles.types import Cluster, Config, NodeSpec
from cockpit.tasks import Tasks
from cockpit.transport.factory import transport_for
from cockpit.transport.link import NodeLink

LISTING_INTERVAL = 1.0
TELEMETRY_INTERVAL = 1.0
TRIES = 2
"""Failed tries after which a command does not wait for a node any longer."""
ENOUGH_PATIENCE = 5.0
"""Seconds that nodes get to answer once others have said what was looked for."""
_POLL = 0.2


class Sessions:
    """Everything that is connected and known. One per controller."""

    def __init__(
        self,
        config: Config,
        tasks: Tasks,
        recall: Callable[[str], Job | None],
        *,
        telemetry: bool,
    ) -> None:
        self.config = config
        self.links: dict[NodeKey, NodeLink] = {}
        self.tracker = Tracker(self._job_changed, recall, Rules(config.rules.values()))
        self.fleet = FleetModel()
        self._tasks = tasks
        self._telemetry = telemetry
        self._listed: dict[NodeKey, asyncio.Future[None]] = {}
        self._waiting: set[asyncio.Future[None]] = set()

    def cluster(self, name: str) -> Cluster:
        """A configured cluster. Raises UsageError."""
        cluster = self.config.clusters.get(name)
        if cluster is None:
            raise UsageError(
                f"there is no cluster {name!r}",
                f"there are: {', '.join(sorted(self.config.clusters))}",
            )
        return cluster

    def open(
        self, clusters: Sequence[str] | None = None, nodes: Collection[str] | None = None
    ) -> None:
        """Start linking to every node of `clusters` (default: all configured). Idempotent.

        `nodes`: only those of these names. Raises UsageError for a name that no node has.
        """
        chosen = []
        for name in clusters if clusters is not None else self.config.clusters:
            cluster = self.cluster(name)
            chosen += [(cluster, spec) for spec in (*cluster.nodes, *cluster.spares)]
        unknown = set(nodes or ()) - {spec.name for _, spec in chosen}
        if unknown:
            raise UsageError(
                f"there is no node {', '.join(sorted(unknown))}",
                "`cockpit profiles show` lists the nodes of each cluster",
            )
        for cluster, spec in chosen:
            if nodes is None or spec.name in nodes:
                self.open_node(cluster, spec)

    def open_node(self, cluster: Cluster, spec: NodeSpec) -> NodeLink:
        """The link to one node, started if it is new."""
        key = NodeKey(cluster.name, spec.name)
        link = self.links.get(key)
        if link is not None:
            return link
        link = NodeLink(
            spec.name, transport_for(cluster, spec), on_change=lambda: self._link_changed(key)
        )
        self.links[key] = link
        listed = self._listed[key] = asyncio.get_running_loop().create_future()
        self.fleet.node(key.node, key.cluster, link.link)

        def jobs(event: dict[str, Any]) -> None:
            self.tracker.listed(key, link, event, time.time())
            if not listed.done():
                listed.set_result(None)
            self._changed()

        link.subscribe("watch_jobs", jobs, interval=LISTING_INTERVAL)
        if self._telemetry:

            def sample(event: dict[str, Any]) -> None:
                self.fleet.sample(key.node, key.cluster, event, time.monotonic())
                self._changed()

            link.subscribe("telemetry", sample, interval=TELEMETRY_INTERVAL)
        self._tasks.start(link.start(), f"link to {spec.name}")
        return link

    async def settle(
        self, timeout: float, enough: Callable[[], bool] = lambda: False
    ) -> dict[NodeKey, CockpitError]:
        """Wait until every open node has listed its jobs or has failed to connect TRIES times.

        Once `enough` is known, the other nodes are waited for ENOUGH_PATIENCE seconds at most.
        Returns the nodes that have not listed theirs, with the reason.
        """

        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        hurried = False

        def left() -> float:
            nonlocal deadline, hurried
            if not hurried and enough():
                hurried = True
                deadline = min(deadline, loop.time() + ENOUGH_PATIENCE)
            return max(deadline - loop.time(), 0.0)

        async def one(key: NodeKey) -> None:
            link = self.links[key]
            while not link.online:
                # A second try may help where a busy server dropped the first one.
                if link.link.attempts >= TRIES or left() <= 0:
                    await link.ready(0.0)
                try:
                    await link.ready(min(left(), _POLL))
                except LinkError as error:
                    if not error.retry:
                        raise
            while not self._listed[key].done():
                if left() <= 0:
                    raise asyncio.TimeoutError
                await asyncio.wait({self._listed[key]}, timeout=min(left(), _POLL))

        keys = list(self.links)
        outcomes = await asyncio.gather(*(one(key) for key in keys), return_exceptions=True)
        failed: dict[NodeKey, CockpitError] = {}
        for key, outcome in zip(keys, outcomes, strict=True):
            if isinstance(outcome, CockpitError):
                failed[key] = outcome
            elif isinstance(outcome, asyncio.TimeoutError):
                failed[key] = LinkError(f"{key.node}: it has not listed its jobs in time")
            elif isinstance(outcome, BaseException):
                raise outcome
        return failed

    def retry(self, node: str) -> None:
        """Try unreachable nodes of that name again now."""
        for key, link in self.links.items():
            if key.node == node:
                link.retry()

    def _link_changed(self, key: NodeKey) -> None:
        link = self.links[key].link
        self.fleet.node(key.node, key.cluster, link)
        for tracked in self.tracker.jobs.values():
            if tracked.cluster == key.cluster:
                tracked.model.link(key.node, link)
                self._job_changed(tracked)
        self._changed()

    def _job_changed(self, tracked: TrackedJob) -> None:
        for seat in tracked.seats.values():
            tracked.model.link(seat.key.node, seat.link.link)
        self.fleet.job(tracked.model)
        self._changed()

    def _changed(self) -> None:
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)

    async def changed(self, timeout: float) -> None:
        """Wait until anything changed, `timeout` seconds at most."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(waiter)
        try:
            await asyncio.wait({waiter}, timeout=timeout)
        finally:
            self._waiting.discard(waiter)

    def tracked(self, job_id: str) -> TrackedJob:
        """What is followed of a job. Raises JobNotFound."""
        tracked = self.tracker.jobs.get(job_id)
        if tracked is None:
            raise JobNotFound(f"no reachable node knows a job {job_id}")
        return tracked

    def job(self, job_id: str) -> Job:
        """One job by its full id. Raises JobNotFound."""
        return self.tracked(job_id).model.snapshot(time.time())

    async def loaded(self, timeout: float) -> None:
        """Wait until the journals that reachable nodes told of were read."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if all(tracked.loaded for tracked in self.tracker.jobs.values()):
                return
            await self.changed(0.1)

    async def sampled(self, timeout: float) -> None:
        """Wait until every node that is online has sent a telemetry sample."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            nodes = self.fleet.snapshot().nodes
            if all(n.sampled_at is not None or not online(n.link.state) for n in nodes):
                return
            await self.changed(0.1)

    async def close(self) -> None:
        """Leave the nodes; jobs go on."""
        await asyncio.gather(*(link.close() for link in self.links.values()))


def online(state: LinkState) -> bool:
    return state is LinkState.ONLINE
