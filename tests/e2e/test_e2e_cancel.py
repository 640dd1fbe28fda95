"""Cancels over real sshds, by command and by interrupt: proven, or honest about what is not."""

from __future__ import annotations

import json
import signal
import time

import pytest

from tests.e2e.lab import PLAIN, TIMEOUT, Lab, until

pytestmark = [pytest.mark.sshd, pytest.mark.timeout(360)]


STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, lambda *a: print("got SIGTERM", flush=True))
child = subprocess.Popen(
    [sys.executable, "-c", "import signal, time; signal.signal(15, 1); time.sleep(600)"],
    start_new_session=True,
)
print("ready", flush=True)
while True:
    time.sleep(0.1)
"""


def test_a_cancel_sweeps_what_ignores_it_and_proves_that_nothing_is_left(lab: Lab) -> None:
    lab.script(STUBBORN)
    job = lab.detached("--nodes", "2", "--name", "stubborn", "train.py")
    for rank in (0, 1):
        log = lab.nodes[rank].state_dir / f"jobs/{job}/attempts/0/nodes/{rank}/logs/launcher.out"
        until(lambda log=log: log.exists() and b"ready" in log.read_bytes())
    assert len(lab.processes(job)) >= 4
    done = lab.run("cancel", "--grace", "1", "--json", "stubborn")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["proven"] is True
    assert {node["name"]: bool(node["swept"]) for node in document["nodes"]} == {
        "node0": True,
        "node1": True,
    }
    assert lab.processes(job) == []
    status = lab.status(job)
    assert (status["state"], status["exit_code"]) == ("cancelled", 130)
    assert "@" in status["cancelled_by"]
    logs = lab.run("logs", job).stdout
    assert logs.count("got SIGTERM") == 2


def test_a_cancel_that_cannot_reach_a_node_says_so_and_never_claims_a_proof(lab: Lab) -> None:
    lab.script("import time\ntime.sleep(600)\n")
    job = lab.detached("--nodes", "2", "train.py")
    lab.nodes[1].stop_listening()
    lab.nodes[1].kill_connections()
    done = lab.run("cancel", job)
    assert done.returncode == 75, done.stdout + done.stderr
    assert "node1 could not be asked" in done.stdout
    lab.nodes[1].start()
    done = lab.run("cancel", job)
    assert done.returncode == 0, done.stdout + done.stderr
    assert lab.processes(job) == []


def test_the_first_interrupt_of_run_cancels_and_waits_for_the_proof(lab: Lab) -> None:
    lab.script("import time\nprint('working', flush=True)\ntime.sleep(600)\n")
    process = lab.start(*PLAIN, "--nodes", "2", "--name", "stopme", "train.py")
    assert process.stdout is not None
    until(lambda: "working" in process.stdout.readline())
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 130, err
    assert "cancelling the job" in err
    assert "nothing of it is left on 2 of 2 nodes" in err
    assert lab.status("stopme")["state"] == "cancelled"


def test_a_cancel_is_sent_again_to_a_node_that_comes_back(lab: Lab) -> None:
    lab.script("import time\nprint('working', flush=True)\ntime.sleep(600)\n")
    process = lab.start(*PLAIN, "--nodes", "2", "--name", "cutoff", "train.py")
    assert process.stdout is not None
    until(lambda: "working" in process.stdout.readline())
    lab.nodes[1].stop_listening()
    lab.nodes[1].kill_connections()
    process.send_signal(signal.SIGINT)
    time.sleep(4.0)
    assert process.poll() is None
    lab.nodes[1].start()
    _, err = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 130, err
    assert "nothing of it is left on 2 of 2 nodes" in err
    assert lab.processes(json.loads(lab.run("ps", "-a", "--json").stdout)["jobs"][0]["id"]) == []


def test_an_interrupt_during_the_start_leaves_nothing_running(lab: Lab) -> None:
    lab.script("import time\ntime.sleep(600)\n")
    for delay in (0.3, 0.6, 0.9, 1.2):
        process = lab.start(*PLAIN, "--nodes", "2", "--name", f"early{delay}", "train.py")
        time.sleep(delay)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=TIMEOUT)
        assert process.returncode in (130, -2), err

    def nothing_runs() -> bool:
        jobs = {p.name for node in lab.nodes for p in node.state_dir.glob("jobs/*")}
        return not any(lab.processes(job) for job in jobs)

    until(nothing_runs)


def test_a_second_interrupt_leaves_at_once_and_the_nodes_finish_the_cancel(lab: Lab) -> None:
    lab.script(STUBBORN)
    process = lab.start(*PLAIN, "--nodes", "1", "--name", "leaving", "train.py")
    assert process.stdout is not None
    until(lambda: "ready" in process.stdout.readline())
    process.send_signal(signal.SIGINT)
    until(lambda: "got SIGTERM" in process.stdout.readline())
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 130
    assert "left; the nodes finish the cancel" in err
    until(lambda: lab.status("leaving")["state"] == "cancelled", 60.0)
