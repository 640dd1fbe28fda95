"""Real torchrun on two real sshds: what a person sees of success, failure and recovery."""

from __future__ import annotations

import json
import re
import signal

import pytest

from tests.e2e.lab import TIMEOUT, Lab, until

pytestmark = [pytest.mark.torch, pytest.mark.sshd, pytest.mark.timeout(360)]

GLOO = """
import os, sys, time
import torch.distributed as dist
dist.init_process_group("gloo")
rank, world = dist.get_rank(), dist.get_world_size()
"""

TWO_BY_ONE = ("run", "-c", "lab", "-l", "quick", "--nodes", "2", "--nproc-per-node", "1")
TWO_BY_TWO = (*TWO_BY_ONE[:-1], "2")


def test_a_job_on_two_nodes_trains_merges_its_logs_and_uploads_its_code_once(lab: Lab) -> None:
    lab.script(
        GLOO
        + """
import torch
total = torch.ones(1) * rank
dist.all_reduce(total)
print(f"rank {rank} of {world}: sum {int(total)}", flush=True)
print(f"to stderr from {rank}", file=sys.stderr, flush=True)
dist.destroy_process_group()
"""
    )
    lab.script("import os; print('light', os.environ['RANK'], flush=True)", "light.py")
    done = lab.run(*TWO_BY_TWO, "train.py")
    assert done.returncode == 0, done.stderr
    for rank, node in enumerate(("node0", "node0", "node1", "node1")):
        assert re.search(rf"node\d r{rank} +│ rank {rank} of 4: sum 6", done.stdout), done.stdout
        assert re.search(rf"node\d r{rank} +┊ to stderr from {rank}", done.stdout), node
    assert done.stderr.count("uploading") == 2
    job = re.search(r"job ([0-9a-f]{12})", done.stderr)
    assert job is not None
    status = lab.status(job[1])
    assert status["state"] == "succeeded"
    assert status["exit_code"] == 0
    assert [len(node["ranks"]) for node in status["nodes"]] == [2, 2]
    assert {rank["state"] for node in status["nodes"] for rank in node["ranks"]} == {"succeeded"}

    again = lab.run(*TWO_BY_TWO, "--detach", "light.py")
    assert again.returncode == 0, again.stderr
    assert "uploading" not in again.stderr
    second = again.stdout.strip()
    attached = lab.run("attach", second)
    assert attached.returncode == 0, attached.stderr
    assert sorted(re.findall(r"light \d", attached.stdout)) == [f"light {n}" for n in range(4)]


def test_the_first_cause_is_the_rank_that_raised_and_not_its_victims(lab: Lab) -> None:
    lab.script(
        GLOO
        + """
import torch
for step in range(1000):
    if rank == 1 and step == 5:
        raise RuntimeError("boom [rank1] /data/x")
    dist.all_reduce(torch.ones(1))
"""
    )
    done = lab.run(*TWO_BY_ONE, "--name", "it's a $(job)", "train.py")
    assert done.returncode == 1, done.stderr
    assert "RuntimeError: boom [rank1] /data/x" in done.stderr
    status = lab.status("it's a $(job)")
    assert status["state"] == "failed"
    cause = status["cause"]
    ranks = {rank["rank"]: node["name"] for node in status["nodes"] for rank in node["ranks"]}
    assert (cause["kind"], cause["rank"], cause["exit_code"]) == ("exit", 1, 1)
    assert cause["node"] == ranks[1]
    assert cause["message"] == "RuntimeError: boom [rank1] /data/x"
    assert status["exit_code"] == 1


def test_the_exit_code_of_a_rank_is_the_exit_code_of_run(lab: Lab) -> None:
    lab.script("import os, sys, time\nif os.environ['RANK'] == '1': sys.exit(7)\ntime.sleep(600)\n")
    done = lab.run(*TWO_BY_TWO, "--json", "train.py")
    assert done.returncode == 7, done.stderr
    objects = [json.loads(line) for line in done.stdout.splitlines()]
    assert {item["type"] for item in objects} <= {"log", "event"}
    last = [item for item in objects if item["type"] == "event"][-1]
    assert (last["state"], last["exit_code"], last["cause"]["rank"]) == ("failed", 7, 1)


def test_a_killed_rank_is_restarted_and_the_job_succeeds(lab: Lab) -> None:
    # Only the second generation imports torch, which is what costs.
    lab.script(
        f"""
import os, pathlib, signal, time
generation, rank = os.environ["COCKPIT_GENERATION"], os.environ["RANK"]
print(f"generation {{generation}} rank {{rank}}", flush=True)
up = pathlib.Path({str(lab.folder)!r})
if generation == "0":
    (up / f"up.{{rank}}").touch()
    while rank == "2" and len(list(up.glob("up.*"))) < 4:
        time.sleep(0.05)
    if rank == "2":
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(600)
"""
        + GLOO
        + """
dist.barrier()
dist.destroy_process_group()
"""
    )
    done = lab.run(*TWO_BY_TWO, "--max-restarts", "2", "--name", "phoenix", "train.py")
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"generation 0 rank \d", done.stdout)) == 4
    assert len(re.findall(r"generation 1 rank \d", done.stdout)) == 4
    status = lab.status("phoenix")
    assert (status["state"], status["restarts"]) == ("succeeded", 1)
    first = status["history"][0]
    assert first["cause"]["kind"] == "signal"
    assert (first["cause"]["rank"], first["cause"]["signal"]) == (2, signal.SIGKILL)


def test_a_job_that_fails_in_every_generation_exhausts_its_restarts(lab: Lab) -> None:
    lab.script('import os\nif os.environ["RANK"] == "0":\n    raise ValueError("always")\n')
    done = lab.run(
        "run", "-c", "lab", "-l", "quick", "--nodes", "1", "--nproc-per-node", "1",
        "--max-restarts", "1", "--name", "sisyphus", "train.py",
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    status = lab.status("sisyphus")
    assert (status["state"], status["restarts"]) == ("failed", 1)
    assert [item["reason"] for item in status["history"]] == ["failed", "failed"]
    assert status["cause"]["message"] == "ValueError: always"


@pytest.mark.slow
def test_a_third_node_joins_an_elastic_job_when_it_comes(tmp_path, make_sshd) -> None:
    nodes = [make_sshd(f"node{i}", f"127.0.0.{i + 1}") for i in range(3)]
    lab = Lab(tmp_path, nodes)
    nodes[2].stop_listening()
    lab.script(
        """
import os, time
print(f"world {os.environ['WORLD_SIZE']} generation {os.environ['COCKPIT_GENERATION']}", flush=True)
while int(os.environ["WORLD_SIZE"]) < 3:
    time.sleep(0.2)
"""
    )
    process = lab.start(
        "run", "-c", "lab", "-l", "quick", "--nodes", "2:3", "--nproc-per-node", "1",
        "--name", "growing", "train.py",
    )  # fmt: skip
    try:

        def two_run() -> bool:
            ps = lab.run("ps", "--json")
            return any(
                j["state"] == "running" and j["ranks"] == 2 for j in json.loads(ps.stdout)["jobs"]
            )

        until(lambda: lab.printed("*", "world 2"))
        until(two_run)
        nodes[2].start()
        out, err = process.communicate(timeout=TIMEOUT)
    finally:
        process.kill()
    assert process.returncode == 0, err
    assert "world 2 generation 0" in out
    assert out.count("world 3") == 3, out
    status = lab.status("growing")
    assert status["history"][0]["reason"] == "membership"
    assert status["state"] == "succeeded"
