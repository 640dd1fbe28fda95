"""A job that prints its own secret: hidden wherever this machine shows, saves or copies it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cockpit.controller import Controller
from cockpit.controller.saving import MaskedLines
from cockpit.controller.secrets import Known
from cockpit.controller.starting import Attempt
from cockpit.model.masking import Mask
from cockpit.profiles.types import Cluster, Config, JobProfile, NodeSpec
from cockpit.protocol.records import JobRecord
from cockpit.protocol.secretref import SecretRef

pytestmark = pytest.mark.timeout(120)

VALUE = "hunter2-hunter2"


class World:
    """One node whose job prints its secret, and a controller that can resolve it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        node = NodeSpec(name="n0", host="localhost", state_dir=str(folder / "n0"))
        self.cluster = Cluster(name="lab", executor="local", nodes=(node,))
        config = Config(clusters={"lab": self.cluster}, launchers={}, jobs={})
        self.controller = Controller(config, state_root=folder / "state", environ={"MYSEC": VALUE})
        self.job_id = Controller.new_job_id()

    async def run(self) -> None:
        argv = ("/bin/sh", "-c", "echo sec=$SEC; echo done")
        record = JobRecord(
            id=self.job_id, name="tell", created_at=time.time(), created_by="ada@desk",
            cluster="lab", launcher="command", kind="command", min_nodes=1, max_nodes=1,
            nproc_per_node=1, command=argv, argv=argv,
            env={}, secrets={"SEC": SecretRef(env="MYSEC")}, working_dir=str(self.folder),
            code=None, max_restarts=0, grace=1.0,
        )  # fmt: skip
        attempt = Attempt(
            record=record, number=0, cluster=self.cluster, candidates=self.cluster.nodes,
            secrets={"SEC": VALUE}, archive=None, port=None, preflight=False,
        )  # fmt: skip
        await self.controller._starter.start(attempt, lambda _: None)
        while not self.controller.job(self.job_id).state.ended:
            await self.controller.changed(0.2)

    def raw(self) -> bytes:
        (log,) = self.folder.glob(f"n0/jobs/{self.job_id}/attempts/0/nodes/0/logs/launcher.out")
        return log.read_bytes()


@pytest.fixture
def idle(tmp_path: Path) -> World:
    """Made where no loop runs: a controller looks at its folder first."""
    return World(tmp_path)


@pytest.fixture
async def world(idle: World) -> AsyncIterator[World]:
    async with idle.controller:
        idle.controller.open()
        await idle.controller.settle(30.0)
        await idle.run()
        yield idle


async def test_a_recording_keeps_every_offset_and_no_value(world: World) -> None:
    target = world.folder / "recording"
    saved = await world.controller.save(world.job_id, target)
    assert saved.failed == {}
    log = target / "attempts/0/nodes/0/logs/launcher.out"
    stars = "*" * len(VALUE)
    assert await asyncio.to_thread(log.read_text) == f"sec={stars}\ndone\n"
    assert await asyncio.to_thread(world.raw) == f"sec={VALUE}\ndone\n".encode()


def masked(mask: Mask, data: bytes, size: int) -> bytes:
    """`data` as a recording has it that comes in pieces of `size` bytes."""
    lines = MaskedLines(mask)
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    return b"".join([*(lines.feed(piece) for piece in pieces), lines.end()])


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_recorded_journal_keeps_its_structure_and_its_length(size: int) -> None:
    mask = Mask(["started", "launcher", VALUE, "\u00fcber-geheim"])
    lines = [
        b'{"kind":"started","path":"launcher.out", "n": 1.50}',
        b'{"kind":"group","failures":[{"message":"E: %s \\u00fcber-geheim"}]}' % VALUE.encode(),
        b"",
        b'{"torn": "%s' % VALUE.encode(),
    ]
    data = b"\n".join(lines)
    found = masked(mask, data, size)
    first, second, empty, torn = found.split(b"\n")
    assert (first, empty) == (lines[0], b"")
    assert json.loads(second) == {"kind": "group", "failures": [{"message": "E: *** ***"}]}
    assert len(second) == len(lines[1])
    assert torn == b'{"torn": "%s' % (b"*" * len(VALUE))
    assert masked(Mask(), data, size) == data


async def test_a_secret_that_is_a_word_of_journals_breaks_no_recording(world: World) -> None:
    world.controller._sessions.tracked(world.job_id).mask.add(["started", "launcher"])
    target = world.folder / "recording"
    await world.controller.save(world.job_id, target)
    kinds = [
        json.loads(line)["kind"]
        for line in (target / "attempts/0/nodes/0/events.jsonl").read_text().splitlines()
    ]
    assert "started" in kinds


def test_what_this_machine_knows_is_hidden_and_what_it_would_have_to_ask_for_is_not(
    tmp_path: Path,
) -> None:
    (tmp_path / "token").write_text("from-a-file\n")
    refs = {
        "A": SecretRef(env="MYSEC"),
        "B": SecretRef(file=str(tmp_path / "token")),
        "C": SecretRef(cmd=("touch", str(tmp_path / "ran"))),
        "D": SecretRef(file=str(tmp_path / "missing")),
        "E": SecretRef(env="UNSET"),
    }
    config = Config(clusters={}, launchers={}, jobs={"j": JobProfile(name="j", secrets=refs)})
    known = Known(config, {"MYSEC": VALUE})
    record = JobRecord(
        id="0123456789ab", name="j", created_at=0.0, created_by="a", cluster="lab",
        launcher="command", kind="command", min_nodes=1, max_nodes=1, nproc_per_node=1,
        command=("x",), argv=("x",), env={}, secrets=refs, working_dir="/", code=None,
        max_restarts=0, grace=1.0,
    )  # fmt: skip
    mask = known.mask_of(record)
    assert mask.text(f"{VALUE} from-a-file from-a-command") == "*** *** from-a-command"
    known.learn(record.id, ["from-a-command"])
    assert mask.text("from-a-command") == "***"
    assert not (tmp_path / "ran").exists()
