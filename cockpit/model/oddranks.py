"""Whom a stall waits for, by the stacks that the nodes took then. Pure.

In a collective that hangs all ranks are silent, and only their stacks tell who never came: ranks
that are in the user's own code, or in a library, while others wait for their peers. Where nobody
waits as far as Python can see, as most of them sit in one line that synchronises with a GPU, those
that are somewhere else than most are odd. Otherwise nobody is accused.
"""

from __future__ import annotations

import collections
from collections.abc import Iterable

import msgspec

from cockpit.model.stacks import RankStacks, Stack, Thread, summary_of
from cockpit.model.stackwords import describe


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """A silent rank and the innermost frames of its main thread, innermost first."""

    rank: int
    node: str
    node_rank: int
    stack: Stack


def summary(ranks: Iterable[Seen]) -> str:
    """ "rank 3 (node2) is in data.py:41 read_shard, 7 others in all_reduce"; "" without ranks."""
    stacks = [
        RankStacks(
            rank=item.rank,
            local_rank=0,
            node=item.node,
            node_rank=item.node_rank,
            pid=0,
            threads=(Thread(name="", main=True, frames=item.stack),),
        )
        for item in _known(ranks)
    ]
    return summary_of(stacks) if stacks else ""


def culprit(ranks: Iterable[Seen]) -> Seen | None:
    """The one rank that all others wait for, None where it is not one."""
    known = _known(ranks)
    words = {item.rank: describe(item.stack) for item in known}
    busy = [item for item in known if not words[item.rank].waits]
    if not 0 < len(busy) < len(known):
        places = collections.Counter(found.long for found in words.values())
        most, count = max(places.items(), key=lambda pair: pair[1], default=("", 0))
        if 2 * count <= len(known):
            return None
        busy = [item for item in known if words[item.rank].long != most]
    return busy[0] if len(busy) == 1 else None


def _known(ranks: Iterable[Seen]) -> list[Seen]:
    """Those with a stack, each once, in order."""
    found = {item.rank: item for item in ranks if item.stack}
    return [found[rank] for rank in sorted(found)]
