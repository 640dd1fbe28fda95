"""A new attempt on other nodes than the last: who takes part, with what code, and what is left.

Real agents and real processes on this machine; a node that cannot be reached is one whose way is
cut off.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cockpit import packaging
from cockpit.controller import Controller, ending, restarting
from cockpit.controller.tracking import NodeKey
from cockpit.errors import CockpitError, UsageError
from cockpit.executors.direct import send_cancel
from cockpit.model.reports import NodeProof, RestartOptions, RestartReport
from cockpit.model.types import Job, JobState, NodeState
from cockpit.profiles.resolving import resolve
from cockpit.profiles.types import Cluster, Config, Launcher, NodeSpec
from cockpit.transport import link as link_module
from cockpit.transport.factory import transport_for
from cockpit.transport.nowhere import Nowhere

pytestmark = pytest.mark.timeout(120)

PROGRAM = "cat code.txt; exec sleep 1000"


class World:
    """Three nodes and two spares on this machine, and a controller that has them all."""

    def __init__(self, folder: Path) -> None:
        self.work = folder / "work"
        self.work.mkdir()
        (self.work / "code.txt").write_text("the code as it was launched\n")

        def node(name: str) -> NodeSpec:
            return NodeSpec(name=name, host="localhost", state_dir=str(folder / name))

        self.cluster = Cluster(
            name="lab",
            executor="local",
            nodes=tuple(map(node, ("n0", "n1", "n2"))),
            spares=tuple(map(node, ("s0", "s1"))),
        )
        launcher = Launcher(name="plain", kind="command", grace=2.0)
        self.config = Config(clusters={"lab": self.cluster}, launchers={"plain": launcher}, jobs={})
        self.controller = Controller(self.config, state_root=folder / "state", environ={})
        self.said: list[str] = []
        self.jobs: list[str] = []
        self.cut: list[str] = []

    async def launch(self, *on: str, nodes: str | None = None, name: str = "train") -> str:
        request = await asyncio.to_thread(
            resolve, self.config, cluster="lab", launcher="plain", nodes=nodes, on=on, name=name,
            command=("sh", "-c", PROGRAM), working_dir=self.work,
        )  # fmt: skip
        package = await asyncio.to_thread(packaging.pack, self.work)
        job = await self.controller.launch(request, archive=package)
        self.jobs.append(job)
        return job

    async def restart(self, job: str, *without: str, spares: bool = False) -> RestartReport:
        return await self.controller.restart(
            job,
            options=RestartOptions(without=without, spares=spares),
            preflight=False,
            say=self.said.append,
        )

    def job(self, job: str) -> Job:
        return self.controller.job(job)

    def names(self, job: str) -> list[str]:
        return [node.name for node in self.job(job).nodes]

    def cut_off(self, name: str) -> None:
        self.cut.append(name)
        self._link(name).redirect(Nowhere(f"{name}: the cable is out"))

    def bring_back(self, name: str) -> None:
        spec = next(s for s in (*self.cluster.nodes, *self.cluster.spares) if s.name == name)
        self._link(name).redirect(transport_for(self.cluster, spec))

    def _link(self, name: str) -> link_module.NodeLink:
        return self.controller._sessions.links[NodeKey("lab", name)]


async def until(condition: Callable[[], object]) -> None:
    deadline = asyncio.get_running_loop().time() + 30.0
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, "the condition never came true"
        await asyncio.sleep(0.02)


@pytest.fixture
def idle(tmp_path: Path) -> World:
    """Made where no loop runs: a controller looks at its folder first."""
    return World(tmp_path)


@pytest.fixture
async def world(idle: World, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(restarting, "CONTACT", 2.0)
    monkeypatch.setattr("cockpit.controller.ending.PATIENCE", 0.5)
    monkeypatch.setattr("cockpit.controller.ending.RETURN_INTERVAL", 0.1)
    async with idle.controller:
        idle.controller.open()
        await idle.controller.settle(30.0)
        yield idle
        for name in idle.cut:
            idle.bring_back(name)
        for job in idle.jobs:
            await idle.controller.cancel(job, grace=0.0)


async def test_a_spare_takes_the_place_of_a_node_and_gets_the_code_as_it_was(world: World) -> None:
    job = await world.launch("n0", "n1")
    (world.work / "code.txt").write_text("something else by now\n")
    report = await world.restart(job, "n0", spares=True)
    assert (report.attempt, report.nodes) == (1, ("n1", "s0"))
    assert [(item.name, item.unproven) for item in report.left_out] == [("n0", "")]
    assert world.names(job) == ["n1", "s0"]
    assert "spares that may take part: s0, s1" in world.said
    assert any(text.startswith("the code comes from n") for text in world.said)
    copy = Path(world.controller.directory(job, "s0")) / "code.txt"
    assert copy.read_text() == "the code as it was launched\n"


async def test_code_that_nobody_has_any_more_stops_a_restart_before_anything_is_ended(
    world: World,
) -> None:
    job = await world.launch("n0")
    (world.work / "code.txt").write_text("something else by now\n")
    world.cut_off("n0")
    with pytest.raises(CockpitError, match="cannot be brought to other nodes") as raised:
        await world.restart(job, spares=True)
    assert "has changed or is not on this machine" in raised.value.message
    (world.work / "code.txt").write_text("the code as it was launched\n")
    report = await world.restart(job, spares=True)
    assert report.nodes == ("s0",), "the working directory is what it was: it serves"
    world.bring_back("n0")
    await until(lambda: "n0: nothing is left" in world.said)


async def test_what_may_still_run_on_a_lost_node_is_said_and_ended_once_it_is_back(
    world: World,
) -> None:
    job = await world.launch("n0", "n1")
    world.cut_off("n1")
    report = await world.restart(job, spares=True)
    assert report.nodes == ("n0", "s0")
    (left,) = report.left_out
    assert (left.name, left.why) == ("n1", "n1: the cable is out")
    assert "the cable is out" in left.unproven
    assert any("n1: processes of attempt 0 may still run there" in text for text in world.said)
    old = world.controller._sessions.tracked(job).model.node(0, 1)
    assert old is not None and old.state is NodeState.RUNNING
    world.bring_back("n1")
    await until(lambda: "n1: nothing is left" in world.said)
    assert world.job(job).state is JobState.RUNNING, "the new attempt runs on"
    assert world.names(job) == ["n0", "s0"]


async def test_a_cancel_ends_what_an_earlier_attempt_left_on_a_node_as_well(world: World) -> None:
    job = await world.launch("n0", "n1")
    world.cut_off("n1")
    await world.restart(job, spares=True)
    report = await world.controller.cancel(job, grace=0.0, patience=0.3)
    assert not report.proven and "n1 could not be asked" in report.proof
    world.bring_back("n1")
    await until(lambda: world._link("n1").online)
    assert (await world.controller.cancel(job, grace=0.0)).proven


async def test_a_cancel_that_did_not_reach_a_node_reaches_it_once_it_is_back(world: World) -> None:
    job = await world.launch("n0", "n1")
    world.cut_off("n1")
    report = await world.controller.cancel(job, grace=0.0, patience=0.3)
    lost = [node.name for node in report.nodes if node.unreachable]
    assert lost == ["n1"]
    told: list[str] = []
    found: list[NodeProof] = []
    waiting = asyncio.ensure_future(
        world.controller.cancel_when_back(job, lost, told=told.append, found=found.append)
    )
    world.bring_back("n1")
    await asyncio.wait_for(waiting, 30.0)
    assert told == ["n1"]
    assert [(proof.name, proof.left, proof.unreachable) for proof in found] == [("n1", (), "")]
    assert world.job(job).state is JobState.CANCELLED


async def _returned(world: World, job: str, *names: str) -> tuple[list[str], list[NodeProof]]:
    """Deliver a cancel to nodes that are there or come back: who was told, and what was found."""
    told: list[str] = []
    found: list[NodeProof] = []
    await asyncio.wait_for(
        world.controller.cancel_when_back(job, names, told=told.append, found=found.append), 30.0
    )
    return told, found


async def test_a_node_that_comes_back_is_proven_once_whatever_was_restarted_on_it_before(
    world: World,
) -> None:
    job = await world.launch("n0", "n1")
    await world.restart(job)
    await world.restart(job)
    world.cut_off("n1")
    await world.controller.cancel(job, grace=0.0, patience=0.3)
    world.bring_back("n1")
    told, found = await _returned(world, job, "n1")
    assert told == ["n1"]
    assert found == [NodeProof(name="n1")], "ranks of the newest are not left over from the first"


async def test_an_attempt_newer_than_the_one_to_end_is_neither_ended_nor_left_over(
    world: World,
) -> None:
    job = await world.launch("n0", "n1")
    await world.restart(job)
    assert (world.names(job), world.job(job).attempt) == (["n0", "n1"], 1)
    found: list[NodeProof] = []
    order = ending.Order(by="ada@desk", found=found.append)
    sessions = world.controller._sessions
    await asyncio.wait_for(ending.end_when_back(sessions, job, 0, ["n1"], order), 30.0)
    assert found == [NodeProof(name="n1")]
    assert world.job(job).state is JobState.RUNNING


async def test_a_node_that_is_back_and_has_nothing_of_the_job_is_searched_once_it_has_listed(
    world: World,
) -> None:
    job = await world.launch("n0", "n1")
    key = NodeKey("lab", "n2")
    assert world.controller._sessions.has_listed(key)
    world.cut_off("n2")
    assert not world.controller._sessions.has_listed(key), "what it listed before may be old"
    waiting = asyncio.ensure_future(_returned(world, job, "n2"))
    world.bring_back("n2")
    assert await waiting == ([], [NodeProof(name="n2")])
    assert world.controller._sessions.has_listed(key)


async def test_a_node_that_was_wiped_while_it_was_away_is_searched_and_done(world: World) -> None:
    job = await world.launch("n0", "n1")
    world.cut_off("n1")
    other = await asyncio.to_thread(
        Controller, world.config, state_root=world.work.parent / "other", environ={}
    )
    async with other:
        other.open()
        await other.settle(30.0)
        assert (await other.cancel(job, grace=0.0)).proven
    shutil.rmtree(world.work.parent / "n1" / "jobs")
    old = world.controller._sessions.tracked(job).model.node(0, 1)
    assert old is not None and old.state is NodeState.RUNNING, "as far as is known here"
    world.bring_back("n1")
    assert await _returned(world, job, "n1") == ([], [NodeProof(name="n1")])


async def test_nobody_waits_for_a_node_without_a_link_and_that_is_told(world: World) -> None:
    job = await world.launch("n0", "n1")
    told, found = await _returned(world, job, "n9")
    assert told == []
    assert found == [NodeProof(name="n9", unreachable="it is not in the profile")]


async def test_what_may_run_where_no_profile_leads_is_not_promised_to_be_ended(
    world: World,
) -> None:
    job = await world.launch("n0", "n1")
    nodes = tuple(spec for spec in world.cluster.nodes if spec.name != "n1")
    cluster = msgspec.structs.replace(world.cluster, nodes=nodes)
    config = msgspec.structs.replace(world.config, clusters={"lab": cluster})
    other = await asyncio.to_thread(
        Controller, config, state_root=world.work.parent / "other", environ={}
    )
    said: list[str] = []
    async with other:
        other.open()
        await other.settle(30.0)
        options = RestartOptions(without=("n1",), spares=True)
        await other.restart(job, options=options, preflight=False, say=said.append)
    (text,) = [text for text in said if "may still run there" in text]
    assert "Nothing is sent there: once n1 is in a profile, `cockpit cancel" in text
    assert "can be reached" not in text


async def test_no_returning_node_waits_for_another(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await world.launch("n0", "n1", "n2")
    for name in ("n1", "n2"):
        world.cut_off(name)
    await world.controller.cancel(job, grace=0.0, patience=0.3)
    asked = {"n1": asyncio.Event(), "n2": asyncio.Event()}

    async def send(link: link_module.NodeLink, *args: Any, **kwargs: Any) -> None:
        asked[link.name].set()
        for event in asked.values():
            await asyncio.wait_for(event.wait(), 20.0)
        await send_cancel(link, *args, **kwargs)

    monkeypatch.setattr("cockpit.controller.ending.send_cancel", send)
    for name in ("n1", "n2"):
        world.bring_back(name)
    told, found = await _returned(world, job, "n1", "n2")
    monkeypatch.undo()
    assert sorted(told) == ["n1", "n2"]
    assert sorted(proof.name for proof in found) == ["n1", "n2"]
    assert not any(proof.left or proof.unreachable for proof in found)


async def test_too_few_nodes_are_counted_and_named_and_nothing_is_ended(world: World) -> None:
    other = await world.launch("s0", name="other")
    job = await world.launch("n0", "n1", "n2")
    for without, message in {
        ("n1",): r"needs 3 nodes, 2 can take part: 1 missing; n1 is left out \(as was asked for\)",
        ("n9",): "n9 had no part in the last attempt",
    }.items():
        with pytest.raises(UsageError, match=message):
            await world.restart(job, *without)
    with pytest.raises(UsageError) as raised:
        await world.restart(job, "n0", "n1", spares=True)
    assert "1 missing" in raised.value.message
    assert "spare s0 cannot take part (job other runs there)" in raised.value.message
    assert [world.job(known).state for known in (job, other)] == [JobState.RUNNING] * 2
    assert world.job(job).attempt == 0


async def test_a_job_that_may_have_fewer_nodes_runs_with_fewer(world: World) -> None:
    job = await world.launch(nodes="1:3")
    await until(lambda: len(world.names(job)) == 3)
    report = await world.restart(job, "n0")
    assert report.nodes == ("n1", "n2")
    assert world.job(job).nodes[0].name == "n1", "another node is the head now"


async def test_without_options_it_runs_where_it_ran(world: World) -> None:
    job = await world.launch("n0", "n2")
    report = await world.restart(job)
    assert (report.nodes, report.left_out, report.checkpoint) == (("n0", "n2"), (), None)
    with pytest.raises(UsageError, match="no rank of job train makes checkpoints"):
        await world.controller.restart(job, options=RestartOptions(checkpoint=True))
    assert (world.job(job).attempt, world.job(job).state) == (1, JobState.RUNNING)
