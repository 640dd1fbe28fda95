"""Other profiles come into force while links are up: what stays, what goes, what reconnects."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from cockpit.controller import Controller
from cockpit.controller import sessions as sessions_module
from cockpit.controller.sessions import Sessions
from cockpit.controller.tracking import NodeKey
from cockpit.model.types import LinkState
from cockpit.profiles import Cluster, Config, NodeSpec, Rule
from cockpit.protocol.records import to_builtins
from cockpit.tasks import Tasks
from cockpit.transport.fake import FakeNode, FakeRequest, FakeTransport
from tests.model.scenarios import plan, record

WAIT = 60.0


async def until(condition: Callable[[], object]) -> None:
    deadline = asyncio.get_running_loop().time() + WAIT
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, "the condition never came true"
        await asyncio.sleep(0.005)


class World:
    """Fake nodes by host; `Sessions` that reach them as their profiles say."""

    def __init__(self) -> None:
        self.nodes: dict[str, FakeNode] = {}
        self.jobs: dict[str, list[dict[str, Any]]] = {}
        self.made: list[tuple[str, str | None]] = []
        """Host and user of every transport that was asked for."""
        self.tasks = Tasks()
        self.sessions: Any = None

    def transport(self, cluster: Cluster, spec: NodeSpec) -> FakeTransport:
        self.made.append((spec.host, spec.user or cluster.user))
        return FakeTransport(self.node(spec.host))

    def node(self, host: str) -> FakeNode:
        async def listing(request: FakeRequest) -> Mapping[str, Any]:
            request.event({"jobs": self.jobs.get(host, [])})
            return await asyncio.Event().wait()  # type: ignore[return-value]

        if host not in self.nodes:
            self.nodes[host] = FakeNode(host, {"watch_jobs": listing})
        return self.nodes[host]

    def open(self, *clusters: Cluster) -> Sessions:
        self.sessions = Sessions(config(*clusters), self.tasks, lambda _: None, telemetry=False)
        self.sessions.open()
        return self.sessions  # type: ignore[no-any-return]

    def states(self) -> dict[str, LinkState]:
        return {node.name: node.link.state for node in self.sessions.fleet.snapshot().nodes}


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    made = World()
    monkeypatch.setattr(sessions_module, "transport_for", made.transport)
    yield made
    await made.sessions.close()
    await made.tasks.close()
    assert sum(node.connections for node in made.nodes.values()) == 0


def lab(*hosts: str, name: str = "lab", **fields: Any) -> Cluster:
    nodes = tuple(NodeSpec(name=host.split("@")[0], host=host) for host in hosts)
    return Cluster(name=name, nodes=nodes, **fields)


def config(*clusters: Cluster, rules: tuple[Rule, ...] = ()) -> Config:
    return Config(
        clusters={cluster.name: cluster for cluster in clusters},
        launchers={},
        jobs={},
        rules={rule.name: rule for rule in rules},
    )


async def test_a_node_that_came_is_opened_and_one_that_left_is_closed(world: World) -> None:
    sessions = world.open(lab("a", "b"))
    await sessions.settle(WAIT)
    kept = sessions.links[NodeKey("lab", "a")]
    sessions.reconfigure(config(lab("a", "c"), lab("z", name="other")))
    await sessions.settle(WAIT)
    await until(lambda: world.nodes["b"].connections == 0)
    assert world.states() == dict.fromkeys(("a", "c", "z"), LinkState.ONLINE)
    assert sessions.links[NodeKey("lab", "a")] is kept
    assert world.made == [("a", None), ("b", None), ("c", None), ("z", None)]


async def test_links_live_on_where_only_other_things_changed(world: World) -> None:
    sessions = world.open(lab("a"))
    await sessions.settle(WAIT)
    since = sessions.fleet.snapshot().nodes[0].link.since
    sessions.reconfigure(config(lab("a", env={"A": "1"}, read_only=True, sync=False)))
    await asyncio.sleep(0.05)
    assert world.made == [("a", None)]
    assert sessions.fleet.snapshot().nodes[0].link.since == since
    assert sessions.cluster("lab").read_only


async def test_a_node_that_is_reached_in_another_way_reconnects_and_is_not_lost(
    world: World,
) -> None:
    sessions = world.open(lab("a"))
    await sessions.settle(WAIT)
    link = sessions.links[NodeKey("lab", "a")]
    since = link.link.since
    sessions.reconfigure(config(lab("a", user="ada")))
    await until(lambda: link.link.since > since and link.online)
    assert world.made == [("a", None), ("a", "ada")]
    assert sessions.links[NodeKey("lab", "a")] is link
    assert world.nodes["a"].connections == 1


async def test_what_was_opened_in_part_stays_so(world: World) -> None:
    world.sessions = sessions = Sessions(
        config(lab("a", "b"), lab("z", name="other")), world.tasks, lambda _: None, telemetry=False
    )
    sessions.open(["lab"], ["a"])
    await sessions.settle(WAIT)
    sessions.reconfigure(config(lab("a", "b", "c"), lab("z", "y", name="other")))
    await sessions.settle(WAIT)
    assert list(world.states()) == ["a"]


def listed(number: int, nodes: int = 2) -> list[dict[str, Any]]:
    """What node `number` tells of a job that runs on `nodes` nodes called gpu01, gpu02, …"""
    attempt = {
        "attempt": 0,
        "node_rank": number,
        "plan": to_builtins(plan(nodes, 0, number)),
        "events": {"kind": "running"},
    }
    return [{"job": to_builtins(record()), "attempts": [attempt]}]


async def test_a_job_whose_nodes_all_left_is_shown_as_last_seen(world: World) -> None:
    world.jobs = {"gpu01": listed(0), "gpu02": listed(1)}
    sessions = world.open(lab("gpu01", "gpu02"))
    await until(lambda: sessions.tracker.jobs)
    sessions.reconfigure(config(lab("c")))
    assert not sessions.tracker.jobs
    (job,) = sessions.fleet.snapshot().jobs
    assert job.seen_at is not None
    await until(
        lambda: not world.nodes["gpu01"].connections and not world.nodes["gpu02"].connections
    )


async def test_a_part_of_a_job_that_left_cannot_be_reached_until_it_is_back(world: World) -> None:
    world.jobs = {"gpu01": listed(0), "gpu02": listed(1)}
    sessions = world.open(lab("gpu01", "gpu02"))
    await until(lambda: sessions.tracker.jobs and len(_job(sessions).seats) == 2)
    sessions.reconfigure(config(lab("gpu01")))
    part = _job(sessions).seats[0, 1].link
    await until(lambda: part.link.state is LinkState.UNREACHABLE)
    assert part.link.why == "gpu02 is not in the profiles any more"
    assert list(world.states()) == ["gpu01"]
    await until(lambda: world.nodes["gpu02"].connections == 0)
    sessions.reconfigure(config(lab("gpu01", "gpu02")))
    await until(lambda: part.online)
    assert sessions.links[NodeKey("lab", "gpu02")] is part
    requests = world.nodes["gpu02"].requests
    follows = [args["path"] for op, args in requests if op == "follow"]
    assert len(follows) == 2 * len(set(follows)), "every journal goes on where it was"


async def test_another_machine_under_the_same_name_is_another_node(world: World) -> None:
    world.jobs = {"gpu01": listed(0), "gpu02": listed(1)}
    sessions = world.open(lab("gpu01", "gpu02"))
    await until(lambda: sessions.tracker.jobs and len(_job(sessions).seats) == 2)
    before = sessions.links[NodeKey("lab", "gpu02")]
    sessions.reconfigure(config(lab("gpu01", "gpu02@new")))
    await sessions.settle(WAIT)
    assert world.states()["gpu02"] is LinkState.ONLINE
    assert world.nodes["gpu02@new"].connections == 1
    assert _job(sessions).seats[0, 1].link is before
    await until(lambda: before.link.state is LinkState.UNREACHABLE)
    links = {node.name: node.link.state for node in sessions.fleet.snapshot().jobs[0].nodes}
    assert links == {"gpu01": LinkState.ONLINE, "gpu02": LinkState.UNREACHABLE}


def _job(sessions: Sessions) -> Any:
    return next(iter(sessions.tracker.jobs.values()))


async def test_a_wait_for_nodes_ends_when_they_leave(world: World) -> None:
    world.node("a").delay = 60.0
    sessions = world.open(lab("a"))
    waiting = asyncio.ensure_future(sessions.settle(WAIT))
    await asyncio.sleep(0.05)
    sessions.reconfigure(config())
    failed = await asyncio.wait_for(waiting, WAIT)
    assert list(failed) == [NodeKey("lab", "a")]


def here(folder: Path, *names: str) -> Config:
    """Nodes on this machine, each with a folder of its own."""
    nodes = tuple(
        NodeSpec(name=name, host="localhost", state_dir=str(folder / name)) for name in names
    )
    return config(Cluster(name="local", executor="local", nodes=nodes))


@pytest.fixture
def made(tmp_path: Path) -> Controller:
    return Controller(here(tmp_path, "a"), state_root=tmp_path / "controller")


async def test_real_nodes_come_and_go(made: Controller, tmp_path: Path) -> None:
    async with made as controller:
        controller.open()
        assert not await controller.settle(WAIT)
        controller.reconfigure(here(tmp_path, "b"))
        assert not await controller.settle(WAIT)
        assert [node.name for node in controller.snapshot().nodes] == ["b"]
        assert controller.config.clusters["local"].nodes[0].name == "b"


async def test_rules_that_came_name_causes_of_known_failures(world: World) -> None:
    world.jobs = {"a": listed(0, 1)}
    sessions = world.open(lab("a"))
    await until(lambda: sessions.tracker.jobs)
    model = _job(sessions).model
    revision = model.revision
    rule = Rule(name="x", pattern="boom", cause="it boomed")
    sessions.reconfigure(config(lab("a"), rules=(rule,)))
    assert model.revision > revision
    assert sessions.job(model.record.id).id == model.record.id
