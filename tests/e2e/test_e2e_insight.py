"""What a person sees inside of a job whose code knows nothing of cockpit: steps, stalls, stacks."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import Any

import pytest

from tests.e2e.lab import Lab, until

pytestmark = [pytest.mark.torch, pytest.mark.sshd, pytest.mark.timeout(360)]

TRAINING = """
import os, re, sys, time
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

dist.init_process_group("gloo")
rank, world = dist.get_rank(), dist.get_world_size()
first = os.environ["COCKPIT_GENERATION"] == "0"
model = DistributedDataParallel(torch.nn.Linear(8, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

def read_shard(step):
    {trouble}

for step in range({steps}):
    read_shard(step)
    loss = model(torch.randn(4, 8)).square().mean()
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    {after}
dist.destroy_process_group()
"""

TWO_BY_ONE = ("--nodes", "2", "--nproc-per-node", "1")
TWO_BY_TWO = ("--nodes", "2", "--nproc-per-node", "2")


def training(lab: Lab, *, steps: int = 40, trouble: str = "pass", after: str = "pass") -> None:
    lab.script(TRAINING.format(steps=steps, trouble=trouble, after=after))


def configure(lab: Lab, text: str) -> None:
    with lab.config.open("a") as file:
        file.write(text)


def ranks(status: dict[str, Any]) -> list[dict[str, Any]]:
    return sorted(
        (rank for node in status["nodes"] for rank in node["ranks"]), key=lambda r: int(r["rank"])
    )


def test_an_ordinary_training_shows_the_step_of_every_rank_and_metrics_from_its_log(
    lab: Lab,
) -> None:
    training(
        lab,
        steps=100_000,
        trouble="time.sleep(0.02)",
        after='print(f"step {step}: loss={float(loss):.4f}", flush=True)',
    )
    configure(
        lab,
        """
[jobs.ddp]
cluster = "lab"
launcher = "quick"
nodes = 2
nproc_per_node = 1
script = "train.py"
[jobs.ddp.metrics]
loss = 'loss[=: ]+([0-9.eE+-]+)'
""",
    )
    started = lab.run("run", "-j", "ddp", "--working-dir", str(lab.code), "--detach")
    assert started.returncode == 0, started.stderr
    job = started.stdout.strip()
    try:
        until(lambda: lab.printed(job, "loss=") == 2, 120)

        def trained() -> dict[str, Any] | None:
            status = lab.status(job)
            all_known = [
                rank["stage"] == "training"
                and rank["step"]
                and rank["step_time"] is not None
                and rank["metrics"].get("loss") is not None
                for rank in ranks(status)
            ]
            return status if len(all_known) == 2 and all(all_known) else None

        status = until(trained, 120)
        assert "stalled" not in status["flags"]
        for rank in ranks(status):
            assert rank["beat_age"] < 10
            assert 0.01 < rank["step_time"] < 5
        assert status["steps"]["max"] - status["steps"]["min"] <= 100
        loss = next(metric for metric in status["metrics"] if metric["name"] == "loss")
        assert loss["history"]
        text = lab.run("status", job).stdout
        assert "training" in text
        assert "loss" in text
    finally:
        assert lab.run("cancel", job).returncode == 0


@pytest.mark.parametrize(
    ("hang", "shape"),
    [
        pytest.param("time.sleep(3600)", TWO_BY_TWO, id="in user code", marks=pytest.mark.slow),
        pytest.param('re.match("(a+)+$", "a" * 40 + "b")', TWO_BY_ONE, id="holding the GIL"),
    ],
)
def test_a_rank_that_hangs_is_named_with_its_stack_and_the_job_trains_again(
    lab: Lab, hang: str, shape: tuple[str, ...]
) -> None:
    trouble = f"if first and rank == world - 1 and step == 8: {hang}\n    time.sleep(0.05)"
    training(lab, trouble=trouble, steps=40)
    configure(
        lab,
        """
[launchers.watched]
kind = "torchrun"
grace = 3.0
rank_heartbeat_timeout = 5.0
on_stall = "restart"
""",
    )
    done = lab.run("run", "-c", "lab", "-l", "watched", *shape, "--name", "hang", "train.py")
    assert done.returncode == 0, done.stderr
    status = lab.status("hang")
    assert status["state"] == "succeeded"
    assert status["restarts"] == 1
    stalled, good = status["history"]
    assert (stalled["reason"], good["reason"]) == ("stall", "succeeded")
    culprit = int(shape[1]) * int(shape[-1]) - 1
    assert (stalled["cause"]["kind"], stalled["cause"]["rank"]) == ("stall", culprit)
    assert "read_shard" in stalled["cause"]["message"]
    assert "stall" in done.stderr
    kept = lab.run("stacks", "--last", "hang")
    assert kept.returncode == 0, kept.stderr
    assert "read_shard" in kept.stdout
    assert f"rank {culprit}" in kept.stdout


@pytest.mark.slow
def test_a_stall_is_only_told_where_the_profile_says_nothing_and_stacks_show_where_it_is(
    lab: Lab,
) -> None:
    training(lab, trouble="if rank == 1 and step == 5: time.sleep(3600)", steps=50)
    configure(lab, '\n[launchers.told]\nkind = "torchrun"\nrank_heartbeat_timeout = 5.0\n')
    started = lab.run("run", "-c", "lab", "-l", "told", *TWO_BY_TWO, "--detach", "train.py")
    assert started.returncode == 0, started.stderr
    job = started.stdout.strip()
    try:
        status = until(lambda: (s := lab.status(job)) and "stalled" in s["flags"] and s, 120)
        assert status["state"] == "running"
        assert {rank["stage"] for rank in ranks(status)} == {"silent"}
        shown = lab.run("stacks", "--json", job)
        assert shown.returncode == 0, shown.stderr
        document = json.loads(shown.stdout)
        culprit = document["groups"][0]
        assert culprit["ranks"] == [1]
        assert "read_shard" in [frame["function"] for frame in culprit["stack"]]
        assert sorted(rank for group in document["groups"] for rank in group["ranks"]) == [
            0, 1, 2, 3,
        ]  # fmt: skip
    finally:
        assert lab.run("cancel", job).returncode == 0


@pytest.mark.slow
def test_a_stall_ends_the_job_as_failed_where_the_profile_says_so(lab: Lab) -> None:
    training(lab, trouble="if rank == 2 and step == 5: time.sleep(3600)", steps=50)
    configure(
        lab,
        '\n[launchers.strict]\nkind = "torchrun"\ngrace = 3.0\nmax_restarts = 5\n'
        'rank_heartbeat_timeout = 5.0\non_stall = "cancel"\n',
    )
    done = lab.run("run", "-c", "lab", "-l", "strict", *TWO_BY_TWO, "--name", "strict", "train.py")
    assert done.returncode == 1, done.stderr
    status = lab.status("strict")
    assert (status["state"], status["cause"]["kind"]) == ("failed", "stall")
    assert status["restarts"] == 0
    assert lab.processes(status["id"]) == []


@pytest.mark.slow
def test_a_command_that_is_no_python_is_shown_without_beats_and_never_as_stalled(lab: Lab) -> None:
    lab.script("nothing of this is run")
    configure(lab, '\n[launchers.told]\nkind = "torchrun"\nrank_heartbeat_timeout = 1.0\n')
    started = lab.run(
        "run", "-c", "lab", "-l", "told", "--nodes", "2", "--detach", "--no-python", "sleep", "60"
    )
    assert started.returncode == 0, started.stderr
    job = started.stdout.strip()
    try:
        until(lambda: len(ranks(lab.status(job))) == 2, 90)
        time.sleep(4)
        status = lab.status(job)
        assert {rank["stage"] for rank in ranks(status)} == {"none"}
        assert "stalled" not in status["flags"]
    finally:
        assert lab.run("cancel", job).returncode == 0


def test_an_import_that_fails_is_recognised(lab: Lab) -> None:
    lab.script("import no_such_module_anywhere\n")
    done = lab.run("run", "-c", "lab", "-l", "quick", "--name", "broken", "train.py")
    assert done.returncode == 1
    cause = lab.status("broken")["cause"]
    assert cause["exception"] == "ModuleNotFoundError"
    assert "no_such_module_anywhere" in cause["hint"] + cause["message"]
    assert cause["label"]
    assert cause["label"] in done.stderr


@pytest.mark.slow
def test_a_frozen_rank_is_named_although_it_cannot_say_where_it_is(lab: Lab) -> None:
    training(lab, steps=100_000, trouble="time.sleep(0.05)")
    configure(lab, '\n[launchers.told]\nkind = "torchrun"\nrank_heartbeat_timeout = 5.0\n')
    started = lab.run("run", "-c", "lab", "-l", "told", *TWO_BY_ONE, "--detach", "train.py")
    job = started.stdout.strip()
    frozen = 0
    try:
        status = until(
            lambda: (
                (s := lab.status(job))
                and len([r for r in ranks(s) if r["stage"] == "training"]) == 2
                and s
            ),
            120,
        )
        frozen = ranks(status)[1]["pid"]
        os.kill(frozen, signal.SIGSTOP)
        until(lambda: "stalled" in lab.status(job)["flags"], 90)
        shown = lab.run("stacks", job)
        assert shown.returncode == 0, shown.stderr
        assert "rank 1" in shown.stdout + shown.stderr
        assert "SIGSTOP" in shown.stdout + shown.stderr
        os.kill(frozen, signal.SIGCONT)
        until(lambda: "stalled" not in lab.status(job)["flags"], 90)
    finally:
        if frozen:
            os.kill(frozen, signal.SIGCONT)
        assert lab.run("cancel", job).returncode == 0
