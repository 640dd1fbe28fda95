"""A checkpoint before a restart: every rank saves at one step, or the job runs on untouched.

Real agents, supervisors and ranks with slots on this machine; no torch.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cockpit.controller import Controller, checkpoints
from cockpit.controller.starting import Attempt
from cockpit.controller.tracking import NodeKey
from cockpit.errors import CockpitError
from cockpit.model.reports import RestartOptions
from cockpit.model.types import JobState
from cockpit.profiles.types import Cluster, Config, NodeSpec
from cockpit.protocol.records import JobRecord
from cockpit.transport.nowhere import Nowhere
from tests.node.beating import launcher_argv

pytestmark = pytest.mark.timeout(120)


class World:
    """Two nodes with one rank each, and a controller."""

    def __init__(self, folder: Path) -> None:
        self.work = folder / "work"
        self.work.mkdir()
        self.do("save")
        nodes = tuple(
            NodeSpec(name=name, host="localhost", state_dir=str(folder / name))
            for name in ("n0", "n1")
        )
        self.cluster = Cluster(name="lab", executor="local", nodes=nodes)
        config = Config(clusters={"lab": self.cluster}, launchers={}, jobs={})
        self.controller = Controller(config, state_root=folder / "state", environ={})
        self.said: list[str] = []
        self.job_id = Controller.new_job_id()

    def do(self, word: str) -> None:
        (self.work / "do").write_text(word)

    async def start(self) -> None:
        argv = launcher_argv(1)
        record = JobRecord(
            id=self.job_id, name="train", created_at=time.time(), created_by="ada@desk",
            cluster="lab", launcher="torchrun", kind="torchrun", min_nodes=2, max_nodes=2,
            nproc_per_node=1, command=argv, argv=argv, env={}, secrets={},
            working_dir=str(self.work), code=None, max_restarts=0, grace=1.0,
        )  # fmt: skip
        attempt = Attempt(
            record=record, number=0, cluster=self.cluster, candidates=self.cluster.nodes,
            secrets={}, archive=None, port=None, preflight=False,
        )  # fmt: skip
        # The Python of this test has no torch as far as the node may know, and needs none.
        await self.controller._starter.start(attempt, self.said.append)

    async def restart(self, timeout: float = 60.0) -> int | None:
        options = RestartOptions(checkpoint=True, checkpoint_timeout=timeout)
        report = await self.controller.restart(
            self.job_id, options=options, preflight=False, say=self.said.append
        )
        return report.checkpoint

    async def until_it_can(self) -> None:
        deadline = asyncio.get_running_loop().time() + 60.0
        while True:
            nodes = self.controller.job(self.job_id).nodes
            ranks = [rank for node in nodes for rank in node.ranks]
            if len(ranks) == 2 and all(rank.checkpoint_pace for rank in ranks):
                return
            assert asyncio.get_running_loop().time() < deadline, "no rank makes checkpoints"
            await self.controller.changed(0.2)


@pytest.fixture
def idle(tmp_path: Path) -> World:
    """Made where no loop runs: a controller looks at its folder first."""
    return World(tmp_path)


@pytest.fixture
async def world(idle: World, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr("cockpit.executors.looking.NEEDS", {})
    monkeypatch.setattr(checkpoints, "LEAD", 1.5)
    async with idle.controller:
        idle.controller.open()
        await idle.controller.settle(30.0)
        await idle.start()
        await idle.until_it_can()
        yield idle
        await idle.controller.cancel(idle.job_id, grace=0.0)


async def test_all_ranks_save_at_one_step_before_the_next_attempt_starts(world: World) -> None:
    step = await world.restart()
    assert f"asking for a checkpoint at step {step}" in world.said
    assert f"checkpoint at step {step}: 0 of 2 ranks saved" in world.said
    saved = world.said.index(f"checkpoint at step {step}: saved by 2 ranks")
    ended = next(n for n, text in enumerate(world.said) if "asked to end" in text)
    assert saved < ended
    job = world.controller.job(world.job_id)
    assert (job.attempt, job.checkpoint) == (1, None)


async def test_what_does_not_come_in_time_is_taken_back_and_the_job_runs_on(world: World) -> None:
    world.do("hang")
    with pytest.raises(CockpitError, match=r"no checkpoint: it did not come within 0\.5 s"):
        await world.restart(timeout=0.5)
    job = world.controller.job(world.job_id)
    assert (job.attempt, job.state) == (0, JobState.RUNNING)
    asked = job.checkpoint
    assert asked is not None and asked.step is not None and asked.saved == ()
    while not (asked is not None and asked.void.startswith("taken back by")):
        await world.controller.changed(0.2)
        asked = world.controller.job(world.job_id).checkpoint
    world.do("save")
    step = await world.restart()
    assert step is not None, "it can be asked again"


async def test_unless_every_node_is_told_in_time_no_rank_saves(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = world.controller._sessions.links[NodeKey("lab", "n1")]
    way = link.transport
    link.redirect(Nowhere("n1: the cable is out"))
    with pytest.raises(CockpitError, match="n1 is out of reach, and its ranks would not save"):
        await world.restart()
    link.redirect(way)
    await link.ready(30.0)
    assert world.controller.job(world.job_id).checkpoint is None
    # So little ahead that the ranks are past that step before a supervisor has heard of it.
    for name, value in {"LEAST_STEPS": 0, "LEAD": 5.0, "LAG": -5.0, "REPLIES": 0.0}.items():
        monkeypatch.setattr(checkpoints, name, value)
    with pytest.raises(CockpitError, match="is past step"):
        await world.restart()
    job = world.controller.job(world.job_id)
    assert (job.attempt, job.state) == (0, JobState.RUNNING)
