"""Stacks of real processes: by signal, by py-spy, and of those that give none."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cockpit.node import linux, processes
from cockpit.node.journal import Journal
from cockpit.node.probing import dumps, stacklook, stacks
from cockpit.protocol import layout
from cockpit.protocol.records import to_builtins
from tests.node.agent_client import PYTHONS
from tests.node.supervising import WAIT, Node, eventually

JOB = "0123456789ab"
MARKER = layout.marker(JOB, 0, 0)
PATIENT = 20.0
"""Seconds for looks that are to succeed: a busy machine is no failure."""

HANDLER = f"""
import faulthandler, os, sys
file = open(os.environ["STACK_FILE"], "ab", buffering=0)
faulthandler.register({layout.STACK_SIGNAL}, file=file, all_threads=True, chain=False)
"""
READY = "print('ready', flush=True)\n"

PYSPY = os.path.join(os.path.dirname(sys.executable), "py-spy")
needs_pyspy = pytest.mark.skipif(
    not os.access(PYSPY, os.X_OK), reason="py-spy is not installed beside this Python"
)


class Ranks:
    """An attempt's folder whose newest generation consists of our own processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / layout.attempt_dir(JOB, 0, 0)
        (self.folder / layout.STACKS).mkdir(parents=True)
        self.processes: list[subprocess.Popen[str]] = []
        self.path = os.environ["PATH"]

    def start(
        self, script: str, python: str = sys.executable, *, handler: bool = True, **environ: str
    ) -> subprocess.Popen[str]:
        """A rank that runs `script`; returns when it has said that it is ready."""
        local_rank = len(self.processes)
        path = self.folder / f"train{local_rank}.py"
        path.write_text((HANDLER if handler else "") + textwrap.dedent(script))
        file = self.folder / layout.rank_stacks(0, local_rank)
        process = subprocess.Popen(
            [python, "-u", str(path)],
            env={**os.environ, "STACK_FILE": str(file), "PATH": self.path, **environ},
            stdout=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    def announce(self, generation: int = 0) -> None:
        """Write the launcher process's journal."""
        journal = Journal(str(self.folder / layout.LAUNCHER_EVENTS))
        journal.write("launcher", argv=[])
        ranks = []
        for local_rank, process in enumerate(self.processes):
            identity = processes.identify(process.pid)
            assert identity is not None
            ranks.append(
                {"rank": 4 + local_rank, "local_rank": local_rank, "process": to_builtins(identity)}
            )
        journal.write("generation", generation=generation, ranks=ranks)
        journal.close()

    def take(self, timeout: float = PATIENT) -> list[dict[str, Any]]:
        answer = stacks.take(str(self.folder), timeout)
        assert abs(answer["taken_at"] - time.time()) < WAIT + timeout
        ranks: list[dict[str, Any]] = answer["ranks"]
        assert [rank["pid"] for rank in ranks] == [process.pid for process in self.processes]
        return ranks

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait(WAIT)
            assert process.stdout is not None
            process.stdout.close()


@pytest.fixture
def ranks(tmp_path: Path) -> Iterator[Ranks]:
    ranks = Ranks(tmp_path)
    yield ranks
    ranks.close()


@pytest.fixture
def without_pyspy(ranks: Ranks, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node without py-spy: Python itself lies in a folder where nothing else is."""
    monkeypatch.setattr(stacklook.pyspy, "find", lambda pid: "")


def functions(rank: dict[str, Any], thread: int = 0) -> list[str]:
    return [frame["function"] for frame in rank["threads"][thread]["frames"]]


HANGS = """
import time
def hang():
    time.sleep(600 if print("ready", flush=True) is None else 0)
hang()
"""
HOLDS_THE_GIL = """
import re
def parse():
    print("ready", flush=True)
    re.match(r"(a+)+$", "a" * 60 + "b")
parse()
"""


def test_every_rank_shows_where_its_main_thread_is(ranks: Ranks) -> None:
    for _ in range(3):
        ranks.start(HANGS)
    ranks.announce(generation=0)
    for local_rank, rank in enumerate(ranks.take()):
        assert (rank["rank"], rank["local_rank"]) == (4 + local_rank, local_rank)
        assert (rank["how"], rank["error"]) == ("signal", "")
        (thread,) = rank["threads"]
        assert (thread["name"], thread["main"]) == ("MainThread", True)
        file = str(ranks.folder / f"train{local_rank}.py")
        text = Path(file).read_text().splitlines()
        assert [frame["file"] for frame in thread["frames"]] == [file, file]
        assert [text[frame["line"] - 1].strip() for frame in thread["frames"]] == [
            'time.sleep(600 if print("ready", flush=True) is None else 0)',
            "hang()",
        ]
        assert functions(rank) == ["hang", "<module>"]


def test_a_rank_that_holds_the_gil_for_ever_shows_where(ranks: Ranks) -> None:
    ranks.start(HOLDS_THE_GIL)
    ranks.announce()
    # It has said that it is ready a moment before.
    eventually(lambda: "match" in functions(ranks.take()[0]), "the regular expression")
    (rank,) = ranks.take()
    assert rank["how"] == "signal"
    assert functions(rank)[-2:] == ["parse", "<module>"]


def _interpreters() -> list[str]:
    versions = [shutil.which(f"python3.{minor}") for minor in range(9, 16)]
    real = {os.path.realpath(path) for path in versions if path}
    pyenv = Path(PYTHONS[-1]).parents[2] if len(PYTHONS) > 1 else Path("/nonexistent")
    real |= {os.path.realpath(p) for p in pyenv.glob("3.*/bin/python") if p.is_file()}
    works = []
    for path in sorted({*real, os.path.realpath(sys.executable)}):
        check = "import sys; sys.exit(sys.version_info < (3, 9))"
        done = subprocess.run([path, "-I", "-c", check], stderr=subprocess.DEVNULL, check=False)
        works += [path] if done.returncode == 0 else []
    return works


@pytest.mark.parametrize("python", _interpreters())
def test_the_dump_of_every_python_is_understood(ranks: Ranks, python: str) -> None:
    ranks.start(
        """
        import threading, time
        class Läufer:
            def löse(self):
                started.set()
                time.sleep(600)
        def deep(n):
            if n:
                deep(n - 1)
            print("ready", flush=True)
            time.sleep(600)
        def empty(event):
            event.wait()
        started = threading.Event()
        threading.Thread(target=Läufer().löse, name="reader", daemon=True).start()
        started.wait()
        deep(150)
        """,
        python,
    )
    ranks.announce()
    (rank,) = ranks.take()
    assert rank["how"] == "signal"
    main, other = rank["threads"]
    assert (main["main"], other["main"]) == (True, False)
    assert [frame["function"] for frame in main["frames"]] == ["deep"] * dumps.MAX_FRAMES
    assert other["frames"][0]["function"] == "löse"
    assert other["name"] in ("", "reader")
    assert os.path.basename(other["frames"][-1]["file"]) == "threading.py"


def test_a_handler_of_the_users_own_for_sigusr1_is_left_alone(ranks: Ranks) -> None:
    process = ranks.start(
        """
        import signal, time
        signal.signal(signal.SIGUSR1, lambda *_: print("saved", flush=True))
        def hang():
            print("ready", flush=True)
            while True:
                time.sleep(0.05)
        hang()
        """
    )
    ranks.announce()
    (rank,) = ranks.take()
    assert functions(rank) == ["hang", "<module>"]
    process.send_signal(signal.SIGUSR1)
    assert process.stdout is not None
    assert process.stdout.readline() == "saved\n"


@pytest.mark.usefixtures("without_pyspy")
def test_a_process_without_handler_is_not_killed_and_the_answer_says_what_to_do(
    ranks: Ranks,
) -> None:
    process = ranks.start(HANGS, handler=False)
    ranks.announce()
    (rank,) = ranks.take()
    assert rank["threads"] == []
    assert "pip install py-spy" in rank["error"]
    time.sleep(0.2)
    assert process.poll() is None


@pytest.mark.usefixtures("without_pyspy")
def test_a_handler_that_is_not_ours_is_never_called(ranks: Ranks) -> None:
    process = ranks.start(
        f"""
        import os, signal, time
        signal.signal({layout.STACK_SIGNAL}, lambda *_: os._exit(7))
        print("ready", flush=True)
        time.sleep(600)
        """,
        handler=False,
    )
    ranks.announce()
    (rank,) = ranks.take()
    assert rank["error"]
    time.sleep(0.2)
    assert process.poll() is None


@pytest.mark.usefixtures("without_pyspy")
def test_a_rank_that_blocks_the_signal_costs_its_own_time_only(ranks: Ranks) -> None:
    ranks.start(
        f"""
        import signal, time
        signal.pthread_sigmask(signal.SIG_BLOCK, [{layout.STACK_SIGNAL}])
        print("ready", flush=True)
        time.sleep(600)
        """
    )
    ranks.start(HANGS)
    ranks.announce()
    began = time.monotonic()
    silent, other = ranks.take(timeout=3.0)
    assert time.monotonic() - began < WAIT
    assert "did not answer the signal for stacks within 3 s" in silent["error"]
    assert functions(other) == ["hang", "<module>"]


def test_stopped_and_ended_ranks_are_told_at_once_and_cost_only_themselves(ranks: Ranks) -> None:
    stopped, dead, lost = (ranks.start(HANGS) for _ in range(3))
    ranks.start(HANGS)
    ranks.announce()
    stopped.send_signal(signal.SIGSTOP)
    dead.kill()  # a zombie: nobody waits for it
    lost.kill()
    lost.wait(WAIT)
    for process, states in ((stopped, "T"), (dead, "Z")):
        eventually(lambda p=process, s=states: processes.stat(p.pid).state in s, "the state")  # type: ignore[misc]
    answers = ranks.take()
    assert "stopped (SIGSTOP)" in answers[0]["error"]
    assert f"kill -CONT {stopped.pid}" in answers[0]["error"]
    assert [answer["error"] for answer in answers[1:3]] == ["it has ended"] * 2
    assert functions(answers[3]) == ["hang", "<module>"]


def test_a_rank_that_ends_while_it_is_asked_has_ended(
    ranks: Ranks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stacklook.pyspy, "find", lambda pid: "")
    process = ranks.start(
        f"""
        import signal, time
        signal.pthread_sigmask(signal.SIG_BLOCK, [{layout.STACK_SIGNAL}])
        print("ready", flush=True)
        time.sleep(600)
        """
    )
    ranks.announce()
    timer = threading.Timer(0.3, process.kill)
    timer.start()
    (rank,) = ranks.take()
    timer.join()
    assert rank["error"] == "it has ended"


def test_a_pid_that_was_given_to_another_process_is_not_asked(ranks: Ranks) -> None:
    process = ranks.start(HANGS)
    journal = Journal(str(ranks.folder / layout.LAUNCHER_EVENTS))
    identity = processes.identify(process.pid)
    assert identity is not None
    earlier = {**to_builtins(identity), "start_ticks": identity.start_ticks - 1}
    journal.write("generation", generation=0, ranks=[{"rank": 0, "local_rank": 0,
                                                      "process": earlier}])  # fmt: skip
    journal.close()
    (rank,) = ranks.take()
    assert rank["error"] == "it has ended"
    assert not (ranks.folder / layout.rank_stacks(0, 0)).read_bytes()


def test_several_that_look_at_once_all_see_whole_stacks(ranks: Ranks) -> None:
    ranks.start(HANGS)
    ranks.announce()
    found: list[list[str]] = []
    threads = [
        threading.Thread(target=lambda: found.append(functions(ranks.take()[0]))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    assert found == [["hang", "<module>"]] * 4


def test_old_dumps_take_no_room_on_the_disk(ranks: Ranks) -> None:
    ranks.start(HANGS)
    ranks.announce()
    file = ranks.folder / layout.rank_stacks(0, 0)
    with file.open("ab") as old:
        old.write(b"x" * stacklook.KEEP + b"\n")
    before = file.stat()
    assert functions(ranks.take()[0]) == ["hang", "<module>"]
    assert file.stat().st_size > before.st_size
    assert functions(ranks.take()[0]) == ["hang", "<module>"]
    assert file.stat().st_blocks * 512 < stacklook.KEEP / 2


def test_a_look_at_ranks_needs_no_tgkill_in_the_c_library(
    ranks: Ranks, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = ctypes.CDLL(None, use_errno=True)

    class OldLibrary:
        """What glibc before 2.30 offers."""

        syscall = real.syscall

    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: OldLibrary)
    process = ranks.start(HANGS)
    ranks.announce()
    assert linux.signal_thread(process.pid, process.pid, 0)
    assert not linux.signal_thread(process.pid, 1, 0)
    (rank,) = ranks.take()
    assert functions(rank) == ["hang", "<module>"]
    monkeypatch.setattr(linux, "_TGKILL", {})
    assert not linux.signal_thread(process.pid, process.pid, 0)
    (rank,) = ranks.take()
    assert functions(rank) == ["hang", "<module>"]


def test_a_rank_with_too_much_to_say_costs_only_itself(
    ranks: Ranks, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranks.start(
        """
        import threading, time
        started = threading.Barrier(81)
        def work():
            started.wait()
            time.sleep(600)
        for _ in range(80):
            threading.Thread(target=work, daemon=True).start()
        started.wait()
        print("ready", flush=True)
        time.sleep(600)
        """
    )
    ranks.start(HANGS)
    ranks.announce()
    many, other = ranks.take()
    assert len(many["threads"]) == dumps.MAX_THREADS
    assert many["threads"][0]["main"]
    monkeypatch.setattr(stacks, "MAX_ANSWER", 4000)
    many, other = ranks.take()
    assert len(many["threads"]) == 1
    assert functions(other) == ["hang", "<module>"]


def test_a_job_without_generation_yet_has_no_ranks(ranks: Ranks) -> None:
    journal = Journal(str(ranks.folder / layout.LAUNCHER_EVENTS))
    journal.write("rendezvous_begin")
    journal.close()
    assert stacks.take(str(ranks.folder))["ranks"] == []


def test_the_newest_generation_is_the_one_that_is_asked(ranks: Ranks) -> None:
    ranks.start(HANGS)
    ranks.announce(generation=0)
    first = ranks.processes.pop()
    first.kill()
    first.wait(WAIT)
    assert first.stdout is not None
    first.stdout.close()
    file = ranks.folder / layout.rank_stacks(1, 0)
    ranks.start(HANGS, STACK_FILE=str(file))
    ranks.announce(generation=1)
    answer = stacks.take(str(ranks.folder), PATIENT)
    assert answer["generation"] == 1
    assert functions(answer["ranks"][0]) == ["hang", "<module>"]


# py-spy


@needs_pyspy
@pytest.mark.parametrize("script", [HANGS, HOLDS_THE_GIL], ids=["sleeping", "holding the GIL"])
def test_a_process_without_handler_is_read_by_pyspy(ranks: Ranks, script: str) -> None:
    ranks.start(script, handler=False)
    ranks.announce()
    (rank,) = ranks.take()
    assert (rank["how"], rank["error"]) == ("py-spy", "")
    assert functions(rank)[-1] == "<module>"
    assert functions(rank)[-2] in ("hang", "parse")
    assert rank["threads"][0]["name"] == "MainThread"


@needs_pyspy
def test_a_rank_that_does_not_answer_the_signal_is_read_by_pyspy(ranks: Ranks) -> None:
    ranks.start(
        f"""
        import signal, time
        signal.pthread_sigmask(signal.SIG_BLOCK, [{layout.STACK_SIGNAL}])
        def hang():
            print("ready", flush=True)
            time.sleep(600)
        hang()
        """
    )
    ranks.announce()
    (rank,) = ranks.take(timeout=6.0)
    assert rank["how"] == "py-spy"
    assert functions(rank) == ["hang", "<module>"]


@needs_pyspy
def test_python_below_a_shell_script_is_found(ranks: Ranks, tmp_path: Path) -> None:
    script = tmp_path / "hang.py"
    script.write_text(HANGS)
    process = subprocess.Popen(
        ["/bin/sh", "-c", '"$0" -u "$1"; exit $?', sys.executable, str(script)],
        env={**os.environ, layout.MARKER: MARKER},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    ranks.processes.append(process)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        ranks.announce()
        (rank,) = ranks.take()
        assert functions(rank) == ["hang", "<module>"]
    finally:
        os.killpg(process.pid, signal.SIGKILL)


@needs_pyspy
def test_pyspy_is_found_beside_the_python_of_the_job_and_on_absolute_paths_only(
    ranks: Ranks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = ranks.start(HANGS)
    assert stacklook.pyspy.find(process.pid) == PYSPY
    monkeypatch.setenv("PATH", ".")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "py-spy").write_text("#!/bin/sh\n")
    (tmp_path / "py-spy").chmod(0o755)
    ranks.path = ".:bin"
    (tmp_path / "bare").mkdir()
    bare = tmp_path / "bare" / "python"  # with nothing beside it
    bare.symlink_to(sys.executable)
    other = ranks.start(HANGS, str(bare))
    assert stacklook.pyspy.find(other.pid) == ""
    ranks.path = f".:{tmp_path}"
    third = ranks.start(HANGS, str(bare))
    assert stacklook.pyspy.find(third.pid) == str(tmp_path / "py-spy")


def _program(folder: Path, script: str) -> str:
    path = folder / "py-spy"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo 'Error: cannot read' >&2; exit 1", "py-spy: Error: cannot read"),
        ("echo 'Permission Denied: Try' >&2; exit 1", "permission denied by the kernel"),
        ("echo '[{}]'", "py-spy: it said nothing"),
        ("echo '[]'", "py-spy found no thread"),
        ("exec sleep 600", "py-spy did not answer within 2 s"),
    ],
)
def test_what_pyspy_says_instead_of_stacks_is_told(
    ranks: Ranks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, said: str
) -> None:
    program = _program(tmp_path, script)
    monkeypatch.setattr(stacklook.pyspy, "find", lambda pid: program)
    ranks.start(HANGS, handler=False)
    ranks.announce()
    (rank,) = ranks.take(timeout=2.0 if "sleep" in script else PATIENT)
    assert said in rank["error"]
    assert (rank["threads"], rank["how"]) == ([], "")


# Jobs whose launcher process nobody instrumented


@needs_pyspy
def test_the_python_processes_of_a_plain_command_are_shown(supervised_node: Node) -> None:
    attempt = supervised_node.python(
        """
        import multiprocessing, os, sys, time
        def train(rank):
            os.environ.pop("RANK", None)
            time.sleep(600)
        def wait():
            open("ready", "w").close()
            time.sleep(600)
        multiprocessing.get_context("fork").Process(target=train, args=(0,), daemon=True).start()
        wait()
        """
    ).run()
    eventually(lambda: (supervised_node.work / "ready").exists(), "the job's start")
    answer = stacks.take(str(attempt.folder), PATIENT)
    assert answer["generation"] is None
    (process,) = answer["ranks"]
    assert (process["rank"], process["how"]) == (None, "py-spy")
    assert functions(process)[-2:] == ["wait", "<module>"]


@needs_pyspy
def test_ranks_that_a_plain_command_has_started_itself_have_their_numbers(
    supervised_node: Node,
) -> None:
    attempt = supervised_node.python(
        """
        import os, subprocess, sys
        code = "import time; open('ready' + sys.argv[1], 'w').close(); time.sleep(600)"
        ranks = [
            subprocess.Popen(
                [sys.executable, "-c", "import sys;" + code, rank],
                env={**os.environ, "RANK": rank},
            )
            for rank in "01"
        ]
        ranks[0].wait()
        """
    ).run()
    for rank in "01":
        eventually(lambda r=rank: (supervised_node.work / f"ready{r}").exists(), "a rank's start")  # type: ignore[misc]
    found = stacks.take(str(attempt.folder), PATIENT)["ranks"]
    assert sorted(process["rank"] for process in found) == [0, 1]
    assert all(functions(process) == ["<module>"] for process in found)


def test_an_attempt_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        stacks.take(str(tmp_path / layout.attempt_dir(JOB, 0, 0)))


# Texts


def text(*threads: str) -> str:
    return "\n".join(threads)


def test_text_after_and_between_threads_is_stepped_over() -> None:
    found = dumps.faulthandler(
        text(
            "Thread 0x00007f01 [pt_data_pin] (most recent call first):\n  <no Python frame>\n",
            "Current thread 0x00007f02 [python] (most recent call first):\n"
            "  Garbage-collecting\n"
            '  File "a ", line 3 in b.py", line 41 in read_shard\n'
            "  File ???, line ??? in ???\n"
            "  ...\n",
            "Current thread's C stack trace (most recent call first):\n"
            '  Binary file "/lib/libc.so.6", at gsignal+0x1 [0x7f]\n',
            "Extension modules: numpy, torch (total: 2)\n",
        )
    )
    assert found == [
        {
            "name": "MainThread",
            "main": True,
            "frames": [
                {"file": 'a ", line 3 in b.py', "line": 41, "function": "read_shard"},
                {"file": "???", "line": 0, "function": "???"},
            ],
        },
        {"name": "pt_data_pin", "main": False, "frames": []},
    ]


def test_of_several_dumps_the_newest_counts_whatever_precedes_it() -> None:
    def dump(function: str) -> str:
        return text(
            f'Thread 0x01 (most recent call first):\n  File "x", line 1 in {function}\n',
            f'Thread 0x02 (most recent call first):\n  File "x", line 2 in {function}\n',
        )

    found = dumps.faulthandler('  File "torn", line 1 in a\n' + dump("old") + dump("new"))
    assert [thread["main"] for thread in found] == [True, False]
    assert [thread["frames"][0]["function"] for thread in found] == ["new", "new"]


def test_what_started_the_users_script_is_left_out_and_what_it_calls_is_not() -> None:
    frames = [
        ("/runtime/x/cockpit/node/supervise/beats.py", "beat"),
        ("/data/train.py", "step"),
        ("/data/train.py", "<module>"),
        ("<frozen runpy>", "_run_code"),
        ("<frozen runpy>", "_run_module_as_main"),
        ("/runtime/x/cockpit/node/rank/worker.py", "run_module"),
        ("/runtime/x/cockpit/node/rank/worker.py", "<module>"),
    ]
    lines = "".join(f'  File "{file}", line 1 in {name}\n' for file, name in frames)
    (thread,) = dumps.faulthandler(f"Current thread 0x01 (most recent call first):\n{lines}")
    assert [frame["function"] for frame in thread["frames"]] == ["beat", "step", "<module>"]


@pytest.mark.parametrize("data", [b"", b"{", b"7", b'{"a": 1}', b"[1]", b"[{}]", b"null"])
def test_what_pyspy_did_not_write_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        dumps.pyspy(data)
