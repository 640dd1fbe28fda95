"""`cockpit restart --ranks`: a new generation of the running attempt, and when there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.lab import Lab, until

pytestmark = [pytest.mark.sshd, pytest.mark.timeout(360)]

TRAINING = """
import time, torch, torch.distributed as dist
dist.init_process_group("gloo")
while True:
    dist.all_reduce(torch.ones(1))
    time.sleep(0.01)
"""


def launched(lab: Lab, *words: str) -> str:
    started = lab.run("run", "-c", "lab", "--detach", *words)
    assert started.returncode == 0, started.stderr
    return started.stdout.strip()


@pytest.mark.torch
@pytest.mark.slow
def test_one_reachable_node_is_enough_and_the_other_one_is_named(lab: Lab) -> None:
    lab.script(TRAINING)
    job = launched(lab, "-l", "quick", "--nodes", "2", "--nproc-per-node", "2", "train.py")
    try:
        until(lambda: lab.status(job)["state"] == "running", 120)
        before = lab.status(job)
        lab.nodes[1].stop()
        done = lab.run("restart", "--ranks", job)
        lab.nodes[1].start()
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == job
        assert "node0: asked" in done.stderr
        assert "node1 was not asked" in done.stderr
        assert "generation 1 of train runs" in done.stderr
        after = until(
            lambda: [s for s in [lab.status(job)] if all(n["ranks"] for n in s["nodes"])], 60
        )[0]
        assert (after["attempt"], after["restarts"], len(after["history"])) == (0, 1, 2)
        first = after["history"][0]
        assert (first["reason"], first["cause"]) == ("operator", None), "it was asked for"
        assert first["by"] == after["created_by"]
        for old, new in zip(before["nodes"], after["nodes"], strict=True):
            assert old["pid"] == new["pid"], "the launcher process stays"
            assert not {r["pid"] for r in old["ranks"]} & {r["pid"] for r in new["ranks"]}
    finally:
        assert lab.run("cancel", job).returncode == 0


@pytest.mark.slow
def test_what_has_no_ranks_that_run_is_not_restarted_in_place(lab: Lab, tmp_path: Path) -> None:
    lab.script("the only file")
    stop = tmp_path / "stop"
    loop = f"until [ -e {stop} ]; do sleep 0.1; done"
    job = launched(lab, "-l", "plain", "--nodes", "1", "--no-python", "sh", "-c", loop)
    until(lambda: lab.status(job)["state"] == "running", 120)
    refused = lab.run("restart", "--ranks", job)
    assert refused.returncode == 64
    assert "has no ranks to restart" in refused.stderr
    assert "without --ranks" in refused.stderr
    stop.touch()
    until(lambda: lab.status(job)["state"] == "succeeded", 120)
    assert lab.run("restart", "--ranks", job).returncode == 64
    assert lab.run("restart", "--ranks", "-e", "TOKEN=x", job).returncode == 64
    assert lab.run("restart", "--ranks", "nobody").returncode != 0
