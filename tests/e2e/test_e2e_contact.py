"""Jobs go on, and are seen whole, while contact, controller or supervisor are lost; no torch."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.lab import PLAIN, TIMEOUT, Lab, until
from tests.harness.sshd import Sshd

pytestmark = [pytest.mark.sshd, pytest.mark.timeout(360)]


@pytest.mark.parametrize("cut", [5, pytest.param(20, marks=pytest.mark.slow)])
def test_every_line_arrives_once_and_in_order_across_a_cut_of_many_seconds(
    tmp_path: Path, make_sshd: Callable[..., Sshd], cut: int
) -> None:
    lab = Lab(tmp_path, [make_sshd("node0")])
    stop = tmp_path / "stop"
    lab.script(
        f"""
import itertools, os, time
begin, last = time.monotonic(), None
for number in itertools.count():
    print("line", number, flush=True)
    if last is None and number % 100 == 0 and os.path.exists({str(stop)!r}):
        last = number + 2000
    if number == last:
        break
    ahead = begin + number / 1000 - time.monotonic()
    if ahead > 0:
        time.sleep(ahead)
"""
    )
    process = lab.start(*PLAIN, "train.py")
    job = until(lambda: list(lab.nodes[0].state_dir.glob("jobs/*")))[0].name
    log = lab.nodes[0].state_dir / f"jobs/{job}/attempts/0/nodes/0/logs/launcher.out"
    until(lambda: log.exists() and log.stat().st_size > 10_000)
    lab.nodes[0].stop_listening()
    lab.nodes[0].kill_connections()
    before = log.stat().st_size
    time.sleep(cut)
    assert log.stat().st_size > before, "the job goes on without us"
    lab.nodes[0].start()
    stop.touch()
    out, err = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, err
    assert "the job goes on" in err
    total = log.read_bytes().count(b"\n")
    numbers = [int(n) for n in re.findall(r"│ line (\d+)$", out, re.MULTILINE)]
    assert numbers == list(range(total))


def test_a_killed_controller_changes_nothing_and_another_machine_sees_everything(lab: Lab) -> None:
    lab.script(
        """
import sys, time
for number in range(300):
    print("line", number, flush=True)
    time.sleep(0.06)
sys.exit(3)
"""
    )
    process = lab.start(*PLAIN, "--nodes", "2", "--name", "orphan", "train.py")
    assert process.stdout is not None
    until(lambda: "line 20" in process.stdout.readline())
    process.kill()
    process.communicate()
    lab.forget()
    ps = json.loads(lab.run("ps", "--json").stdout)
    assert [job["state"] for job in ps["jobs"]] == ["running"]
    attached = lab.run("attach", "orphan")
    assert attached.returncode == 3, attached.stderr
    for node in ("node0", "node1"):
        pattern = rf"^{node} launcher +│ line (\d+)$"
        numbers = [int(n) for n in re.findall(pattern, attached.stdout, re.MULTILINE)]
        assert numbers == list(range(300))
    logs = lab.run("logs", "orphan")
    assert sorted(logs.stdout.splitlines()) == sorted(attached.stdout.splitlines())


def test_training_survives_its_supervisor_and_is_adopted(lab: Lab) -> None:
    lab.script(
        """
import os, pathlib, sys, time
while not pathlib.Path(os.environ["COCKPIT_ATTEMPT_DIR"], "finish").exists():
    time.sleep(0.05)
sys.exit(5)
"""
    )
    job = lab.detached("--nodes", "1", "train.py")
    folder = lab.nodes[0].state_dir / f"jobs/{job}/attempts/0/nodes/0"
    supervisor = json.loads((folder / "supervisor.json").read_text())
    os.kill(supervisor["pid"], signal.SIGKILL)
    until(lambda: not _alive(supervisor["pid"]))
    assert lab.processes(job)

    def adopted() -> bool:
        lab.run("ps")
        return '"adopted"' in (folder / "events.jsonl").read_text()

    until(adopted)
    assert lab.status(job)["state"] == "running"
    (folder / "finish").touch()
    done = lab.run("attach", job)
    # An adopter is not the parent: a plain command's exit code is then honestly unknown.
    assert lab.status(job)["state"] in ("failed", "succeeded")
    assert done.returncode in (1, 5)
    assert not lab.processes(job)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_job_that_was_seen_to_end_stays_ended_while_a_node_is_away(lab: Lab) -> None:
    lab.script("print('done', flush=True)\n")
    assert lab.run(*PLAIN, "--nodes", "2", "--name", "over", "train.py").returncode == 0
    lab.nodes[1].stop_listening()
    lab.nodes[1].kill_connections()
    assert json.loads(lab.run("ps", "--json").stdout)["jobs"] == []
    status = lab.status("over")
    assert (status["state"], status["flags"]) == ("succeeded", [])
    lab.forget()
    status = lab.status("over")
    assert (status["state"], status["flags"]) == ("running", ["unknown_nodes"])
