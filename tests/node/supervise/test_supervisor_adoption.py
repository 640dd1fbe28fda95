"""Training outlives its supervisor, and the next supervisor knows how it went."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import threading
from typing import Any

import pytest

from cockpit.node import durable, journal, processes
from cockpit.node.supervise import claims, supervision
from cockpit.protocol import records
from cockpit.protocol.records import ProcessId
from tests.node.supervising import ROOT, Attempt, Node, eventually, supervisors

INSTRUMENTED = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
from cockpit.node.journal import Journal
folder = os.environ["COCKPIT_ATTEMPT_DIR"]
journal = Journal(folder + "/launcher.jsonl")
print("up", flush=True)
while not os.path.exists(folder + "/finish"):
    time.sleep(0.02)
state, code = open(folder + "/finish").read().split()
if state != "-":
    journal.write("group", generation=0, state=state, failures=[])
if code != "-":
    journal.write("launcher_exit", code=int(code))
    os._exit(int(code))
os._exit(0)
"""


def instrumented(node: Node) -> Attempt:
    """A running attempt whose launcher process ends as the file `finish` says."""
    attempt = node.attempt(sys.executable, "-c", INSTRUMENTED, "${runtime}").run()
    attempt.wait_for_file("logs/launcher.out")
    return attempt


def finish(attempt: Attempt, state: str, code: str) -> None:
    durable.write(str(attempt.folder / "finish"), f"{state} {code}".encode())


def test_training_goes_on_and_is_adopted_with_its_exit_code(supervised_node: Node) -> None:
    attempt = instrumented(supervised_node)
    launcher = attempt.launcher()
    attempt.kill_supervisor()
    assert processes.is_alive(launcher)
    (adopted,) = supervised_node.ensure_supervised()
    assert (adopted["job"], adopted["adopted"], adopted["error"]) == (attempt.place.job, True, "")
    assert [records.to_builtins(s) for s in supervisors(attempt.place.job)] == [
        adopted["supervisor"]
    ]
    assert claims.is_supervised(attempt.place)
    assert supervised_node.ensure_supervised() == []
    assert processes.is_alive(launcher)
    finish(attempt, "FAILED", "3")
    ended = attempt.ended()
    assert (ended["outcome"], ended["code"], ended["signal"]) == ("failed", 3, None)
    kinds = ["claimed", "go", "started", "adopted", "launcher_exited", "ended"]
    assert attempt.kinds() == kinds
    assert [event["seq"] for event in attempt.events()] == list(range(len(kinds)))
    event = attempt.event("adopted")
    assert event is not None
    assert (event["launcher_alive"], event["supervisor"]) == (True, adopted["supervisor"])


@pytest.mark.parametrize(
    ("state", "code", "outcome", "known"),
    [
        ("SUCCEEDED", "0", "succeeded", 0),
        ("SUCCEEDED", "-", "succeeded", None),
        ("FAILED", "0", "failed", 0),
        ("-", "0", "succeeded", 0),
        ("-", "5", "failed", 5),
        ("-", "-", "failed", None),
    ],
)
def test_an_end_that_nobody_watched_is_judged_by_the_launcher_journal(
    supervised_node: Node, state: str, code: str, outcome: str, known: int | None
) -> None:
    attempt = instrumented(supervised_node)
    launcher = attempt.launcher()
    attempt.kill_supervisor()
    finish(attempt, state, code)
    eventually(lambda: not processes.is_alive(launcher), "the launcher process' end")
    (adopted,) = supervised_node.ensure_supervised()
    assert adopted["adopted"]
    ended = attempt.ended()
    assert (ended["outcome"], ended["code"], ended["signal"]) == (outcome, known, None)
    event = attempt.event("adopted")
    assert event is not None and event["launcher_alive"] is False
    if known is None and outcome == "failed":
        assert "unknown" in ended["message"]


def test_a_cancel_brings_its_own_supervisor(supervised_node: Node) -> None:
    attempt = instrumented(supervised_node)
    attempt.kill_supervisor()
    assert attempt.command("cancel", grace=5) == {"accepted": True}
    ended = attempt.ended()
    assert (ended["outcome"], ended["left"]) == ("cancelled", [])
    assert attempt.kinds()[-4:] == ["adopted", "cancel", "launcher_exited", "ended"]
    assert attempt.scan() == []


def test_an_adopter_goes_on_with_a_cancel_and_sends_no_second_sigterm(
    supervised_node: Node,
) -> None:
    attempt = supervised_node.python("""
        import os, signal, time
        folder = os.environ["COCKPIT_ATTEMPT_DIR"]
        def count(number, frame):
            os.write(fd, b"TERM\\n")
        fd = os.open(folder + "/terms", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        signal.signal(signal.SIGTERM, count)
        print("up", flush=True)
        time.sleep(600)
        """).run()
    attempt.wait_for_file("logs/launcher.out")
    attempt.command("cancel", grace=2)
    attempt.wait_for_file("terms")
    attempt.kill_supervisor()
    supervised_node.ensure_supervised()
    ended = attempt.ended()
    assert (ended["outcome"], ended["left"]) == ("cancelled", [])
    assert (attempt.folder / "terms").read_text() == "TERM\n"
    assert len([kind for kind in attempt.kinds() if kind == "cancel"]) == 1


