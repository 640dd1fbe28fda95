"""The log document of a job that runs on real nodes: near its end first, then all of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from cockpit.controller import Controller
from cockpit.launchers.plan import Request
from cockpit.model.logtypes import LogDocument
from cockpit.profiles.types import Config, Launcher
from tests.harness.sshd import Sshd, cluster, make_sshd

__all__ = ["make_sshd"]

pytestmark = pytest.mark.sshd

WAIT = 60.0
LINES = 12_000
WRITER = """
import os, sys, time
for number in range(LINES):
    sys.stdout.write("%s line %06d %s\\n" % (os.environ["HOME"][-5:], number, "x" * 40))
    if number % 3000 == 2999:
        sys.stdout.flush()
        time.sleep(0.3)
print("written", flush=True)
while not os.path.exists("on"):
    time.sleep(0.02)
print("went on", flush=True)
time.sleep(300)
""".replace("LINES", str(LINES))


@pytest.fixture(autouse=True)
def event_loop_guard() -> None:
    """Not here: mirrors keep their small files on the loop, which is theirs."""


async def until(document: LogDocument, condition: Callable[[], object]) -> None:
    """Poll until `condition` holds."""
    deadline = asyncio.get_running_loop().time() + WAIT
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, "the condition never came true"
        document.poll()
        await asyncio.sleep(0.02)


def texts(document: LogDocument) -> list[str]:
    lines: list[str] = []
    for start in range(document.first, document.end, 10_000):
        lines += [line.data.decode() for line in document.lines(start, start + 10_000)]
    return lines


@pytest.fixture
async def controller(
    tmp_path: Path, make_sshd: Callable[..., Sshd]
) -> AsyncIterator[tuple[Controller, list[Sshd], str]]:
    """A controller with a job that writes on both of its nodes."""
    nodes = [make_sshd("node0", "127.0.0.1"), make_sshd("node1", "127.0.0.2")]
    lab = cluster(nodes)
    launcher = Launcher(name="plain", kind="command", grace=0.5)
    config = Config(clusters={lab.name: lab}, launchers={"plain": launcher}, jobs={})
    code = tmp_path / "code"
    code.mkdir()
    (code / "write.py").write_text(WRITER)
    async with Controller(config, state_root=tmp_path / "state") as controller:
        controller.open()
        await controller.settle(WAIT)
        request = Request(
            name="writer",
            cluster=lab,
            launcher=launcher,
            nodes=lab.nodes,
            min_nodes=2,
            max_nodes=2,
            nproc_per_node=1,
            script="write.py",
            working_dir=str(code),
        )
        job = await controller.launch(request, archive=None)
        yield controller, nodes, job
        await controller.cancel(job)


async def test_a_document_begins_near_the_end_grows_both_ways_and_outlives_a_drop(
    controller: tuple[Controller, list[Sshd], str], tmp_path: Path
) -> None:
    desk, nodes, job = controller
    logs = [
        node.state_dir / f"jobs/{job}/attempts/0/nodes/{number}/logs/launcher.out"
        for number, node in enumerate(nodes)
    ]
    while not all(log.exists() and b"written" in log.read_bytes() for log in logs):
        await asyncio.sleep(0.05)
    document = desk.document(job)
    await until(document, lambda: document.end and not document.notice)
    assert texts(document).count("written") == 2
    # A tail of 256 KiB is less than half of what was written.
    assert document.end < LINES
    assert not document.complete
    shown = [(line.origin, line.data) for line in document.lines(0, 10_000)]

    nodes[0].kill_connections()
    (tmp_path / "code" / "on").touch()
    await until(document, lambda: texts(document).count("went on") == 2)

    while not document.complete:
        document.older()
        await until(document, lambda: not document.notice)
    assert document.first < 0
    assert document.end - document.first == 2 * (LINES + 2)
    # Their times may be known better by now.
    assert [(line.origin, line.data) for line in document.lines(0, len(shown))] == shown
    lines = [line for start in range(document.first, document.end, 10_000)
             for line in document.lines(start, start + 10_000)]  # fmt: skip
    for number, log in enumerate(logs):
        mine = [line.data for line in lines if line.origin.node_rank == number]
        assert mine == log.read_bytes().split(b"\n")[:-1]
    assert all(line.at for line in lines)
    assert document.at_time(0.0) == document.first
    assert document.at_time(1e12) == document.end

    only = document.select(frozenset({lines[0].origin}))
    await until(only, lambda: only.end and not only.notice)
    assert {line.origin for line in only.lines(0, 10_000)} == {lines[0].origin}
    only.close()

    size = await document.save(tmp_path / "saved")
    saved = (tmp_path / "saved").read_bytes()
    assert size == len(saved)
    written = [line.split(b" ", 5)[5] for line in saved.splitlines()]
    assert sorted(written) == sorted(line.data for line in lines)
    document.close()
    document.close()
