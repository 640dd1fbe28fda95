"""`exec`: argv as it was given, output as it comes, and nothing left running."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from cockpit.protocol.frames import OFFSET, Kind
from cockpit.protocol.messages import INITIAL_CREDIT
from tests.node.agent_client import LIMIT, AgentClient, Failed


def run(agent: AgentClient, *argv: str, **arguments: Any) -> tuple[bytes, bytes, dict[str, Any]]:
    """stdout, stderr and END of a command."""
    stream = agent.request("exec", argv=list(argv), **arguments)
    agent.generous.add(stream)
    assert agent.answer(stream)["pid"] > 0
    return collect(agent, stream)


def collect(agent: AgentClient, stream: int) -> tuple[bytes, bytes, dict[str, Any]]:
    output = {0: b"", 1: b""}
    while (frame := agent.next(stream)).kind == Kind.DATA:
        output[OFFSET.unpack_from(frame.payload)[0]] += frame.payload[OFFSET.size :]
    agent._streams[stream].appendleft(frame)
    return output[0], output[1], agent.end(stream)


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + LIMIT
    while is_running(pid):
        assert time.monotonic() < deadline, f"{pid} still runs"
        time.sleep(0.02)


ECHO = "import sys; sys.stdout.write('\\0'.join(sys.argv[1:])); sys.stderr.write('err')"


def test_arguments_arrive_byte_for_byte_and_no_shell_sees_them(agent: AgentClient) -> None:
    hostile = ["$(touch /tmp/pwned)", "a b", "'\"", "-rf", "*", "", "new\nline", "ünï", "`id`; ls"]
    out, err, end = run(agent, sys.executable, "-X", "utf8", "-c", ECHO, *hostile)
    assert out.decode() == "\0".join(hostile)
    assert err == b"err"
    assert end == {"code": 0, "signal": None, "timed_out": False}


def test_environment_and_working_folder_are_the_commands_own(
    agent: AgentClient, tmp_path: Path
) -> None:
    program = "import os; print(os.getcwd(), os.environ['X'], os.environ['PATH'] != '')"
    argv = (sys.executable, "-c", program)
    out, _, _ = run(agent, *argv, env={"X": "a=b $HOME"}, cwd=str(tmp_path))
    assert out.decode() == f"{tmp_path} a=b $HOME True\n"


@pytest.mark.parametrize(
    ("program", "code", "number"),
    [("exit 7", 7, None), ("kill -9 $$", None, 9), ("kill -TERM $$", None, 15), ("true", 0, None)],
)
def test_exit_code_and_signal_are_told_apart(
    one_agent: AgentClient, program: str, code: int | None, number: int | None
) -> None:
    _, _, end = run(one_agent, "/bin/sh", "-c", program)
    assert (end["code"], end["signal"]) == (code, number)


def test_output_comes_while_the_command_runs(agent: AgentClient) -> None:
    stream = agent.request("exec", argv=["/bin/sh", "-c", "echo one; sleep 600"])
    agent.answer(stream)
    assert agent.next(stream).payload[OFFSET.size :] == b"one\n"
    agent.close_stream(stream)
    assert agent.end(stream)["signal"] == signal.SIGKILL


def test_large_output_arrives_whole(agent: AgentClient) -> None:
    program = "import sys; sys.stdout.write('x' * 5_000_000); sys.stderr.write('y' * 1_000_000)"
    out, err, _ = run(agent, sys.executable, "-c", program)
    assert (out.count(b"x"), err.count(b"y")) == (5_000_000, 1_000_000)
    assert len(out) + len(err) == 6_000_000


def test_output_waits_for_credit(agent: AgentClient) -> None:
    stream = agent.request("exec", argv=["yes"])
    agent.answer(stream)
    got = 0
    while got < INITIAL_CREDIT:
        got += len(agent.next(stream).payload) - OFFSET.size
    assert got == INITIAL_CREDIT
    assert agent.waiting(stream, 0.3) is None
    agent.credit(stream, 10)
    assert len(agent.next(stream).payload) - OFFSET.size == 10
    agent.close_stream(stream)
    assert agent.end(stream)["signal"] == signal.SIGKILL


def test_closing_the_stream_kills_the_whole_group(agent: AgentClient) -> None:
    program = "trap '' TERM; sleep 600 & echo $!; wait"
    stream = agent.request("exec", argv=["/bin/sh", "-c", program])
    pid = agent.answer(stream)["pid"]
    child = int(agent.next(stream).payload[OFFSET.size :])
    assert is_running(child)
    agent.close_stream(stream)
    assert agent.end(stream)["signal"] == signal.SIGKILL
    wait_until_gone(pid)
    wait_until_gone(child)


def test_hanging_up_kills_the_command(agent: AgentClient) -> None:
    stream = agent.request("exec", argv=["sleep", "600"])
    pid = agent.answer(stream)["pid"]
    assert agent.hang_up() == 0
    wait_until_gone(pid)


def test_a_command_that_was_closed_before_it_started_does_not_run_on(
    one_agent: AgentClient, tmp_path: Path
) -> None:
    for _ in range(20):
        stream = one_agent.request("exec", argv=["sleep", "600.25"])
        one_agent.close_stream(stream)
        assert one_agent.end(stream)["signal"] == signal.SIGKILL
    children = Path(f"/proc/{one_agent.process.pid}/task/{one_agent.process.pid}/children")
    assert not [pid for pid in children.read_text().split() if is_running(int(pid))]


def test_time_that_is_up_kills_the_command_and_says_so(one_agent: AgentClient) -> None:
    _, _, end = run(one_agent, "sleep", "600", timeout=0.2)
    assert end == {"code": None, "signal": signal.SIGKILL, "timed_out": True}


def test_a_background_child_does_not_hold_the_end_back(one_agent: AgentClient) -> None:
    out, _, end = run(one_agent, "/bin/sh", "-c", "sleep 600 & echo $!")
    assert end["code"] == 0
    os.kill(int(out), signal.SIGKILL)


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ({"argv": ["/no/such/program"]}, "/no/such/program"),
        ({"argv": ["true"], "cwd": "/no/such/folder"}, "/no/such/folder"),
        ({"argv": ["/etc/passwd"]}, "Permission denied"),
        ({"argv": []}, "argv"),
        ({"argv": "rm -rf /"}, "argv"),
        ({"argv": ["true", "a\0b"]}, "NUL"),
        ({"argv": ["true"], "env": {"A": 5}}, "env"),
    ],
)
def test_a_command_that_cannot_be_run_is_named(
    one_agent: AgentClient, arguments: dict[str, Any], what: str
) -> None:
    with pytest.raises(Failed, match=what) as failed:
        one_agent.call("exec", **arguments)
    assert failed.value.code in ("not_executed", "bad_request")


def test_a_command_has_no_input_and_dies_of_a_broken_pipe(one_agent: AgentClient) -> None:
    out, _, _ = run(one_agent, "cat")
    assert out == b""
    out, _, _ = run(one_agent, "grep", "SigIgn", "/proc/self/status")
    assert int(out.split()[1], 16) & 1 << (signal.SIGPIPE - 1) == 0
