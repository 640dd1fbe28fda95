"""Whose fault it is when a group of nodes fails: the bisection of the doctor."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from cockpit.controller.bisect import Blame, Group, blame


async def blamed(count: int, fails: Callable[[set[str]], bool]) -> tuple[Blame, list[Group]]:
    """Blame among n0, n1, … where a group fails if `fails` says so; and all groups that ran."""
    ran: list[Group] = []

    async def passes(groups: Sequence[Group]) -> list[bool]:
        members = [node for group in groups for node in group]
        assert len(members) == len(set(members)), "groups that run at the same time are disjoint"
        ran.extend(groups)
        return [not fails(set(group)) for group in groups]

    return await blame(tuple(f"n{i}" for i in range(count)), passes), ran


@pytest.mark.parametrize("count", [1, 2, 3, 8, 17])
async def test_a_node_that_fails_by_itself_is_named_at_once(count: int) -> None:
    found, ran = await blamed(count, lambda group: f"n{count - 1}" in group)
    assert found == Blame(alone=(f"n{count - 1}",))
    assert len(ran) <= count + 1


@pytest.mark.parametrize("count", [3, 4, 7, 16])
@pytest.mark.parametrize("culprit", [0, 1, 2])
async def test_a_node_that_fails_only_with_others_is_named(count: int, culprit: int) -> None:
    name = f"n{culprit}"
    found, ran = await blamed(count, lambda group: name in group and len(group) > 1)
    assert list(found.with_others) == [name]
    assert not found.alone
    assert not found.pairs
    assert len(ran) <= 4 * count


async def test_of_two_nodes_that_only_fail_together_neither_is_accused_alone() -> None:
    found, _ = await blamed(2, lambda group: len(group) > 1)
    assert found == Blame(pairs=(("n0", "n1"),))


@pytest.mark.parametrize("link", [("n0", "n1"), ("n0", "n5"), ("n2", "n7"), ("n3", "n4")])
async def test_a_link_between_two_sound_nodes_is_found(link: Group) -> None:
    found, _ = await blamed(8, lambda group: set(link) <= group)
    assert [set(pair) for pair in found.pairs] == [set(link)]
    assert not found.with_others


async def test_what_fails_only_with_many_nodes_accuses_nobody() -> None:
    found, _ = await blamed(8, lambda group: len(group) > 4)
    assert not found.found


async def test_a_sick_node_and_a_bad_link_are_both_named() -> None:
    found, _ = await blamed(6, lambda group: "n1" in group or {"n2", "n4"} <= group)
    assert found.alone == ("n1",)
    assert [set(pair) for pair in found.pairs] == [{"n2", "n4"}]
