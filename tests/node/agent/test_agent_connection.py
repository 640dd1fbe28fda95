"""HELLO, the framing, requests that make no sense, and how an agent ends."""

from __future__ import annotations

import dataclasses
import json
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cockpit.node.agent.connection import QUEUE_LIMIT
from cockpit.protocol import frames, messages
from cockpit.protocol.frames import Kind
from tests.node.agent_client import LIMIT, REPO, AgentClient, Failed
from tests.node.agent_fixtures import StartAgent


def test_hello_says_who_answers(state_dir: Path, agent: AgentClient) -> None:
    frame = agent.arrived[0]
    hello = messages.Hello(**json.loads(frame.payload))
    assert (frame.kind, frame.stream) == (Kind.HELLO, 0)
    assert hello.protocol == messages.PROTOCOL_VERSION
    assert hello.host == os.uname().nodename
    assert hello.uid == os.getuid()
    assert hello.pid == agent.process.pid
    assert hello.state_dir == str(state_dir)
    assert hello.runtime == "test-runtime"
    assert abs(hello.wall - time.time()) < LIMIT
    assert hello.boot_id == Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def test_hello_and_facts_hold_exactly_the_fields_of_the_protocol(one_agent: AgentClient) -> None:
    def names(record: type) -> set[str]:
        return {field.name for field in dataclasses.fields(record)}

    assert json.loads(one_agent.arrived[0].payload).keys() == names(messages.Hello)
    assert one_agent.call("facts", python=sys.executable).keys() == names(messages.Facts)


def test_the_server_address_comes_from_the_ssh_connection(start_agent: StartAgent) -> None:
    client = start_agent(env={"SSH_CONNECTION": "10.0.0.9 50000 10.0.0.5 22"})
    assert json.loads(client.arrived[0].payload)["address"] == "10.0.0.5"


def test_clock_answers_with_both_clocks(agent: AgentClient) -> None:
    before = time.monotonic()
    clock = agent.call("clock")
    assert before <= clock["mono"] <= time.monotonic()


def test_an_unknown_operation_is_named(agent: AgentClient) -> None:
    with pytest.raises(Failed, match="'make_tea'") as failed:
        agent.call("make_tea")
    assert failed.value.code == "unknown_op"


