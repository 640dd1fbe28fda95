"""A cancel ends everything, once, and proves it."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from cockpit.node import processes
from cockpit.node.supervise import sweep
from tests.node.supervising import Node, eventually, supervisors


def test_a_cancel_sends_exactly_one_sigterm(supervised_node: Node) -> None:
    attempt = supervised_node.python("""
        import os, signal, time
        count = 0
        def count_it(number, frame):
            global count
            count += 1
        signal.signal(signal.SIGTERM, count_it)
        folder = os.environ["COCKPIT_ATTEMPT_DIR"]
        open(folder + "/ready", "w").write("\\n")
        until = None
        while until is None or time.monotonic() < until:
            time.sleep(0.01)
            if count and until is None:
                until = time.monotonic() + 1.5
        open(folder + "/count", "w").write(f"{count}\\n")
        raise SystemExit(1)
        """).run()
    attempt.wait_for_file("ready")
    attempt.command("cancel", id="one", reason="enough", grace=60)
    attempt.command("cancel", id="one", reason="enough", grace=60)
    attempt.wait("cancel")
    attempt.command("cancel", id="two", grace=50)
    ended = attempt.ended()
    assert attempt.wait_for_file("count") == "1\n"
    assert (ended["outcome"], ended["code"], ended["swept"]) == ("cancelled", 1, 0)
    cancels = [event for event in attempt.events() if event["kind"] == "cancel"]
    assert [(event["command"], event["grace"]) for event in cancels] == [("one", 60), ("two", 50)]
    assert (cancels[0]["by"], cancels[0]["reason"]) == ("ada@laptop", "enough")


FAMILY = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
kind = sys.argv[1]
if kind == "stripped" and "COCKPIT_ATTEMPT" in os.environ:
    env = {k: v for k, v in os.environ.items() if not k.startswith("COCKPIT_")}
    os.execve(sys.executable, [sys.executable, *sys.argv], env)
if kind == "daemon" and os.fork():
    os._exit(0)
if kind != "plain":
    os.setsid()
with open(kind + ".part", "w") as file:
    file.write(f"{os.getpid()}\\n")
os.rename(kind + ".part", kind + ".pid")
time.sleep(600)
"""


def test_what_ignores_sigterm_or_hides_is_swept_to_the_last_process(supervised_node: Node) -> None:
    (supervised_node.work / "family.py").write_text(FAMILY)
    attempt = supervised_node.python("""
        import signal, subprocess, sys, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        for kind in ("plain", "session", "daemon", "stripped"):
            subprocess.Popen([sys.executable, "family.py", kind])
        time.sleep(600)
        """).run()
    pids = {}
    for kind in ("plain", "session", "daemon", "stripped"):
        path = supervised_node.work / f"{kind}.pid"
        eventually(path.exists, str(path))
        pids[kind] = int(path.read_text())
    assert all(processes.identify(pid) for pid in pids.values())
    attempt.command("cancel", grace=0.2)
    ended = attempt.ended()
    assert (ended["outcome"], ended["signal"], ended["left"]) == ("cancelled", 9, [])
    swept = attempt.event("swept")
    assert swept is not None and swept["signal"] == signal.SIGKILL
    killed = {process["pid"] for process in swept["processes"]}
    assert killed >= {*pids.values(), attempt.launcher().pid}
    assert ended["swept"] == len(swept["processes"]) == 5
    assert attempt.scan() == []
    assert not any(processes.identify(pid) for pid in pids.values())
    exited = attempt.event("launcher_exited")
    assert exited is not None and exited["oom"] is False


def test_a_later_cancel_can_only_shorten_the_wait(supervised_node: Node) -> None:
    attempt = supervised_node.python("""
        import signal, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("up", flush=True)
        time.sleep(600)
        """).run()
    attempt.wait_for_file("logs/launcher.out")
    attempt.command("cancel", grace=500)
    attempt.wait("cancel")
    attempt.command("cancel", grace=1)
    eventually(lambda: attempt.kinds().count("cancel") == 2, "the second cancel")
    attempt.command("cancel", grace=500)
    assert attempt.ended()["outcome"] == "cancelled"


