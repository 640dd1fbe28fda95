"""`follow`: byte-exact, within its credit, fair, and honest about files that are not the same."""

from __future__ import annotations

import os
import random
import threading
import time
from pathlib import Path

import pytest

from cockpit.node import linux
from cockpit.node.agent.connection import CHUNK
from cockpit.protocol.frames import INDEX_ENTRY, OFFSET, Kind
from tests.node.agent_client import AgentClient, Failed


def lines(count: int, start: int = 0) -> bytes:
    return b"".join(b"line %08d of some log\n" % n for n in range(start, start + count))


def append(path: Path, data: bytes) -> None:
    with open(path, "ab", buffering=0) as file:
        file.write(data)


def test_a_file_is_followed_from_its_first_byte_for_ever(
    state_dir: Path, agent: AgentClient
) -> None:
    log = state_dir / "log"
    log.write_bytes(lines(10))
    following = agent.follow("log")
    status = log.stat()
    assert following.reply == {"offset": 0, "size": status.st_size, "inode": status.st_ino}
    assert following.until(len(lines(10))) == lines(10)
    for turn in range(1, 20):
        append(log, lines(10, 10 * turn))
        assert following.until(len(lines(10 * turn + 10))) == lines(10 * turn + 10)


def test_following_goes_on_at_the_exact_byte(state_dir: Path, agent: AgentClient) -> None:
    (state_dir / "log").write_bytes(lines(1000))
    first = agent.follow("log", 0, credit=777)
    first.until(777)
    again = agent.follow("log", 777)
    assert first.data + again.until(len(lines(1000)) - 777) == lines(1000)


@pytest.mark.parametrize(("offset", "resolved"), [(-7, 93), (-100, 0), (-5000, 0), (100, 100)])
def test_an_offset_below_zero_counts_from_the_end(
    state_dir: Path, one_agent: AgentClient, offset: int, resolved: int
) -> None:
    content = bytes(range(100))
    (state_dir / "log").write_bytes(content)
    following = one_agent.follow("log", offset)
    assert following.reply["offset"] == resolved
    append(state_dir / "log", b"more")
    assert following.until(104 - resolved) == (content + b"more")[resolved:]


def test_no_byte_is_sent_without_credit(state_dir: Path, agent: AgentClient) -> None:
    (state_dir / "log").write_bytes(lines(100))
    following = agent.follow("log", credit=0)
    assert following.quiet(0.3)
    for amount in (1, 2, 3, 500, 1):
        before = len(following.data)
        agent.credit(following.stream, amount)
        following.until(before + amount)
        assert following.quiet(0.1)
        assert len(following.data) == before + amount
    assert lines(100).startswith(following.data)


def test_bytes_are_exact_under_concurrent_writes_with_tiny_credit(
    state_dir: Path, agent: AgentClient
) -> None:
    seed = random.Random(7)
    content = seed.randbytes(300_000)
    (state_dir / "log").write_bytes(b"")

    def write() -> None:
        position, pieces = 0, random.Random(8)
        while position < len(content):
            size = pieces.choice((1, 10, 100, 5000, 20_000))
            append(state_dir / "log", content[position : position + size])
            position += size
            time.sleep(pieces.random() * 0.004)

    writer = threading.Thread(target=write)
    writer.start()
    following = agent.follow("log", credit=0)
    while len(following.data) < len(content):
        amount = min(seed.choice((1, 7, 1000, 30_000)), len(content) - len(following.data))
        agent.credit(following.stream, amount)
        following.until(len(following.data) + amount)
    writer.join()
    assert following.data == content


def test_a_large_file_arrives_whole_and_in_chunks(state_dir: Path, agent: AgentClient) -> None:
    content = random.Random(9).randbytes(20 * 1024 * 1024 + 13)
    (state_dir / "big").write_bytes(content)
    following = agent.follow("big")
    assert following.until(len(content)) == content
    sizes = [
        len(frame.payload) - OFFSET.size
        for frame in agent.arrived
        if frame.stream == following.stream and frame.kind == Kind.DATA
    ]
    assert max(sizes) <= CHUNK