def test_of_two_adopters_at_once_one_wins(supervised_node: Node) -> None:
    attempt = instrumented(supervised_node)
    attempt.kill_supervisor()
    answers: list[dict[str, Any]] = []
    threads = [
        threading.Thread(target=lambda: answers.extend(supervised_node.ensure_supervised()))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([answer for answer in answers if answer["adopted"]]) == 1
    eventually(lambda: len(supervisors(attempt.place.job)) == 1, "one supervisor")
    assert attempt.kinds().count("adopted") == 1
    finish(attempt, "SUCCEEDED", "0")
    assert attempt.ended()["outcome"] == "succeeded"


def test_a_supervisor_that_died_before_go_is_withdrawn(supervised_node: Node) -> None:
    attempt = supervised_node.python("open('ran', 'w')")
    attempt.prepare({"TOKEN": "x"})
    attempt.kill_supervisor()
    attempt.command("go")
    ended = attempt.ended()
    assert ended["outcome"] == "withdrawn"
    assert attempt.kinds() == ["claimed", "adopted", "withdrawn", "ended"]
    assert not (supervised_node.work / "ran").exists()


def test_a_start_that_its_supervisor_could_not_tell_of_is_found(supervised_node: Node) -> None:
    attempt = instrumented(supervised_node)
    launcher = attempt.launcher()
    attempt.kill_supervisor()
    path = attempt.folder / "events.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]) + lines[-1][:20])
    assert attempt.event("started") is None
    supervised_node.ensure_supervised()
    assert attempt.launcher() == launcher
    finish(attempt, "SUCCEEDED", "0")
    assert attempt.ended()["outcome"] == "succeeded"


def claimed_by(attempt: Attempt, supervisor: ProcessId, **changes: Any) -> None:
    """An attempt folder as a supervisor that is gone would have left it."""
    durable.make_folder(str(attempt.folder))
    owner = claims.Owner(claims.host(), claims.machine(), supervisor, "ada", 1.0, "nonce")
    assert claims.claim(attempt.place, dataclasses.replace(owner, **changes))
    durable.write(
        str(attempt.folder / "supervisor.json"), durable.to_json(records.to_builtins(supervisor))
    )


@pytest.fixture
def bystander() -> Any:
    """A process that has nothing to do with any attempt and must survive the test."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield process
    assert process.poll() is None, "an innocent process was ended"
    process.kill()
    process.wait()


def fabricate(node: Node, started: dict[str, Any], supervisor: ProcessId) -> Attempt:
    attempt = node.python("pass")
    claimed_by(attempt, supervisor)
    events = journal.Journal(str(attempt.folder / "events.jsonl"))
    events.write("claimed", by="ada")
    events.write("go", command="g", by="ada")
    events.write("started", process=started, argv=["x"], cwd="/")
    events.close()
    return attempt


@pytest.mark.parametrize("wrong", ["ticks", "boot"])
def test_a_pid_that_now_belongs_to_another_process_is_left_alone(
    supervised_node: Node, bystander: subprocess.Popen[bytes], wrong: str
) -> None:
    other = processes.identify(bystander.pid)
    assert other is not None
    if wrong == "ticks":
        stale = dataclasses.replace(other, start_ticks=other.start_ticks - 1)
    else:
        stale = dataclasses.replace(other, boot_id="0" * 36)
    attempt = fabricate(supervised_node, records.to_builtins(stale), stale)
    assert not claims.is_supervised(attempt.place)
    attempt.command("cancel", grace=0)
    ended = attempt.ended()
    assert ended["outcome"] == ("failed" if wrong == "ticks" else "lost")
    assert (ended["left"], ended["swept"]) == ([], 0)


def test_an_attempt_under_which_the_node_was_rebooted_is_lost(supervised_node: Node) -> None:
    before = ProcessId(1, 1, "1" * 36)
    attempt = fabricate(supervised_node, records.to_builtins(before), before)
    (adopted,) = supervised_node.ensure_supervised()
    assert adopted["adopted"]
    ended = attempt.ended()
    assert (ended["outcome"], ended["code"]) == ("lost", None)
    assert "rebooted" in ended["message"]


def test_an_attempt_of_another_machine_is_not_adopted(supervised_node: Node) -> None:
    gone = ProcessId(2**22, 1, "1" * 36)
    for change in ({"host": "another"}, {"machine": "another"}):
        attempt = supervised_node.python("pass")
        claimed_by(attempt, gone, **change)
    assert supervised_node.ensure_supervised() == []
    assert attempt.command("cancel") == {"accepted": True}
    assert supervisors(attempt.place.job) == []


def test_a_lock_that_the_file_system_does_not_have_is_replaced(
    supervised_node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = supervised_node.python("pass").place
    durable.make_folder(place.path)

    def flock(fd: int, operation: int) -> None:
        raise OSError(38, os.strerror(38))

    monkeypatch.setattr("fcntl.flock", flock)
    first, second = claims.Lock(place), claims.Lock(place)
    assert first.acquire()
    assert not second.acquire()
    first.release()
    assert second.acquire()
    second.release()


def test_a_supervisor_without_its_job_file_still_sees_the_attempt_out(
    supervised_node: Node,
) -> None:
    attempt = instrumented(supervised_node)
    attempt.kill_supervisor()
    (supervised_node.state_dir / "jobs" / attempt.place.job / "job.json").unlink()
    supervised_node.ensure_supervised()
    finish(attempt, "SUCCEEDED", "0")
    assert attempt.ended()["outcome"] == "succeeded"


def test_an_adopter_that_cannot_start_is_reported(
    supervised_node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = instrumented(supervised_node)
    attempt.kill_supervisor()
    (answer,) = supervision.ensure_supervised(str(supervised_node.state_dir), "/no/runtime")
    assert answer["adopted"] is False
    assert "No module named 'cockpit'" in answer["error"]
    assert ROOT and json.dumps(answer)