def test_a_stopped_process_is_ended_too(supervised_node: Node) -> None:
    attempt = supervised_node.python("import time; time.sleep(600)").run()
    os.kill(attempt.launcher().pid, signal.SIGSTOP)
    attempt.command("cancel", grace=0.1)
    ended = attempt.ended()
    assert (ended["outcome"], ended["left"]) == ("cancelled", [])


def test_processes_of_another_job_are_left_alone(supervised_node: Node) -> None:
    bystander = supervised_node.python("import time; time.sleep(600)").run()
    attempt = supervised_node.python("import time; time.sleep(600)").run()
    attempt.command("cancel", grace=5)
    attempt.ended()
    assert processes.is_alive(bystander.launcher())
    assert len(supervisors(bystander.place.job)) == 1


def test_a_job_that_was_started_by_a_job_is_not_ended_with_it(supervised_node: Node) -> None:
    inner = supervised_node.python("import time; time.sleep(600)")
    script = supervised_node.work / "outer.py"
    script.write_text(
        "import json, sys, time\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "from cockpit.node.supervise import supervision\n"
        "state, job, record = json.loads(sys.argv[2])\n"
        "supervision.prepare(state, sys.argv[1], job, record, {})\n"
        "time.sleep(600)\n"
    )
    document = json.dumps([str(supervised_node.state_dir), inner.job, inner.record])
    outer = supervised_node.attempt(sys.executable, str(script), "${runtime}", document).run()
    inner.wait("claimed")
    inner.command("go")
    launcher = inner.launcher()
    outer.command("cancel", grace=0)
    assert outer.ended()["outcome"] == "cancelled"
    assert processes.is_alive(launcher)
    assert len(supervisors(inner.place.job)) == 1


def test_a_sweep_gives_up_in_time_and_names_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    entry: processes.Process = {
        "pid": 2**22 + 1,
        "ppid": 1,
        "state": "D",
        "command": "python train.py",
        "marker": "ffffffffffff/0/0",
        "start_ticks": 1,
    }
    monkeypatch.setattr(processes, "scan", lambda prefix: [entry])
    # The sweep runs in this very process: what other tests left below it is none of its business.
    monkeypatch.setattr(processes, "descendants", lambda pid, prefix: [])

    def tick(seconds: float) -> bool:
        time.sleep(seconds)
        return False

    swept = sweep.clear("ffffffffffff/0/0", 0.0, tick, limit=0.3)
    assert swept.killed == ()
    assert swept.left == ({"pid": 2**22 + 1, "command": "python train.py"},)


def test_patience_ends_when_the_tick_says_so(supervised_node: Node) -> None:
    attempt = supervised_node.python("""
        import subprocess, sys
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        """).run()
    attempt.wait("launcher_exited")
    began = time.monotonic()
    attempt.command("cancel", grace=0)
    ended = attempt.ended()
    assert (ended["outcome"], ended["code"]) == ("succeeded", 0)
    assert ended["swept"] == 1
    assert time.monotonic() - began < 60


def test_a_command_is_obeyed_when_the_disk_is_full(
    supervised_node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = supervised_node.python("import time; time.sleep(600)").run()

    def full(path: str, data: bytes) -> bool:
        raise OSError(28, "No space left on device", path)

    monkeypatch.setattr("cockpit.node.durable.write_new", full)
    assert attempt.command("cancel", grace=0, reason="the disk is full") == {"accepted": True}
    assert attempt.ended()["outcome"] == "cancelled"
    cancel = attempt.event("cancel")
    assert cancel is not None and cancel["reason"] == "the disk is full"
    spares = [p for p in Path(attempt.folder / "commands").iterdir() if ".spare." in p.name]
    assert len(spares) == 3