def test_a_file_that_appears_later_is_followed_from_then_on(
    state_dir: Path, agent: AgentClient
) -> None:
    folder = state_dir / "jobs/0123456789ab/attempts/0/nodes/0/logs/0"
    path = str(folder.relative_to(state_dir) / "0.out")
    following = agent.follow(path, offset=-100)
    assert following.reply == {"offset": 0, "size": 0, "inode": 0}
    assert following.quiet(0.2)
    for part in reversed([folder, *folder.parents]):
        part.mkdir(mode=0o700, exist_ok=True)
        time.sleep(0.01)
    append(folder / "0.out", b"hello")
    assert following.until(5) == b"hello"
    append(folder / "0.out", b" again")
    assert following.until(11) == b"hello again"


def test_many_followers_wait_for_files_that_appear_at_once(
    state_dir: Path, one_agent: AgentClient
) -> None:
    followings = [one_agent.follow(f"logs/{n}/{n}.out") for n in range(40)]
    for n in range(40):
        (state_dir / f"logs/{n}").mkdir(parents=True)
        (state_dir / f"logs/{n}/{n}.out").write_bytes(b"%08d" % n)
    for n, following in enumerate(followings):
        assert following.until(8) == b"%08d" % n


def test_one_file_can_be_followed_many_times(state_dir: Path, agent: AgentClient) -> None:
    log = state_dir / "log"
    log.write_bytes(b"0123456789")
    followings = [agent.follow("log", offset) for offset in (0, 5, 10)]
    agent.close_stream(followings[1].stream)
    assert followings[1].until_end() == {}
    append(log, b"abc")
    assert followings[0].until(13) == b"0123456789abc"
    assert followings[2].until(3) == b"abc"


def test_a_file_that_shrank_ends_the_stream(state_dir: Path, agent: AgentClient) -> None:
    log = state_dir / "log"
    log.write_bytes(lines(100))
    following = agent.follow("log")
    following.until(len(lines(100)))
    os.truncate(log, 10)
    assert following.until_end() == {"replaced": True}


def test_a_file_that_shrank_ends_a_stream_that_waits_for_credit(
    state_dir: Path, one_agent: AgentClient
) -> None:
    log = state_dir / "log"
    log.write_bytes(lines(100))
    following = one_agent.follow("log", credit=50)
    following.until(50)
    os.truncate(log, 10)
    assert following.until_end() == {"replaced": True}


def test_an_offset_past_the_end_means_another_file(state_dir: Path, one_agent: AgentClient) -> None:
    (state_dir / "log").write_bytes(b"short")
    following = one_agent.follow("log", 1000)
    assert following.until_end() == {"replaced": True}


def test_a_replaced_file_is_read_to_its_end_before_the_stream_ends(
    state_dir: Path, agent: AgentClient
) -> None:
    log = state_dir / "log"
    log.write_bytes(lines(100))
    following = agent.follow("log", credit=10)
    following.until(10)
    (state_dir / "new").write_bytes(b"another file")
    (state_dir / "new").rename(log)
    append(state_dir / "unrelated", b"x")
    assert following.quiet(0.2)
    agent.credit(following.stream, 1 << 40)
    assert following.until_end() == {"replaced": True}
    assert following.data == lines(100)


@pytest.mark.parametrize("how", ["unlink", "rename away", "rename the folder"])
def test_a_file_that_is_gone_ends_the_stream(
    state_dir: Path, one_agent: AgentClient, how: str
) -> None:
    (state_dir / "logs").mkdir()
    log = state_dir / "logs/log"
    log.write_bytes(b"all of it")
    following = one_agent.follow("logs/log")
    following.until(9)
    if how == "unlink":
        log.unlink()
    elif how == "rename away":
        log.rename(state_dir / "logs/log.1")
    else:
        (state_dir / "logs").rename(state_dir / "old")
    assert following.until_end() == {"replaced": True}


def test_an_unreadable_file_is_named(state_dir: Path, one_agent: AgentClient) -> None:
    if os.geteuid() == 0:
        pytest.skip("root reads everything")
    (state_dir / "log").write_bytes(b"secret")
    (state_dir / "log").chmod(0)
    with pytest.raises(Failed, match="not accessible") as failed:
        one_agent.follow("log")
    assert failed.value.code == "permission"


def test_close_ends_a_stream_and_nothing_follows(state_dir: Path, agent: AgentClient) -> None:
    (state_dir / "log").write_bytes(b"12345")
    following = agent.follow("log")
    following.until(5)
    agent.close_stream(following.stream)
    assert following.until_end() == {}
    append(state_dir / "log", b"more")
    assert agent.waiting(following.stream, 0.2) is None


