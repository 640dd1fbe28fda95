"""What a cancel says of a node, on real supervisors: no signal that was not sent, no lost blame."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cockpit.controller import Controller, ending
from cockpit.controller.starting import Attempt
from cockpit.profiles.types import Cluster, Config, NodeSpec
from cockpit.protocol.records import JobRecord
from tests.node.supervising import supervisors

pytestmark = pytest.mark.timeout(120)


class World:
    """One node that runs a process which takes a second to end."""

    def __init__(self, folder: Path) -> None:
        self.work = folder
        node = NodeSpec(name="n0", host="localhost", state_dir=str(folder / "n0"))
        self.cluster = Cluster(name="lab", executor="local", nodes=(node,))
        config = Config(clusters={"lab": self.cluster}, launchers={}, jobs={})
        self.controller = Controller(config, state_root=folder / "state", environ={})
        self.said: list[str] = []
        self.job_id = Controller.new_job_id()

    async def start(self) -> None:
        script = (
            "import signal, sys, time; from pathlib import Path\n"
            "signal.signal(signal.SIGTERM, lambda *_: (time.sleep(1), sys.exit(0)))\n"
            "Path('on').touch()\n"
            "while True: time.sleep(0.1)\n"
        )
        argv = (sys.executable, "-c", script)
        record = JobRecord(
            id=self.job_id, name="wait", created_at=time.time(), created_by="ada@desk",
            cluster="lab", launcher="command", kind="command", min_nodes=1, max_nodes=1,
            nproc_per_node=1, command=argv, argv=argv, env={}, secrets={},
            working_dir=str(self.work), code=None, max_restarts=0, grace=20.0,
        )  # fmt: skip
        attempt = Attempt(
            record=record, number=0, cluster=self.cluster, candidates=self.cluster.nodes,
            secrets={}, archive=None, port=None, preflight=False,
        )  # fmt: skip
        await self.controller._starter.start(attempt, lambda _: None)
        while not (self.work / "on").exists():
            await asyncio.sleep(0.05)


@pytest.fixture
def idle(tmp_path: Path) -> World:
    """Made where no loop runs: a controller looks at its folder first."""
    return World(tmp_path)


@pytest.fixture
async def world(idle: World) -> AsyncIterator[World]:
    async with idle.controller:
        idle.controller.open()
        await idle.controller.settle(30.0)
        await idle.start()
        yield idle
        await idle.controller.cancel(idle.job_id, grace=0.0)


async def test_sigterm_is_told_once_the_journal_says_that_it_was_sent(world: World) -> None:
    report = await world.controller.cancel(world.job_id, say=world.said.append)
    assert report.proven
    assert world.said == [
        "n0: asked to end, up to 20 s of grace",
        "n0: SIGTERM sent",
        "n0: nothing is left",
    ]


async def test_a_supervisor_that_does_not_answer_is_named_and_no_signal_is_claimed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ending, "PROOF_MARGIN", 0.5)
    (supervisor,) = await asyncio.to_thread(supervisors, world.job_id)
    os.kill(supervisor.pid, signal.SIGSTOP)
    try:
        report = await world.controller.cancel(world.job_id, grace=0.5, say=world.said.append)
    finally:
        os.kill(supervisor.pid, signal.SIGCONT)
    assert not report.proven
    assert not any("SIGTERM" in text for text in world.said)
    mute = f"its supervisor (pid {supervisor.pid}) does not answer"
    assert world.said[-1].endswith(f"; {mute}")
    assert f", {mute}" in report.proof
