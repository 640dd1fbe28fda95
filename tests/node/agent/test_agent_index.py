"""When bytes were written: entries of the index file, and honest guesses without them."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cockpit.node.agent.index import COVERED, IndexReader
from cockpit.protocol.frames import INDEX_ENTRY, Kind
from tests.node.agent_client import AgentClient


def write_index(path: Path, *entries: tuple[int, float], torn: bytes = b"") -> Path:
    path.write_bytes(b"".join(INDEX_ENTRY.pack(*entry) for entry in entries) + torn)
    return path


def test_entries_inside_the_chunk_follow_the_one_in_force(tmp_path: Path) -> None:
    index = write_index(tmp_path / "i", (0, 1.0), (10, 2.0), (20, 3.0), (30, 4.0))
    reader = IndexReader(str(index))
    assert reader.entries(12, 25, 4.0) == [(10, 2.0), (20, 3.0)]
    assert reader.entries(25, 40, 4.0) == [(30, 4.0)]
    reader.close()


def test_an_entry_is_sent_once(tmp_path: Path) -> None:
    index = write_index(tmp_path / "i", (0, 1.0))
    reader = IndexReader(str(index))
    assert reader.entries(0, 5, 1.0) == [(0, 1.0)]
    assert reader.entries(5, 9, 1.0) == []
    reader.close()


def test_entries_that_are_written_later_are_found(tmp_path: Path) -> None:
    index = write_index(tmp_path / "i", (0, 1.0), torn=b"half")
    reader = IndexReader(str(index))
    assert reader.entries(0, 5, 1.0) == [(0, 1.0)]
    write_index(index, (0, 1.0), (5, 7.0))
    assert reader.entries(5, 9, 7.0) == [(5, 7.0)]
    reader.close()


def test_bytes_that_the_index_does_not_reach_get_the_time_of_the_last_change(
    tmp_path: Path,
) -> None:
    index = write_index(tmp_path / "i", (0, 1.0))
    reader = IndexReader(str(index))
    assert reader.entries(0, 50, 1.0) == [(0, 1.0)]
    assert reader.entries(50, 60, 1.0 + COVERED / 2) == []
    assert reader.entries(60, 70, 500.0) == [(60, 500.0)]
    reader.close()


def test_a_log_without_an_index_has_a_time_all_the_same(tmp_path: Path) -> None:
    reader = IndexReader(str(tmp_path / "missing"))
    assert reader.entries(100, 200, 50.0) == [(100, 50.0)]
    assert reader.entries(200, 300, 50.0) == []
    assert reader.entries(300, 400, 60.0) == [(300, 60.0)]
    write_index(tmp_path / "missing", (0, 1.0), (400, 70.0))
    assert reader.entries(400, 500, 70.0) == [(400, 70.0)]
    reader.close()


def test_bytes_before_the_first_entry_are_not_younger_than_it(tmp_path: Path) -> None:
    reader = IndexReader(str(write_index(tmp_path / "i", (50, 5.0))))
    assert reader.entries(0, 100, 9.0) == [(0, 5.0), (50, 5.0)]
    reader.close()


def test_entries_that_run_backwards_are_dropped(tmp_path: Path) -> None:
    reader = IndexReader(str(write_index(tmp_path / "i", (0, 1.0), (9, 2.0), (3, 3.0), (12, 4.0))))
    assert reader.entries(0, 20, 4.0) == [(0, 1.0), (9, 2.0), (12, 4.0)]
    reader.close()


@given(
    offsets=st.lists(st.integers(0, 10_000), min_size=1, max_size=60, unique=True),
    chunks=st.lists(st.integers(1, 3000), min_size=1, max_size=12),
    start=st.integers(0, 10_000),
)
def test_whoever_joins_anywhere_knows_the_time_of_every_byte(
    tmp_path_factory: pytest.TempPathFactory, offsets: list[int], chunks: list[int], start: int
) -> None:
    """The newest entry not past a byte is the same as in the whole index."""
    truth = [(offset, float(number)) for number, offset in enumerate(sorted(offsets))]
    path = tmp_path_factory.mktemp("index") / "i"
    reader = IndexReader(str(write_index(path, *truth)))
    changed = truth[-1][1]
    told: list[tuple[int, float]] = []
    position = start
    for size in chunks:
        told += reader.entries(position, position + size, changed)
        position += size
    reader.close()
    assert [offset for offset, _ in told] == sorted({offset for offset, _ in told})

    def time_of(entries: list[tuple[int, float]], byte: int) -> float | None:
        return max((e for e in entries if e[0] <= byte), default=(0, None))[1]

    for byte in range(start, position):
        if (expected := time_of(truth, byte)) is not None:
            assert time_of(told, byte) == expected
        else:
            assert time_of(told, byte) is not None


def test_index_frames_come_before_the_data_they_describe(
    state_dir: Path, agent: AgentClient
) -> None:
    (state_dir / "log").write_bytes(b"x" * 100)
    write_index(state_dir / "log.idx", (0, 1000.5), (40, 1001.5), (80, 1002.5))
    os.utime(state_dir / "log", (1002.5, 1002.5))
    following = agent.follow("log", 50, index=True)
    following.until(50)
    assert following.entries == [(40, 1001.5), (80, 1002.5)]
    kinds = [frame.kind for frame in agent.arrived if frame.stream == following.stream]
    assert kinds[:3] == [Kind.REPLY, Kind.INDEX, Kind.DATA]


def test_live_lines_carry_the_time_at_which_they_were_written(
    state_dir: Path, agent: AgentClient
) -> None:
    before = time.time()
    following = agent.follow("log", index=True)
    (state_dir / "log").write_bytes(b"now\n")
    following.until(4)
    assert len(following.entries) == 1
    offset, at = following.entries[0]
    assert offset == 0
    # The kernel stamps files with a clock that may be one tick behind.
    assert before - 0.1 <= at <= time.time()


def test_without_index_no_index_frames_are_sent(state_dir: Path, one_agent: AgentClient) -> None:
    (state_dir / "log").write_bytes(b"x" * 100)
    write_index(state_dir / "log.idx", (0, 1000.5))
    following = one_agent.follow("log")
    following.until(100)
    assert following.entries == []