def punch(path: Path, start: int, end: int) -> None:
    with open(path, "r+b") as file:
        assert linux.punch_hole(file.fileno(), start, end - start)


def test_the_dropped_head_of_a_log_is_stepped_over(state_dir: Path, agent: AgentClient) -> None:
    log = state_dir / "log"
    content = lines(200_000)
    log.write_bytes(content)
    hole = 1024 * linux.BLOCK
    punch(log, 0, hole)
    for offset in (0, 1, linux.BLOCK - 1, hole - 1):
        stream = agent.request("follow", path="log", offset=offset, credit=1000, index=True)
        assert agent.answer(stream)["offset"] == offset
        index, data = agent.next(stream), agent.next(stream)
        assert (index.kind, data.kind) == (Kind.INDEX, Kind.DATA)
        assert INDEX_ENTRY.unpack_from(index.payload)[0] == hole
        assert data.payload == OFFSET.pack(hole) + content[hole : hole + 1000]


def test_a_log_that_is_trimmed_while_it_is_read_goes_on_after_the_gap(
    state_dir: Path, one_agent: AgentClient
) -> None:
    log = state_dir / "log"
    content = lines(200_000)
    log.write_bytes(content)
    following = one_agent.follow("log", credit=10_000)
    assert following.until(10_000) == content[:10_000]
    hole = 512 * linux.BLOCK
    punch(log, 0, hole)
    one_agent.credit(following.stream, len(content))
    following.position = hole
    following.data.clear()
    assert following.until(len(content) - hole) == content[hole:]


def test_zeros_that_were_written_are_no_gap(state_dir: Path, one_agent: AgentClient) -> None:
    log = state_dir / "log"
    content = bytes(3 * linux.BLOCK) + b"text" + bytes(5 * linux.BLOCK + 7)
    log.write_bytes(content)
    following = one_agent.follow("log")
    assert following.until(len(content)) == content
    append(log, bytes(linux.BLOCK))
    assert following.until(len(content) + linux.BLOCK)[len(content) :] == bytes(linux.BLOCK)


def test_a_chatty_file_starves_neither_quiet_files_nor_answers(
    state_dir: Path, agent: AgentClient
) -> None:
    """While megabytes wait, a quiet line and an answer come after a few chunks, not after all."""
    size = 256 * 1024 * 1024
    with open(state_dir / "chatty", "wb") as file:
        file.truncate(size)
    (state_dir / "quiet").write_bytes(b"")
    quiet = agent.follow("quiet")
    stream = agent.request("follow", path="chatty", offset=0, credit=1 << 40)
    agent.answer(stream)
    agent.next(stream)
    before = len(agent.arrived)
    append(state_dir / "quiet", b"one line\n")
    clock = agent.request("clock")
    agent.answer(clock)
    quiet.until(9)
    chunks = sum(frame.stream == stream for frame in agent.arrived[before:])
    assert chunks < size // CHUNK // 4


def test_two_chatty_files_take_turns(state_dir: Path, one_agent: AgentClient) -> None:
    size = 64 * 1024 * 1024
    streams = []
    for name in ("one", "two"):
        with open(state_dir / name, "wb") as file:
            file.truncate(size)
        stream = one_agent.request("follow", path=name, offset=0, credit=0)
        one_agent.answer(stream)
        streams.append(stream)
    for stream in streams:
        one_agent.credit(stream, size)
    got = dict.fromkeys(streams, 0)
    while all(count < size for count in got.values()):
        one_agent.pump(60)
        got = {
            stream: sum(
                len(frame.payload) - OFFSET.size
                for frame in one_agent.arrived
                if frame.stream == stream and frame.kind == Kind.DATA
            )
            for stream in streams
        }
    assert min(got.values()) > size // 2


def test_changes_of_many_files_travel_together(state_dir: Path, one_agent: AgentClient) -> None:
    """Bursts are gathered: 2,000 writes over 40 files do not make 2,000 packets."""
    followings = []
    for n in range(40):
        (state_dir / f"{n}.out").write_bytes(b"")
        followings.append(one_agent.follow(f"{n}.out"))
    files = [open(state_dir / f"{n}.out", "ab", buffering=0) for n in range(40)]  # noqa: SIM115
    before = len(one_agent.arrived)
    for turn in range(50):
        for file in files:
            file.write(b"%08d\n" % turn)
        time.sleep(0.002)
    for file in files:
        file.close()
    for following in followings:
        following.until(450)
    assert len(one_agent.arrived) - before < 1000
