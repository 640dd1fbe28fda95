from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cockpit.node import journal
from cockpit.node.journal import Journal


@contextlib.contextmanager
def disk_with_room_for(size: int) -> Iterator[None]:
    """No file can grow beyond `size` bytes meanwhile."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_events_are_numbered_stamped_and_read_back(tmp_path: Path) -> None:
    path = str(tmp_path / "events.jsonl")
    writer = Journal(path)
    writer.write("claimed", by="ada\n\udcff")
    writer.write("go")
    first, second = journal.read(path)
    assert (first["seq"], first["kind"], first["by"]) == (0, "claimed", "ada\n\udcff")
    assert second["seq"] == 1
    assert second["mono"] >= first["mono"] > 0
    assert second["at"] >= first["at"] > 1e9
    assert journal.last(path) == second
    assert os.stat(path).st_mode & 0o777 == 0o600
    writer.close()


def test_a_journal_that_does_not_exist_is_empty(tmp_path: Path) -> None:
    assert journal.read(str(tmp_path / "no")) == []
    assert journal.last(str(tmp_path / "no")) is None
    Journal(str(tmp_path / "no")).flush()
    assert journal.last(str(tmp_path / "no")) is None


def test_a_second_writer_goes_on_numbering(tmp_path: Path) -> None:
    path = str(tmp_path / "events.jsonl")
    for _ in range(3):
        writer = Journal(path)
        writer.write("a")
        writer.write("b")
        writer.close()
    assert [event["seq"] for event in journal.read(path)] == list(range(6))


@pytest.mark.parametrize("cut", range(1, 40))
def test_a_torn_last_line_is_dropped_and_fenced_off(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "events.jsonl"
    writer = Journal(str(path))
    writer.write("first")
    writer.write("second")
    writer.close()
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    kinds = ["first", "second"] if cut == 1 else ["first"]
    assert [event["kind"] for event in journal.read(str(path))] == kinds
    writer = Journal(str(path))
    writer.write("third")
    writer.close()
    events = journal.read(str(path))
    assert [event["kind"] for event in events] == [*kinds, "third"]
    assert [event["seq"] for event in events] == list(range(len(events)))
    assert path.read_bytes().startswith(whole[:-cut] + b"\n")


def test_what_is_no_event_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    good = json.dumps({"seq": 4, "at": 1.0, "mono": 1.0, "kind": "go"}).encode()
    path.write_bytes(b'\n[]\n{"seq": 1\nnull\n{"kind": "x"}\n\xff\x00\n' + good + b"\n{}\n")
    assert [event["seq"] for event in journal.read(str(path))] == [4]
    assert journal.last(str(path)) == journal.read(str(path))[0]


def test_the_last_event_is_found_behind_a_long_one(tmp_path: Path) -> None:
    path = str(tmp_path / "events.jsonl")
    writer = Journal(path)
    writer.write("started", argv=["x" * 1_000_000])
    last = journal.last(path)
    assert last is not None and last["kind"] == "started"
    writer.write("ended")
    last = journal.last(path)
    assert last is not None and last["kind"] == "ended"
    writer.close()


@pytest.mark.parametrize("room", range(0, 200, 7))
def test_a_full_disk_delays_events_and_loses_none(tmp_path: Path, room: int) -> None:
    path = tmp_path / "events.jsonl"
    writer = Journal(str(path))
    with disk_with_room_for(room):
        for number in range(5):
            writer.write("note", number=number)
        assert not writer.flush()
        assert writer.pending > 0
        assert path.stat().st_size == room
        journal.read(str(path))
    assert writer.flush()
    assert writer.pending == 0
    writer.write("note", number=5)
    writer.close()
    assert [event["number"] for event in journal.read(str(path))] == list(range(6))
    assert [event["seq"] for event in journal.read(str(path))] == list(range(6))


def test_a_folder_that_comes_late_loses_no_event(tmp_path: Path) -> None:
    path = tmp_path / "later" / "events.jsonl"
    writer = Journal(str(path))
    writer.write("a")
    assert writer.pending == 1
    path.parent.mkdir()
    writer.write("b")
    assert [event["kind"] for event in journal.read(str(path))] == ["a", "b"]
    writer.close()


def test_reserved_room_outlasts_a_full_disk(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        # Without a disk of our own: the reservation itself, and no change of the size.
        writer = Journal(str(tmp_path / "events.jsonl"), reserve=64 * 1024)
        writer.write("claimed")
        status = (tmp_path / "events.jsonl").stat()
        assert status.st_size < 200
        assert status.st_blocks * 512 >= 64 * 1024
        return
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], check=True)
    try:
        reserved = Journal(str(disk / "reserved.jsonl"), reserve=64 * 1024)
        plain = Journal(str(disk / "plain.jsonl"))
        for writer in (reserved, plain):
            writer.write("claimed")
        with contextlib.suppress(OSError), open(disk / "checkpoint", "wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass
        for writer in (reserved, plain):
            writer.write("ended", message="x" * 8000)
        assert reserved.pending == 0
        assert plain.pending > 0
        assert (reserved.full, plain.full) == (False, True)
        assert [event["kind"] for event in journal.read(reserved.path)] == ["claimed", "ended"]
        (disk / "checkpoint").unlink()
        assert plain.flush()
        assert not plain.full
        assert [event["kind"] for event in journal.read(plain.path)] == ["claimed", "ended"]
        for writer in (reserved, plain):
            writer.close()
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_an_event_is_one_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[bytes] = []
    write = os.write

    def counted(fd: int, data: bytes) -> int:
        writes.append(bytes(data))
        return write(fd, data)

    monkeypatch.setattr("cockpit.node.journal.os.write", counted)
    writer = Journal(str(tmp_path / "events.jsonl"))
    writer.write("started", argv=["a\nb"] * 1000)
    writer.close()
    monkeypatch.undo()
    assert len(writes) == 1
    assert writes[0].endswith(b"}\n") and writes[0].count(b"\n") == 1


def test_threads_may_share_a_journal(tmp_path: Path) -> None:
    path = str(tmp_path / "events.jsonl")
    writer = Journal(path)

    def work(name: int) -> None:
        for number in range(100):
            writer.write("note", name=name, number=number)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.close()
    events = journal.read(path)
    assert [event["seq"] for event in events] == list(range(400))
    for name in range(4):
        numbers = [event["number"] for event in events if event["name"] == name]
        assert numbers == list(range(100))


def test_a_program_that_is_executed_does_not_inherit_the_journal(tmp_path: Path) -> None:
    path = str(tmp_path / "events.jsonl")
    writer = Journal(path)
    writer.write("claimed")
    script = (
        "import os\n"
        "for fd in range(3, 64):\n"
        "    if os.path.lexists(f'/proc/self/fd/{fd}'):\n"
        "        print(os.readlink(f'/proc/self/fd/{fd}'))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], close_fds=False, capture_output=True, check=True
    )
    assert path.encode() not in done.stdout
    writer.close()


@given(st.binary(max_size=300), st.data())
def test_reading_never_fails_and_is_stable_under_truncation(
    noise: bytes, data: st.DataObject
) -> None:
    lines = [json.dumps({"seq": n, "kind": "k", "at": 0, "mono": 0}).encode() for n in range(4)]
    place = data.draw(st.integers(0, 4))
    whole = b"\n".join([*lines[:place], noise, *lines[place:]]) + b"\n"
    events = journal._parse(whole)
    assert [event["seq"] for event in events if event["kind"] == "k"] == [0, 1, 2, 3]
    cut = journal._parse(whole[: data.draw(st.integers(0, len(whole)))])
    assert cut == events[: len(cut)]
