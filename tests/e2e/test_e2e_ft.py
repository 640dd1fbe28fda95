"""The fault-tolerant launcher on two real sshds: what a person sees of it."""

from __future__ import annotations

import importlib.util
import json

import pytest

from tests.e2e.lab import Lab, until

pytestmark = [
    pytest.mark.torch,
    pytest.mark.sshd,
    pytest.mark.timeout(360),
    pytest.mark.skipif(
        importlib.util.find_spec("nvidia_resiliency_ext") is None,
        reason="needs nvidia-resiliency-ext",
    ),
]

TRAINING = """
import os, pathlib, sys, time
import nvidia_resiliency_ext.fault_tolerance as ft
import torch
import torch.distributed as dist

dist.init_process_group("gloo")
rank, first = dist.get_rank(), os.environ["COCKPIT_GENERATION"] == "0"
client = ft.RankMonitorClient()
client.init_workload_monitoring()
model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(2, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
client.start_section("epoch")
for step in range(20):
    model(torch.randn(4, 2)).mean().backward()
    optimizer.step()
    client.send_heartbeat()
    if rank == 3 and first and step == 10 and "hang" in sys.argv:
        time.sleep(600)
client.end_section("epoch")
dist.barrier()
if rank == 0 and "fail" not in sys.argv:
    pathlib.Path(os.environ["FAULT_TOL_FINISHED_FLAG_FILE"]).touch()
client.shutdown_workload_monitoring()
dist.destroy_process_group()
sys.exit(7 if rank == 3 and "fail" in sys.argv else 0)
"""

PROFILES = """
[launchers.careful]
kind = "ft"
grace = 3.0
max_restarts = {restarts}
initial_rank_heartbeat_timeout = 60.0
rank_heartbeat_timeout = 6.0
workload_check_interval = 0.5
rank_section_timeouts = {{ epoch = 120.0 }}
"""

TWO_BY_TWO = ("-c", "lab", "-l", "careful", "--nodes", "2", "--nproc-per-node", "2")


def prepare(lab: Lab, restarts: int) -> None:
    lab.script(TRAINING)
    with lab.config.open("a") as file:
        file.write(PROFILES.format(restarts=restarts))


@pytest.mark.slow
def test_a_hang_is_seen_with_section_and_stacks_restarted_and_finished(lab: Lab) -> None:
    prepare(lab, restarts=1)
    job = lab.run("run", "--detach", *TWO_BY_TWO, "train.py", "hang").stdout.strip()

    def in_a_section() -> bool:
        status = lab.status(job)
        ranks = [rank for node in status["nodes"] for rank in node["ranks"]]
        return any(rank.get("sections") == ["epoch"] for rank in ranks)

    until(in_a_section, timeout=120.0)
    attached = lab.run("attach", job)
    assert attached.returncode == 0, attached.stderr
    status = lab.status(job)
    assert (status["state"], status["finished"], status["restarts"]) == ("succeeded", True, 1)
    first, second = sorted(status["history"], key=lambda item: int(item["generation"]))
    assert (first["reason"], first["cause"]["kind"]) == ("stall", "stall")
    assert second["reason"] == "succeeded"
    stacks = lab.run("stacks", "--last", "--json", job)
    assert stacks.returncode == 0, stacks.stderr
    assert "train.py" in json.dumps(json.loads(stacks.stdout)["groups"])


@pytest.mark.slow
def test_a_failure_is_the_code_of_the_first_rank_that_failed(lab: Lab) -> None:
    prepare(lab, restarts=0)
    done = lab.run("run", *TWO_BY_TWO, "train.py", "fail")
    assert done.returncode == 7, done.stderr
    document = json.loads(lab.run("ps", "--all", "--json").stdout)["jobs"][0]
    status = lab.status(document["id"])
    assert (status["state"], status["finished"]) == ("failed", False)
    assert (status["cause"]["rank"], status["cause"]["exit_code"]) == (3, 7)
