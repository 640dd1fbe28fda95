"""Figures are found in logs as lines arrive, and an unlucky pattern harms nobody."""

from __future__ import annotations

import math
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cockpit.node import processes
from cockpit.node.supervise import logmetrics, metricfeed
from cockpit.node.supervise.logmetrics import LINE, Tail, last_values
from cockpit.node.supervise.metricfeed import MetricFeed
from tests.node.beating import training
from tests.node.supervising import ROOT, Node, eventually, supervisors

LOSS = r"loss[=: ]+([0-9.eE+-]+)"
CATASTROPHE = r"^(?:(a+)+)+$"


def values(text: str, **patterns: str) -> dict[str, float]:
    compiled = [(name, re.compile(pattern)) for name, pattern in patterns.items()]
    return last_values([line.encode() for line in text.split("\n")], compiled)


def test_the_last_number_of_each_pattern_counts() -> None:
    text = "loss=3 lr: 0.1\nloss: 2e-1\nnothing\nloss=...\nloss none"
    assert values(text, loss=LOSS, lr=r"lr: (\S+)", gone="x(.)") == {"loss": 0.2, "lr": 0.1}


def test_a_group_that_took_no_part_or_is_no_number_is_no_hit() -> None:
    assert values("a=1\na=x", a="a=(.)") == {"a": 1.0}
    assert values("none", a="(x)?none") == {}


class Log:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.tail = Tail(str(path), 0)

    def add(self, data: bytes) -> list[bytes]:
        with open(self.path, "ab") as file:
            file.write(data)
        return self.tail.lines()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    log = Log(tmp_path / "0.out")
    yield log
    log.tail.close()


def test_lines_are_handed_out_once_they_are_complete(log: Log) -> None:
    assert log.tail.lines() == [], "there is no file yet"
    assert log.add(b"one\ntw") == [b"one"]
    assert log.add(b"o") == []
    assert log.add(b"\r\n\nthree\rfour\r") == [b"two", b"three", b"four"]


def test_a_line_is_cut_and_what_follows_it_is_not(log: Log) -> None:
    assert log.add(b"x" * LINE * 3) == []
    assert log.add(b"y" * LINE) == []
    assert log.add(b"\nnext\n") == [b"x" * LINE, b"next"]
    assert log.add(b"z" * LINE * 2 + b"\nnext\n") == [b"z" * LINE, b"next"]


