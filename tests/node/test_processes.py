from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cockpit.node import processes
from cockpit.protocol.records import ProcessId
from tests.node.supervising import eventually

Starter = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start() -> Iterator[Starter]:
    """Start a sleeping process, with a marker or without; all are gone after the test."""
    started: list[subprocess.Popen[bytes]] = []

    def _start(
        marker: str | None = None, code: str = "", *args: str, **options: object
    ) -> subprocess.Popen[bytes]:
        env = {**os.environ, **({"COCKPIT_ATTEMPT": marker} if marker is not None else {})}
        script = f"{code}\nimport time\nprint('up', flush=True)\ntime.sleep(600)"
        process = subprocess.Popen(
            [sys.executable, "-c", script, *args], env=env, stdout=subprocess.PIPE, **options
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline()
        return process

    yield _start
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        with process:
            pass


def new_job() -> str:
    return uuid.uuid4().hex[:12]


def pids(prefix: str) -> list[int]:
    return [process["pid"] for process in processes.scan(prefix)]


def test_a_process_is_known_by_pid_start_and_boot(start: Starter) -> None:
    process = start()
    identity = processes.identify(process.pid)
    assert identity is not None
    assert processes.is_alive(identity)
    for wrong in (
        dataclasses.replace(identity, start_ticks=identity.start_ticks + 1),
        dataclasses.replace(identity, boot_id="another"),
        dataclasses.replace(identity, pid=os.getpid()),
    ):
        assert not processes.is_alive(wrong)
        assert processes.send_signal(wrong, signal.SIGKILL) is False
    assert process.poll() is None
    assert processes.send_signal(identity, signal.SIGTERM) is True
    assert process.wait(30) == -signal.SIGTERM
    assert processes.send_signal(identity, signal.SIGTERM) is False


def test_the_right_process_is_signalled_without_pidfd_too(
    start: Starter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(pid: int) -> int:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", unsupported)
    process = start()
    identity = processes.identify(process.pid)
    assert identity is not None
    stale = dataclasses.replace(identity, start_ticks=1)
    assert processes.send_signal(stale, signal.SIGKILL) is False
    assert processes.send_signal(identity, signal.SIGKILL) is True
    assert process.wait(30) == -signal.SIGKILL


def test_a_zombie_is_dead() -> None:
    process = subprocess.Popen(["true"])
    eventually(lambda: (found := processes.stat(process.pid)) and found.dead, "the zombie")
    assert processes.identify(process.pid) is None
    process.wait()
    assert processes.stat(process.pid) is None


def test_a_process_whose_main_thread_has_ended_lives(start: Starter) -> None:
    marker = f"{new_job()}/0/0"
    process = start(
        marker,
        "import ctypes, threading, time\n"
        "def work():\n"
        "    time.sleep(0.1); print('up', flush=True); time.sleep(600)\n"
        "threading.Thread(target=work).start()\n"
        "ctypes.CDLL(None).syscall(60, 0)\n",  # exit of this thread alone
    )
    found = processes.stat(process.pid)
    assert found is not None
    assert found.state == "Z" and found.threads > 1 and not found.dead
    assert processes.identify(process.pid) is not None


@pytest.mark.parametrize("name", ["a) R 1 (b", "line\nbreak", "(((", "\xff\xfe", ") Z 0"])
def test_a_processs_name_cannot_forge_its_entry(start: Starter, name: str) -> None:
    process = start(
        None,
        "import sys\nopen('/proc/self/comm', 'wb').write(sys.argv[1].encode('latin-1'))",
        name,
    )
    found = processes.stat(process.pid)
    assert found is not None
    assert found.ppid == os.getpid()
    assert found.state in "SRD" and not found.dead
    assert processes.identify(process.pid) is not None


def test_a_scan_compares_whole_parts_of_the_marker(start: Starter) -> None:
    job = new_job()
    one = start(f"{job}/1/0").pid
    eleven = start(f"{job}/11/0").pid
    start(f"{job[:-1]}/1/0")
    start(f"{job}f/1/0")
    assert sorted(pids(job)) == sorted([one, eleven])
    assert pids(f"{job}/1") == [one]
    assert pids(f"{job}/1/0") == [one]
    assert pids(f"{job}/1/1") == []
    assert pids(f"{job}/11/0") == [eleven]
    with pytest.raises(ValueError):
        processes.scan("")


def test_a_scan_says_what_a_person_wants_to_know(start: Starter) -> None:
    marker = f"{new_job()}/0/0"
    process = start(marker, "", "two words", "x" * 1000)
    (entry,) = processes.scan(marker)
    identity = processes.identify(process.pid)
    assert identity is not None
    assert entry["ppid"] == os.getpid()
    assert entry["marker"] == marker
    assert entry["start_ticks"] == identity.start_ticks
    assert entry["state"] in "SR"
    assert len(entry["command"]) == 300
    assert entry["command"].startswith(sys.executable)


def test_a_command_line_that_names_a_job_is_no_match(start: Starter) -> None:
    job = new_job()
    start(None, "", f"COCKPIT_ATTEMPT={job}/0/0")
    start(f"other-{job}/0/0", "")
    assert pids(job) == []
    env = {**os.environ, "NOT": f"COCKPIT_ATTEMPT={job}/0/0"}
    with subprocess.Popen(["sleep", "600"], env=env) as process:
        eventually(
            lambda: job.encode() in Path(f"/proc/{process.pid}/environ").read_bytes(), "its start"
        )
        assert pids(job) == []
        process.kill()


def test_a_child_that_wiped_its_environment_is_found_by_descent(start: Starter) -> None:
    job = new_job()
    wiped = "['setsid', 'env', '-i', 'sh', '-c', 'sleep 600 & wait']"
    process = start(
        f"{job}/0/0",
        f"import subprocess\nchild = subprocess.Popen({wiped})\n",
        start_new_session=True,
    )
    other = start(f"{job}/1/3")

    def below() -> list[processes.Process]:
        found = [p for p in processes.scan(job) if p["pid"] not in (process.pid, other.pid)]
        return found if [p for p in found if p["command"] == "sleep 600"] else []

    # A child and a grandchild, and it is known of which attempt they are.
    found = eventually(below, "the sleeping grandchild")
    assert len(found) == 2
    assert {entry["marker"] for entry in found} == {f"{job}/0/0"}
    assert processes.scan(f"{job}/1") == [p for p in processes.scan(job) if p["pid"] == other.pid]
    for entry in found:
        processes.send_signal(
            ProcessId(entry["pid"], entry["start_ticks"], processes.boot_id()), signal.SIGKILL
        )


def test_a_child_of_another_attempt_is_not_this_ones(start: Starter) -> None:
    job, other = new_job(), new_job()
    process = start(
        f"{job}/0/0",
        "import os, subprocess, sys\n"
        f"env = {{**os.environ, 'COCKPIT_ATTEMPT': '{other}/0/0'}}\n"
        "subprocess.Popen(['sleep', '600'], env=env)\n"
        f"env = {{'PATH': os.environ['PATH'], 'COCKPIT_SUPERVISOR': '{other}/0/0'}}\n"
        "subprocess.Popen(['sleep', '600'], env=env)\n",
        start_new_session=True,
    )
    eventually(lambda: pids(other), "the other attempt's process")
    assert pids(job) == [process.pid]
    own = [entry["pid"] for entry in processes.descendants(process.pid, job)]
    assert own == []


def test_processes_that_may_not_be_read_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    real = processes._read

    def guarded(path: str) -> bytes:
        if path.endswith("/environ"):
            return b""
        return real(path)

    monkeypatch.setattr(processes, "_read", guarded)
    assert processes.scan(new_job()) == []
    assert processes._read("/proc/self/mem") == b""
    assert processes._read("/proc/0/environ") == b""


def test_this_process_is_alive_in_this_boot() -> None:
    me = processes.identify(os.getpid())
    assert me is not None and processes.is_alive(me)
    assert me.boot_id == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
