"""How an attempt comes to its supervisor, and what reaches the launcher process."""

from __future__ import annotations

import json
import os
import pwd
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from cockpit.node import processes
from cockpit.node.failures import RequestFailedError
from cockpit.node.supervise import claims, supervision
from cockpit.protocol import macros
from tests.node.supervising import ROOT, Node, eventually, supervisors

NASTY = [
    "with space",
    "'single' \"double\" `back`",
    "$(touch /tmp/owned) $HOME ${HOME} $${x}",
    "new\nline\r\ttab",
    "-rf",
    "--",
    "",
    "naïve ☃ 𝄞",
    "\udcff\udc80 not UTF-8",
    "\x1b]52;c;AAAA\x07",
    "*?[a]~;|&<>#!\\",
]

DUMP = """
import os, sys
with open(os.environ["COCKPIT_ATTEMPT_DIR"] + "/dump", "wb") as file:
    arguments = open("/proc/self/cmdline", "rb").read()
    environ = open("/proc/self/environ", "rb").read()
    file.write(repr((arguments, environ, os.getcwdb())).encode() + b"\\n")
"""


def dumped(text: str) -> tuple[list[bytes], dict[bytes, bytes], bytes]:
    arguments, environ, cwd = eval(text)
    pairs = (item.partition(b"=")[::2] for item in environ.rstrip(b"\0").split(b"\0"))
    return arguments.split(b"\0")[:-1], dict(pairs), cwd


def to_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def test_arguments_environment_and_paths_arrive_byte_exact(supervised_node: Node) -> None:
    cwd = os.fsencode(supervised_node.work) + b"/-a b\n'$(x)\xff"
    os.mkdir(cwd)
    env = {f"V{number}": text for number, text in enumerate(NASTY)}
    attempt = supervised_node.attempt(
        sys.executable,
        "-c",
        macros.escape(DUMP),
        *map(macros.escape, NASTY),
        "--rank=${node_rank}/${nproc_per_node}@${head_node_ip} ${attempt_dir}",
        env={**env, "naïve": "ü"},
        name="--name\n$(x)",
        working_dir=os.fsdecode(cwd),
        macros={"head_node_ip": "10.0.0.1"},
    ).run({"SECRET": NASTY[1]})
    attempt.ended()
    arguments, environ, where = dumped(attempt.wait_for_file("dump"))
    assert arguments[3:-1] == [to_bytes(text) for text in NASTY]
    assert arguments[-1] == to_bytes(f"--rank=0/1@10.0.0.1 {attempt.folder}")
    assert {name: environ[name.encode()] for name in env} == {
        name: to_bytes(text) for name, text in env.items()
    }
    assert environ["naïve".encode()] == "ü".encode()
    assert environ[b"SECRET"] == to_bytes(NASTY[1])
    assert where == cwd


