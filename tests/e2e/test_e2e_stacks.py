"""`cockpit stacks` on a real job that hangs: 2 x 2 ranks over two sshds, one of them elsewhere."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

import pytest

from tests.e2e.lab import Lab, until

pytestmark = [pytest.mark.torch, pytest.mark.sshd, pytest.mark.timeout(360)]

READER = """
import re

def read_shard():
    # One rank reads for ever, and holds the GIL while it does.
    re.match(r"(a+)+$", "a" * 60 + "b")
"""

HANGS = """
import time
import torch
import torch.distributed as dist
from reader import read_shard

def train():
    dist.init_process_group("gloo")
    if dist.get_rank() == 3:
        read_shard()
    dist.all_reduce(torch.ones(1))

train()
"""

PATIENT = ("--timeout", "30")
"""A busy machine is no failure."""


def _stacks(lab: Lab, job: str, *words: str) -> dict[str, Any]:
    done = lab.run("stacks", "--json", *PATIENT, *words, job)
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def _all_are_there(lab: Lab, job: str) -> dict[str, Any] | None:
    document = _stacks(lab, job)
    text = document["summary"]
    return document if "read_shard, 3 others in all_reduce" in text else None


@pytest.mark.slow
def test_the_rank_that_hangs_in_user_code_is_named_before_those_that_wait_for_it(lab: Lab) -> None:
    lab.script(READER, "reader.py")
    lab.script(HANGS)
    done = lab.run(
        "run", "-c", "lab", "-l", "quick", "--nodes", "2", "--nproc-per-node", "2", "--detach",
        "--name", "hang", "train.py",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    job = done.stdout.strip()
    document = until(lambda: _all_are_there(lab, job), timeout=90.0)
    line = READER.split("\n").index('    re.match(r"(a+)+$", "a" * 60 + "b")') + 1
    status = lab.status(job)
    nodes = {rank["rank"]: node["name"] for node in status["nodes"] for rank in node["ranks"]}
    culprit = f"rank 3 ({nodes[3]})"
    assert document["summary"] == (
        f"{culprit} is in reader.py:{line} read_shard, 3 others in all_reduce"
    )
    assert document["missing"] == []
    first, others = document["groups"]
    assert (first["ranks"], first["nodes"]) == ([3], [nodes[3]])
    assert sorted(others["ranks"]) == [0, 1, 2]
    assert sorted(others["nodes"]) == ["node0", "node1"]
    names = [frame["function"] for frame in first["stack"]]
    assert names[-3:] == ["read_shard", "train", "<module>"]
    assert not any("cockpit" in frame["file"].rsplit("/", 2)[-2:] for frame in first["stack"])

    shown = lab.run("stacks", "--all-threads", *PATIENT, "hang")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.startswith(document["summary"] + "\n")
    assert f"{culprit}: reader.py:{line} read_shard\n" in shown.stdout
    assert f"  > reader.py:{line} " in shown.stdout
    assert "\x1b" not in shown.stdout

    # A rank that is stopped is told as such, and costs only itself.
    pids = {rank["rank"]: rank["pid"] for node in status["nodes"] for rank in node["ranks"]}
    os.kill(pids[1], signal.SIGSTOP)
    try:
        stopped = until(lambda: (d := _stacks(lab, job))["missing"] and d)
    finally:
        os.kill(pids[1], signal.SIGCONT)
    (missing,) = stopped["missing"]
    assert (missing["rank"], missing["node"]) == (1, nodes[1])
    assert "SIGSTOP" in missing["error"]
    assert "SIGSTOP" in stopped["summary"]

    # A node that is gone is named; what the others say is shown all the same.
    gone = next(node for node in lab.nodes if node.name == nodes[0])
    gone.stop_listening()
    gone.kill_connections()
    half = _stacks(lab, job)
    assert [item["node"] for item in half["missing"]] == [nodes[0]]
    assert half["missing"][0]["rank"] is None
    assert {name for group in half["groups"] for name in group["nodes"]} == {nodes[3]}
    gone.start()

    assert lab.run("cancel", "--grace", "1", job).returncode == 0
    ended = lab.run("stacks", job)
    assert ended.returncode == 64
    assert "has ended" in ended.stderr
    assert "--last" in ended.stderr
    none_kept = lab.run("stacks", "--last", job)
    assert none_kept.returncode == 1
    assert "no stacks of job hang were kept" in none_kept.stderr


@pytest.mark.slow
def test_the_stacks_of_a_stall_are_kept_and_shown_after_the_job_has_ended(lab: Lab) -> None:
    text = lab.config.read_text()
    quick = '[launchers.quick]\nkind = "torchrun"\n'
    watched = quick + "initial_rank_heartbeat_timeout = 15.0\n"
    lab.config.write_text(text.replace(quick, watched))
    lab.script(READER, "reader.py")
    lab.script(HANGS)
    done = lab.run(
        "run", "-c", "lab", "-l", "quick", "--nodes", "2", "--nproc-per-node", "2", "--detach",
        "train.py",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    job = done.stdout.strip()
    until(lambda: _kept(lab, job), timeout=90.0)
    assert lab.run("cancel", "--grace", "1", job).returncode == 0
    lab.forget()
    document = _stacks(lab, job, "--last")
    assert "read_shard, 3 others in all_reduce" in document["summary"]
    assert {name for group in document["groups"] for name in group["nodes"]} == {"node0", "node1"}


def _kept(lab: Lab, job: str) -> bool:
    """Both nodes have kept stacks."""
    return all(
        any(node.state_dir.glob(f"jobs/{job}/attempts/*/nodes/*/stacks/*.json"))
        for node in lab.nodes
    )
