"""The mirror holds what streams deliver, byte for byte, also across cockpits and full disks."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cockpit.model import descriptors, mirror, timeindex
from cockpit.model.mirror import MirrorStore, MirrorStream, StreamKey
from tests.model.scenarios import JOB

KEY = StreamKey(job=JOB, attempt=0, node_rank=1, generation=0, local_rank=1, stream="out")
USED = "a" * 12


@pytest.fixture
def store(tmp_path: Path):  # type: ignore[no-untyped-def]
    result = MirrorStore(tmp_path / "mirror")
    yield result
    result.close()


def test_what_was_written_at_an_offset_is_read_at_that_offset(store: MirrorStore) -> None:
    stream = store.stream(KEY)
    stream.write(100, b"hello")
    stream.write(0, b"abc")
    assert stream.held == ((0, 3), (100, 105))
    assert (stream.read(0, 50), stream.read(101, 50), stream.read(3, 5)) == (b"abc", b"ello", b"")
    assert stream.missing(0, 200) == [(3, 100), (105, 200)]
    assert stream.end == 105
    assert store.stream(KEY) is stream


@given(
    st.lists(st.tuples(st.integers(0, 5000), st.integers(1, 700)), max_size=30),
    st.integers(0, 2**32),
)
def test_any_writes_and_reopenings_leave_exactly_the_bytes_of_the_node(
    tmp_path_factory: pytest.TempPathFactory, writes: list[tuple[int, int]], seed: int
) -> None:
    root = tmp_path_factory.mktemp("m")
    truth = random.Random(seed).randbytes(6000)
    held: set[int] = set()
    store = MirrorStore(root)
    for number, (start, length) in enumerate(writes):
        store.stream(KEY).write(start, truth[start : start + length])
        held |= set(range(start, start + length))
        if number % 7 == 6:
            store.close()
            store = MirrorStore(root)
    stream = store.stream(KEY)
    assert {x for a, b in stream.held for x in range(a, b)} == held
    for start, end in stream.held:
        assert stream.read(start, end - start) == truth[start:end]
    store.close()


def test_files_and_folders_are_for_their_owner_only(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        store = MirrorStore(tmp_path / "a" / "mirror")
        stream = store.stream(KEY)
        stream.write(0, b"x")
        stream.indexed([(0, 1.0)])
        store.close()
    finally:
        os.umask(old)
    below = [*(tmp_path / "a").rglob("*"), tmp_path / "a"]
    assert {oct(path.stat().st_mode & 0o777) for path in below if path.is_dir()} == {"0o700"}
    files = [path for path in below if path.is_file()]
    assert {path.name for path in files} >= {"1.out", "1.out.idx", "1.out.ranges", "lock"}
    assert {oct(path.stat().st_mode & 0o777) for path in files} == {"0o600"}


def test_a_cockpit_that_was_killed_loses_at_most_what_it_had_not_written_down(
    tmp_path: Path,
) -> None:
    store = MirrorStore(tmp_path)
    stream = store.stream(KEY)
    stream.write(0, b"kept")
    assert [each.write() for each in store.unsaved()] == [None]
    stream.write(4, b"unknown")
    os.close(store._lock)  # what the kernel does at a SIGKILL
    again = MirrorStore(tmp_path)
    assert again.stream(KEY).held == ((0, 4),)
    assert again.stream(KEY).read(0, 10) == b"kept"
    again.close()


def test_after_a_crash_of_the_machine_only_a_clean_mirror_is_believed(tmp_path: Path) -> None:
    for clean in (True, False):
        store = MirrorStore(tmp_path)
        store._boot = "boot before"
        stream = store.stream(KEY)
        stream.write(0, b"abc")
        stream.persist(clean=clean)
        os.close(store._lock)
        store._lock = -1
        again = MirrorStore(tmp_path)
        assert again.stream(KEY).held == (((0, 3),) if clean else ())
        again.remove(JOB)
        again.close()


def test_ranges_past_the_end_of_a_shortened_file_are_not_believed(tmp_path: Path) -> None:
    store = MirrorStore(tmp_path)
    store.stream(KEY).write(0, b"0123456789")
    store.close()
    os.truncate(store.folder / KEY.path, 4)
    again = MirrorStore(tmp_path)
    assert again.stream(KEY).held == ((0, 4),)
    again.close()


def test_two_cockpits_at_once_never_share_a_file(tmp_path: Path) -> None:
    first, second = MirrorStore(tmp_path), MirrorStore(tmp_path)
    assert first.folder != second.folder
    first.stream(KEY).write(0, b"one")
    assert second.stream(KEY).held == ()
    first.close()
    third = MirrorStore(tmp_path)
    assert third.folder == first.folder
    assert third.stream(KEY).read(0, 9) == b"one"
    third.close()
    second.close()


def test_a_file_that_was_replaced_on_the_node_is_forgotten(store: MirrorStore) -> None:
    stream = store.stream(KEY)
    stream.expect(3, inode=7)
    stream.write(0, b"old")
    stream.indexed([(0, 5.0)])
    stream.expect(3, inode=7)
    assert stream.held == ((0, 3),)
    stream.expect(9, inode=8)
    assert (stream.held, stream.expected, stream.inode) == ((), 9, 8)
    assert stream.index.at(0) is None


@pytest.mark.parametrize(
    "key",
    [
        StreamKey(job="../../etc/pw", attempt=0, node_rank=0),
        StreamKey(job=JOB, attempt=0, node_rank=0, stream="../x"),
        StreamKey(job="", attempt=0, node_rank=0),
    ],
)
def test_a_key_cannot_leave_the_mirrors_folder(store: MirrorStore, key: StreamKey) -> None:
    with pytest.raises(ValueError, match="not a log stream"):
        store.stream(key)


def test_launcher_logs_and_rank_logs_have_files_of_their_own() -> None:
    launcher = StreamKey(job=JOB, attempt=0, node_rank=1, stream="err")
    assert launcher.path == f"{JOB}/0/1/launcher.err"
    assert KEY.path == f"{JOB}/0/1/0/1.out"


def test_removing_a_job_deletes_its_mirrors_and_no_others(store: MirrorStore) -> None:
    other = StreamKey(job="f" * 12, attempt=0, node_rank=0)
    store.stream(KEY).write(0, b"a")
    store.stream(other).write(0, b"b")
    store.remove(JOB)
    assert store.stream(KEY).held == ()
    assert store.stream(other).held == ((0, 1),)
    with pytest.raises(ValueError, match="not a job id"):
        store.remove("..")


# -- disks that fail ---------------------------------------------------------------------------


def keep(root: Path, job: str, size: int, used_at: float, *, limit: int = 10**9) -> Path:
    """Leave a mirror behind as a cockpit does; returns the folder of the job."""
    store = MirrorStore(root, limit=limit)
    store.stream(StreamKey(job=job, attempt=0, node_rank=0)).write(0, b"x" * size)
    store.close()
    for path in (store.folder / job).rglob("*"):
        os.utime(path, (used_at, used_at))
    return store.folder / job


def test_over_the_limit_the_jobs_that_were_looked_at_longest_ago_lose_their_mirrors(
    tmp_path: Path,
) -> None:
    jobs = [f"{number:012x}" for number in range(4)]
    folders = [
        keep(tmp_path, job, 100_000, at) for job, at in zip(jobs, (3e9, 1e9, 4e9, 2e9), strict=True)
    ]
    MirrorStore(tmp_path, limit=450_000).close()
    assert all(folder.is_dir() for folder in folders)
    MirrorStore(tmp_path, limit=250_000).close()
    assert [folder.is_dir() for folder in folders] == [True, False, True, False]


def test_slots_without_a_cockpit_are_pruned_and_those_in_use_are_not(tmp_path: Path) -> None:
    first = MirrorStore(tmp_path)
    free = keep(tmp_path, "f" * 12, 100_000, 2e9)
    second = MirrorStore(tmp_path)
    used = second.stream(StreamKey(job=USED, attempt=0, node_rank=0))
    used.write(0, b"x" * 100_000)
    assert [each.write() for each in second.unsaved()] == [None]
    os.utime(second.folder / USED / "0" / "0" / "launcher.out", (1e9, 1e9))
    first.close()
    third = MirrorStore(tmp_path, limit=0)
    assert third.folder != second.folder == free.parent
    assert used.read(0, 3) == b"xxx"
    assert (second.folder / USED).is_dir()
    second.close()
    MirrorStore(tmp_path, limit=0).close()
    assert not (second.folder / USED).exists()
    third.close()


def test_what_was_never_fetched_counts_for_nothing(tmp_path: Path) -> None:
    store = MirrorStore(tmp_path)
    store.stream(KEY).write(10**9, b"the tail of a large log")
    store.close()
    again = MirrorStore(tmp_path, limit=1_000_000)
    assert again.stream(KEY).held == ((10**9, 10**9 + 23),)
    again.close()


def fill_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", refuse)


def test_a_full_disk_is_reported_once_and_a_bounded_tail_stays_readable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    store = MirrorStore(tmp_path, told.append)
    stream = store.stream(KEY)
    stream.write(0, b"on disk ")
    stream.flush()
    monkeypatch.setattr(mirror, "MEMORY_TAIL", 200_000)
    with monkeypatch.context() as patch:
        fill_disk(patch)
        position = 8
        for number in range(1000):
            data = b"%06d\n" % number * 100
            stream.write(position, data)
            position += len(data)
        assert told == [store.problem] and "No space left" in told[0]
        assert stream._in_memory <= 200_000 + 64 * 1024
        assert stream.read(0, 100) == b"on disk "
        assert stream.read(position - 7, 100) == b"000999\n"
        ((_, gap_end),) = stream.missing(0, position)
        assert position - gap_end >= 100_000
    stream.write(position, b"room again")
    assert stream.read(position - 7, 100) == b"000999\nroom again"
    assert stream.end == position + 10
    store.close()


def test_a_write_that_fails_halfway_loses_nothing(
    store: MirrorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = store.stream(KEY)
    real = os.pwrite

    def half(fd: int, data: bytes, offset: int) -> int:
        if offset:
            raise OSError(28, "No space left on device")
        return real(fd, data[:4], offset)

    monkeypatch.setattr(os, "pwrite", half)
    stream.write(0, b"0123456789")
    stream.flush()
    assert stream.read(0, 20) == b"0123456789"
    assert stream._held.all() == ((0, 4),)


def test_small_writes_are_read_at_once_and_reach_the_disk_together(
    store: MirrorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = store.stream(KEY)
    real, calls = os.pwrite, 0

    def counted(fd: int, data: bytes, offset: int) -> int:
        nonlocal calls
        calls += 1
        return real(fd, data, offset)

    monkeypatch.setattr(os, "pwrite", counted)
    for number in range(100):
        stream.write(10 + number, b"%d" % (number % 10))
    assert (stream.end, stream.held) == (110, ((10, 110),))
    assert stream.read(105, 100) == b"56789"
    stream.write(0, b"before")
    assert stream.read(0, 100) == b"before"
    assert stream.missing(0, 200) == [(6, 10), (110, 200)]
    stream.write(1000, b"x" * mirror.BUFFER)
    assert calls == 3
    assert stream.read(10, 200) == b"0123456789" * 10


def test_where_no_folder_can_be_made_everything_goes_on_in_memory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    told: list[str] = []
    store = MirrorStore(tmp_path / "file" / "mirror", told.append)
    stream = store.stream(KEY)
    stream.write(5, b"abc")
    stream.indexed([(5, 1.5), (5000, 2.5)])
    assert stream.read(5, 9) == b"abc"
    assert stream.index.at(6) == 1.5
    assert [each.write() for each in store.unsaved()] == []
    store.close()
    assert len(told) == 1


def test_descriptors_stay_few_however_many_streams_are_followed(
    store: MirrorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(descriptors, "OPEN_FILES", 8)
    before = len(os.listdir("/proc/self/fd"))
    keys = [StreamKey(job=JOB, attempt=0, node_rank=n) for n in range(50)]
    for number, key in enumerate(keys):
        store.stream(key).write(0, b"%d" % number)
    assert len(os.listdir("/proc/self/fd")) <= before + 9
    assert [store.stream(key).read(0, 9) for key in keys] == [b"%d" % n for n in range(50)]


# -- the time index ----------------------------------------------------------------------------


def times(stream: MirrorStream, offsets: list[int]) -> list[float | None]:
    return [stream.index.at(offset) for offset in offsets]


def test_a_byte_has_the_time_of_the_newest_entry_that_is_not_past_it(store: MirrorStore) -> None:
    stream = store.stream(KEY)
    assert stream.index.at(0) is None
    stream.indexed([(10, 1.0), (20, 2.0), (30, 3.0)])
    assert times(stream, [0, 10, 19, 20, 1000]) == [1.0, 1.0, 1.0, 2.0, 3.0]


@given(st.lists(st.lists(st.integers(0, 400), max_size=12), max_size=8), st.booleans())
def test_entries_that_come_in_any_order_and_again_give_the_same_times(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[int]], reopen: bool
) -> None:
    root = tmp_path_factory.mktemp("i")
    store = MirrorStore(root)
    known: set[int] = set()
    for batch in batches:
        entries = [(offset * 5000, float(offset)) for offset in sorted(set(batch))]
        store.stream(KEY).indexed(entries)
        known |= set(batch)
    if reopen:
        store.stream(KEY).write(0, b"x")
        store.close()
        store = MirrorStore(root)
    index = store.stream(KEY).index
    assert len(index) == len(known)
    for offset in range(0, 400, 37):
        before = [entry for entry in known if entry <= offset]
        expected = max(before) if before else min(known, default=None)
        assert index.at(offset * 5000 + 4999) == expected
    store.close()


def test_a_flood_of_entries_is_thinned_out(store: MirrorStore) -> None:
    stream = store.stream(KEY)
    stream.indexed([(number * 10, 100.0 + number * 0.001) for number in range(20_000)])
    assert len(stream.index) < 600
    for number in (0, 777, 19_999):
        at = stream.index.at(number * 10)
        assert at is not None and abs(at - (100.0 + number * 0.001)) <= timeindex.MIN_SECONDS


def test_the_index_of_a_long_stream_is_not_held_in_memory(store: MirrorStore) -> None:
    stream = store.stream(KEY)
    for start in range(0, 100_000, 500):
        stream.indexed([(n * 5000, float(n)) for n in range(start, start + 500)])
    assert len(stream.index) == 100_000
    assert len(stream.index._recent) < timeindex.PENDING
    assert stream.index.at(77_777 * 5000 + 1) == 77_777.0


def test_bytes_that_the_node_threw_away_are_no_longer_missing(store: MirrorStore) -> None:
    stream = store.stream(KEY)
    stream.write(100, b"x" * 50)
    assert stream.missing(0, 150) == [(0, 100)]
    stream.drop(0, 100)
    assert stream.missing(0, 150) == []
    assert stream.holes(0, 150) == [(0, 100)]
    assert stream.is_dropped(99)
    assert not stream.is_dropped(100)
    stream.reset()
    assert stream.missing(0, 150) == [(0, 150)]
