"""The slot: what is written is what is read, from any process, at any moment."""

from __future__ import annotations

import io
import math
import os
import pathlib
import stat
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cockpit.node.rank import instrument, slot, worker
from tests.node.torchrun_nodes import until

SLOT_FILE = slot.__file__


@pytest.fixture
def path(tmp_path: pathlib.Path) -> str:
    return str(tmp_path / "0.0")


@pytest.fixture
def written(path: str) -> slot.Slot:
    return slot.Slot(path, 3)


@pytest.fixture
def reader(path: str, written: slot.Slot) -> Iterator[slot.Reader]:
    reader = slot.Reader(path)
    yield reader
    reader.close()


def read(reader: slot.Reader) -> slot.Beat:
    beat = reader.read()
    assert beat is not None
    return beat


def test_a_new_slot_tells_who_and_since_when_and_no_beat(reader: slot.Reader, path: str) -> None:
    beat = read(reader)
    assert (beat.pid, beat.local_rank, beat.flags) == (os.getpid(), 3, 0)
    assert 0 < beat.started_ns <= time.monotonic_ns()
    assert (beat.beats, beat.step, beat.mono_ns, beat.steps) == (0, None, 0, 0)
    assert (beat.metrics, beat.sections, beat.note) == ({}, (), "")
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


def test_steps_count_from_zero_and_beats_do_not_step(
    written: slot.Slot, reader: slot.Reader
) -> None:
    before = time.monotonic_ns()
    written.step()
    assert before <= written.step() <= time.monotonic_ns()
    written.beat()
    beat = read(reader)
    assert (beat.beats, beat.step, beat.steps) == (3, 1, 2)
    assert before <= beat.mono_ns <= time.monotonic_ns()


def test_own_time_adds_up_over_the_steps_that_tell_it(
    written: slot.Slot, reader: slot.Reader
) -> None:
    for own_ns in (-1, 5, 0, 7):
        written.step(own_ns)
    beat = read(reader)
    assert (beat.steps, beat.own_steps, beat.own_ns) == (4, 3, 12)


def test_the_users_step_counts_once_it_is_given(written: slot.Slot, reader: slot.Reader) -> None:
    written.step()
    written.heartbeat(loss=1.0)
    assert (read(reader).step, read(reader).flags) == (0, 0)
    written.heartbeat(1000)
    written.step()
    beat = read(reader)
    assert (beat.step, beat.steps, beat.beats, beat.flags) == (1000, 2, 4, slot.USER)


class Number:
    """As a tensor of one element: neither int nor float, but convertible."""

    def __float__(self) -> float:
        return 2.5

    def __int__(self) -> int:
        return 2


class Several:
    def __float__(self) -> float:
        raise RuntimeError("a Tensor with 2 elements cannot be converted to Scalar")

    __int__ = __float__  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("step", "shown"),
    [(0, 0), (True, 1), (7.9, 7), (Number(), 2), (2**62 - 1, 2**62 - 1), (2**62, None),
     (-1, None), (-(2**80), None)],
)  # fmt: skip
def test_any_number_is_a_step(
    written: slot.Slot, reader: slot.Reader, step: Any, shown: int | None
) -> None:
    written.heartbeat(step)
    assert (read(reader).step, read(reader).beats) == (shown, 1)


