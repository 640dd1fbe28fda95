"""`exec`, `clean` and `logs -f` against real nodes."""

from __future__ import annotations

import json
import time

import pytest

from tests.e2e.lab import TIMEOUT, Lab, until

pytestmark = [pytest.mark.sshd, pytest.mark.timeout(360)]


def test_a_command_that_is_killed_after_its_time_out_says_so(lab: Lab) -> None:
    done = lab.run("exec", "-c", "lab", "--node", "node0", "--timeout", "1", "--", "sleep", "60")
    assert done.returncode == 137
    assert "node0: killed after the time-out of 1 s" in done.stderr
    done = lab.run("exec", "-c", "lab", "--node", "node0", "--", "sh", "-c", "kill -9 $$")
    assert done.returncode == 137
    assert "node0: ended with code 137" in done.stderr


def test_output_without_a_newline_is_shown_before_the_command_ends(lab: Lab) -> None:
    endless = "import sys,time; sys.stdout.write('x' * 200000); sys.stdout.flush(); time.sleep(60)"
    started = time.monotonic()
    process = lab.start("exec", "-c", "lab", "--node", "node0", "--", "python3", "-c", endless)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == f"node0 │ {'x' * 65536}\n"
        assert time.monotonic() - started < 50.0
    finally:
        process.kill()
        process.communicate()


def test_clean_keeps_the_newest_jobs_and_removes_code_that_no_job_needs(lab: Lab) -> None:
    for text in ("print(1)", "print(2)"):
        lab.script(text)
        done = lab.run(
            "run", "-c", "lab", "-l", "plain", "--nodes", "1", "--no-python", "sh", "-c", "true"
        )
        assert done.returncode == 0, done.stderr
    state = lab.nodes[0].state_dir
    codes, jobs = state / "code", state / "jobs"
    assert len(list(codes.iterdir())) == len(list(jobs.iterdir())) == 2
    aborted = lab.run("clean", "--keep", "1")
    assert aborted.returncode == 130
    assert "Remove all but the newest 1 ended jobs" in aborted.stderr
    assert len(list(codes.iterdir())) == 2
    done = lab.run("clean", "--keep", "1", "--yes")
    assert done.returncode == 0, done.stderr
    (left,) = jobs.iterdir()
    (code,) = codes.iterdir()
    assert json.loads((left / "job.json").read_text())["code"]["digest"] == code.name
    assert left.name not in done.stdout
    assert lab.run("clean", "--keep", "0", "--yes").returncode == 0
    assert not list(jobs.iterdir())
    assert not list(codes.iterdir())


def test_following_logs_gives_up_when_all_nodes_are_gone(lab: Lab) -> None:
    lab.script("")
    done = lab.run(
        "run", "-c", "lab", "-l", "plain", "--nodes", "1", "--detach", "--no-python",
        "sh", "-c", "echo hello; sleep 300",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    job = done.stdout.strip()
    process = lab.start("logs", "-f", "--contact-timeout", "2", job)
    try:
        assert process.stdout is not None
        assert "hello" in process.stdout.readline()
        lab.nodes[0].stop_listening()
        lab.nodes[0].kill_connections()
        _, err = process.communicate(timeout=TIMEOUT)
    finally:
        process.kill()
        lab.nodes[0].start()
    assert process.returncode == 75, err
    assert "node0: no contact" in err
    assert f"cockpit attach {job}" in err
    assert lab.run("cancel", job).returncode == 0
    until(lambda: not lab.processes(job))
