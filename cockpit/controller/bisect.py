"""Which node is to blame when something fails on all of them together, and not why.

Used by the all-reduce of the doctor. Runs groups of nodes that have no node in common at the same
time. Knows nothing of what is run.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import msgspec

Group = tuple[str, ...]
Passes = Callable[[Sequence[Group]], Awaitable[Sequence[bool]]]
"""Runs disjoint groups at the same time: which of them passed."""

ROUNDS = 4
"""Rounds of pairs across two halves that pass each by themselves."""


class Blame(msgspec.Struct, frozen=True, kw_only=True):
    """All empty: no smaller group fails than all together."""

    alone: tuple[str, ...] = ()
    """Fail by themselves."""
    with_others: dict[str, tuple[str, ...]] = {}
    """Pass alone and fail with each of these, which pass without them."""
    pairs: tuple[Group, ...] = ()
    """Fail together; neither could be found to be at fault."""

    @property
    def found(self) -> bool:
        return bool(self.alone or self.with_others or self.pairs)


async def blame(nodes: Group, passes: Passes) -> Blame:
    """Find the culprits among `nodes`, which fail together."""
    outcomes = await passes([(node,) for node in nodes])
    alone = tuple(node for node, passed in zip(nodes, outcomes, strict=True) if not passed)
    rest = tuple(node for node in nodes if node not in alone)
    if len(rest) < 2 or (alone and (await passes([rest]))[0]):
        return Blame(alone=alone)
    failing = await _failing_pairs(rest, passes)
    if not failing:
        return Blame(alone=alone)
    guilty, pairs = await _confirm(rest, failing, passes)
    return Blame(alone=alone, with_others=guilty, pairs=pairs)


async def _failing_pairs(nodes: Group, passes: Passes) -> list[Group]:
    """Pairs that fail, of nodes that fail together; none when only more than two do."""
    if len(nodes) == 2:
        return [nodes]
    middle = (len(nodes) + 1) // 2
    halves = [half for half in (nodes[:middle], nodes[middle:]) if len(half) > 1]
    outcomes = await passes(halves)
    failing: list[Group] = []
    for half, passed in zip(halves, outcomes, strict=True):
        if not passed:
            failing += await _failing_pairs(half, passes)
    if failing:
        return failing
    left, right = nodes[:middle], nodes[middle:]
    for turn in range(min(len(left), ROUNDS)):
        pairs = [(left[(i + turn) % len(left)], right[i]) for i in range(len(right))]
        outcomes = await passes(pairs)
        failing += [pair for pair, passed in zip(pairs, outcomes, strict=True) if not passed]
        if failing:
            break
    return failing


async def _confirm(
    nodes: Group, failing: Sequence[Group], passes: Passes
) -> tuple[dict[str, tuple[str, ...]], tuple[Group, ...]]:
    """Try both of a failing pair with nodes that are above suspicion."""
    suspects = {node for pair in failing for node in pair}
    sound = [node for node in nodes if node not in suspects]
    guilty: dict[str, tuple[str, ...]] = {}
    pairs: list[Group] = []
    for one, other in failing:
        if not sound:
            pairs.append((one, other))
            continue
        if len(sound) > 1:
            tries = [(one, sound[0]), (other, sound[1])]
            outcomes = list(await passes(tries))
        else:
            tries = [(one, sound[0]), (other, sound[0])]
            outcomes = [(await passes([attempt]))[0] for attempt in tries]
        partner = {one: other, other: one}
        failed = [attempt for attempt, ok in zip(tries, outcomes, strict=True) if not ok]
        for suspect, witness in failed:
            guilty[suspect] = (partner[suspect], witness)
        if not failed:
            pairs.append((one, other))
    return guilty, tuple(pairs)
