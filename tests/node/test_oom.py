from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cockpit.node import oom
from cockpit.node.oom import OomWatch
from tests.node.supervising import Node, eventually

KernelLog = Callable[[str], None]
KILLED = "Memory cgroup out of memory: Killed process {pid} (python) total-vm:1kB, UID:0"


@pytest.fixture
def kernel_log(monkeypatch: pytest.MonkeyPatch) -> Iterator[KernelLog]:
    """A kernel log of the test's own; call it to add a message."""
    writer, reader = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with writer, reader:
        reader.setblocking(False)
        monkeypatch.setattr(oom, "_open_kernel_log", lambda: os.dup(reader.fileno()))
        yield lambda message: writer.sendall(f"6,1,2,-;{message}\n KEY=x\n".encode())


@pytest.fixture
def counter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A memory cgroup's file of the test's own."""
    path = tmp_path / "memory.events"
    path.write_text("low 0\nhigh 0\nmax 7\noom 7\noom_kill 2\n")
    monkeypatch.setattr(oom, "_counter_files", lambda pid: [str(path)])
    return path


@pytest.fixture
def no_kernel_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oom, "_open_kernel_log", lambda: -1)


def test_the_kernel_log_names_the_process(kernel_log: KernelLog, counter: Path) -> None:
    watch = OomWatch()
    assert watch.evidence(71) == ""
    kernel_log("eth0: link up")
    kernel_log(KILLED.format(pid=71))
    kernel_log(KILLED.format(pid=72))
    assert watch.evidence(71) == f"kernel log: {KILLED.format(pid=71)}"
    assert watch.evidence(72) != ""
    watch.close()


def test_where_the_kernel_log_can_be_read_it_is_believed_over_counters(
    kernel_log: KernelLog, counter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = OomWatch()
    counter.write_text("oom_kill 3\n")
    kernel_log(KILLED.format(pid=72))
    monkeypatch.setattr(oom, "_pids_are_the_kernels", lambda: True)
    assert watch.evidence(7) == ""
    monkeypatch.setattr(oom, "_pids_are_the_kernels", lambda: False)
    assert "oom_kill rose from 2 to 3" in watch.evidence(7)
    watch.close()


def test_a_counter_that_rose_is_evidence(counter: Path, no_kernel_log: None) -> None:
    watch = OomWatch()
    assert watch.evidence(7) == ""
    counter.write_text("oom_kill 3\n")
    assert watch.evidence(7) == f"{counter}: oom_kill rose from 2 to 3"


def test_a_counter_that_vanished_is_no_evidence(counter: Path, no_kernel_log: None) -> None:
    watch = OomWatch()
    counter.unlink()
    assert watch.evidence(7) == ""


@pytest.mark.parametrize(
    ("cgroup", "files", "expected"),
    [
        ("0::/user/job\n", ["user/job/memory.events"], ["user/job/memory.events"]),
        ("0::/\n", ["memory.events"], ["memory.events"]),
        (
            "5:cpu,memory:/job\n0::/\n",
            ["v1/job/memory.oom_control", "v1/memory.oom_control"],
            ["v1/job/memory.oom_control"],
        ),
        ("5:memory:/of/the/host\n", ["v1/memory.oom_control"], ["v1/memory.oom_control"]),
        ("5:memory:/x\n", [], []),
        ("4:cpu:/x\n", ["v1/memory.oom_control"], []),
    ],
)
def test_counters_are_found_in_both_versions_of_cgroups(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    cgroup: str,
    files: list[str],
    expected: list[str],
) -> None:
    monkeypatch.setattr(oom, "_V2_ROOTS", (str(tmp_path),))
    monkeypatch.setattr(oom, "_V1_ROOT", str(tmp_path / "v1"))
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("oom_kill 0\n")
    (tmp_path / "cgroup").write_text(cgroup)
    real = open

    def opened(path: str, *args: object, **options: object) -> object:
        return real(tmp_path / "cgroup" if path == "/proc/5/cgroup" else path, *args, **options)

    monkeypatch.setattr(oom, "open", opened, raising=False)
    assert oom._counter_files("5") == [str(tmp_path / name) for name in expected]


def test_a_kill_by_hand_is_no_oom(supervised_node: Node) -> None:
    attempt = supervised_node.python("import time; time.sleep(600)").run()
    os.kill(attempt.launcher().pid, signal.SIGKILL)
    ended = attempt.ended()
    exited = attempt.event("launcher_exited")
    assert exited is not None and (exited["signal"], exited["oom"]) == (9, False)
    assert ended["message"] == "the launcher process was ended by SIGKILL"


@contextlib.contextmanager
def memory_cgroup(limit: int) -> Iterator[Path]:
    """A real memory cgroup; skips where this user cannot have one."""
    root = Path("/sys/fs/cgroup")
    v1 = (root / "memory" / "cgroup.procs").exists()
    group = (root / "memory" if v1 else root) / f"cockpit-test-{os.getpid()}"
    try:
        group.mkdir()
        limit_file = group / ("memory.limit_in_bytes" if v1 else "memory.max")
        if not limit_file.exists():
            group.rmdir()
            pytest.skip("no memory controller in a cgroup of our own")
        limit_file.write_text(str(limit))
    except OSError as error:
        pytest.skip(f"no memory cgroup for this user: {error}")
    try:
        yield group
    finally:
        eventually(lambda: not (group / "cgroup.procs").read_text(), "the cgroup to be empty")
        group.rmdir()


def test_a_real_oom_kill_is_recognised(supervised_node: Node) -> None:
    with memory_cgroup(48 << 20) as group:
        code = (
            "import os, sys\n"
            f"open('{group}/cgroup.procs', 'w').write(str(os.getpid()))\n"
            "x = bytearray(512 << 20)\n"
            "print(len(x))\n"
        )
        attempt = supervised_node.attempt(sys.executable, "-c", code).run()
        ended = attempt.ended()
        exited = attempt.event("launcher_exited")
        assert exited is not None and exited["signal"] == 9
        assert exited["oom"] is True
        assert "SIGKILL (kernel log: " in ended["message"]
        pid = attempt.launcher().pid
        assert f"Killed process {pid}" in ended["message"]


def test_a_watch_on_other_processes_sees_their_counters() -> None:
    with memory_cgroup(48 << 20) as group:
        code = (
            "import os, sys\n"
            f"open('{group}/cgroup.procs', 'w').write(str(os.getpid()))\n"
            "print('in', flush=True); sys.stdin.readline(); x = bytearray(512 << 20)\n"
        )
        with subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None and process.stdin is not None
            process.stdout.readline()
            watch = OomWatch([process.pid])
            watch.close()  # without the kernel's log only the counter is left
            process.stdin.write(b"\n")
            process.stdin.close()
            assert process.wait(60) == -signal.SIGKILL
            assert "oom_kill rose from 0 to 1" in watch.evidence(process.pid)
