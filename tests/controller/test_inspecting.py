"""Which of the stacks that nodes kept are those of the newest stall."""

from __future__ import annotations

from typing import Any

import pytest

from cockpit.controller.inspecting import aside, newest_kept
from cockpit.model.stacks import RankStacks, Thread
from cockpit.model.stackwords import Frame
from cockpit.model.types import OtherStacks, Stall


def stall(node_rank: int, at: float, **fields: Any) -> Stall:
    values: dict[str, Any] = {
        "attempt": 0,
        "generation": 0,
        "node": f"node{node_rank}",
        "node_rank": node_rank,
        "ranks": (node_rank,),
        "at": at,
        "action": "warn",
        "message": "",
        "stacks": f"{node_rank}/{at:g}.json",
        **fields,
    }
    return Stall(**values)


def test_each_node_gives_the_newest_stacks_of_the_newest_generation_that_has_any() -> None:
    stalls = [
        stall(0, 9.0, attempt=1, generation=1, stacks=""),
        stall(1, 6.0, attempt=1),
        stall(0, 5.0, attempt=1),
        stall(0, 8.0, attempt=1),
        stall(0, 99.0, generation=7),
    ]
    for order in (stalls, stalls[::-1]):
        assert [item.path for item in newest_kept(order)] == ["0/8.json", "1/6.json"]


def test_nodes_that_declared_nothing_give_what_they_kept_then() -> None:
    others = (
        OtherStacks(node="node0", node_rank=0, at=4.0, path="0/old.json"),
        OtherStacks(node="node1", node_rank=1, at=6.5, path="1/other.json"),
    )
    for stacks, first in (("0/5.json", ("0/5.json", True)), ("", ("0/old.json", False))):
        found = newest_kept([stall(0, 5.0, stacks=stacks, others=others)])
        assert [(item.path, item.declared) for item in found] == [first, ("1/other.json", False)]


def test_stalls_without_stacks_give_none() -> None:
    assert newest_kept([stall(0, 1.0, stacks="")]) == []


@pytest.mark.parametrize(
    ("number", "place", "words"),
    [
        (1, "train.py", ""),
        (0, "train.py", "was not silent"),
        (0, "/usr/lib/python3.11/threading.py", "has ended its script"),
        (None, "train.py", ""),
    ],
)
def test_a_rank_that_was_not_silent_is_put_aside_with_what_it_did(
    number: int | None, place: str, words: str
) -> None:
    thread = Thread(name="MainThread", main=True, frames=(Frame(place, 3, "main"),))
    rank = RankStacks(rank=number, local_rank=0, node="n", node_rank=0, pid=1, threads=(thread,))
    assert aside(rank, {1, 2}) == words
    assert aside(rank, ()) == ""