@pytest.mark.parametrize("locale", [{}, {"LC_ALL": "C"}, {"LC_ALL": "POSIX", "PYTHONUTF8": "0"}])
def test_the_locale_of_the_connection_does_not_matter(
    supervised_node: Node, monkeypatch: pytest.MonkeyPatch, locale: dict[str, str]
) -> None:
    for name in ("LANG", "LC_ALL", "LC_CTYPE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in locale.items():
        monkeypatch.setenv(name, value)
    attempt = supervised_node.attempt(
        sys.executable, "-c", macros.escape(DUMP), "☃", "\udcff", env={"X": "☃\udcff"}
    ).run()
    attempt.ended()
    arguments, environ, _ = dumped(attempt.wait_for_file("dump"))
    assert arguments[3:] == ["☃".encode(), b"\xff"]
    assert environ[b"X"] == "☃".encode() + b"\xff"


def test_foreign_variables_of_the_connection_do_not_reach_the_job(
    supervised_node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PET_NNODES", "7")
    monkeypatch.setenv("COCKPIT_ATTEMPT", "ffffffffffff/9/9")
    monkeypatch.setenv("SSH_AUTH_SOCK", "/nowhere")
    monkeypatch.setenv("ORDINARY", "stays")
    attempt = supervised_node.attempt(
        sys.executable, "-c", macros.escape(DUMP), env={"PET_MAX_RESTARTS": "2"}
    ).run()
    attempt.ended()
    _, environ, _ = dumped(attempt.wait_for_file("dump"))
    assert b"PET_NNODES" not in environ and b"SSH_AUTH_SOCK" not in environ
    assert environ[b"PET_MAX_RESTARTS"] == b"2"
    assert environ[b"ORDINARY"] == b"stays"
    assert environ[b"PYTHONUNBUFFERED"] == b"1"
    assert environ[b"COCKPIT_ATTEMPT"] == attempt.place.marker.encode()
    assert environ[b"COCKPIT_ATTEMPT_DIR"] == bytes(attempt.folder)
    assert processes.SUPERVISOR_ENV.encode() not in environ
    note = attempt.event("note")
    assert note is not None and note["level"] == "warn"
    assert "PET_NNODES" in note["message"] and "7" not in note["message"]


def test_a_user_who_sets_pythonunbuffered_is_obeyed(supervised_node: Node) -> None:
    attempt = supervised_node.attempt(
        sys.executable, "-c", macros.escape(DUMP), env={"PYTHONUNBUFFERED": ""}
    ).run()
    attempt.ended()
    _, environ, _ = dumped(attempt.wait_for_file("dump"))
    assert environ[b"PYTHONUNBUFFERED"] == b""


def test_a_secret_is_in_no_file_and_on_no_command_line(supervised_node: Node) -> None:
    secret = "s3cr3t-" + os.urandom(8).hex()
    attempt = supervised_node.attempt(
        sys.executable,
        "-c",
        "import os, time; print(len(os.environ['TOKEN']), flush=True); time.sleep(600)",
    )
    attempt.prepare({"TOKEN": secret})
    (supervisor,) = supervisors(attempt.place.job)
    seen = [Path(f"/proc/{supervisor.pid}/environ").read_bytes()]
    attempt.command("go")
    assert attempt.wait_for_file("logs/launcher.out") == f"{len(secret)}\n"
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                seen.append(Path(f"/proc/{entry}/cmdline").read_bytes())
            except OSError:
                continue
    attempt.command("cancel", grace=0)
    attempt.ended()
    files = [path for path in supervised_node.state_dir.rglob("*") if path.is_file()]
    assert len(files) > 5
    seen += [path.read_bytes() for path in files]
    assert not any(secret.encode() in data for data in seen)


def test_a_secret_that_no_process_can_take_is_not_quoted(supervised_node: Node) -> None:
    attempt = supervised_node.python("pass")
    attempt.run({"TOKEN": "s3cr3t\ud800"})
    ended = attempt.ended()
    assert ended["outcome"] == "start_failed"
    assert "s3cr3t" not in (attempt.folder / "events.jsonl").read_text()


def test_of_many_starts_at_once_one_claims(supervised_node: Node) -> None:
    attempt = supervised_node.python("""
        import os
        fd = os.open("starts", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(fd, b"started\\n")
        """)
    results: list[Any] = []

    def prepare() -> None:
        try:
            results.append(attempt.prepare())
        except RequestFailedError as error:
            results.append(error)

    threads = [threading.Thread(target=prepare) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    won = [result for result in results if isinstance(result, dict)]
    lost = [result for result in results if isinstance(result, RequestFailedError)]
    assert len(won) == 1 and won[0]["claimed"] is True
    assert {error.code for error in lost} == {"already_claimed"}
    assert {error.details["by"] for error in lost} == {"ada@laptop"}
    assert all(error.details["at"] > 1e9 for error in lost)
    eventually(lambda: len(supervisors(attempt.place.job)) == 1, "one supervisor")
    attempt.command("go")
    assert attempt.ended()["outcome"] == "succeeded"
    assert (supervised_node.work / "starts").read_text() == "started\n"


def test_an_attempt_cannot_be_prepared_again_after_its_end(supervised_node: Node) -> None:
    attempt = supervised_node.python("pass").run()
    attempt.ended()
    with pytest.raises(RequestFailedError) as caught:
        attempt.prepare()
    assert caught.value.code == "already_claimed"


def test_the_next_attempt_waits_for_the_end_of_the_last(supervised_node: Node) -> None:
    first = supervised_node.python("import time; time.sleep(600)").run()
    second = supervised_node.attempt(job=first.job, attempt=1)
    with pytest.raises(RequestFailedError) as caught:
        second.prepare()
    assert caught.value.code == "still_running"
    assert caught.value.details["attempt"] == 0
    first.command("cancel", grace=5)
    first.ended()
    assert second.prepare()["claimed"] is True
    second.command("withdraw")
    second.ended()


def test_processes_that_survived_an_ended_attempt_keep_the_next_one_out(
    supervised_node: Node,
) -> None:
    first = supervised_node.python("pass").run()
    first.ended()
    env = {**os.environ, "COCKPIT_ATTEMPT": first.place.marker}
    survivor = subprocess.Popen(["sleep", "600"], env=env)
    try:
        eventually(first.scan, "the survivor")
        second = supervised_node.attempt(job=first.job, attempt=1)
        with pytest.raises(RequestFailedError) as caught:
            second.prepare()
    finally:
        survivor.kill()
        survivor.wait()
    assert caught.value.code == "still_running"
    assert [entry["pid"] for entry in caught.value.details["processes"]] == [survivor.pid]


def test_two_nodes_of_one_attempt_may_share_a_machine(supervised_node: Node) -> None:
    first = supervised_node.python("pass")
    second = supervised_node.attempt(job=first.job, node_rank=1)
    first.prepare()
    second.prepare()
    for attempt in (first, second):
        attempt.command("go")
    assert {attempt.ended()["outcome"] for attempt in (first, second)} == {"succeeded"}


def test_a_job_cannot_change_under_its_id(supervised_node: Node) -> None:
    first = supervised_node.python("pass").run()
    first.ended()
    changed = {**first.job, "argv": ["true"]}
    with pytest.raises(RequestFailedError) as caught:
        supervised_node.attempt(job=changed, attempt=1).prepare()
    assert caught.value.code == "job_differs"


def test_what_a_restart_from_another_machine_needs_is_on_the_node(supervised_node: Node) -> None:
    attempt = supervised_node.python("pass").run()
    attempt.ended()
    path = supervised_node.state_dir / "jobs" / attempt.place.job / "job.json"
    assert json.loads(path.read_text()) == json.loads(json.dumps(attempt.job))
    plan = json.loads((attempt.folder / "plan.json").read_text())
    assert plan == json.loads(json.dumps(attempt.record))
    claimed = attempt.event("claimed")
    assert claimed is not None
    assert claimed["by"] == "ada@laptop" and claimed["host"] == claims.host()
    identity = json.loads((attempt.folder / "supervisor.json").read_text())
    assert identity == claimed["supervisor"]


def test_ranks_run_in_a_copy_of_the_code_that_attempts_share(supervised_node: Node) -> None:
    digest = "ab" * 32
    code = supervised_node.store_code(digest, {"train.py": "print(open('out', 'a').write('x'))"})
    stored = supervised_node.state_dir / "code" / digest
    (stored / "link").symlink_to("../../nowhere")
    (stored / "train.py").chmod(0o755)
    first = supervised_node.attempt(sys.executable, "train.py", code=code).run()
    assert first.ended()["outcome"] == "succeeded"
    second = supervised_node.attempt(job=first.job, attempt=1).run()
    assert second.ended()["outcome"] == "succeeded"
    work = supervised_node.state_dir / "jobs" / first.place.job / "work"
    assert (work / "out").read_text() == "xx"
    assert os.readlink(work / "link") == "../../nowhere"
    assert (work / "train.py").stat().st_mode & 0o777 == 0o755
    assert not (stored / "out").exists()
    assert [path.name for path in work.parent.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"working_dir": "/no/such/folder"}, "no_working_dir"),
        ({"id": "../../../etc"}, "invalid"),
        ({"id": "0123456789ab\n"}, "invalid"),
        ({"argv": None}, "invalid"),
    ],
)
def test_what_cannot_be_prepared_is_refused_before_anything_starts(
    supervised_node: Node, fields: dict[str, Any], code: str
) -> None:
    job = {**supervised_node.job("true"), **fields}
    with pytest.raises(RequestFailedError) as caught:
        supervised_node.attempt(job=job).prepare()
    assert caught.value.code == code
    assert not (supervised_node.state_dir / "etc").exists()


