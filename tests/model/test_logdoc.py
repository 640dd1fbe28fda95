"""The log document: where it begins, what it holds back, what it reads, and what it survives."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cockpit.errors import CockpitError
from cockpit.model import logpast, logread, logruns
from cockpit.model.logdoc import ANSWER
from cockpit.model.merged import PATIENCE, QUIET
from tests.model.log_world import Stream, World, texts


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path, ranks=2)
    yield made
    made.store.close()


def everything(world: World) -> None:
    """All streams are opened at their beginning and send all they have."""
    for stream in world.streams:
        stream.open()
        stream.send()


class Finder:
    """Finds a word, and counts the blocks that it looked at."""

    def __init__(self, word: bytes) -> None:
        self.word = word
        self.blocks = 0
        self.looked = 0

    def block(self, data: bytes) -> bool:
        self.blocks += 1
        return self.word in data

    def line(self, data: bytes) -> bool:
        self.looked += 1
        return self.word in data


def test_a_document_begins_where_every_stream_is_there(world: World) -> None:
    chatty, quiet = world.streams
    quiet.write(10.0, b"long ago\n")
    for number in range(1000):
        chatty.write(100.0 + number, b"step %03d\n" % number)
    quiet.write(1050.0, b"hello\n")
    chatty.open(tail=905)
    chatty.send()
    quiet.open()
    quiet.send()
    document = world.document()
    world.settle(document)
    lines = document.lines(0, 10_000)
    # Half of the first line is not there, and "long ago" was before it.
    assert (lines[0].number, lines[0].data) == (0, b"step 900")
    assert [line.data for line in lines].index(b"hello") == 51
    assert not document.complete
    world.all_older(document)
    assert document.lines(document.first, document.first + 2)[0].data == b"long ago"
    assert document.lines(0, 1)[0].data == b"step 900"
    assert document.end - document.first == 1002
    assert document.complete
    document.older()
    assert document.notice == ""


def test_earlier_lines_come_by_and_by(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logpast, "LEAST", 1000)
    chatty, _ = world.streams
    for number in range(10_000):
        chatty.write(float(number), b"step %04d\n" % number)
    chatty.open(tail=1000)
    chatty.send()
    world.streams.pop()
    document = world.document()
    world.settle(document)
    firsts = [document.first]
    while not document.complete:
        document.older()
        document.older()
        assert document.notice == "fetching earlier lines"
        assert sum(stop - start for start, stop in chatty.asked) <= 2 * len(chatty.data)
        chatty.answer()
        world.settle(document)
        firsts.append(document.first)
    assert firsts == sorted(firsts, reverse=True)
    assert len(firsts) >= 5
    assert texts(document) == world.merged()


def test_a_node_that_does_not_answer_holds_the_others_up_for_a_while_only(world: World) -> None:
    here, gone = world.streams
    here.write(10.0, b"here\n")
    here.open()
    here.send()
    document = world.document()
    world.settle(document, 1.0)
    assert document.end == 0
    world.settle(document, PATIENCE)
    assert texts(document) == [b"here"]
    gone.reachable = False
    second = world.document()
    world.settle(second)
    assert texts(second) == [b"here"]
    assert second.notice == "1 node out of reach: gpu0"
    assert not second.complete


def test_what_a_node_that_answers_late_wrote_before_counts_as_earlier(world: World) -> None:
    here, late = world.streams
    for number in range(20):
        here.write(2.0 * number, b"here %02d\n" % number)
        late.write(2.0 * number + 1.0, b"late %02d\n" % number)
    here.open()
    here.send()
    document = world.document()
    world.settle(document, ANSWER / 2)
    assert document.end == 0
    world.settle(document, ANSWER)
    assert document.end == 20
    late.write(100.0, b"news\n")
    late.open()
    late.send()
    world.settle(document)
    assert texts(document)[19:] == [b"here 19", b"late 19", b"news"]
    assert not document.complete
    here.write(101.0, b"more news\n")
    here.send()
    world.all_older(document)
    assert texts(document)[:19] == [b"late %02d" % number for number in range(19)]
    assert texts(document)[-2:] == [b"news", b"more news"]
    assert document.end - document.first == 42


def test_a_node_that_answers_while_earlier_lines_are_fetched_keeps_its_own_for_the_next_time(
    world: World,
) -> None:
    here, late = world.streams
    for number in range(20):
        here.write(2.0 * number, b"here %02d\n" % number)
        late.write(2.0 * number + 1.0, b"late %02d\n" % number)
    here.open(tail=60)
    here.send()
    document = world.document()
    world.settle(document, ANSWER + 0.5)
    document.older()
    late.open()
    late.send()
    world.settle(document)
    here.answer()
    world.settle(document)
    assert document.notice == ""
    assert not document.complete
    world.all_older(document)
    assert sorted(texts(document)) == sorted(world.merged())


def test_what_is_there_is_shown_while_streams_are_still_being_opened(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything(world)
    here, later = world.streams
    later.write(5.0, b"earlier\n")
    here.write(10.0, b"here\n")
    here.send()
    world.streams.remove(later)
    monkeypatch.setattr(world, "refresh", lambda: later in world.streams)
    document = world.document()
    world.settle(document, ANSWER / 2)
    assert document.end == 0
    world.settle(document, ANSWER)
    assert texts(document) == [b"here"]
    assert document.notice == "reading"
    assert not document.complete
    world.streams.append(later)
    later.send()
    later.write(11.0, b"newer\n")
    later.send()
    world.settle(document)
    assert texts(document) == [b"here", b"newer"]
    assert not document.complete
    world.all_older(document)
    assert texts(document) == [b"earlier", b"here", b"newer"]
    assert document.notice == ""


def test_a_line_that_comes_just_before_earlier_ones_are_asked_for_is_there_once(
    world: World,
) -> None:
    chatty, quiet = world.streams
    quiet.write(1.0, b"long ago\n")
    for number in range(100):
        chatty.write(100.0 + number, b"step %03d\n" % number)
    chatty.open(tail=90)
    quiet.open()
    chatty.send()
    quiet.send()
    document = world.document()
    world.settle(document)
    quiet.write(300.0, b"just now\n")
    quiet.send()
    document.older()
    world.all_older(document)
    assert texts(document).count(b"just now") == 1


def test_what_a_node_that_is_away_still_has_comes_later(world: World) -> None:
    here, gone = world.streams
    for number in range(100):
        here.write(float(number), b"here %02d\n" % number)
        gone.write(float(number), b"gone %02d\n" % number)
    for stream in world.streams:
        stream.open(tail=80)
        stream.send()
    document = world.document()
    world.settle(document)
    document.older()
    here.answer()
    world.settle(document, PATIENCE + 1.0)
    assert texts(document)[0] == b"here 00"
    assert not document.complete
    gone.answer()
    world.all_older(document)
    assert sorted(texts(document)) == sorted(world.merged())


def test_an_unfinished_line_comes_after_a_quiet_moment_and_grows_where_it_is(
    world: World,
) -> None:
    everything(world)
    document = world.document()
    world.settle(document)
    stream, other = world.streams
    stream.write(1.0, b"loading")
    stream.send()
    world.settle(document, QUIET / 2)
    assert document.end == 0
    world.settle(document, QUIET)
    assert texts(document) == [b"loading"]
    other.write(2.0, b"meanwhile\n")
    other.send()
    world.settle(document)
    stream.write(3.0, b" is done\nnext\n")
    stream.send()
    world.settle(document)
    assert texts(document) == [b"loading is done", b"meanwhile", b"next"]
    assert document.search(Finder(b"is done"), 0, 10) == [0]


def test_a_line_that_is_shown_unfinished_tells_when_it_grows(world: World) -> None:
    everything(world)
    document = world.document()
    world.settle(document)
    stream, _ = world.streams
    stream.write(1.0, b" 1%")
    stream.send()
    world.settle(document, 2 * QUIET)
    assert not document.poll()
    for text in (b"\r 2%", b"\r 3%", b"\r100%\n"):
        grown = document.grown
        stream.write(2.0, text)
        stream.send()
        assert document.poll()
        assert document.grown == grown + 1
        assert not document.poll()
        assert (document.end, document.lines(0, 1)[0].data.endswith(text.rstrip())) == (1, True)
    stream.write(3.0, b"next\n")
    stream.send()
    world.settle(document)
    assert document.grown == grown + 1


def test_a_progress_bar_says_what_it_says_now_however_long_it_runs(world: World) -> None:
    everything(world)
    document = world.document()
    world.settle(document)
    stream, _ = world.streams
    stream.write(1.0, b"begin\n0")
    stream.send()
    world.settle(document, 2 * QUIET)
    for start in range(0, 60_000, 20_000):
        stream.write(2.0, b"".join(b"\r%d" % n for n in range(start, start + 20_000)))
        stream.send()
        document.poll()
        assert document.lines(1, 2)[0].data.rpartition(b"\r")[2] == b"%d" % (start + 19_999)
    stream.write(3.0, b"\rdone\nnext\n")
    stream.send()
    world.settle(document)
    assert [line.data.rpartition(b"\r")[2] for line in document.lines(0, 3)] == [
        b"begin", b"done", b"next",
    ]  # fmt: skip


def test_it_opens_until_all_that_was_there_has_its_place(world: World) -> None:
    for number in range(2000):
        world.streams[0].write(float(number), b"line %d\n" % number)
    document = world.document()
    assert document.opening
    everything(world)
    ends = []
    for _ in range(20):
        world.now += 0.1
        document.poll()
        if document.opening:
            ends.append(document.end)
    assert not document.opening
    assert document.end == 2000
    assert max(ends) < 2000
    empty = world.document()
    world.settle(empty)
    assert not empty.opening


def test_a_head_that_the_node_dropped_is_told_and_not_waited_for(world: World) -> None:
    stream, other = world.streams
    other.open()
    for number in range(100):
        stream.write(float(number), b"line %02d\n" % number)
    stream.tap.opened(0, len(stream.data))
    stream.sent = 400
    stream.send()
    document = world.document()
    world.settle(document)
    assert texts(document)[0] == b"line 51"
    assert document.notice == "400 B are gone (log limit of the nodes)"
    assert document.complete


def test_a_hole_that_is_never_filled_is_stepped_over(world: World) -> None:
    stream, other = world.streams
    other.open()
    stream.write(1.0, b"one\ntwo\nthree\nfour\n")
    stream.tap.opened(0, 19)
    stream.mirror.indexed([(0, 1.0)])
    stream.mirror.write(0, b"one\n")
    stream.mirror.write(6, b"o\nthree\nfour\n")
    document = world.document()
    world.settle(document, PATIENCE + 1.0)
    assert texts(document) == [b"one", b"three", b"four"]
    assert "2 B are gone" in document.notice


def test_a_file_that_was_replaced_goes_on_with_new_lines(world: World) -> None:
    stream, _ = world.streams
    stream.write(1.0, b"old\n")
    everything(world)
    document = world.document()
    world.settle(document)
    stream.tap.replaced()
    stream.data, stream.times, stream.sent = bytearray(), [], 0
    stream.write(2.0, b"new\n")
    stream.open()
    stream.send()
    world.settle(document)
    assert document.lines(1, 2)[0].data == b"new"
    assert document.end == 2


def test_one_call_gives_ten_thousand_lines_and_very_long_ones_are_cut(world: World) -> None:
    stream, _ = world.streams
    stream.write(1.0, b"x" * 300_000 + b"\n" + b"short\n" * 20_000 + b"y" * 70_000 + b"\nend\n")
    stream.open()
    while stream.send(100_000):
        pass
    world.streams[1].open()
    document = world.document()
    world.settle(document)
    assert document.end == 20_003
    assert len(document.lines(0, 20_003)) == logread.MOST
    assert document.lines(0, 1)[0].data == b"x" * logread.CAP
    assert document.lines(20_001, 20_002)[0].data == b"y" * logread.CAP
    assert [line.data for line in document.lines(20_000, 20_003)][::2] == [b"short", b"end"]
    assert document.lines(30_000, 40_000) == document.lines(5, 5) == []
    assert document.search(Finder(b"y"), 0, document.end) == [20_001]
    assert document.size == len(stream.data)


def test_a_table_that_was_spilled_to_the_disk_reads_as_before(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logruns, "CACHED", 1)
    count = 2 * logruns.BLOCK
    for number in range(count):
        for rank, stream in enumerate(world.streams):
            stream.write(float(number), b"r%d %05d\n" % (rank, number))
    everything(world)
    document = world.document()
    world.settle(document, 2.0)
    assert document.end == 2 * count
    merged = world.merged()
    assert texts(document) == merged
    for number in (0, 4095, 4096, 4097, 2 * count - 1):
        assert document.lines(number, number + 1)[0].data == merged[number]
        assert document.at_time(number // 2) == number // 2 * 2
    assert document.at_time(1e12) == document.end
    assert document.at_time(-1.0) == 0
    needle = Finder(b"r1 04000")
    assert document.search(needle, 0, document.end) == [8001]
    # Most of it was ruled out in large pieces.
    assert needle.blocks < 5000
    assert needle.looked < 10
    assert document.search(Finder(b"r0"), 10, 15) == [10, 12, 14]


def test_times_within_joined_runs_are_found(world: World) -> None:
    stream, _ = world.streams
    for number in range(50):
        stream.write(float(number), b"%d\n" % number)
    everything(world)
    document = world.document()
    world.settle(document)
    assert document.at_time(30.5) == 31
    assert document.lines(31, 32)[0].at == 31.0


def test_another_document_shows_some_streams_and_both_go_on(world: World) -> None:
    first, second = world.streams
    first.write(1.0, b"first\n")
    second.write(2.0, b"second\n")
    everything(world)
    document = world.document()
    world.settle(document)
    only = document.select(frozenset({second.tap.origin}))
    assert list(only.origins) == [first.tap.origin, second.tap.origin]
    world.settle(only)
    assert texts(only) == [b"second"]
    assert world.readers == 2
    document.close()
    second.write(3.0, b"more\n")
    second.send()
    world.settle(only)
    assert texts(only) == [b"second", b"more"]
    only.close()
    only.close()
    assert world.readers == 0
    assert not only.poll()


def test_new_streams_are_taken_in(world: World) -> None:
    everything(world)
    document = world.document()
    world.settle(document)
    late = Stream(world.store, 4)
    late.write(5.0, b"here I am\n")
    world.streams.append(late)
    world.settle(document)
    assert not document.complete
    late.open()
    late.send()
    world.settle(document)
    assert texts(document) == [b"here I am"]
    assert document.lines(0, 1)[0].origin.rank == 4
    assert document.complete


def test_a_poll_without_news_says_so(world: World) -> None:
    everything(world)
    document = world.document()
    world.streams[0].write(1.0, b"one\n")
    world.streams[0].send()
    world.settle(document)
    assert not document.poll()


def test_everything_is_saved_with_its_times_and_origins(world: World, tmp_path: Path) -> None:
    first, second = world.streams
    for number in range(300):
        first.write(1_700_000_000.25 + number, b"first %d\nand\n" % number)
        second.write(1_700_000_000.5 + number, b"second %d\n" % number)
    second.write(1_700_001_000.0, b"unfinished")
    for stream in world.streams:
        stream.open(tail=100)
        stream.send()
    document = world.document()
    world.settle(document)
    target = tmp_path / "saved.log"
    size = asyncio.run(document.save(target))
    lines = target.read_bytes().split(b"\n")
    assert size == target.stat().st_size
    assert lines.pop() == b""
    assert [line.split(b" ", 6)[6] for line in lines] == world.merged()
    assert lines[0].split(b" ", 1)[1][8:] == b".250 gpu0 rank 0 out first 0"
    assert lines[2].endswith(b".500 gpu0 rank 1 out second 0")
    assert target.stat().st_mode & 0o777 == 0o600


def test_a_log_that_cannot_be_saved_leaves_no_half_file(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.streams[0].write(1.0, b"x" * 100 + b"\n")
    everything(world)
    document = world.document()
    world.settle(document)
    target = tmp_path / "out" / "saved.log"
    target.parent.mkdir()
    target.write_text("what was there")

    def full(fd: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(CockpitError, match="No space left on device") as caught:
            asyncio.run(document.save(target))
    assert caught.value.hint
    assert os.listdir(target.parent) == ["saved.log"]
    assert target.read_text() == "what was there"
