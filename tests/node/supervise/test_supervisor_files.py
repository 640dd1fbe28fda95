"""What a supervisor lays out for the job before its start, and looks for at its end."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

from cockpit.node.failures import RequestFailedError
from cockpit.node.supervise import commands
from cockpit.node.supervise.commands import Command
from cockpit.protocol.records import Watch
from tests.node.supervising import Attempt, Node, eventually

SHOW = """
import json, os
names = ("FAULT_TOL_FINISHED_FLAG_FILE", "COCKPIT_SLOTS")
with open(os.environ["COCKPIT_ATTEMPT_DIR"] + "/seen", "w") as file:
    file.write("|".join(os.environ.get(name, "-") for name in names) + "\\n")
"""


def seen(attempt: Attempt) -> list[str]:
    return attempt.wait_for_file("seen").rstrip("\n").split("|")


def test_files_of_the_job_are_there_before_it_starts(supervised_node: Node) -> None:
    attempt = supervised_node.attempt(
        "cat",
        "${attempt_dir}/ft.yaml",
        "${attempt_dir}/deep/er/x.txt",
        files={"ft.yaml": "at: ${attempt_dir}/${node_rank}\n", "deep/er/x.txt": "$${kept} ☃\n"},
    ).run()
    attempt.ended()
    text = (attempt.folder / "logs/launcher.out").read_text()
    assert text == f"at: {attempt.folder}/0\n${{kept}} ☃\n"
    assert stat.S_IMODE((attempt.folder / "ft.yaml").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("../../../escaped", "outside"),
        ("/tmp/escaped", "outside"),
        ("a/../../escaped", "outside"),
        ("", "outside"),
        ("nul\0", "outside"),
        ("plan.json", "already"),
        ("events.jsonl", "already"),
        ("plan.json/x", "exists"),
    ],
)
def test_a_file_that_may_not_be_written_stops_the_start(
    supervised_node: Node, path: str, words: str
) -> None:
    attempt = supervised_node.attempt("touch", "ran", files={path: "text"}).run()
    ended = attempt.ended()
    assert ended["outcome"] == "start_failed"
    assert words in ended["message"] or "irectory" in ended["message"]
    assert not (supervised_node.work / "ran").exists()
    assert not list(supervised_node.state_dir.rglob("escaped*"))
    assert (attempt.folder / "plan.json").stat().st_size > 20


def test_a_file_with_a_macro_without_value_stops_the_start(supervised_node: Node) -> None:
    attempt = supervised_node.attempt("true", files={"x": "${rdzv_port}"}).run()
    assert "${rdzv_port} has no value" in attempt.ended()["message"]


@pytest.mark.parametrize("made", [True, False])
def test_a_job_that_really_finished_says_so_by_its_flag(supervised_node: Node, made: bool) -> None:
    script = SHOW + "open(os.environ['FAULT_TOL_FINISHED_FLAG_FILE'], 'w')" * made
    attempt = supervised_node.attempt(
        sys.executable, "-c", script, finished_flag="${attempt_dir}/finished"
    ).run()
    attempt.ended()
    flag = str(attempt.folder / "finished")
    assert seen(attempt) == [flag, "-"]
    event = attempt.event("finished_flag")
    assert (event["path"] if event else None) == (flag if made else None)
    if made:
        assert attempt.kinds()[-2:] == ["finished_flag", "ended"]
    assert "note" not in attempt.kinds()


def test_a_relative_flag_lies_where_the_ranks_run_and_an_old_one_is_told(
    supervised_node: Node,
) -> None:
    (supervised_node.work / "finished").touch()
    attempt = supervised_node.attempt(sys.executable, "-c", SHOW, finished_flag="finished").run()
    attempt.ended()
    flag = str(supervised_node.work / "finished")
    assert seen(attempt)[0] == flag
    note, event = attempt.event("note"), attempt.event("finished_flag")
    assert note is not None and "before the start" in note["message"] and flag in note["message"]
    assert event is None, "what was there before says nothing of this attempt"


def test_the_folder_of_the_flag_is_made(supervised_node: Node) -> None:
    script = SHOW + "open(os.environ['FAULT_TOL_FINISHED_FLAG_FILE'], 'w')"
    attempt = supervised_node.attempt(
        sys.executable, "-c", script, finished_flag="deep/down/finished"
    ).run()
    attempt.ended()
    event = attempt.event("finished_flag")
    assert event is not None
    assert event["path"] == str(supervised_node.work / "deep/down/finished")


def test_an_adopter_knows_the_flag(supervised_node: Node) -> None:
    attempt = supervised_node.python(
        """
        import os, time
        print("up", flush=True)
        while not os.path.exists("finish"):
            time.sleep(0.02)
        open(os.environ["FAULT_TOL_FINISHED_FLAG_FILE"], "w")
        """,
        finished_flag="${attempt_dir}/finished",
    ).run()
    attempt.wait_for_file("logs/launcher.out")
    attempt.kill_supervisor()
    supervised_node.ensure_supervised()
    (supervised_node.work / "finish").touch()
    attempt.ended()
    event = attempt.event("finished_flag")
    assert event is not None and event["path"] == str(attempt.folder / "finished")


def test_ranks_are_told_where_to_beat_unless_they_are_not_to(supervised_node: Node) -> None:
    for kind, instrument in (("torchrun", True), ("torchrun", False), ("command", True)):
        attempt = supervised_node.attempt(
            sys.executable,
            "-c",
            SHOW,
            kind=kind,
            watch=Watch(instrument=instrument),
            env={"COCKPIT_SLOTS": "/users/own"},
        ).run()
        attempt.ended()
        wanted = kind == "torchrun" and instrument
        marker = attempt.place.marker.replace("/", ".")
        expected = f"/dev/shm/cockpit-{os.geteuid()}/{marker}" if wanted else "-"
        assert seen(attempt)[1] == expected
        assert not Path(expected).exists()


def test_without_any_place_for_slots_the_job_runs_and_says_so(
    supervised_node: Node, tmp_path: Path
) -> None:
    attempt = supervised_node.attempt(sys.executable, "-c", SHOW, kind="torchrun")
    attempt.prepare()
    marker = attempt.place.marker.replace("/", ".")
    shared = Path(f"/dev/shm/cockpit-{os.geteuid()}")
    shared.mkdir(mode=0o700, exist_ok=True)
    (shared / marker).symlink_to(tmp_path)
    (attempt.folder / "slots").symlink_to(tmp_path)
    try:
        attempt.command("go")
        assert attempt.ended()["outcome"] == "succeeded"
    finally:
        (shared / marker).unlink()
    assert seen(attempt) == ["-", "-"]
    note = attempt.event("note")
    assert note is not None and note["message"].startswith("not instrumented: ")
    assert tmp_path.is_dir()


def test_a_restart_may_say_whether_it_counts(supervised_node: Node) -> None:
    fields = {"id": "x", "do": "restart", "by": "ada", "cost": True, "grace": 2}
    assert commands.parse(fields) == Command("x", "restart", "ada", grace=2.0, cost=True)
    assert commands.parse({"id": "x", "do": "restart"}).cost is False
    with pytest.raises(RequestFailedError, match="cost"):
        commands.parse({"id": "x", "do": "restart", "cost": 1})


def test_a_restart_while_a_job_is_being_ended_is_refused(supervised_node: Node) -> None:
    attempt = supervised_node.python(
        """
        import signal, time
        signal.signal(signal.SIGTERM, lambda *_: print("term", flush=True))
        print("up", flush=True)
        time.sleep(2), time.sleep(600)
        """,
        kind="torchrun",
    ).run()
    attempt.wait_for_file("logs/launcher.out")
    attempt.command("cancel", grace=60)
    attempt.wait("cancel")
    attempt.command("restart")
    note = attempt.wait("note")
    assert "the attempt is ending" in note["message"]
    attempt.command("cancel", grace=0)
    eventually(lambda: attempt.event("ended"), "the end")
    assert "restart" not in attempt.kinds()