@pytest.mark.parametrize("step", ["x", float("nan"), float("inf"), Several(), object()])
def test_what_is_no_step_is_left_out_and_said_once(
    written: slot.Slot, reader: slot.Reader, step: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    written.step()
    written.heartbeat(step)
    written.heartbeat(step, loss=1.0)
    beat = read(reader)
    assert (beat.step, beat.beats, beat.metrics) == (0, 3, {"loss": 1.0})
    assert capsys.readouterr().err.count("step is no number") == 1


def test_numbers_of_every_kind_are_metrics(
    written: slot.Slot, reader: slot.Reader, capsys: pytest.CaptureFixture[str]
) -> None:
    written.heartbeat(loss=1.5, tokens=10**15, ok=True, like_a_tensor=Number(), self=1)  # type: ignore[arg-type]
    assert read(reader).metrics == {
        "loss": 1.5,
        "tokens": 1e15,
        "ok": 1.0,
        "like_a_tensor": 2.5,
        "self": 1.0,
    }
    written.heartbeat(loss=float("nan"), tokens=float("-inf"))
    metrics = read(reader).metrics
    assert math.isnan(metrics["loss"])
    assert metrics["tokens"] == float("-inf")
    assert capsys.readouterr().err == ""


def test_none_leaves_the_last_value(
    written: slot.Slot, reader: slot.Reader, capsys: pytest.CaptureFixture[str]
) -> None:
    written.heartbeat(loss=1.5, accuracy=None)
    written.heartbeat(loss=None)
    metrics = read(reader).metrics
    assert metrics["loss"] == 1.5
    assert math.isnan(metrics["accuracy"])
    assert capsys.readouterr().err == ""


def test_what_is_no_number_is_left_out_and_said_once_a_metric(
    written: slot.Slot, reader: slot.Reader, capsys: pytest.CaptureFixture[str]
) -> None:
    written.heartbeat(loss=2.0)
    for value in ("high", [1], Several(), 10**400):
        written.heartbeat(loss=value, other=1)  # type: ignore[arg-type]
    assert read(reader).metrics == {"loss": 2.0, "other": 1.0}
    assert read(reader).beats == 5
    assert capsys.readouterr().err == "cockpit.heartbeat leaves it out: 'loss' is no number: str\n"


class BrokenPipe(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")


def closed() -> io.StringIO:
    stream = io.StringIO()
    stream.close()
    return stream


@pytest.mark.parametrize("stderr", [closed(), BrokenPipe(), None], ids=["closed", "broken", "none"])
def test_where_nothing_can_be_said_a_beat_raises_nothing(
    written: slot.Slot,
    reader: slot.Reader,
    stderr: io.StringIO | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", stderr)
        written.heartbeat(loss="high")  # type: ignore[arg-type]
        written.heartbeat("x", **{"n" * 41: 1.0})  # type: ignore[arg-type]
        instrument._say("something")
        worker.say("something")
    assert read(reader).beats == 2


def test_there_is_room_for_a_limited_number_of_names_and_two_lines_say_so(
    written: slot.Slot, reader: slot.Reader, capsys: pytest.CaptureFixture[str]
) -> None:
    longest = "é" * (slot.MAX_NAME // 2)
    written.heartbeat(**{longest: 1.0, longest + "x": 2.0, longest + "y": 2.0})
    for number in range(2 * slot.MAX_METRICS):
        written.heartbeat(**{f"m{number}": float(number)})
    metrics = read(reader).metrics
    assert len(metrics) == slot.MAX_METRICS
    assert metrics[longest] == 1.0
    assert metrics[f"m{slot.MAX_METRICS - 2}"] == slot.MAX_METRICS - 2
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_names_are_never_cut(written: slot.Slot, reader: slot.Reader) -> None:
    names = ["a" * length for length in range(1, slot.MAX_NAME + 1)]
    written.heartbeat(**{name: float(len(name)) for name in names})
    assert read(reader).metrics == {name: float(len(name)) for name in names}


def test_notes_add_up_and_a_text_is_cut_between_characters(
    written: slot.Slot, reader: slot.Reader
) -> None:
    written.note("first")
    written.note("second")
    assert read(reader).note == "first; second"
    written.note("€" * slot.MAX_NOTE)
    note = read(reader).note
    assert len(note.encode()) <= slot.MAX_NOTE
    assert set(note[len("first; second; ") :]) == {"€"}
    written.sections(["setup", "step"])
    assert read(reader).sections == ("setup", "step")
    written.sections([])
    assert read(reader).sections == ()


def test_a_slot_never_takes_over_a_file(path: str, written: slot.Slot) -> None:
    with pytest.raises(FileExistsError):
        slot.Slot(path, 0)


def test_a_full_disk_leaves_no_slot(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int, offset: int, size: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        slot.Slot(path, 0)
    assert not pathlib.Path(path).exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system of its own")
def test_on_a_file_system_that_is_really_full_the_process_lives_on(
    tmp_path: pathlib.Path,
) -> None:
    mounted = subprocess.run(
        ["unshare", "-m", "sh", "-c", 'mount -t tmpfs -o size=8k tmpfs "$1" && '
         'head -c 100k /dev/zero > "$1/x" 2>/dev/null; exec "$2" -c "$3" "$4" "$1/0.0"',
         "sh", str(tmp_path), sys.executable, LOAD + FULL, SLOT_FILE],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    if "unshare" in mounted.stderr or "mount" in mounted.stderr:
        pytest.skip(mounted.stderr)
    assert (mounted.stdout, mounted.returncode) == ("No space left on device False\n", 0)


LOAD = """
import importlib.util, os, sys, time
spec = importlib.util.spec_from_file_location("private", sys.argv[1])
slot = importlib.util.module_from_spec(spec)
sys.modules["private"] = slot
spec.loader.exec_module(slot)
"""

FULL = """
try:
    slot.Slot(sys.argv[2], 0)
except OSError as error:
    print(error.strerror, os.path.exists(sys.argv[2]))
"""

BUSY = """
slot = slot.Slot(sys.argv[2], 0)
print("ready", flush=True)
while True:
    slot.step(7)
"""


def test_a_writer_that_never_rests_is_read_whole(path: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", LOAD + BUSY, SLOT_FILE, path], stdout=subprocess.PIPE
    ) as writer:
        try:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"ready\n"
            reader = slot.Reader(path)
            last, seen = 0, set()
            deadline = time.monotonic() + 60
            while len(seen) < 2000 and time.monotonic() < deadline:
                beat = reader.read()
                if beat is None:
                    continue
                assert beat.beats == beat.steps == beat.own_steps
                assert beat.step == (beat.beats - 1 if beat.beats else None)
                assert beat.own_ns == 7 * beat.beats
                assert beat.beats >= last
                last = beat.beats
                seen.add(last)
            assert len(seen) == 2000
        finally:
            writer.kill()
    # What it said last outlives it.
    assert read(reader).beats >= last
    reader.close()


class Racing:
    """A slot's memory whose writer stores words while it is being read.

    Up to `rate` are stored before each of the first `reads` words that are read; after that the
    writer rests where it is. As struct does, it clears a body before it stores it; the words of a
    body are stored, and those of a slice read, in any order.
    """

    def __init__(self, rate: int, reads: int, seed: int) -> None:
        self._rate, self._reads, self._random = rate, reads, Random(seed)
        self._data = bytearray(slot.SIZE)
        slot._HEAD.pack_into(self._data, 0, slot.MAGIC, slot.VERSION)
        self._beats = 0
        self._pending: list[tuple[int, bytes]] = []

    def __getitem__(self, where: slice) -> bytes:
        start, end, _ = where.indices(slot.SIZE)
        words = list(range(start, min(end, 256), 8))
        found = bytearray(self._data[start:end])
        for at in self._random.sample(words, len(words)):
            self._reads -= 1
            for _ in range(self._random.randint(0, self._rate) if self._reads > 0 else 0):
                self._store()
            found[at - start : at - start + 8] = self._data[at : at + 8]
        return bytes(found)

    def _store(self) -> None:
        if not self._pending:
            self._beats += 1
            n = self._beats
            body = struct.pack("=QqQQQQ", n, 10 * n, 100 * n, n, 7 * n, n)
            at = slot._BODIES_AT[n % 2]
            words = [(at + w, body[w : w + 8]) for w in range(0, len(body), 8)]
            self._pending = [
                *((place, bytes(8)) for place, _ in self._random.sample(words, len(words))),
                *self._random.sample(words, len(words)),
                (slot._NEWEST_AT, struct.pack("=Q", n)),
            ]
        at, word = self._pending.pop(0)
        self._data[at : at + 8] = word


@given(rate=st.integers(1, 40), reads=st.integers(0, 300), seed=st.integers(0, 2**32))
@settings(max_examples=500)
def test_no_order_of_stores_and_loads_makes_a_torn_body(rate: int, reads: int, seed: int) -> None:
    reader = object.__new__(slot.Reader)
    reader._map = Racing(rate, reads, seed)
    beat = reader.read()
    assert beat is not None, "the writer rests in the end"
    n = beat.beats
    whole = (10 * n, 100 * n, n, 7 * n, n)
    assert (beat.step or 0, beat.mono_ns, beat.steps, beat.own_ns, beat.own_steps) == whole


def test_threads_that_beat_together_do_not_mix(written: slot.Slot, reader: slot.Reader) -> None:
    def beat() -> None:
        for _ in range(5000):
            written.heartbeat(loss=1.0)

    threads = [threading.Thread(target=beat) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    # A thread that was interrupted in the middle of its last beat may leave an older one as the
    # newest; the next beat tells all of them, since none interrupts another while it counts.
    written.beat()
    seen = read(reader)
    assert seen.beats == 20001
    assert seen.step is None
    assert seen.metrics == {"loss": 1.0}


def test_a_forked_child_does_not_beat(written: slot.Slot, reader: slot.Reader) -> None:
    written.step()
    child = os.fork()
    if child == 0:
        written.step()
        written.heartbeat(step=99, loss=3.0)
        written.note("child")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    beat = read(reader)
    assert (beat.beats, beat.step, beat.metrics, beat.note) == (1, 0, {}, "")
    assert beat.pid == os.getpid()
    written.step()
    assert read(reader).beats == 2


@pytest.mark.parametrize("data", [b"\0" * slot.SIZE, b"x" * slot.SIZE])
def test_what_is_no_slot_reads_as_none(tmp_path: pathlib.Path, data: bytes) -> None:
    (tmp_path / "other").write_bytes(data)
    reader = slot.Reader(str(tmp_path / "other"))
    assert reader.read() is None
    reader.close()


def test_a_short_file_is_no_slot(tmp_path: pathlib.Path) -> None:
    (tmp_path / "short").write_bytes(b"CKPB")
    with pytest.raises(OSError, match="too short"):
        slot.Reader(str(tmp_path / "short"))
    with pytest.raises(FileNotFoundError):
        slot.Reader(str(tmp_path / "missing"))


@given(data=st.binary(min_size=0, max_size=slot.SIZE - 8))
def test_no_bytes_behind_the_head_break_the_reader(data: bytes) -> None:
    page = slot._HEAD.pack(slot.MAGIC, slot.VERSION) + data
    reader = object.__new__(slot.Reader)
    reader._map = page.ljust(slot.SIZE, b"\0")
    beat = read(reader)
    assert len(beat.metrics) <= slot.MAX_METRICS
    assert beat.step is None or beat.step >= 0


def test_a_slot_can_be_removed_while_it_is_written_to(
    written: slot.Slot, reader: slot.Reader, path: str
) -> None:
    os.unlink(path)
    written.step()
    until(lambda: read(reader).beats == 1, "the beat", 10)
