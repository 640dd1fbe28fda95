"""Many streams become one log: in order of time, each line once, whoever was late."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cockpit.model import merged
from cockpit.model.lines import CHUNK
from cockpit.model.merged import LogLine, MergedLog, Source
from cockpit.model.mirror import MirrorStore, StreamKey
from tests.model.scenarios import JOB


@pytest.fixture
def store(tmp_path: Path):  # type: ignore[no-untyped-def]
    result = MirrorStore(tmp_path)
    yield result
    result.close()


def source(store: MirrorStore, node_rank: int, stream: str = "out", skew: float = 0.0) -> Source:
    key = StreamKey(
        job=JOB, attempt=0, node_rank=node_rank, generation=0, local_rank=0, stream=stream
    )
    return Source(
        mirror=store.stream(key),
        node=f"gpu0{node_rank + 1}",
        node_rank=node_rank,
        attempt=0,
        generation=0,
        rank=node_rank,
        local_rank=0,
        stream=stream,
        skew=skew,
    )


def say(item: Source, at: float, text: str) -> None:
    mirror = item.mirror
    mirror.indexed([(mirror.end, at)])
    mirror.write(mirror.end, text.encode() + b"\n")


def texts(lines: list[LogLine]) -> list[str]:
    return [line.text for line in lines]


def test_history_is_ordered_by_time_then_node_then_stream(store: MirrorStore) -> None:
    a, b = source(store, 0), source(store, 1)
    err = source(store, 0, "err")
    say(b, 1.0, "b1")
    say(a, 1.0, "a1")
    say(err, 1.0, "e1")
    say(a, 3.0, "a3")
    say(b, 2.0, "b2")
    a.mirror.write(a.mirror.end, b"no newline")
    log = MergedLog([b, err, a])
    expected = ["a1", "e1", "b1", "b2", "a3", "no newline"]
    assert texts(list(log.history())) == expected
    assert texts(list(log.history())) == expected
    first = next(log.history())
    assert (first.node, first.rank, first.local_rank, first.at) == ("gpu01", 0, 0, 1.0)


def test_a_nodes_skew_is_taken_off(store: MirrorStore) -> None:
    a, ahead = source(store, 0), source(store, 1, skew=3600.0)
    say(a, 10.0, "later")
    say(ahead, 3609.0, "earlier")
    lines = list(MergedLog([a, ahead]).history())
    assert [(line.text, line.at) for line in lines] == [("earlier", 9.0), ("later", 10.0)]


def test_a_clock_that_steps_back_does_not_reorder_a_stream(store: MirrorStore) -> None:
    a = source(store, 0)
    for at, text in ((5.0, "one"), (2.0, "two"), (6.0, "three")):
        say(a, at, text)
    assert texts(list(MergedLog([a]).history())) == ["one", "two", "three"]


def test_lines_wait_for_a_moment_so_that_earlier_ones_find_their_place(store: MirrorStore) -> None:
    a, b = source(store, 0), source(store, 1)
    log = MergedLog([a, b])
    say(a, 10.0, "second")
    assert log.take(100.0) == []
    say(b, 9.9, "first")
    assert log.take(100.1) == []
    assert texts(log.take(100.16)) == ["first", "second"]
    assert log.take(200.0) == []


def test_a_line_that_comes_too_late_is_not_lost(store: MirrorStore) -> None:
    a, b = source(store, 0), source(store, 1)
    log = MergedLog([a, b])
    say(a, 10.0, "on time")
    log.take(100.0)
    assert texts(log.take(101.0)) == ["on time"]
    say(b, 5.0, "late")
    log.take(101.1)
    (late,) = log.take(102.0)
    assert (late.text, late.at) == ("late", 5.0)


def test_a_stream_that_is_known_to_hold_more_holds_up_the_others_for_a_while(
    store: MirrorStore,
) -> None:
    a, b = source(store, 0), source(store, 1)
    log = MergedLog([a, b])
    b.mirror.expect(6)
    say(a, 10.0, "a")
    log.take(100.0)
    assert log.take(101.0) == []
    say(b, 1.0, "early")
    assert texts(log.take(102.0)) == ["early", "a"]
    b.mirror.expect(1000)
    say(a, 11.0, "not for ever")
    log.take(103.5)
    assert texts(log.take(110.0)) == ["not for ever"]


def test_an_unfinished_last_line_comes_when_its_stream_has_ended(store: MirrorStore) -> None:
    a = source(store, 0)
    log = MergedLog([a])
    say(a, 1.0, "whole")
    a.mirror.write(a.mirror.end, b"Killed")
    log.take(1.0)
    assert texts(log.take(2.0)) == ["whole"]
    a.mirror.ended = True
    log.take(3.0)
    assert texts(log.take(4.0)) == ["Killed"]
    assert list(log.drain()) == []


def test_an_unfinished_last_line_waits_for_bytes_that_are_still_on_their_way(
    store: MirrorStore,
) -> None:
    a = source(store, 0)
    log = MergedLog([a])
    a.mirror.write(0, b"Kil")
    a.mirror.ended = True
    a.mirror.expect(6)
    for now in (1.0, 3.0, 30.0):
        assert log.take(now) == []
    a.mirror.write(3, b"led")
    assert log.take(31.0) == []
    log.take(33.0)
    assert texts(log.take(34.0)) == ["Killed"]
    assert log.take(50.0) == list(log.drain()) == []


def test_an_ended_stream_whose_bytes_still_come_gives_out_no_half_line(store: MirrorStore) -> None:
    a = source(store, 0)
    log = MergedLog([a])
    a.mirror.ended = True
    for number, part in enumerate((b"Kil", b"led b", b"y 9")):
        a.mirror.write(a.mirror.end, part)
        assert log.take(1.0 + 0.9 * number) == []
    log.take(5.0)
    assert texts(log.take(6.0)) == ["Killed by 9"]


def test_bytes_that_the_node_dropped_hold_up_a_followed_log_for_a_while_only(
    store: MirrorStore,
) -> None:
    a, b = source(store, 0), source(store, 1)
    log = MergedLog([a, b])
    say(a, 1.0, "before")
    log.take(1.0)
    assert texts(log.take(2.0)) == ["before"]
    end = a.mirror.end
    a.mirror.indexed([(end + 100, 60.0)])
    a.mirror.write(end + 100, b"rest of a dropped line\nafter\nlast\n")
    for now in (100.0, 102.0, 104.0):
        assert log.take(now) == []
    say(b, 61.0, "from elsewhere")
    log.take(106.0)
    assert texts(log.take(107.0)) == ["after", "last", "from elsewhere"]


def test_a_hole_that_is_filled_in_time_loses_nothing(store: MirrorStore) -> None:
    a = source(store, 0)
    log = MergedLog([a])
    a.mirror.write(6, b"three\n")
    log.take(1.0)
    log.take(4.0)
    a.mirror.write(0, b"1\ntwo\n")
    log.take(5.0)
    assert texts(log.take(6.0)) == ["1", "two", "three"]


def test_one_look_at_a_flood_is_bounded_and_the_next_go_on_in_order(store: MirrorStore) -> None:
    sources = [source(store, node) for node in range(8)]
    for item in sources:
        data = b"".join(b"%d %07d %s\n" % (item.node_rank, n, b"." * 90) for n in range(20_000))
        item.mirror.indexed([(n * 100_000, 1.0 + n) for n in range(len(data) // 100_000 + 1)])
        item.mirror.write(0, data)
    log = MergedLog(sources)
    got: list[LogLine] = []
    looks = 0
    while len(got) < 160_000:
        looks += 1
        assert looks < 400
        before = sum(feed.reader.position for feed in log._feeds)
        lines = log.take(100.0 + looks)
        read = sum(feed.reader.position for feed in log._feeds) - before
        assert len(lines) <= merged.LINES
        assert read <= merged.TURN + CHUNK
        got.extend(lines)
    assert got == list(MergedLog(sources).history())
    assert log.take(1000.0) == list(log.drain()) == []


def test_many_lines_of_one_time_are_given_out_in_parts(store: MirrorStore) -> None:
    a, b = source(store, 0), source(store, 1)
    for item in (a, b):
        item.mirror.write(0, b"".join(b"%d\n" % n for n in range(7000)))
    log = MergedLog([a, b])
    log.take(1.0)
    parts = [log.take(2.0 + n) for n in range(4)]
    assert [len(part) for part in parts] == [5000, 5000, 4000, 0]
    assert [line for part in parts for line in part] == list(log.history())


def test_floods_of_lines_without_times_do_not_starve_a_calm_stream(store: MirrorStore) -> None:
    *floods, calm = (source(store, node) for node in range(5))
    for flood in floods:
        flood.mirror.write(0, (b"x" * 99 + b"\n") * 20_000)
    say(calm, 1.0, "here I am")
    log = MergedLog([*floods, calm])
    log.take(1.0)
    assert [feed.reader.drained for feed in log._feeds] == [False] * 4 + [True]


def test_streams_may_be_added_while_the_log_is_followed(store: MirrorStore) -> None:
    a, b = source(store, 0), source(store, 1)
    log = MergedLog([a])
    say(a, 1.0, "a")
    b.mirror.write(0, b"not asked for\n")
    start = b.mirror.end - 3
    log.add(b, start, align=True)
    say(b, 2.0, "b")
    assert [texts(batch) for batch in log.drain()] == [["a", "b"]]
    assert log.sources == (a, b)


def test_a_flood_waits_in_the_mirror_and_not_in_memory(
    store: MirrorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merged, "BUFFER", 20_000)
    a, b = source(store, 0), source(store, 1)
    for number in range(3000):
        say(a, 1.0 + number, f"a{number:05d}" + "x" * 100)
        if number % 10 == 0:
            say(b, 1.5 + number, f"b{number:05d}")
    log = MergedLog([a, b])
    got: list[LogLine] = []
    for step in range(2000):
        got.extend(log.take(100.0 + step))
        assert all(feed.cost <= 20_000 + 2 * CHUNK for feed in log._feeds)
        if len(got) == 3300:
            break
    assert [line.at for line in got] == sorted(line.at for line in got)  # type: ignore[type-var]
    assert len({(line.node, line.offset) for line in got}) == len(got) == 3300


def test_what_is_left_is_drained_in_order_over_holes(store: MirrorStore) -> None:
    a, b = source(store, 0), source(store, 1)
    say(a, 1.0, "a1")
    say(b, 2.0, "b2")
    end = a.mirror.end
    a.mirror.indexed([(end + 100, 3.0)])
    a.mirror.write(end + 100, b"cut\na3\nrest")
    log = MergedLog([a, b])
    assert [texts(batch) for batch in log.drain()] == [["a1", "b2", "a3", "rest"]]


@given(st.integers(0, 2**32), st.integers(2, 4), st.booleans())
def test_every_line_comes_exactly_once_and_in_order_for_any_arrival(
    tmp_path_factory: pytest.TempPathFactory, seed: int, nodes: int, live: bool
) -> None:
    rng = random.Random(seed)
    store = MirrorStore(tmp_path_factory.mktemp("g"))
    sources = [source(store, node) for node in range(nodes)]
    said: list[tuple[float, int, str]] = []
    log = MergedLog(sources)
    now, got = 1000.0, []
    clocks = [0.0] * nodes
    for number in range(rng.randint(1, 120)):
        now += rng.random() * 0.05
        node = rng.randrange(nodes)
        # What arrives now was written at most 0.1 s ago.
        clocks[node] = max(clocks[node], now - rng.random() * 0.1)
        text = f"{number}"
        say(sources[node], clocks[node], text)
        said.append((clocks[node], node, text))
        if live and rng.random() < 0.5:
            got.extend(log.take(now, settle=0.15))
    if live:
        got.extend(log.take(now + 1.0))
        assert [line.at for line in got] == sorted(line.at for line in got)  # type: ignore[type-var]
    for batch in log.drain():
        got.extend(batch)
    assert sorted(texts(got), key=int) == [text for _, _, text in said]
    assert len(texts(got)) == len(said)
    if not live:
        assert got == list(log.history())
    store.close()


def test_a_dropped_head_holds_up_nobody(store: MirrorStore) -> None:
    a, b = source(store, 0), source(store, 1)
    log = MergedLog([a, b])
    say(a, 1.0, "first")
    kept = a.mirror.end
    a.mirror.indexed([(kept + 1000, 2.0)])
    a.mirror.write(kept + 1000, b"torn tail\nwhole\n")
    a.mirror.drop(kept, kept + 1000)
    say(b, 3.0, "other")
    taken = [*log.take(10.0), *log.take(10.2), *log.take(10.5)]
    assert texts(taken) == ["first", "whole", "other"]