def test_of_a_flood_only_the_end_is_read(log: Log) -> None:
    line = b"0123456789abcde\n"
    lines = log.add(line * (10 * 1024 * 1024 // len(line)) + b"last\n")
    assert lines[-1] == b"last" and len(lines) < 70_000
    assert log.tail.position == log.path.stat().st_size
    assert set(lines[:-1]) == {line.strip()}


def test_a_log_that_was_truncated_is_read_from_its_start(log: Log) -> None:
    assert log.add(b"long line\nbegun") == [b"long line"]
    os.truncate(log.path, 0)
    assert log.add(b"new\n") == [b"new"]


@pytest.mark.parametrize("kind", ["fifo", "link", "folder"])
def test_what_is_no_log_is_not_read(log: Log, kind: str, tmp_path: Path) -> None:
    if kind == "fifo":
        os.mkfifo(log.path)
    elif kind == "link":
        (tmp_path / "secret").write_text("loss=1\n")
        log.path.symlink_to(tmp_path / "secret")
    else:
        log.path.mkdir()
    assert log.tail.lines() == []


class Feed:
    """A real search over real files."""

    def __init__(self, folder: Path, **patterns: str) -> None:
        self.folder = folder
        self.complaints: list[str] = []
        self.feed = MetricFeed(patterns, "0123456789ab/0/0", ROOT, self.complaints.append)

    def follow(self, *names: str) -> None:
        files = [(rank, str(self.folder / name)) for rank, name in enumerate(names)]
        self.feed.follow(files)

    def add(self, name: str, text: str) -> None:
        with open(self.folder / name, "a") as file:
            file.write(text)

    def ticked(self) -> dict[int, dict[str, float]]:
        self.feed.tick(time.monotonic())
        return self.feed.values

    def wait_for(self, values: dict[int, dict[str, float]]) -> None:
        try:
            eventually(lambda: self.ticked() == values, f"{values}", 30)
        except AssertionError as error:
            raise AssertionError(f"{error}, but {self.feed.values}, {self.complaints}") from None

    def pid(self) -> int:
        child = self.feed._child
        assert child is not None
        return child.pid


def parent_of(pid: int) -> int:
    entry = processes.stat(pid)
    return entry.ppid if entry is not None else 0


@pytest.fixture
def feeds() -> Iterator[list[Feed]]:
    made: list[Feed] = []
    yield made
    for feed in made:
        feed.feed.finish()


def test_values_follow_the_logs_of_every_rank_and_of_new_generations(
    tmp_path: Path, feeds: list[Feed]
) -> None:
    feed = Feed(tmp_path, loss=LOSS, bad="(unbalanced", groupless="loss")
    feeds.append(feed)
    feed.follow("a", "b")
    feed.add("a", "loss=1\nloss=0.5\nloss=0.2")
    feed.add("b", "loss=nan\n")
    eventually(lambda: feed.ticked().get(0) == {"loss": 0.5}, "the loss", 30)
    feed.add("b", "loss=7\n")
    feed.wait_for({0: {"loss": 0.5}, 1: {"loss": 7.0}})
    assert len(feed.complaints) == 2
    assert "'bad' cannot be searched for" in feed.complaints[0]
    assert "'groupless' cannot be searched for: it has no group" in feed.complaints[1]
    feed.follow("c")
    assert feed.feed.values == {}
    feed.add("a", "loss=3\n")
    feed.add("c", "loss=4\n")
    feed.wait_for({0: {"loss": 4.0}})
    feed.add("c", "loss=5\n")
    feed.feed.finish()
    assert feed.feed.values == {0: {"loss": 5.0}}
    assert feed.feed._child is None


def test_nothing_is_started_where_nothing_is_searched_for(tmp_path: Path) -> None:
    feed = Feed(tmp_path)
    feed.follow("a")
    feed.feed.tick(time.monotonic())
    feed.feed.finish()
    assert feed.feed._child is None and feed.complaints == []


def test_a_search_that_dies_is_started_again_a_few_times(tmp_path: Path, feeds: list[Feed]) -> None:
    feed = Feed(tmp_path, loss=LOSS)
    feeds.append(feed)
    feed.follow("a")
    for number in range(metricfeed.STARTS):
        feed.add("a", f"loss={number}\n")
        feed.wait_for({0: {"loss": float(number)}})
        assert feed.complaints == []
        os.kill(feed.pid(), signal.SIGKILL)

    def over() -> list[str]:
        feed.feed.tick(time.monotonic())
        return feed.complaints

    eventually(over, "the complaint", 30)
    assert "died again and again" in feed.complaints[0]
    assert feed.feed.values == {0: {"loss": 3.0}}
    feed.follow("b")
    assert feed.feed._child is None


def test_a_pattern_without_end_is_given_up_and_said(
    tmp_path: Path, feeds: list[Feed], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metricfeed, "HANG", 3.0)
    feed = Feed(tmp_path, loss=LOSS, evil=CATASTROPHE)
    feeds.append(feed)
    feed.follow("a")
    feed.add("a", "loss=1\n")
    feed.wait_for({0: {"loss": 1.0}})
    pid = feed.pid()
    feed.add("a", "a" * 60 + "!\n")
    feed.add("a", "more\n")

    def over() -> list[str]:
        feed.feed.tick(time.monotonic())
        if not feed.complaints:
            feed.add("a", "more\n")
        return feed.complaints

    eventually(over, "the complaint", 30)
    assert "did not come to an end" in feed.complaints[0]
    eventually(lambda: processes.identify(pid) is None, "its end")
    assert feed.feed.values == {0: {"loss": 1.0}}


def test_a_search_with_nothing_to_read_is_never_taken_for_hung(
    tmp_path: Path, feeds: list[Feed], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metricfeed, "HANG", 0.5)
    feed = Feed(tmp_path, loss=LOSS)
    feeds.append(feed)
    feed.follow("a")
    feed.add("a", "loss=1\n")
    feed.wait_for({0: {"loss": 1.0}})
    os.kill(feed.pid(), signal.SIGSTOP)
    until = time.monotonic() + 2.0
    while time.monotonic() < until:
        feed.feed.tick(time.monotonic())
        time.sleep(0.1)
    assert feed.complaints == []
    os.kill(feed.pid(), signal.SIGCONT)


def test_equal_values_are_no_news() -> None:
    assert logmetrics.same(1.0, 1.0) and logmetrics.same(math.nan, math.nan)
    assert not logmetrics.same(None, math.nan) and not logmetrics.same(1.0, math.nan)


def test_a_job_tells_what_its_ranks_print_and_leaves_no_search_behind(
    supervised_node: Node,
) -> None:
    attempt = training(supervised_node, metrics={"lr": r"lr=(\S+)", "loss": "step (5)5*"})
    digest = eventually(
        lambda: next((d for d in attempt.digests() if "lr" in d["ranks"][1]["metrics"]), None),
        "a figure from a log",
    )
    metrics = digest["ranks"][1]["metrics"]
    assert metrics["lr"] > 0 and metrics["loss"] <= 1, "a heartbeat's own loss wins"
    old = supervisors(attempt.place.job)
    assert len(old) == 2
    attempt.do("end")
    ended = attempt.ended()
    assert (ended["outcome"], ended["swept"], ended["left"]) == ("succeeded", 0, [])
    last = attempt.digests()[-1]["ranks"][0]
    text = (attempt.folder / "logs/0/0.out").read_text()
    assert last["metrics"]["lr"] == float(text.rpartition("lr=")[2])
    eventually(
        lambda: not any(processes.is_alive(process) for process in old),
        "the end of the supervisor, who had said its last word, and of its search",
    )
    assert "swept" not in attempt.kinds()


def test_the_output_of_a_command_is_searched_too(supervised_node: Node) -> None:
    until_told = "echo loss=0.25; until grep -q end do; do sleep 0.05; done"
    attempt = training(
        supervised_node,
        fields={"kind": "command", "argv": ("sh", "-c", until_told)},
        metrics={"loss": LOSS},
    )
    eventually(attempt.digests, "what is told of a command that runs")
    attempt.do("end")
    assert attempt.ended()["outcome"] == "succeeded"
    first, last = attempt.digests()[0]["ranks"], attempt.digests()[-1]["ranks"]
    assert [(rank["rank"], rank["local_rank"], rank["stage"]) for rank in (*first, *last)] == [
        (0, 0, "none"),
        (0, 0, "ended"),
    ]
    assert last[0]["metrics"] == {"loss": 0.25}


def test_a_search_dies_with_its_supervisor_and_comes_with_the_next(supervised_node: Node) -> None:
    attempt = training(supervised_node, metrics={"lr": r"lr=(\S+)"})
    found = eventually(
        lambda: (found := supervisors(attempt.place.job)) and len(found) == 2 and found, "both"
    )
    pids = {process.pid for process in found}
    (supervisor,) = (process for process in found if parent_of(process.pid) not in pids)
    eventually(attempt.digests, "what the first one tells")
    processes.send_signal(supervisor, signal.SIGKILL)
    eventually(lambda: not supervisors(attempt.place.job), "the search's end")
    seq = attempt.digests()[-1]["seq"]
    supervised_node.ensure_supervised()
    eventually(
        lambda: any(
            d["seq"] > seq and d["ranks"][0]["metrics"].get("lr") for d in attempt.digests()
        ),
        "figures again",
    )
    attempt.do("end")
    assert attempt.ended()["left"] == []


def test_a_search_that_takes_no_orders_holds_up_nobody_and_is_given_up(
    tmp_path: Path, feeds: list[Feed], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metricfeed, "BOOT", "import time; time.sleep(600)")
    feed = Feed(tmp_path, loss=r"loss=(\S+)")
    feeds.append(feed)
    many = [(rank, f"/nowhere/{'x' * 4000}/{rank}") for rank in range(64)]
    for _ in range(8):
        feed.feed.follow(many)
        feed.feed.tick(time.monotonic())
    (complaint,) = feed.complaints
    assert "does not take its orders" in complaint
    feed.feed.follow(many)
    assert feed.feed.values == {}
