"""Lines come out of mirrors whole, once, bounded and clean."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cockpit.model.lines import CAP, Line, LineReader
from cockpit.model.mirror import MirrorStore, MirrorStream, StreamKey
from cockpit.text import MAX_LINE
from tests.model.scenarios import JOB


@pytest.fixture
def stream(tmp_path: Path):  # type: ignore[no-untyped-def]
    store = MirrorStore(tmp_path)
    yield store.stream(StreamKey(job=JOB, attempt=0, node_rank=0))
    store.close()


def drain(reader: LineReader, chunk: int = 50) -> list[Line]:
    found: list[Line] = []
    while True:
        found.extend(reader.read(chunk))
        if reader.stalled:
            return found


def test_lines_come_with_offset_end_and_time(stream: MirrorStream) -> None:
    stream.indexed([(0, 1.0), (6, 2.0)])
    stream.write(0, b"first\nsecond\nthi")
    reader = LineReader(stream)
    assert [(x.offset, x.end, x.at, x.data) for x in drain(reader)] == [
        (0, 6, 1.0, b"first"),
        (6, 13, 2.0, b"second"),
    ]
    stream.write(16, b"rd\n")
    assert [(x.offset, x.data) for x in drain(reader)] == [(13, b"third")]
    assert reader.flush() is None


def test_an_unfinished_last_line_comes_only_when_asked_for_and_once(stream: MirrorStream) -> None:
    stream.write(0, b"done\nhalf")
    reader = LineReader(stream)
    assert [x.data for x in drain(reader)] == [b"done"]
    rest = reader.flush()
    assert rest is not None and (rest.offset, rest.end, rest.data) == (5, 9, b"half")
    assert reader.flush() is None


@given(st.lists(st.binary(max_size=40).map(lambda b: b.replace(b"\n", b" ")), max_size=40),
       st.lists(st.integers(1, 60), min_size=1, max_size=10))  # fmt: skip
def test_any_chunking_gives_every_line_exactly_once(
    tmp_path_factory: pytest.TempPathFactory, texts: list[bytes], cuts: list[int]
) -> None:
    store = MirrorStore(tmp_path_factory.mktemp("l"))
    stream = store.stream(StreamKey(job=JOB, attempt=0, node_rank=0))
    data = b"".join(text + b"\n" for text in texts)
    reader, found, position, turn = LineReader(stream), [], 0, 0
    while position < len(data):
        step = cuts[turn % len(cuts)]
        stream.write(position, data[position : position + step])
        position += step
        turn += 1
        found.extend(drain(reader, 7))
    assert [line.data for line in found] == texts
    assert [line.end for line in found[:-1]] == [line.offset for line in found[1:]]
    store.close()


def test_a_ten_megabyte_line_is_one_line_with_its_true_length(stream: MirrorStream) -> None:
    size = 10_000_000
    stream.write(0, b"x" * size + b"\nnext\n")
    reader = LineReader(stream)
    long, following = drain(reader, 128 * 1024)
    assert (len(long.data), long.length, long.end) == (CAP, size, size + 1)
    assert long.text == "x" * MAX_LINE + f"… (+{size - MAX_LINE} bytes)"
    assert following.data == b"next"
    assert reader._parts == []


def test_a_progress_bar_shows_its_last_state(stream: MirrorStream) -> None:
    stream.write(0, b"\r 10%\r 20%\r100% done\n")
    assert [x.text for x in drain(LineReader(stream))] == ["100% done"]


def test_a_progress_bar_that_runs_for_hours_shows_its_last_state_and_no_count_of_the_rest(
    stream: MirrorStream,
) -> None:
    data = b"".join(b"\r%6d/200000 it" % number for number in range(200_000))
    stream.write(0, data)
    reader = LineReader(stream)
    assert drain(reader, 64 * 1024) == []
    assert sum(map(len, reader._parts)) <= CAP
    rest = reader.flush()
    assert rest is not None and rest.text == "199999/200000 it"


def test_reading_that_starts_inside_a_line_leaves_out_its_rest(stream: MirrorStream) -> None:
    stream.write(100, b"ail of a line\nwhole\n")
    assert [x.data for x in drain(LineReader(stream, 100, align=True))] == [b"whole"]


def test_a_hole_stops_reading_until_it_is_filled_or_stepped_over(stream: MirrorStream) -> None:
    stream.write(0, b"a\nb")
    stream.write(10, b"c\nd\n")
    reader, other = LineReader(stream), LineReader(stream)
    assert [x.data for x in drain(reader)] == [b"a"]
    assert (reader.hole, reader.drained) == ((3, 10), False)
    drain(other)
    assert other.skip_hole()
    assert [x.data for x in drain(other)] == [b"d"]
    assert not other.skip_hole()
    stream.write(3, b"b\nbb\nbb")
    assert [x.data for x in drain(reader)] == [b"bb", b"bb", b"bbc", b"d"]


@given(st.binary(max_size=300))
def test_no_bytes_whatever_leave_a_control_character_in_the_text(data: bytes) -> None:
    text = Line(0, len(data), None, data, len(data) + 5).text
    assert all(character.isprintable() for character in text)
    assert all(c.isprintable() for c in Line(0, len(data), None, data, len(data)).text)
