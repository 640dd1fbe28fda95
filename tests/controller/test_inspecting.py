"""Which of the stacks that nodes kept are those of the newest stall."""

from __future__ import annotations

from typing import Any

from cockpit.controller.inspecting import newest_kept
from cockpit.model.types import Stall


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
        assert [item.stacks for item in newest_kept(order)] == ["0/8.json", "1/6.json"]


def test_stalls_without_stacks_give_none() -> None:
    assert newest_kept([stall(0, 1.0, stacks="")]) == []
