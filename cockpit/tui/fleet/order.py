"""Which nodes the Fleet view shows, and in which order. Pure.

The order of a list that people work in must not change under their hands: it stays as it is for
some seconds after the cursor moved, and is looked at anew only now and then.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Collection, Sequence

from cockpit.tui.fleet.condition import GRAVITY, PROBLEMS, Condition, NodeItem
from cockpit.tui.fleet.gauges import Gauge, weight
from cockpit.tui.sifting import Sift

HOLD = 8.0
"""Seconds for which nothing changes place after the cursor moved."""
EVERY = 3.0
"""Seconds between two looks at the order."""
_NUMBER = re.compile(r"(\d+)")


class Sort(str, enum.Enum):
    PROBLEMS = "problems"
    NAME = "name"
    METRIC = "metric"


def described(item: NodeItem) -> str:
    """All that a filter looks at, in one text."""
    node = item.node
    words = [
        node.name,
        node.cluster,
        *dict.fromkeys(gpu.name for gpu in node.gpus),
        node.health,
        item.condition.word,
        node.link.state.value,
        *(job.name for job in item.jobs),
    ]
    if item.condition is Condition.UNREACHABLE:
        words.append("down")
    if not item.jobs:
        words.append("free")
    if item.lagging:
        words.append("straggler")
    if node.simulated:
        words.append("simulated")
    return " ".join(words)


def sifted(items: Sequence[NodeItem], sift: Sift, problems: bool) -> Sequence[NodeItem]:
    """Those that a filter, and the wish for problems only, leave."""
    if problems:
        items = [item for item in items if item.condition in PROBLEMS]
    return [item for item in items if sift.matches(described(item))] if sift else items


def natural(name: str) -> tuple[tuple[int, str], ...]:
    """A key that puts n9 before n10."""
    parts = _NUMBER.split(name)
    return tuple(
        (int(part[:18]), "") if at % 2 else (-1, part.casefold()) for at, part in enumerate(parts)
    )


def _name_of(item: NodeItem) -> tuple[object, ...]:
    """A key by what the node is called: by its cluster first where that is said."""
    cluster = natural(item.node.cluster) if item.several else ()
    return cluster, natural(item.node.name), item.node.cluster


def in_order(items: Sequence[NodeItem], sort: Sort, gauge: Gauge) -> list[NodeItem]:
    """What is equal keeps its place."""
    if sort is Sort.PROBLEMS:
        return sorted(items, key=lambda item: GRAVITY[item.condition])
    if sort is Sort.NAME:
        return sorted(items, key=_name_of)
    weights = {item.key: weight(gauge, item) for item in items if not item.stale}

    def heaviest_first(item: NodeItem) -> tuple[bool, float]:
        known = weights.get(item.key)
        return known is None, 0.0 if known is None else -known

    return sorted(items, key=heaviest_first)


class LazyOrder:
    """Remembers the order of the rows and renews it when nobody is disturbed."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}
        self._chosen: tuple[Sort, Gauge | None] | None = None
        self._since = 0.0
        self._moved = -HOLD

    def disturbed(self, now: float) -> None:
        """The cursor moved."""
        self._moved = now

    def arrange(
        self, items: Sequence[NodeItem], sort: Sort, gauge: Gauge, now: float
    ) -> list[NodeItem]:
        """`items` in the order that is kept, or in a new one. `now`: any clock, seconds."""
        chosen = (sort, gauge if sort is Sort.METRIC else None)
        places = self._places
        if (
            chosen == self._chosen
            and len(items) == len(places)
            and all(item.key in places for item in items)
            and (now - self._since < EVERY or now - self._moved < HOLD)
        ):
            return sorted(items, key=lambda item: places[item.key])
        held = chosen == self._chosen and now - self._moved < HOLD
        if held and _mostly(places, items):
            ordered = sorted(items, key=lambda item: places.get(item.key, len(places)))
        else:
            ordered = in_order(items, sort, gauge)
            self._since = now
        self._chosen = chosen
        self._places = {item.key: place for place, item in enumerate(ordered)}
        return ordered


def _mostly(places: Collection[str], items: Sequence[NodeItem]) -> bool:
    """Whether more than half of the items have a place."""
    return 2 * sum(item.key in places for item in items) > len(items)
