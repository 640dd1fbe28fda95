"""What a node is like at one moment, in one word with one shape, and the items of the Fleet view.

Pure. A node that is away or whose sample is old keeps its last figures, which are drawn as old.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import NamedTuple

from cockpit.model.types import Job, LinkState, Node
from cockpit.tui.draw.words import STALE_AFTER
from cockpit.tui.frame import Frame, node_key


class Condition(enum.Enum):
    """Worst first; each has a shape of its own."""

    UNREACHABLE = ("✖", "bad", "unreachable")
    SICK = ("!", "bad", "sick")
    RECONNECTING = ("↻", "warn", "reconnecting")
    STALE = ("?", "warn", "stale")
    WARN = ("▲", "warn", "warning")
    CONNECTING = ("◌", "busy", "connecting")
    UNKNOWN = ("·", "stale", "no sample")
    OK = ("●", "ok", "ok")

    def __init__(self, glyph: str, tone: str, word: str) -> None:
        self.glyph = glyph
        self.tone = tone
        self.word = word

    __hash__ = object.__hash__


GRAVITY = {condition: rank for rank, condition in enumerate(Condition)}
"""The less, the worse."""

PROBLEMS = frozenset(
    (
        Condition.UNREACHABLE,
        Condition.SICK,
        Condition.RECONNECTING,
        Condition.STALE,
        Condition.WARN,
    )
)

_AWAY = {
    LinkState.UNREACHABLE: Condition.UNREACHABLE,
    LinkState.RECONNECTING: Condition.RECONNECTING,
    LinkState.CONNECTING: Condition.CONNECTING,
}
_OLD = frozenset((*_AWAY.values(), Condition.STALE))


class Pace(NamedTuple):
    """A rank's median step in seconds, and its rate as a part of the best of its job."""

    local_rank: int
    step_time: float
    share: float


class NodeItem(NamedTuple):
    """A node at one moment. `age` is that of its sample in whole seconds, None without one;
    `away` how long its link has been in its state; `slots` the most GPUs that a node has."""

    node: Node
    key: str
    jobs: tuple[Job, ...]
    age: int | None
    away: int
    slots: int
    condition: Condition
    lagging: tuple[int, ...] = ()
    """Ranks on it that stand apart from their peers."""
    paces: tuple[Pace, ...] = ()
    several: bool = False
    """Nodes of other clusters are shown beside it."""

    @property
    def called(self) -> str:
        """Its name, with its cluster's where there are several."""
        return self.key if self.several else self.node.name

    @property
    def stale(self) -> bool:
        """Its figures, if any, are old."""
        return self.condition in _OLD


def condition_of(node: Node, age: int | None, lagging: bool = False) -> Condition:
    """`age`: of its sample, in whole seconds."""
    if node.link.state is not LinkState.ONLINE:
        return _AWAY[node.link.state]
    if age is None:
        return Condition.UNKNOWN
    if age > STALE_AFTER:
        return Condition.STALE
    if node.health == "crit":
        return Condition.SICK
    return Condition.WARN if lagging or node.health == "warn" else Condition.OK


_Place = tuple[str, str]


class Roster:
    """Makes the items of frames. What depends on jobs alone is kept until they change."""

    def __init__(self) -> None:
        self._jobs: Sequence[Job] | None = None
        self._running: dict[_Place, tuple[Job, ...]] = {}
        self._lagging: dict[_Place, tuple[int, ...]] = {}
        self._paces: dict[_Place, tuple[Pace, ...]] | None = None
        self._keys: dict[_Place, str] = {}

    def items(self, frame: Frame, clusters: frozenset[str], *, paces: bool) -> list[NodeItem]:
        """All nodes of these clusters, of all if none is named; `paces` are only looked for where
        they are wanted."""
        if frame.fleet.jobs is not self._jobs:
            self._jobs = frame.fleet.jobs
            self._running = frame.running_by_node()
            self._lagging = _lagging(frame.fleet.jobs)
            self._paces = None
        if paces and self._paces is None:
            self._paces = _paces(frame.fleet.jobs)
        rates = self._paces if paces and self._paces is not None else {}
        nodes = frame.fleet.nodes
        if clusters:
            nodes = tuple(node for node in nodes if node.cluster in clusters)
        slots = max((len(node.gpus) for node in nodes), default=0)
        several = len({node.cluster for node in nodes}) > 1
        mono, wall = frame.mono, frame.wall
        made = []
        for node in nodes:
            place = (node.cluster, node.name)
            key = self._keys.get(place)
            if key is None:
                key = self._keys[place] = node_key(node)
            sampled = node.sampled_at
            age = None if sampled is None else max(int(mono - sampled), 0)
            lagging = self._lagging.get(place, ()) if self._lagging else ()
            made.append(
                NodeItem(
                    node,
                    key,
                    self._running.get(place, ()),
                    age,
                    max(int(wall - node.link.since), 0),
                    slots,
                    condition_of(node, age, bool(lagging)),
                    lagging,
                    rates.get(place, ()),
                    several,
                )
            )
        return made


def _lagging(jobs: Sequence[Job]) -> dict[_Place, tuple[int, ...]]:
    found: dict[_Place, tuple[int, ...]] = {}
    for job in jobs:
        if "straggler" not in job.flags or job.state.ended:
            continue
        for node in job.nodes:
            slow = tuple(rank.rank for rank in node.ranks if rank.straggler)
            if slow:
                place = (job.cluster, node.name)
                found[place] = (*found.get(place, ()), *slow)
    return found


def _paces(jobs: Sequence[Job]) -> dict[_Place, tuple[Pace, ...]]:
    found: dict[_Place, tuple[Pace, ...]] = {}
    for job in jobs:
        if job.state.ended:
            continue
        times = [
            (node.name, rank.local_rank, rank.step_time)
            for node in job.nodes
            for rank in node.ranks
            if rank.step_time is not None and rank.step_time > 0
        ]
        best = min((time for _, _, time in times), default=0.0)
        for name, local_rank, time in times:
            place = (job.cluster, name)
            found[place] = (*found.get(place, ()), Pace(local_rank, time, best / time))
    return found