def test_code_that_was_never_uploaded_is_refused(supervised_node: Node) -> None:
    code = supervised_node.store_code("cd" * 32, {})
    with pytest.raises(RequestFailedError) as caught:
        supervised_node.attempt("true", code=code).prepare()
    assert caught.value.code == "no_code"


@pytest.mark.parametrize(
    "fields",
    [
        {"id": "../x"},
        {"id": ""},
        {"do": "explode"},
        {"grace": -1},
        {"grace": "1"},
        {"grace": float("nan")},
        {"attempt": -1},
        {"attempt": True},
        {"job": "x"},
    ],
)
def test_a_command_that_makes_no_sense_is_refused(
    supervised_node: Node, fields: dict[str, Any]
) -> None:
    attempt = supervised_node.python("pass")
    with pytest.raises(RequestFailedError) as caught:
        attempt.command(**{"do": "cancel", **fields})
    assert caught.value.code == "invalid"


def test_a_command_for_an_attempt_that_is_not_here_is_refused(supervised_node: Node) -> None:
    with pytest.raises(RequestFailedError) as caught:
        supervised_node.python("pass").command("cancel")
    assert caught.value.code == "not_found"


def test_a_state_folder_that_cannot_be_written_is_named(
    supervised_node: Node, tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    attempt = supervised_node.python("pass")
    with pytest.raises(RequestFailedError) as caught:
        supervision.prepare(str(blocked / "state"), ROOT, attempt.job, attempt.record, {})
    assert caught.value.code == "start"
    assert str(blocked) in caught.value.message and "Not a directory" in caught.value.message


PYENV = Path(pwd.getpwuid(os.getuid()).pw_dir) / ".pyenv" / "versions"
OLD_PYTHONS = [
    path
    for path in ("/usr/bin/python3.9", *map(str, sorted(PYENV.glob("3.9.*/bin/python"))))
    if os.access(path, os.X_OK)
]


def test_a_supervisor_that_hangs_in_the_kernel_holds_nobody_up(
    supervised_node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging: list[subprocess.Popen[bytes]] = []

    class Unkillable(subprocess.Popen[bytes]):
        def kill(self) -> None:
            hanging.append(self)

    seconds = 20
    monkeypatch.setattr(supervision, "_ANSWER_TIMEOUT", 0.2)
    monkeypatch.setattr(supervision.subprocess, "Popen", Unkillable)
    monkeypatch.setattr(supervision.supervisor, "BOOT", f"import time; time.sleep({seconds})")
    attempt = supervised_node.attempt("true")
    with pytest.raises(RequestFailedError, match="did not answer within"):
        attempt.prepare()
    (process,) = hanging
    assert processes.identify(process.pid) is not None
    os.kill(process.pid, signal.SIGKILL)
    # It is reaped although nobody waits for it here.
    eventually(lambda: processes.stat(process.pid) is None, "its end")


@pytest.mark.parametrize("python", OLD_PYTHONS[:1])
def test_a_supervisor_runs_on_the_oldest_python_that_nodes_may_have(
    supervised_node: Node, python: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", python)
    attempt = supervised_node.attempt("sh", "-c", "trap 'exit 3' TERM; echo up; sleep 600 & wait")
    attempt.run()
    attempt.wait_for_file("logs/launcher.out")
    claimed = attempt.event("claimed")
    assert claimed is not None and claimed["python"].startswith("3.9.")
    attempt.kill_supervisor()
    assert supervised_node.ensure_supervised()[0]["adopted"] is True
    attempt.command("cancel", grace=1)
    ended = attempt.ended()
    assert (ended["outcome"], ended["left"]) == ("cancelled", [])
    assert (attempt.folder / "logs" / "supervisor.err").read_text() == ""
