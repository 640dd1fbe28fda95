"""`cockpit restart` with options, on real nodes: a checkpoint first, and a spare for a node."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.lab import Lab, until
from tests.harness.sshd import Sshd

pytestmark = [pytest.mark.sshd, pytest.mark.timeout(360)]

TRAINING = """
import os, time
import cockpit
if os.environ["COCKPIT_ATTEMPT"].split("/")[1] != "0":
    time.sleep(3600)  # nothing of what the second attempt does is looked at
import torch, torch.distributed as dist
dist.init_process_group("gloo")
rank, step = os.environ["RANK"], 0
while True:
    dist.all_reduce(torch.ones(1))
    time.sleep(0.02)
    step += 1
    if cockpit.checkpoint_wanted(step):
        # A save that holds a collective: it would hang if a rank came to it at another step.
        dist.barrier()
        open(os.path.join(SAVES, f"{rank}.{step}"), "w").close()
        cockpit.checkpoint_saved()
"""


def with_a_spare(lab: Lab, spare: Sshd) -> None:
    known_hosts = lab.folder / "known_hosts"
    known_hosts.write_text(known_hosts.read_text() + spare.known_hosts_line)
    entry = f'{{ name = "{spare.name}", host = "{spare.address}", addr = "{spare.address}"'
    text = lab.config.read_text()
    lab.config.write_text(
        text.replace("identity_file", f"spares = [{entry}, port = {spare.port} }}]\nidentity_file")
    )


@pytest.mark.torch
def test_ranks_save_at_one_step_and_a_spare_takes_the_place_of_a_node(
    lab: Lab, make_sshd: Callable[..., Sshd], tmp_path: Path
) -> None:
    with_a_spare(lab, make_sshd("node2", "127.0.0.3"))
    saves = tmp_path / "saves"
    saves.mkdir()
    lab.script(f"SAVES = {str(saves)!r}\n{TRAINING}")
    started = lab.run(
        "run", "-c", "lab", "--detach", "-l", "quick", "--nodes", "2", "--nproc-per-node", "1",
        "train.py",
    )  # fmt: skip
    assert started.returncode == 0, started.stderr
    job = started.stdout.strip()
    try:
        until(lambda: lab.status(job)["can_checkpoint"], 120)
        lab.script("the working directory has changed since")
        done = lab.run("restart", "-d", "--checkpoint", "--without", "node0", "--spares", job)
        assert done.returncode == 0, done.stderr
        files = sorted(path.name.split(".") for path in saves.iterdir())
        assert [rank for rank, _ in files] == ["0", "1"]
        step = files[0][1]
        assert files[1][1] == step, "both ranks saved at the very same step"
        assert f"checkpoint at step {step}: saved by 2 ranks" in done.stderr
        assert "the code comes from node" in done.stderr
        assert "node0: nothing is left" in done.stderr
        assert "attempt 1 of train runs on node1, node2" in done.stderr
    finally:
        assert lab.run("cancel", job).returncode == 0
    assert lab.processes(job) == []
