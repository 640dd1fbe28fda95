"""How attempts end, with real supervisors and real processes."""

from __future__ import annotations

import os
import signal
import time

import pytest

from cockpit.node import processes
from tests.node.supervising import Node, eventually, supervisors


def test_a_launcher_process_that_exits_with_zero_succeeds(supervised_node: Node) -> None:
    attempt = supervised_node.python("print('hello')").run()
    ended = attempt.ended()
    assert (ended["outcome"], ended["code"], ended["signal"]) == ("succeeded", 0, None)
    assert (ended["left"], ended["swept"]) == ([], 0)
    assert attempt.kinds() == ["claimed", "go", "started", "launcher_exited", "ended"]
    assert [event["seq"] for event in attempt.events()] == [0, 1, 2, 3, 4]
    assert (attempt.folder / "logs" / "launcher.out").read_bytes() == b"hello\n"


def test_an_exit_code_arrives_as_it_is(supervised_node: Node) -> None:
    attempt = supervised_node.python("import sys; print('no', file=sys.stderr); sys.exit(7)").run()
    ended = attempt.ended()
    assert (ended["outcome"], ended["code"], ended["signal"]) == ("failed", 7, None)
    assert "code 7" in ended["message"]
    exited = attempt.event("launcher_exited")
    assert exited is not None
    assert (exited["code"], exited["signal"], exited["oom"]) == (7, None, False)
    assert (attempt.folder / "logs" / "launcher.err").read_bytes() == b"no\n"


def test_a_death_by_signal_names_the_signal(supervised_node: Node) -> None:
    attempt = supervised_node.python("import os; os.kill(os.getpid(), 11)").run()
    ended = attempt.ended()
    assert (ended["outcome"], ended["code"], ended["signal"]) == ("failed", None, 11)
    assert "SIGSEGV" in ended["message"]


def test_exit_code_zero_after_a_failed_group_is_a_failure(supervised_node: Node) -> None:
    attempt = supervised_node.python(
        """
        import os, sys
        sys.path.insert(0, sys.argv[1])
        from cockpit.node.journal import Journal
        journal = Journal(os.environ["COCKPIT_ATTEMPT_DIR"] + "/launcher.jsonl")
        journal.write("group", generation=0, state="FAILED", failures=[])
        """,
        "${runtime}",
    ).run()
    ended = attempt.ended()
    assert (ended["outcome"], ended["code"]) == ("failed", 0)
    assert "FAILED" in ended["message"]


def test_a_program_that_is_not_there_is_a_failed_start(supervised_node: Node) -> None:
    attempt = supervised_node.attempt("no-such-program", "x").run()
    ended = attempt.ended()
    assert ended["outcome"] == "start_failed"
    failed = attempt.event("start_failed")
    assert failed is not None
    assert "'no-such-program'" in failed["message"] and "No such file" in failed["message"]
    assert "PATH" in failed["hint"]
    assert attempt.event("started") is None


def test_a_missing_interpreter_is_told_from_a_missing_script(supervised_node: Node) -> None:
    script = supervised_node.work / "run.sh"
    script.write_text("#!/no/such/shell\n")
    script.chmod(0o755)
    attempt = supervised_node.attempt("./run.sh").run()
    attempt.ended()
    failed = attempt.event("start_failed")
    assert failed is not None and "interpreter" in failed["hint"]


def test_a_script_that_may_not_be_executed_says_so(supervised_node: Node) -> None:
    (supervised_node.work / "run.sh").write_text("#!/bin/sh\n")
    attempt = supervised_node.attempt("./run.sh").run()
    ended = attempt.ended()
    assert "Permission denied" in ended["message"]


def test_a_macro_without_a_value_is_a_failed_start_that_names_it(supervised_node: Node) -> None:
    attempt = supervised_node.attempt("echo", "--port=${rdzv_port}").run()
    ended = attempt.ended()
    assert ended["outcome"] == "start_failed"
    assert "${rdzv_port}" in ended["message"]


def test_a_working_dir_that_vanished_before_go_is_named(supervised_node: Node) -> None:
    gone = supervised_node.work / "gone"
    gone.mkdir()
    attempt = supervised_node.attempt("true", working_dir=str(gone))
    attempt.prepare()
    gone.rmdir()
    attempt.command("go")
    ended = attempt.ended()
    assert ended["outcome"] == "start_failed"
    assert repr(str(gone)) in ended["message"]


def test_nothing_starts_before_go_and_a_withdraw_ends_it(supervised_node: Node) -> None:
    attempt = supervised_node.python("open('ran', 'w')")
    attempt.prepare()
    time.sleep(0.3)
    assert attempt.scan() == []
    assert attempt.command("withdraw", reason="n1 has no Python") == {"accepted": True}
    ended = attempt.ended()
    assert ended["outcome"] == "withdrawn"
    withdrawn = attempt.event("withdrawn")
    assert withdrawn is not None
    assert (withdrawn["reason"], withdrawn["by"]) == ("n1 has no Python", "ada@laptop")
    assert not (supervised_node.work / "ran").exists()


