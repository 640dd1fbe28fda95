"""Links to the nodes of the open clusters, and what arrives over them: listings and telemetry.

Holds the tracker and the fleet model and tells whoever waits that something changed. It asks
nothing of a node beyond looking; launching and ending are elsewhere.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

from cockpit.controller.placing import Place, place_of, road_of
from cockpit.controller.tracking import NodeKey, TrackedJob, Tracker
from cockpit.errors import CockpitError, JobNotFound, LinkError, UsageError
from cockpit.model.fleet import FleetModel
from cockpit.model.masking import Mask
from cockpit.model.rules import Rules
from cockpit.model.store import Seen
from cockpit.model.types import Job, LinkState
from cockpit.profiles.types import Cluster, Config, NodeSpec
from cockpit.protocol.records import JobRecord
from cockpit.tasks import Tasks
from cockpit.transport.factory import transport_for
from cockpit.transport.link import NodeLink
from cockpit.transport.nowhere import Nowhere
from cockpit.transport.trace import Trace

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
        telemetry: float | None,
        mask_of: Callable[[JobRecord], Mask] = lambda _: Mask(),
    ) -> None:
        self.config = config
        self.links: dict[NodeKey, NodeLink] = {}
        self._placed: dict[NodeKey, tuple[Cluster, NodeSpec]] = {}
        """The profiles that the links were made from."""
        self._parked: dict[tuple[NodeKey, Place], NodeLink] = {}
        """Links to nodes that left the profiles while jobs on other nodes ran there too."""
        self._opened: list[tuple[Sequence[str] | None, Collection[str] | None]] = []
        self.tracker = Tracker(self._job_changed, recall, Rules(config.rules.values()), mask_of)
        self.fleet = FleetModel()
        self.trace = Trace()
        self._tasks = tasks
        self._telemetry = telemetry
        self._listed: dict[NodeKey, asyncio.Future[None]] = {}
        self._fresh: set[NodeKey] = set()
        """Nodes that have listed their jobs since they were reached last."""
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
        self._opened.append((clusters, nodes))
        for cluster, spec in chosen:
            if nodes is None or spec.name in nodes:
                self.open_node(cluster, spec)

    def reconfigure(self, config: Config) -> None:
        """Take these profiles instead of those before.

        Links to nodes that are where they were live on; those reached in another way reconnect,
        and what they follow resumes. Nodes that left the profiles, or are somewhere else now, are
        left; what was opened before is opened as it is named now.
        """
        self.config = config
        self.tracker.use_rules(Rules(config.rules.values()))
        now = {
            NodeKey(cluster.name, spec.name): (cluster, spec)
            for cluster in config.clusters.values()
            for spec in (*cluster.nodes, *cluster.spares)
        }
        left = []
        for key, before in self._placed.items():
            after = now.get(key)
            if after is None or place_of(*after) != place_of(*before):
                left.append(key)
                continue
            self._placed[key] = after
            if road_of(*after) != road_of(*before):
                self.links[key].redirect(transport_for(*after))
        self._leave(left)
        for key in left:
            if key in now:
                self.open_node(*now[key])
        for clusters, nodes in self._opened:
            for key, (cluster, spec) in now.items():
                if (clusters is None or key.cluster in clusters) and (
                    nodes is None or key.node in nodes
                ):
                    self.open_node(cluster, spec)
        self._changed()

    def _leave(self, keys: Sequence[NodeKey]) -> None:
        """Do not look at these nodes any more. Jobs that only they know are shown as last seen; of
        jobs with other nodes they stay a part that cannot be reached."""
        links = {key: self.links.pop(key) for key in keys}
        for tracked in list(self.tracker.jobs.values()):
            known = {seat.link for seat in tracked.seats.values()}
            if known and known.isdisjoint(self.links.values()) and known & set(links.values()):
                job = tracked.model.snapshot(time.time())
                self.tracker.forget(job.id)
                self.fleet.remove_job(job.id)
                self.fleet.recall([Seen(job=job, seen_at=time.time())])
        needed = {
            seat.link for tracked in self.tracker.jobs.values() for seat in tracked.seats.values()
        }
        for key, link in links.items():
            place = place_of(*self._placed.pop(key))
            self._listed.pop(key).cancel()
            self._fresh.discard(key)
            self.fleet.remove_node(key.node, key.cluster)
            self.tracker.unlist(key)
            if link in needed:
                self._parked[key, place] = link
                link.redirect(Nowhere(f"{key.node} is not in the profiles any more"))
            else:
                self._tasks.start(link.close(), f"leaving {key.node}")

    def open_node(self, cluster: Cluster, spec: NodeSpec) -> NodeLink:
        """The link to one node, started if it is new."""
        key = NodeKey(cluster.name, spec.name)
        known = self.links.get(key)
        if known is not None:
            return known
        self._placed[key] = (cluster, spec)
        self._listed[key] = asyncio.get_running_loop().create_future()
        parked = self._parked.pop((key, place_of(cluster, spec)), None)
        if parked is not None:
            self.links[key] = parked
            self.fleet.node(key.node, key.cluster, parked.link)
            parked.redirect(transport_for(cluster, spec))
            return parked
        link = NodeLink(
            spec.name,
            transport_for(cluster, spec),
            on_change=lambda: self._link_changed(key, link),
            trace=self.trace.node(cluster.name, spec.name),
        )
        self.links[key] = link
        self.fleet.node(key.node, key.cluster, link.link)
        self._listen(key, link)
        self._tasks.start(link.start(), f"link to {spec.name}")
        return link

    def _listen(self, key: NodeKey, link: NodeLink) -> None:
        """Take in what comes over a link, while it is the one to this node."""

        def jobs(event: dict[str, Any]) -> None:
            if self.links.get(key) is not link:
                return
            self.tracker.listed(key, link, event, time.time())
            self._fresh.add(key)
            listed = self._listed[key]
            if not listed.done():
                listed.set_result(None)
            self._changed()

        link.subscribe("watch_jobs", jobs, interval=LISTING_INTERVAL)
        if self._telemetry:

            def sample(payload: bytes) -> None:
                if self.links.get(key) is not link:
                    return
                self.fleet.sample(key.node, key.cluster, payload, time.monotonic())
                self._changed()

            link.subscribe("telemetry", sample, raw=True, interval=self._telemetry)

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
            link, listed = self.links[key], self._listed[key]
            while not link.online:
                # A second try may help where a busy server dropped the first one.
                if link.link.attempts >= TRIES or left() <= 0:
                    await link.ready(0.0)
                try:
                    await link.ready(min(left(), _POLL))
                except LinkError as error:
                    if not error.retry:
                        raise
            while not listed.done():
                if left() <= 0:
                    raise asyncio.TimeoutError
                await asyncio.wait({listed}, timeout=min(left(), _POLL))

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

    def _link_changed(self, key: NodeKey, link: NodeLink) -> None:
        in_use = self.links.get(key) is link
        if in_use:
            if not link.online:
                self._fresh.discard(key)
            self.fleet.node(key.node, key.cluster, link.link)
        for tracked in self.tracker.jobs.values():
            if tracked.cluster == key.cluster and in_use:
                tracked.model.link(key.node, link.link)
            tracked.see_link(link)
            self._job_changed(tracked)
        self._changed()

    def _job_changed(self, tracked: TrackedJob) -> None:
        self.fleet.job(tracked.model)
        self._changed()

    def _changed(self) -> None:
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)

    def has_listed(self, key: NodeKey) -> bool:
        """The node is there, and has listed its jobs since it was reached last."""
        return key in self._fresh

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
        links = (*self.links.values(), *self._parked.values())
        await asyncio.gather(*(link.close() for link in links))


def online(state: LinkState) -> bool:
    return state is LinkState.ONLINE
