"""What the figures of a rank are, and how the file of digests stays small."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import resource
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cockpit.node import journal, processes
from cockpit.node.rank import slot
from cockpit.node.rank.slot import ENDED, HOOKED, Slot
from cockpit.node.supervise.beats import LEAST_LIMIT, GenerationBeats
from cockpit.node.supervise.digests import Digests
from cockpit.node.supervise.generations import Generation, LauncherTail, RankProcess
from cockpit.protocol import layout
from cockpit.protocol.records import ProcessId, Watch


class Ranks:
    """Ranks that all are this very process, with real slots and a clock that the test moves."""

    def __init__(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, count: int = 1, **watch: Any
    ) -> None:
        self.now = 1000.0
        monkeypatch.setattr(slot, "monotonic_ns", lambda: round(self.now * 1e9))
        me = processes.identify(os.getpid())
        assert me is not None
        ranks = tuple(RankProcess(number, number, me, "", "") for number in range(count))
        self.folder = folder
        self.slots = [Slot(str(folder / layout.slot(3, n)), n) for n in range(count)]
        self.beats = GenerationBeats(Generation(3, ranks), str(folder), Watch(**watch))

    def run(self, count: int, seconds: float, own: float | None = None) -> None:
        """`count` steps of the first rank, sampled after each."""
        for _ in range(count):
            self.now += seconds
            self.slots[0].step(-1 if own is None else round(own * 1e9))
            self.beats.sample(self.now)

    def digest(self, metrics: dict[int, dict[str, float]] | None = None) -> dict[str, Any]:
        self.beats.sample(self.now)
        return self.beats.digest(self.now, metrics or {})[0]


@pytest.fixture
def ranks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ranks:
    return Ranks(tmp_path, monkeypatch)


def test_a_rank_starts_trains_falls_silent_and_ends(ranks: Ranks) -> None:
    ranks.slots[0].add_flags(HOOKED)
    assert (ranks.digest()["stage"], ranks.digest()["limit"]) == ("starting", None)
    ranks.run(3, 1.0)
    assert ranks.digest()["stage"] == "training"
    ranks.now += LEAST_LIMIT
    assert ranks.digest()["stage"] == "training"
    ranks.now += 1
    digest = ranks.digest()
    assert (digest["stage"], digest["age"], digest["step"]) == ("silent", 121.0, 2)
    ranks.run(1, 1.0)
    assert ranks.digest()["stage"] == "training"
    ranks.slots[0].add_flags(ENDED)
    assert (ranks.digest()["stage"], ranks.digest()["limit"]) == ("ended", None)


def test_medians_are_of_the_newest_steps(ranks: Ranks) -> None:
    ranks.run(100, 9.0, own=8.0)
    ranks.run(61, 2.0, own=0.5)
    ranks.run(1, 500.0, own=400.0)
    digest = ranks.digest()
    assert (digest["interval"], digest["own"]) == (2.0, 0.5)


def test_many_steps_between_two_samples_share_the_time(ranks: Ranks) -> None:
    for _ in range(20):
        for _ in range(50):
            ranks.now += 0.005
            ranks.slots[0].step()
        ranks.beats.sample(ranks.now)
    assert ranks.digest()["interval"] == pytest.approx(0.005)


@pytest.mark.parametrize(("seconds", "limit"), [(1.0, 120.0), (30.0, 300.0)])
def test_a_limit_that_nobody_gave_is_ten_steps_but_two_minutes_at_least(
    ranks: Ranks, seconds: float, limit: float
) -> None:
    ranks.run(20, seconds)
    assert ranks.digest()["limit"] == limit


def test_one_beat_tells_by_its_start_how_long_the_next_may_take(ranks: Ranks) -> None:
    ranks.now += 40.0
    ranks.slots[0].step()
    assert ranks.digest()["limit"] == 400.0


def test_beats_for_many_steps_of_the_user_may_come_as_rarely_as_they_do(ranks: Ranks) -> None:
    for step in range(100, 600, 100):
        ranks.now += 50.0
        ranks.slots[0].heartbeat(step=step, loss=0.5)
        ranks.beats.sample(ranks.now)
    digest = ranks.digest()
    assert (digest["step"], digest["interval"], digest["limit"]) == (500, 0.5, 500.0)


def test_a_user_that_begins_to_count_or_starts_over_spoils_no_median(ranks: Ranks) -> None:
    ranks.run(10, 1.0)
    for step in (100_000, 100_001, 100_002, 0, 1):
        ranks.now += 1.0
        ranks.slots[0].heartbeat(step=step)
        ranks.beats.sample(ranks.now)
    assert ranks.digest()["interval"] == 1.0


def test_a_limit_that_was_given_is_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranks = Ranks(tmp_path, monkeypatch, timeout=5.0, initial_timeout=60.0)
    assert ranks.digest()["limit"] == 60.0
    ranks.run(10, 3.0)
    assert ranks.digest()["limit"] == 5.0


def test_a_slot_of_another_process_is_nobodys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranks = Ranks(tmp_path, monkeypatch, initial_timeout=1.0)
    me = processes.identify(os.getppid())
    assert me is not None
    other = Generation(3, (RankProcess(0, 0, me, "", ""),))
    beats = GenerationBeats(other, str(tmp_path), Watch(initial_timeout=1.0), "why not")
    ranks.slots[0].step()
    ranks.now += 100.0
    beats.sample(ranks.now)
    (digest,) = beats.digest(ranks.now, {})
    assert (digest["stage"], digest["beats"], digest["note"]) == ("none", 0, "why not")
    assert beats.looks(ranks.now) == []


def test_a_rank_whose_process_is_gone_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranks = Ranks(tmp_path, monkeypatch, timeout=1.0)
    ranks.run(3, 1.0)
    ranks.now += 100.0
    assert ranks.digest()["stage"] == "silent"
    assert len(ranks.beats.looks(ranks.now)) == 1
    monkeypatch.setattr(processes, "is_alive", lambda process: False)
    ranks.now += 2.0
    assert ranks.digest()["stage"] == "ended"
    assert ranks.beats.looks(ranks.now) == []


def test_a_rank_that_says_why_it_cannot_beat_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranks = Ranks(tmp_path, monkeypatch, initial_timeout=1.0)
    ranks.now += 100.0
    assert ranks.digest()["stage"] == "silent"
    ranks.slots[0].note("this torch has no hook")
    assert (ranks.digest()["stage"], ranks.digest()["note"]) == ("none", "this torch has no hook")
    ranks.slots[0].heartbeat(loss=1.0)
    assert ranks.digest()["stage"] == "training"


def test_metrics_of_beats_win_over_those_of_logs_and_what_json_lacks_is_a_word(
    ranks: Ranks,
) -> None:
    ranks.slots[0].heartbeat(loss=0.5, gone=float("inf"))
    digest = ranks.digest({0: {"loss": 9.0, "rate": 3.0, "bad": float("nan")}, 1: {"x": 1.0}})
    assert digest["metrics"] == {"loss": 0.5, "rate": 3.0, "gone": "inf", "bad": "nan"}
    assert json.dumps(digest, allow_nan=False)


def test_what_a_rank_monitor_heard_is_told_beside(ranks: Ranks, tmp_path: Path) -> None:
    monitor = Slot(str(tmp_path / layout.monitor_slot(3, 0)), 0)
    monitor.sections(["forward", "checkpoint"])
    ranks.now += 2.0
    assert ranks.digest()["ft"] == {
        "beats": 0,
        "age": None,
        "sections": ["forward", "checkpoint"],
    }
    monitor.beat()
    ranks.now += 2.0
    assert ranks.digest()["ft"]["beats"] == 1
    assert ranks.digest()["ft"]["age"] == 2.0


def test_the_newest_generation_is_read_as_the_journal_grows(tmp_path: Path) -> None:
    path = tmp_path / "launcher.jsonl"
    tail = LauncherTail(str(path))
    tail.look()
    assert (tail.generation, tail.over) == (None, True)
    writer = journal.Journal(str(path))
    process = {"pid": 7, "start_ticks": 8, "boot_id": "b"}
    rank = {"rank": 5, "local_rank": 1, "process": process, "out": "o", "err": "e"}
    writer.write("rendezvous_begin")
    writer.write("generation", generation=2, ranks=[rank], more="ignored")
    tail.look()
    known = Generation(2, (RankProcess(5, 1, ProcessId(7, 8, "b"), "o", "e"),))
    assert (tail.generation, tail.over) == (known, False)
    writer.write("group", generation=2, state="FAILED")
    writer.close()
    with open(path, "ab") as file:
        file.write(b'{"seq": 3, "kind": "gener')
        tail_sees = (tail.look(), tail.generation, tail.over)
        assert tail_sees[1:] == (known, True)
        file.write(b'ation", "generation": 3, "ranks": []}\nrubbish\n[]\n{"kind": 5}\n')
    tail.look()
    assert (tail.generation, tail.over) == (Generation(3, ()), False)
    tail.close()


def write(digests: Digests, count: int, size: int = 100, start: int = 0) -> list[bool]:
    return [
        digests.write(0, [{"local_rank": 0, "step": start + n, "pad": "x" * size}], 5.0 + start + n)
        for n in range(count)
    ]


def read(path: Path) -> list[dict[str, Any]]:
    return journal.read(str(path))


def test_the_file_of_digests_keeps_the_past_thinly_and_the_present_whole(tmp_path: Path) -> None:
    path = tmp_path / "beats.jsonl"
    digests = Digests(str(path), limit=64 * 1024)
    largest = 0
    for start in range(0, 5000, 10):
        assert all(write(digests, 10, start=start))
        largest = max(largest, path.stat().st_size)
    assert 32 * 1024 < largest <= 64 * 1024
    found = read(path)
    seqs = [event["seq"] for event in found]
    assert seqs == [event["ranks"][0]["step"] for event in found]
    assert seqs[-1] == 4999 and seqs[-50:] == list(range(4950, 5000))
    gaps = [later - earlier for earlier, later in itertools.pairwise(seqs)]
    assert min(gaps[:10]) > 8 and gaps[-1] == 1
    assert seqs[0] == 0 and max(gaps) < 5000 / 10, "all of the past is kept, thinly"
    assert os.listdir(tmp_path) == ["beats.jsonl"]
    digests.close()


def test_another_writer_goes_on_with_the_numbers_behind_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "beats.jsonl"
    first = Digests(str(path))
    write(first, 3)
    first.close()
    with open(path, "ab") as file:
        file.write(b'{"seq": 3, "torn')
    second = Digests(str(path))
    before = time.time()
    second.write(1, [], time.monotonic() - 10)
    assert [event["seq"] for event in read(path)] == [0, 1, 2, 3]
    event = read(path)[-1]
    assert (event["kind"], event["generation"]) == ("beats", 1)
    assert event["at"] == pytest.approx(before - 10, abs=5)
    second.close()


@contextlib.contextmanager
def no_file_longer_than(size: int) -> Iterator[None]:
    """Writing beyond fails as it does on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_costs_digests_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "beats.jsonl"
    digests = Digests(str(path), limit=64 * 1024)
    with no_file_longer_than(1000):
        kept = write(digests, 50)
    assert True in kept and kept[-1] is False
    assert path.stat().st_size == 1000
    assert all(write(digests, 5, start=50))
    found = read(path)
    assert [event["ranks"][0]["step"] for event in found][-5:] == [50, 51, 52, 53, 54]
    seqs = [event["seq"] for event in found]
    assert seqs == sorted(set(seqs))
    digests.close()


def test_a_file_that_cannot_be_thinned_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "beats.jsonl"
    digests = Digests(str(path), limit=20_000)
    while all(write(digests, 1)) and path.stat().st_size < 19_900:
        pass
    size = path.stat().st_size
    with no_file_longer_than(2000):
        assert not any(write(digests, 5))
    assert path.stat().st_size == size
    assert os.listdir(tmp_path) == ["beats.jsonl"]
    assert all(write(digests, 5))
    assert path.stat().st_size < size
    digests.close()


def test_a_folder_that_is_gone_costs_digests_and_nothing_else(tmp_path: Path) -> None:
    digests = Digests(str(tmp_path / "gone" / "beats.jsonl"))
    assert write(digests, 2) == [False, False]
    (tmp_path / "gone").mkdir()
    assert write(digests, 2) == [True, True]
    digests.close()
