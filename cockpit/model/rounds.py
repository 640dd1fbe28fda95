"""Rendezvous rounds of one attempt, merged over its nodes.

Every node of a round writes its own `generation` event; `merge_rounds` puts those of the same
round together. Used by `attempts`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from cockpit.model.folds import LocalGeneration
from cockpit.model.nodes import NodeFold
from cockpit.model.stalls import ON_STALL


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody asked for the end of a round. `at` is on the cluster's clock."""

    at: float
    by: str
    reason: str
    cost: bool = False
    """It counts against `max_restarts`."""

    @property
    def stall(self) -> bool:
        """A watcher asked, because of a stall."""
        return self.by == ON_STALL


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """One rendezvous round. Times are on the cluster's clock."""

    number: int
    members: list[NodeFold]
    """Nodes that say they are part of it."""
    sizes: tuple[int, ...]
    """Nodes in the world, as each member counts them."""
    world_size: int
    started_at: float
    stopped_at: float | None
    """When the first member began to stop its ranks."""
    ended_at: float | None
    """When the last member had ended it; None while one has not."""
    asked: Asked | None
    """Who asked for its end first."""

    @property
    def told(self) -> bool:
        """Every node of its world has said how it ended there."""
        return self.ended_at is not None and len(self.members) >= max(self.sizes)


def merge_rounds(nodes: Iterable[NodeFold], skews: Mapping[str, float]) -> list[Round]:
    """All rounds that any of `nodes` tells of, in order."""
    by_number: dict[int, list[NodeFold]] = {}
    for node in nodes:
        for number in node.launcher.generations:
            by_number.setdefault(number, []).append(node)
    return [_merge(number, by_number[number], skews) for number in sorted(by_number)]


def _merge(number: int, members: list[NodeFold], skews: Mapping[str, float]) -> Round:
    shifted = [(node.launcher.generations[number], skews.get(node.name, 0.0)) for node in members]
    ends = [None if local.ended_at is None else local.ended_at - skew for local, skew in shifted]
    known = [end for end in ends if end is not None]
    return Round(
        number=number,
        members=members,
        sizes=tuple(local.start.group_world_size for local, _ in shifted),
        world_size=max(local.start.world_size for local, _ in shifted),
        started_at=min(local.start.at - skew for local, skew in shifted),
        stopped_at=min(
            (local.stopping_at - skew for local, skew in shifted if local.stopping_at is not None),
            default=None,
        ),
        ended_at=max(known) if len(known) == len(ends) else None,
        asked=_asked(shifted),
    )


def _asked(shifted: Iterable[tuple[LocalGeneration, float]]) -> Asked | None:
    """The earliest word of it; who asked and why as the first node knows that does."""
    words = sorted(
        (
            local.restarting.at - skew,
            local.restarting.by,
            local.restarting.reason,
            local.restarting.cost,
        )
        for local, skew in shifted
        if local.restarting is not None
    )
    if not words:
        return None
    by = next((by for _, by, _, _ in words if by), "")
    reason = next((reason for _, _, reason, _ in words if reason), "")
    return Asked(at=words[0][0], by=by, reason=reason, cost=any(cost for *_, cost in words))
