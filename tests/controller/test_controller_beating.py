"""Journals of beats reach the model whole: from the start, from a tail, and when replaced."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import pytest

from cockpit.controller.beating import TAIL, BeatsSink
from cockpit.controller.tracking import NodeKey, Seat, Tracker
from cockpit.model.jobs import JobModel
from cockpit.model.rules import Rules
from cockpit.model.types import Link
from cockpit.profiles.types import Rule
from cockpit.protocol import layout
from tests.model.building import Cluster, running
from tests.model.scenarios import JOB, ONLINE, T0, plan, record


class Follow:
    """A file that is being followed; the test is the node."""

    def __init__(self, path: str, offset: int, sink: Any) -> None:
        self.path, self.offset, self.sink = path, offset, sink
        self.closed = False

    def close(self) -> None:
        self.closed = True

    def send(self, data: bytes, start: int = 0) -> None:
        """The node has the file `data` and sends it from `start` on."""
        self.sink.opened(start, len(data))
        if not self.closed and data[start:]:
            self.sink.received(start, data[start:])


class Road:
    """A link to a node."""

    link: Link = ONLINE

    def __init__(self) -> None:
        self.follows: list[Follow] = []

    def follow(self, path: str, offset: int, sink: Any) -> Follow:
        self.follows.append(Follow(path, offset, sink))
        return self.follows[-1]

    def of(self, name: str) -> list[Follow]:
        return [follow for follow in self.follows if follow.path.endswith(name)]


def digests(*steps: int) -> bytes:
    """A file with one digest per step, numbered as the step."""
    cluster = running(1, 1)
    for step in steps:
        cluster.beats(0, 10.0 + step, 0, {"step": step})
    lines = cluster.events.get((0, 0, "beats"), [])
    for line, step in zip(lines, steps, strict=True):
        line["seq"] = step
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def followed(*, ended: bool) -> tuple[JobModel, BeatsSink, Road]:
    model, road = running(1, 1).model(), Road()
    sink = BeatsSink(model, 0, 0, changed=lambda: None, ended=ended)
    sink.start(road, "beats")  # type: ignore[arg-type]
    return model, sink, road


def steps_of(model: JobModel) -> list[float]:
    job = model.snapshot(T0 + 20.0)
    return [value for metric in job.metrics if metric.name == "step" for _, value in metric.history]


def test_a_running_attempt_is_read_from_the_start_and_followed_for_ever() -> None:
    model, sink, road = followed(ended=False)
    (follow,) = road.follows
    assert (follow.offset, sink.caught_up) == (0, False)
    data = digests(1, 2)
    follow.send(data)
    assert (steps_of(model), sink.caught_up, follow.closed) == ([1.0, 2.0], True, False)
    follow.sink.received(len(data), digests(3))
    assert steps_of(model) == [1.0, 2.0, 3.0]


def test_a_file_that_is_not_there_yet_holds_nothing_up() -> None:
    model, sink, road = followed(ended=False)
    road.follows[0].sink.opened(0, 0)
    assert sink.caught_up
    road.follows[0].sink.received(0, digests(1))
    assert steps_of(model) == [1.0]


def test_of_an_ended_attempt_the_tail_is_read_once() -> None:
    model, sink, road = followed(ended=True)
    (follow,) = road.follows
    assert follow.offset == -TAIL
    data = digests(1, 2, 3)
    follow.send(data, start=5)
    assert (steps_of(model), sink.caught_up, follow.closed) == ([2.0, 3.0], True, True)


def test_a_file_that_was_thinned_and_replaced_is_read_anew_and_counts_once() -> None:
    model, _, road = followed(ended=False)
    (follow,) = road.follows
    follow.send(digests(1, 2, 3))
    follow.sink.replaced()
    follow.send(digests(1, 3, 4))
    assert steps_of(model) == [1.0, 2.0, 3.0, 4.0]


def test_when_an_attempt_ends_its_last_digests_are_read_and_then_no_more() -> None:
    model, sink, road = followed(ended=False)
    road.follows[0].send(digests(1, 2))
    sink.finish()
    first, second = road.follows
    assert first.closed
    assert second.offset == len(digests(1, 2))
    second.send(digests(1, 2, 3), start=second.offset)
    assert (steps_of(model), second.closed) == ([1.0, 2.0, 3.0], True)
    sink.finish()
    assert len(road.follows) == 2


def test_an_attempt_that_ends_while_its_file_is_replaced_loses_nothing() -> None:
    model, sink, road = followed(ended=False)
    road.follows[0].send(digests(1, 2, 3))
    sink.finish()
    follow = road.follows[1]
    thinned = digests(3, 4)
    follow.sink.opened(follow.offset, len(thinned))
    assert not follow.closed
    follow.sink.replaced()
    follow.send(thinned)
    assert (steps_of(model), follow.closed) == ([1.0, 2.0, 3.0, 4.0], True)


# -- as the tracker uses it ----------------------------------------------------------------------


def listing(*, ended: bool) -> dict[str, Any]:
    def plain(value: object) -> Mapping[str, Any]:
        found: Mapping[str, Any] = json.loads(json.dumps(dataclasses.asdict(value)))  # type: ignore[call-overload]
        return found

    attempt = {
        "attempt": 0, "node_rank": 0, "plan": plain(plan(1)),
        "events": {"kind": "ended" if ended else "started"},
    }  # fmt: skip
    return {"jobs": [{"job": plain(record(1)), "attempts": [attempt]}]}


def tracked(*, ended: bool) -> tuple[Tracker, Road]:
    tracker, road = Tracker(lambda _: None, lambda _: None), Road()
    key = NodeKey("lab", "gpu01")
    tracker.listed(key, road, listing(ended=ended), T0)  # type: ignore[arg-type]
    return tracker, road


def journals(ended: bool) -> Cluster:
    cluster = running(1, 1)
    return cluster.succeed(0, 30.0) if ended else cluster


def send_journals(road: Road, *, ended: bool) -> None:
    for (_, _, journal), data in journals(ended).data().items():
        name = layout.EVENTS if journal == "events" else layout.LAUNCHER_EVENTS
        (follow,) = road.of(f"/{name}")
        follow.send(data)


def test_beats_of_ended_attempts_are_fetched_when_somebody_asks_for_the_job() -> None:
    tracker, road = tracked(ended=True)
    job = tracker.jobs[JOB]
    send_journals(road, ended=True)
    assert job.loaded
    assert road.of(layout.BEATS) == []
    tracker.recall(JOB[:5])
    (beats,) = road.of(layout.BEATS)
    assert not job.loaded
    beats.send(digests(7))
    assert job.loaded
    assert job.model.snapshot(T0 + 40.0).steps == (7, 7)
    tracker.recall(JOB)
    assert len(road.of(layout.BEATS)) == 1


def test_beats_of_a_running_attempt_are_followed_at_once_and_finished_with_it() -> None:
    tracker, road = tracked(ended=False)
    job = tracker.jobs[JOB]
    (beats,) = road.of(layout.BEATS)
    beats.send(digests(1))
    send_journals(road, ended=True)
    first, second = road.of(layout.BEATS)
    assert (first.closed, second.offset) == (True, len(digests(1)))
    job.close()
    assert second.closed


def test_rules_of_the_configuration_reach_every_job() -> None:
    rules = Rules([Rule(name="mine", pattern="boom", cause="it went boom")])
    tracker, road = Tracker(lambda _: None, lambda _: None, rules), Road()
    seat = Seat(0, 0, NodeKey("lab", "gpu01"), road)  # type: ignore[arg-type]
    tracker.started(record(1), plan(1), seat)
    cluster = running(1, 1)
    cluster.failed(0, 5.0, 0, {"local_rank": 0, "exception": "E", "message": "E: boom"})
    for (_, _, journal), data in cluster.end(9.0).data().items():
        tracker.jobs[JOB].model.feed(0, 0, journal, 0, data)
    cause = tracker.jobs[JOB].model.snapshot(T0 + 10.0).cause
    assert cause is not None and cause.label == "it went boom"


@pytest.mark.parametrize("number", [0, 1])
def test_the_names_of_the_newest_attempt_are_known_without_a_snapshot(number: int) -> None:
    tracker, _ = tracked(ended=False)
    model = tracker.jobs[JOB].model
    model.plan(plan(2, number))
    assert model.newest_names() == (number, {0: "gpu01", 1: "gpu02"})
