"""`cockpit doctor` against real nodes: what is well, what is broken and who is to blame."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.lab import TIMEOUT, Lab, until

pytestmark = [pytest.mark.sshd, pytest.mark.timeout(360)]

Checks = dict[tuple[str, str], dict[str, Any]]


def checks(done: subprocess.CompletedProcess[str]) -> Checks:
    """(node, check) -> the check; the worst of several."""
    order = ("ok", "unknown", "warn", "crit")
    found: Checks = {}
    document = json.loads(done.stdout)
    assert document["schema"] == 1
    for item in document["checks"]:
        key = item["node"], item["check"]
        if key not in found or order.index(item["level"]) > order.index(found[key]["level"]):
            found[key] = item
    return found


def per_node(lab: Lab, node: str, setting: str) -> None:
    """Add `setting` to one node of the profile."""
    text = lab.config.read_text()
    lab.config.write_text(text.replace(f'name = "{node}",', f'name = "{node}", {setting},'))


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_healthy_nodes_are_called_so_and_reach_each_other(lab: Lab) -> None:
    done = lab.run("doctor", "-c", "lab", "--json")
    found = checks(done)
    worst = {item["level"] for item in found.values()}
    # This machine may be short of shared memory, descriptors or processes.
    known = {"shm", "nofile", "nproc", "disk", "tmp"}
    assert {key[1] for key, item in found.items() if item["level"] != "ok"} <= known, done.stdout
    assert done.returncode == (1 if "warn" in worst else 0)
    assert found["node1", "rendezvous"]["message"] == "reaches node0 at 127.0.0.1"
    assert {"link", "python", "torch", "clock", "address", "state_dir", "hostname"} <= {
        check for node, check in found if node == "node1"
    }
    shown = lab.run("doctor", "-c", "lab", "--node", "node1", "-v")
    assert re.search(r"^node1 +(OK|WARN) +Python 3\..*torch ", shown.stdout, re.MULTILINE)
    assert "node0" not in shown.stdout
    assert re.search(r"OK +python: ", shown.stdout)
    quiet = lab.run("doctor", "-c", "lab", "--node", "node1")
    assert not re.search(r"OK +python: ", quiet.stdout)


def test_each_thing_that_is_broken_is_named_with_its_node_and_a_hint(
    lab: Lab, tmp_path: Path
) -> None:
    broken = script(tmp_path / "python", "echo 'libpython.so: not found' >&2; exit 127")
    per_node(lab, "node0", f'python = "{broken}"')
    config = lab.config.read_text()
    lab.config.write_text(config.replace('addr = "127.0.0.2"', 'addr = "192.0.2.7"'))
    done = lab.run("doctor", "-c", "lab", "--json")
    found = checks(done)
    assert done.returncode == 2
    assert found["node0", "python"]["level"] == "crit"
    assert "libpython.so: not found" in found["node0", "python"]["message"]
    assert found["node1", "address"]["level"] == "crit"
    assert "192.0.2.7" in found["node1", "address"]["message"]
    assert "127.0.0.1" in found["node1", "address"]["hint"]
    assert all(item["hint"] for item in found.values() if item["level"] == "crit")
    lab.nodes[1].stop()
    gone = checks(lab.run("doctor", "-c", "lab", "--json"))
    assert gone["node1", "link"]["level"] == "crit"
    assert [check for node, check in gone if node == "node1"] == ["link"]
    assert lab.run("doctor", "-c", "lab", "--node", "nobody").returncode == 64


def test_a_start_is_stopped_by_what_is_critical_unless_told_otherwise(
    lab: Lab, tmp_path: Path
) -> None:
    lab.script("")
    config = lab.config.read_text()
    lab.config.write_text(config.replace('addr = "127.0.0.2"', 'addr = "192.0.2.7"'))
    words = ("run", "-c", "lab", "-l", "plain", "--nodes", "2")
    done = lab.run(*words, "--no-python", "true")
    assert done.returncode == 69
    assert "node1: its training address 192.0.2.7 is on none of its interfaces" in done.stderr
    assert "hint" in done.stderr
    done = lab.run(*words, "--no-preflight", "--no-python", "true")
    assert done.returncode == 0, done.stderr


def test_a_rendezvous_port_that_somebody_else_has_stops_a_start(lab: Lab) -> None:
    # There is a server that is none of ours.
    lab.script("")
    blocked = lab.nodes[0]
    config = lab.config.read_text()
    lab.config.write_text(
        config + f"\n[launchers.taken]\nkind = 'torchrun'\nrdzv_port = {blocked.port}\n"
    )
    words = ("run", "-c", "lab", "-l", "taken", "--nodes", "2", "train.py")
    done = lab.run(*words)
    assert done.returncode == 69, done.stderr
    assert f"cannot listen on its training address {blocked.address}" in done.stderr


@pytest.mark.torch
def test_a_real_all_reduce_runs_over_all_nodes_and_leaves_nothing(lab: Lab) -> None:
    done = lab.run("doctor", "-c", "lab", "--deep")
    assert done.returncode in (0, 1), done.stdout + done.stderr
    assert "all-reduce over 2 nodes, 2 ranks, gloo" in done.stdout
    assert len(re.findall(r"^ +\d+ MiB +[\d.]+ ms +[\d.]+ GB/s", done.stdout, re.MULTILINE)) >= 1
    for node in lab.nodes:
        assert list((node.state_dir / "jobs").iterdir()) == []
        assert list((node.state_dir / "code").iterdir()) == []


@pytest.mark.slow
@pytest.mark.torch
@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("os._exit(7)", "fails by itself"),
        pytest.param("time.sleep(600)", "it hangs", marks=pytest.mark.slow),
    ],
)
def test_the_node_whose_worker_fails_or_hangs_is_named(
    lab: Lab, tmp_path: Path, fault: str, words: str
) -> None:
    # The launcher process and all questions run well; a worker meets the fault.
    (tmp_path / "sick").mkdir()
    (tmp_path / "sick" / "sitecustomize.py").write_text(
        f"import os, time\nif 'LOCAL_RANK' in os.environ: {fault}\n"
    )
    wrapper = script(
        tmp_path / "python",
        f'PYTHONPATH={tmp_path}/sick:$PYTHONPATH exec {sys.executable} "$@"',
    )
    per_node(lab, "node1", f'python = "{wrapper}"')
    process = lab.start("doctor", "-c", "lab", "--deep", "--deep-timeout", "60", "--json")
    try:
        out, err = process.communicate(timeout=220.0)
    finally:
        process.kill()
        process.communicate()
    done = subprocess.CompletedProcess(process.args, process.returncode, out, err)
    found = checks(done)
    assert done.returncode == 2, out + err
    assert found["node1", "allreduce"]["level"] == "crit", found
    assert words in found["node1", "allreduce"]["message"]
    assert found["node0", "allreduce"]["level"] == "ok"
    for node in lab.nodes:
        assert list((node.state_dir / "jobs").iterdir()) == []
        assert list((node.state_dir / "code").iterdir()) == []


@pytest.mark.torch
def test_a_doctor_that_is_interrupted_leaves_nothing_running(lab: Lab, tmp_path: Path) -> None:
    started = tmp_path / "started"
    (tmp_path / "sick").mkdir()
    (tmp_path / "sick" / "sitecustomize.py").write_text(
        "import os, time\n"
        f"if 'LOCAL_RANK' in os.environ: open('{started}', 'w').close(); time.sleep(600)\n"
    )
    wrapper = script(
        tmp_path / "python",
        f'PYTHONPATH={tmp_path}/sick:$PYTHONPATH exec {sys.executable} "$@"',
    )
    per_node(lab, "node1", f'python = "{wrapper}"')
    process = lab.start("doctor", "-c", "lab", "--deep")
    try:
        until(started.exists, 120)
        (job,) = [path.name for path in (lab.nodes[1].state_dir / "jobs").iterdir()]
        assert lab.processes(job)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=TIMEOUT)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 130, out + err
    assert lab.processes(job) == []
    for node in lab.nodes:
        assert list((node.state_dir / "jobs").iterdir()) == []