def test_a_cancel_before_go_is_a_withdraw(supervised_node: Node) -> None:
    attempt = supervised_node.python("open('ran', 'w')")
    attempt.prepare()
    attempt.command("cancel")
    assert attempt.ended()["outcome"] == "withdrawn"


def test_an_attempt_that_nobody_starts_withdraws_by_itself(supervised_node: Node) -> None:
    attempt = supervised_node.python("open('ran', 'w')")
    attempt.prepare(go_timeout=0.2)
    ended = attempt.ended()
    assert ended["outcome"] == "withdrawn"
    assert "0.2 s" in ended["message"]
    answer = attempt.command("go")
    assert answer["accepted"] is False
    assert answer["ended"]["outcome"] == "withdrawn"


def test_a_withdraw_after_the_start_changes_nothing_and_is_answered(supervised_node: Node) -> None:
    attempt = supervised_node.python("import time; time.sleep(600)").run()
    attempt.command("withdraw", id="too-late")
    note = attempt.wait("note")
    assert note["command"] == "too-late"
    assert processes.is_alive(attempt.launcher())
    attempt.command("cancel", grace=0)
    assert attempt.ended()["outcome"] == "cancelled"


def test_ranks_that_outlive_their_launcher_process_are_swept(supervised_node: Node) -> None:
    attempt = supervised_node.python("""
        import subprocess, sys
        code = '''if 1:
            import signal, time
            signal.signal(15, signal.SIG_IGN)
            print("up", flush=True)
            time.sleep(600)
        '''
        child = subprocess.Popen(
            [sys.executable, "-c", code], start_new_session=True, stdout=subprocess.PIPE
        )
        child.stdout.readline()
        print(child.pid, flush=True)
        """).run()
    ended = attempt.ended()
    orphan = int((attempt.folder / "logs" / "launcher.out").read_text())
    assert (ended["outcome"], ended["swept"], ended["left"]) == ("succeeded", 1, [])
    swept = attempt.event("swept")
    assert swept is not None
    assert [process["pid"] for process in swept["processes"]] == [orphan]
    assert processes.identify(orphan) is None


def test_signals_to_the_supervisor_touch_neither_it_nor_the_training(supervised_node: Node) -> None:
    attempt = supervised_node.python("import time; time.sleep(600)").run()
    (supervisor,) = supervisors(attempt.place.job)
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGTERM, signal.SIGTERM):
        os.kill(supervisor.pid, number)
    time.sleep(0.5)
    assert processes.is_alive(supervisor)
    assert processes.is_alive(attempt.launcher())
    attempt.command("cancel", grace=0)
    assert attempt.ended()["outcome"] == "cancelled"


def test_the_supervisor_is_detached_from_whoever_started_it(supervised_node: Node) -> None:
    inherited = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(inherited, True)
    try:
        attempt = supervised_node.python("import time; print('up'); time.sleep(600)").run()
    finally:
        os.close(inherited)
    attempt.wait_for_file("logs/launcher.out")
    (supervisor,) = supervisors(attempt.place.job)
    assert os.getsid(supervisor.pid) != os.getsid(0)
    assert processes.stat(supervisor.pid).ppid != os.getpid()
    links = {
        int(fd): os.readlink(f"/proc/{supervisor.pid}/fd/{fd}")
        for fd in os.listdir(f"/proc/{supervisor.pid}/fd")
    }
    assert links[0] == "/dev/null"
    assert links[1] == links[2] == str(attempt.folder / "logs" / "supervisor.err")
    assert "/dev/null" not in {target for fd, target in links.items() if fd > 2}
    launcher = attempt.launcher()
    assert os.getsid(launcher.pid) == launcher.pid
    opened = sorted(int(fd) for fd in os.listdir(f"/proc/{launcher.pid}/fd"))
    assert opened == [0, 1, 2]


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGCHLD])
def test_the_launcher_process_starts_with_default_signals(
    supervised_node: Node, number: int
) -> None:
    previous = signal.signal(number, signal.SIG_IGN)
    try:
        attempt = supervised_node.python("print(open('/proc/self/status').read())").run()
    finally:
        signal.signal(number, previous)
    attempt.ended()
    status = (attempt.folder / "logs" / "launcher.out").read_text()
    ignored = int(status.split("SigIgn:")[1].split()[0], 16)
    blocked = int(status.split("SigBlk:")[1].split()[0], 16)
    assert not ignored & 1 << (number - 1)
    assert blocked == 0


def test_the_training_gets_the_users_umask_and_our_files_are_private(supervised_node: Node) -> None:
    previous = os.umask(0o022)
    try:
        attempt = supervised_node.python("open('checkpoint', 'w')").run()
    finally:
        os.umask(previous)
    attempt.ended()
    assert (supervised_node.work / "checkpoint").stat().st_mode & 0o777 == 0o644
    for path in [supervised_node.state_dir, *supervised_node.state_dir.rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0, path


def test_a_supervisor_that_ended_leaves_no_process(supervised_node: Node) -> None:
    attempt = supervised_node.python("pass").run()
    attempt.wait("ended")
    eventually(lambda: not supervisors(attempt.place.job), "the supervisor's exit")
    assert attempt.scan() == []
    assert (attempt.folder / "logs" / "supervisor.err").read_bytes() == b""