@pytest.mark.parametrize(
    ("payload", "what"),
    [
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[]", "object with `op`"),
        (b'{"op": 7}', "object with `op`"),
        (b'{"op": "follow", "path": "x", "offset": "0", "credit": 1}', "`offset` of `follow`"),
        (b'{"op": "follow", "path": "x", "offset": 0}', "needs `credit`"),
        (b'{"op": "telemetry", "interval": 1e999}', "finite"),
        (b'{"op": "has_code", "digest": "../../etc"}', "sha256"),
        (b"[" * 100_000, "not JSON"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused_and_the_agent_goes_on(
    one_agent: AgentClient, payload: bytes, what: str
) -> None:
    one_agent.send(Kind.REQUEST, 700, payload)
    with pytest.raises(Failed, match=what) as failed:
        one_agent.answer(700)
    assert failed.value.code == "bad_request"
    assert one_agent.call("clock")["wall"] > 0


@pytest.mark.parametrize("op", ["follow", "read", "list"])
@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "jobs/../../x", "", "a\0b", "link/passwd"])
def test_paths_outside_the_state_folder_are_refused(
    state_dir: Path, one_agent: AgentClient, op: str, path: str
) -> None:
    (state_dir / "link").symlink_to("/etc")
    with pytest.raises(Failed) as failed:
        one_agent.call(op, path=path, offset=0, credit=1, length=1)
    assert failed.value.code in ("bad_path", "bad_request")
    assert "root:" not in str(one_agent.arrived)


def test_what_is_no_regular_file_is_not_opened(state_dir: Path, one_agent: AgentClient) -> None:
    os.mkfifo(state_dir / "pipe")
    for path in ("pipe", "."):
        with pytest.raises(Failed) as failed:
            one_agent.call("read", path=path, offset=0, length=1)
        assert failed.value.code == "bad_path"


def test_a_defect_in_one_request_is_answered_and_leaves_the_others_alone(
    state_dir: Path, agent: AgentClient
) -> None:
    (state_dir / "log").write_bytes(b"first\n")
    following = agent.follow("log")
    with pytest.raises(Failed, match="OverflowError") as failed:
        agent.end(agent.request("read", path="log", offset=10**30, length=1))
    assert failed.value.code == "internal"
    assert following.until(6) == b"first\n"


def test_a_stream_number_that_is_in_use_is_refused(state_dir: Path, one_agent: AgentClient) -> None:
    following = one_agent.follow("not-yet")
    one_agent.send(Kind.REQUEST, following.stream, b'{"op": "clock"}')
    with pytest.raises(Failed, match="in use"):
        one_agent.answer(following.stream)


def test_frames_of_streams_that_have_ended_are_ignored(one_agent: AgentClient) -> None:
    one_agent.credit(99, 5)
    one_agent.close_stream(99)
    one_agent.send(Kind.DATA, 99, b"late")
    one_agent.send(77, 99, b"a kind of a newer version")
    assert one_agent.call("clock")["wall"] > 0


def test_requests_that_arrive_in_pieces_or_in_heaps_are_all_answered(agent: AgentClient) -> None:
    wire = b"".join(frames.encode(Kind.REQUEST, n, b'{"op":"clock"}') for n in range(100, 1300))
    assert agent.process.stdin is not None
    for part in (wire[:3], wire[3:11], wire[11:]):
        agent.process.stdin.write(part)
        agent.process.stdin.flush()
        time.sleep(0.01)
    for number in range(100, 1300):
        assert agent.answer(number)["wall"] > 0


def test_names_of_stray_bytes_break_nothing(state_dir: Path, agent: AgentClient) -> None:
    name = b"evil \xff\xfe \x1b]52;c;cHduZWQ=\x07 $(reboot)\n'\".out"
    (state_dir / os.fsdecode(name)).write_bytes(b"abc")
    (state_dir / "-rf").mkdir()
    entries = agent.call("list", path=".")["entries"]
    assert [entry["size"] for entry in entries if entry["name"].endswith(".out")] == [3]
    assert [entry["directory"] for entry in entries if entry["name"] == "-rf"] == [True]


def test_hostile_names_of_valid_text_can_be_followed(state_dir: Path, agent: AgentClient) -> None:
    name = "-rf $(reboot) 'ü' \"\n\x1b[31m.out"
    (state_dir / name).write_bytes(b"inert")
    assert agent.follow(name).until(5) == b"inert"


def test_list_of_a_missing_folder_is_empty(one_agent: AgentClient) -> None:
    assert one_agent.call("list", path="jobs/nothing") == {"entries": []}


def test_read_sends_the_range_and_ends(state_dir: Path, agent: AgentClient) -> None:
    content = os.urandom(700_000)
    (state_dir / "blob").write_bytes(content)
    stream = agent.request("read", path="blob", offset=1000, length=600_000)
    assert agent.answer(stream) == {"size": len(content)}
    received = b""
    while (frame := agent.next(stream)).kind == Kind.DATA:
        assert frames.OFFSET.unpack_from(frame.payload)[0] == 1000 + len(received)
        received += frame.payload[frames.OFFSET.size :]
    assert frame.kind == Kind.END
    assert received == content[1000:601_000]


def test_read_waits_for_credit(state_dir: Path, one_agent: AgentClient) -> None:
    size = messages.INITIAL_CREDIT + 1000
    with open(state_dir / "blob", "wb") as file:
        file.truncate(size)
    stream = one_agent.request("read", path="blob", offset=0, length=size)
    one_agent.answer(stream)
    got = 0
    while got < messages.INITIAL_CREDIT:
        got += len(one_agent.next(stream).payload) - frames.OFFSET.size
    assert one_agent.waiting(stream, 0.2) is None
    one_agent.credit(stream, 5000)
    assert len(one_agent.next(stream).payload) - frames.OFFSET.size == 1000
    assert one_agent.next(stream).kind == Kind.END


def test_read_past_the_end_ends_with_what_there_is(state_dir: Path, one_agent: AgentClient) -> None:
    (state_dir / "small").write_bytes(b"12345")
    stream = one_agent.request("read", path="small", offset=3, length=100)
    one_agent.answer(stream)
    assert one_agent.next(stream).payload[frames.OFFSET.size :] == b"45"
    assert one_agent.next(stream).kind == Kind.END


def test_a_missing_file_cannot_be_read(one_agent: AgentClient) -> None:
    with pytest.raises(Failed, match="does not exist") as failed:
        one_agent.call("read", path="nothing", offset=0, length=1)
    assert failed.value.code == "not_found"


def test_the_agent_ends_quietly_when_the_controller_hangs_up(agent: AgentClient) -> None:
    agent.follow("not-yet")
    assert agent.hang_up() == 0
    assert agent.stderr() == ""


def test_the_agent_ends_quietly_when_nobody_reads(agent: AgentClient) -> None:
    assert agent.process.stdout is not None
    agent.process.stdout.close()
    assert agent.process.wait(LIMIT) == 0
    assert agent.stderr() == ""


def test_a_byte_stream_that_holds_no_frames_ends_the_agent(one_agent: AgentClient) -> None:
    assert one_agent.process.stdin is not None
    one_agent.process.stdin.write(b"SSH-2.0-noise\r\n" * 10)
    one_agent.process.stdin.flush()
    assert one_agent.process.wait(LIMIT) == 1
    assert "no frame" in one_agent.stderr()


def test_stray_prints_reach_stderr_and_never_the_frames(state_dir: Path) -> None:
    """Also a child that inherits the standard descriptors cannot write into the frames."""
    program = (
        "import os, subprocess, sys\n"
        "from cockpit.node import statedir\nfrom cockpit.node.agent import agent\n"
        "check = statedir.open_state_dir\n"
        "def noisy(*arguments):\n"
        "    print('stray print', flush=True)\n"
        "    subprocess.run(['echo', 'stray child'])\n"
        "    return check(*arguments)\n"
        "agent.open_state_dir = noisy\n"
        f"raise SystemExit(agent.main({str(state_dir)!r}, ''))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=frames.encode(Kind.REQUEST, 1, b'{"op":"clock"}'),
        capture_output=True,
        cwd=REPO,
        timeout=LIMIT,
        check=True,
    )
    kinds = [frame.kind for frame in frames.Decoder().feed(done.stdout)]
    assert kinds[0] == Kind.HELLO
    assert b"stray print" in done.stderr
    assert b"stray child" in done.stderr


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_a_state_folder_that_others_may_write_to_is_refused(state_dir: Path, mode: int) -> None:
    state_dir.chmod(mode)
    client = AgentClient(state_dir)
    with pytest.raises(Failed, match="others may write") as failed:
        client.hello()
    assert failed.value.code == "state_dir"
    assert "state_dir" in failed.value.hint
    assert client.process.wait(LIMIT) == 1
    client.stop()


def test_a_state_folder_of_another_user_is_refused(state_dir: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    os.chown(state_dir, 65534, 65534)
    client = AgentClient(state_dir)
    with pytest.raises(Failed, match="another user"):
        client.hello()
    client.stop()


def test_a_state_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    client = AgentClient(tmp_path / "file" / "state")
    with pytest.raises(Failed, match="file/state"):
        client.hello()
    client.stop()


def test_a_missing_state_folder_is_made_private(tmp_path: Path) -> None:
    client = AgentClient(tmp_path / "new" / "state")
    client.hello()
    client.stop()
    assert stat.S_IMODE((tmp_path / "new" / "state").stat().st_mode) == 0o700


def test_an_agent_whose_output_is_not_read_queues_little_and_answers_when_it_is(
    state_dir: Path, one_agent: AgentClient
) -> None:
    (state_dir / "big").write_bytes(b"x" * (64 << 20))
    stream = one_agent.request("follow", path="big", offset=0, credit=1 << 40)
    time.sleep(1.0)
    status = Path(f"/proc/{one_agent.process.pid}/status").read_text()
    peak = int(status.partition("VmHWM:")[2].split()[0]) * 1024
    assert peak < 24 * 1024 * 1024 + 8 * QUEUE_LIMIT
    clock = one_agent.request("clock")
    one_agent.answer(clock)
    before = sum(f.stream == stream and f.kind == Kind.DATA for f in one_agent.arrived)
    assert before * QUEUE_LIMIT < 32 << 20, "the answer waited behind half of the file"
