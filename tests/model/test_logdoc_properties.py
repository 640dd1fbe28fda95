"""The document gives what a plain merge of single lines gives, however the bytes came."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.model.log_world import Stream, World, texts

TEXT = st.text(alphabet="ab\r\n", max_size=12).map(str.encode)
STEP = st.sampled_from([0.0, 1.0, 2.0])
WRITES = st.lists(st.tuples(STEP, TEXT), max_size=12)
STREAMS = st.lists(WRITES, min_size=1, max_size=4)
CUTS = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 9)), max_size=40)


def grown(before: list[bytes], after: list[bytes]) -> bool:
    """More lines have come; one that was not finished may have got longer."""
    pairs = zip(before, after, strict=False)
    return len(before) <= len(after) and all(new.startswith(old) for old, new in pairs)


def written(world: World, streams: list[list[tuple[float, bytes]]], apart: float = 0.0) -> None:
    """Each stream's writes, with a time stamp wherever time went on."""
    for rank, writes in enumerate(streams):
        stream = Stream(world.store, rank)
        world.streams.append(stream)
        # Of lines of the very time at which a tail begins, only those of one stream have an order.
        at = 100.0 + rank * apart
        for step, text in writes:
            at += step
            if text:
                stream.write(at, text)


@settings(max_examples=40)
@given(STREAMS, CUTS, st.booleans())
def test_what_arrives_in_time_is_in_the_order_of_a_plain_merge(
    streams: list[list[tuple[float, bytes]]], cuts: list[tuple[int, int]], live: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        written(world, streams)
        document = world.document()
        for stream in world.streams:
            if live:
                stream.data += b"\n"
                stream.tap.opened(0, 0)
            else:
                stream.open()
        if live:
            world.settle(document)
        for number, size in cuts:
            world.streams[number % len(world.streams)].send(size)
        for stream in world.streams:
            stream.send()
        world.settle(document, 3.0)
        assert texts(document) == world.merged()
        assert document.complete
        assert document.size == sum(len(stream.data) for stream in world.streams)
        document.close()
        world.store.close()


@settings(max_examples=40)
@given(STREAMS, CUTS, st.integers(1, 40))
def test_numbers_stay_and_each_line_comes_once_whoever_is_late(
    streams: list[list[tuple[float, bytes]]], cuts: list[tuple[int, int]], every: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        written(world, streams)
        document = world.document()
        for stream in world.streams:
            stream.tap.opened(0, 0)
        world.settle(document)
        seen: list[bytes] = []
        for turn, (number, size) in enumerate(cuts):
            world.streams[number % len(world.streams)].send(size)
            if turn % every == 0:
                world.settle(document, 0.4)
                now = texts(document)
                assert grown(seen, now)
                seen = now
        for stream in world.streams:
            stream.send()
        world.settle(document, 3.0)
        lines = document.lines(0, 10_000)
        assert grown(seen, [line.data for line in lines])
        for stream in world.streams:
            mine = [line.data for line in lines if line.origin == stream.tap.origin]
            assert mine == [line[-1] for line in stream.lines()]
        document.close()
        world.store.close()


@settings(max_examples=40)
@given(STREAMS, st.integers(1, 30), st.integers(1, 40))
def test_earlier_lines_are_put_before_the_others_exactly(
    streams: list[list[tuple[float, bytes]]], tail: int, joined: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        written(world, streams, apart=0.125)
        for stream in world.streams:
            stream.open(tail)
            stream.send()
        document = world.document()
        world.settle(document, 3.0)
        shown = list(document.lines(0, 10_000))
        world.all_older(document)
        assert document.lines(0, 10_000) == shown
        assert texts(document) == world.merged()
        for number in range(document.first, document.end, joined):
            line = document.lines(number, number + 1)[0]
            assert line.at is not None
            found = document.at_time(line.at)
            assert found <= number
            assert document.lines(found, found + 1)[0].at == line.at
        document.close()
        world.store.close()


@settings(max_examples=40)
@given(STREAMS, st.integers(1, 30), st.sets(st.integers(0, 3)), st.booleans())
def test_each_line_comes_once_and_in_the_order_of_its_stream_whoever_answers_late(
    streams: list[list[tuple[float, bytes]]], tail: int, late: set[int], meanwhile: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        written(world, streams, apart=0.125)
        for stream in world.streams:
            if stream.source.rank not in late:
                stream.open(tail)
                stream.send()
        document = world.document()
        world.settle(document, 3.0)
        shown = texts(document)
        if meanwhile:
            document.older()
        for stream in world.streams:
            if stream.source.rank in late:
                stream.open(tail)
                stream.send()
                world.settle(document, 0.4)
        world.settle(document, 6.0)
        for stream in world.streams:
            stream.write(200.0, b"\nnews\n")
            stream.send()
        world.settle(document, 3.0)
        world.all_older(document)
        assert grown(shown, [line.data for line in document.lines(0, document.end)])
        lines = document.lines(document.first, document.end)
        for stream in world.streams:
            mine = [line.data for line in lines if line.origin == stream.tap.origin]
            assert mine == [line[-1] for line in stream.lines()]
        document.close()
        world.store.close()
