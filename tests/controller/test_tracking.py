"""What the listings of nodes say of supervisors, and what of it is believed."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from cockpit.controller.tracking import NodeKey, Seat, Tracker
from cockpit.model.types import JobNode, Link
from cockpit.protocol.records import to_builtins
from tests.model.building import running
from tests.model.scenarios import JOB, ONLINE, T0, plan, record


class Follow:
    def close(self) -> None:
        """Nothing is read."""


class Road:
    """A link to a node whose journals say nothing yet."""

    link: Link = ONLINE

    def follow(self, path: str, offset: int, sink: Any) -> Follow:
        return Follow()


def listing(newest: str, **supervised: bool) -> dict[str, Any]:
    attempt = {
        "attempt": 0,
        "node_rank": 0,
        "plan": to_builtins(plan(2)),
        "events": {"kind": newest},
        **supervised,
    }
    return {"jobs": [{"job": json.loads(json.dumps(dataclasses.asdict(record(2)))),
                      "attempts": [attempt]}]}  # fmt: skip


@pytest.fixture
def tracker() -> Tracker:
    return Tracker(lambda _: None, lambda _: None)


def head(tracker: Tracker) -> JobNode:
    """Node rank 0, whose journal told that it began."""
    (first, *_) = tracker.jobs[JOB].model.snapshot(T0 + 5.0).nodes
    return first


def begin(tracker: Tracker) -> None:
    for (_, rank, journal), data in running(2, 1).data().items():
        if rank == 0:
            tracker.jobs[JOB].model.feed(0, rank, journal, 0, data)


def hear(tracker: Tracker, node: str, road: Road, said: dict[str, Any]) -> None:
    tracker.listed(NodeKey("lab", node), road, said, T0)  # type: ignore[arg-type]


def test_a_supervisor_that_is_gone_is_told_and_its_return_too(tracker: Tracker) -> None:
    road = Road()
    hear(tracker, "gpu01", road, listing("started", supervised=True))
    begin(tracker)
    assert head(tracker).supervised
    hear(tracker, "gpu01", road, listing("started", supervised=False))
    assert head(tracker).notes == ("no supervisor watches over it",)
    hear(tracker, "gpu01", road, listing("adopted", supervised=True))
    assert head(tracker).notes == ()


def test_an_attempt_that_is_listed_before_it_is_claimed_raises_no_alarm(tracker: Tracker) -> None:
    hear(tracker, "gpu01", Road(), listing("claimed"))
    assert head(tracker).supervised
    assert head(tracker).notes == ()


def test_an_attempt_that_nobody_claimed_does_not_look_healthy(tracker: Tracker) -> None:
    hear(tracker, "gpu01", Road(), listing("claimed", supervised=False))
    assert head(tracker).notes == ("no supervisor has taken it on",)


def test_an_end_that_is_listed_before_its_journal_was_read_raises_no_alarm(
    tracker: Tracker,
) -> None:
    road = Road()
    hear(tracker, "gpu01", road, listing("started", supervised=True))
    begin(tracker)
    hear(tracker, "gpu01", road, listing("ended", supervised=False))
    assert head(tracker).supervised
    assert head(tracker).notes == ()


def test_a_node_that_shares_the_state_folder_says_nothing_of_supervisors_elsewhere(
    tracker: Tracker,
) -> None:
    road = Road()
    tracker.started(record(2), plan(2), Seat(0, 0, NodeKey("lab", "gpu01"), road))  # type: ignore[arg-type]
    begin(tracker)
    hear(tracker, "gpu02", Road(), listing("started", supervised=False))
    assert head(tracker).supervised
