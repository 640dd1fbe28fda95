"""What is wrong right now, worst first, in one line each. Pure; the Fleet view draws it.

An alert ends by itself when its reason does. What happened and is over is an event, not an alert.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import NamedTuple

from cockpit.model.medians import median
from cockpit.model.types import Gpu, Job, LinkState, Node, NodeState
from cockpit.text import count_of, ranges
from cockpit.tui.draw.words import NODE, cause_line, span_of_time
from cockpit.tui.fleet.condition import Condition, condition_of
from cockpit.tui.frame import Frame, is_live, node_key

IDLE, BUSY = 10.0, 60.0
"""Utilization in percent of a GPU that idles while its peers' median is at least BUSY."""
PATIENCE = 10.0
"""Seconds for which a GPU must idle before it is worth a word: one sample says little."""
LOOP, LOOP_SPAN = 2, 600.0
"""Failures of a job within so many seconds after which it is said to crash again and again."""
OVERDUE = 30.0
"""Seconds without a generation after which a job is said to wait for one."""
LOST = "lost"
"""The topic of alerts that come before all others."""

Namer = Callable[[str, str], str]
"""From a cluster and a node's name to what the node is called where several clusters are shown."""


class Alert(NamedTuple):
    """`severity`: the tone. `node`: its `node_key`, `job`: an id, "" where it is about none.
    `brief`: it may come and go with every sample. `topic`: what of them it is about."""

    severity: str
    glyph: str
    text: str
    node: str = ""
    job: str = ""
    cluster: str = ""
    brief: bool = False
    topic: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        """What it is about, however its figures change."""
        return self.node, self.job, self.topic


def alerts(frame: Frame, clusters: Collection[str] = ()) -> list[Alert]:
    """Everything that is wrong in these clusters, in all if none is named; worst first."""
    nodes = {
        (node.cluster, node.name): node
        for node in frame.fleet.nodes
        if not clusters or node.cluster in clusters
    }
    several = len({cluster for cluster, _ in nodes}) > 1

    def called(cluster: str, name: str) -> str:
        return f"{cluster}/{name}" if several else name

    found = [*_of_nodes(frame, nodes.values(), called)]
    for job in frame.fleet.jobs:
        if is_live(job) and (not clusters or job.cluster in clusters):
            found += _of_job(job, frame.wall, called)
            found += _idle(job, nodes, called)
    order = {"bad": 0, "warn": 1}
    return sorted(
        found,
        key=lambda alert: (order.get(alert.severity, len(order)), alert.topic != LOST),
    )


def _of_nodes(frame: Frame, nodes: Collection[Node], called: Namer) -> Iterator[Alert]:
    for node in nodes:
        age = None if node.sampled_at is None else max(int(frame.mono - node.sampled_at), 0)
        condition = condition_of(node, age)
        text = _trouble(node, condition, age, frame.wall)
        if text:
            severity = condition.tone
            yield Alert(
                severity,
                condition.glyph,
                f"{called(node.cluster, node.name)} {text}",
                node=node_key(node),
                cluster=node.cluster,
            )


def _trouble(node: Node, condition: Condition, age: int | None, wall: float) -> str:
    if node.link.state in (LinkState.UNREACHABLE, LinkState.RECONNECTING):
        away = span_of_time(wall - node.link.since)
        why = node.link.why or node.link.state.value
        tries = f", {node.link.attempts} tries" if node.link.attempts > 1 else ""
        return f"{why} (for {away}{tries})"
    if condition is Condition.STALE and age is not None:
        return f"sample age {span_of_time(age)}"
    if condition in (Condition.SICK, Condition.WARN):
        more = len(node.health_reasons) - 1
        first = node.health_reasons[0] if node.health_reasons else node.health
        if node.gpu_stalled is not None:
            first = f"GPU driver does not answer for {span_of_time(node.gpu_stalled)}"
        return first + (f" and {more} more" if more > 0 else "")
    return ""


def _of_job(job: Job, wall: float, called: Namer) -> Iterator[Alert]:
    yield from _lost(job, called)
    if "stalled" in job.flags:
        stalls = [stall for stall in job.stalls if stall.recovered_at is None]
        where = ""
        if stalls:
            stall = stalls[0]
            others = len({each.node for each in stalls}) - 1
            more = f" and {count_of(others, 'other node')}" if others else ""
            since = span_of_time(wall - stall.at)
            word = "rank" if len(stall.ranks) == 1 else "ranks"
            place = called(job.cluster, stall.node)
            where = f": {word} {ranges(stall.ranks)} on {place}{more} for {since}"
        yield Alert("bad", "◇", f"{job.name} stalled{where}", job=job.id, cluster=job.cluster)
    yield from _crashes(job, wall)
    for text, glyph in _troubles(job, wall, called):
        yield Alert("warn", glyph, f"{job.name} {text}", job=job.id, cluster=job.cluster)
    if "straggler" in job.flags:
        for node in job.nodes:
            slow = [rank.rank for rank in node.ranks if rank.straggler]
            if slow:
                word = "rank" if len(slow) == 1 else "ranks"
                yield Alert(
                    "warn",
                    "▲",
                    f"{called(job.cluster, node.name)} {word} {ranges(slow)} of {job.name} slower "
                    "than the others",
                    node=f"{job.cluster}/{node.name}",
                    job=job.id,
                    cluster=job.cluster,
                )


def _lost(job: Job, called: Namer) -> Iterator[Alert]:
    lost = [node.name for node in job.nodes if node.state is NodeState.LOST]
    if lost:
        glyph, tone = NODE[NodeState.LOST]
        text = f"{job.name} lost {_places(job, lost, called)}"
        node = f"{job.cluster}/{lost[0]}"
        yield Alert(tone, glyph, text, node=node, job=job.id, cluster=job.cluster, topic=LOST)


def _crashes(job: Job, wall: float) -> Iterator[Alert]:
    """Generations that failed, one soon after the other."""
    failed = [
        each
        for each in itertools.takewhile(
            lambda past: past.ended_at is None or wall - past.ended_at <= LOOP_SPAN,
            reversed(job.history),
        )
        if each.cause is not None and each.ended_at is not None and each.reason != "operator"
    ]
    if len(failed) >= LOOP:
        newest, oldest = failed[0], failed[-1]
        span = span_of_time(wall - (oldest.ended_at or wall))
        why = cause_line(newest.cause) if newest.cause is not None else ""
        text = f"{job.name} crashes again and again: {len(failed)} times in {span}, now {why}"
        yield Alert("bad", "✖", text, job=job.id, cluster=job.cluster, topic="crashes")


def _troubles(job: Job, wall: float, called: Namer) -> Iterator[tuple[str, str]]:
    """What else somebody should know of a job that runs: words and the glyph of the flag."""
    newest = job.history[-1] if job.history else None
    if "degraded" in job.flags:
        fewer = newest is not None and newest.nodes < len(job.nodes)
        part = f": runs on {newest.nodes} of {len(job.nodes)} nodes" if newest and fewer else ""
        yield f"degraded{part}", "▽"
    if "unknown_nodes" in job.flags:
        unknown = [
            node.name
            for node in job.nodes
            if node.state is NodeState.MISSING
            or (node.link.state is LinkState.UNREACHABLE and not node.state.ended)
        ]
        where = f" on {_places(job, unknown, called)}" if unknown else " on some nodes"
        yield f"is out of sight{where}", "?"
    ended = None if newest is None else newest.ended_at
    overdue = ended is not None and wall - ended > OVERDUE and "cancelling" not in job.flags
    if "waiting" in job.flags or overdue:
        since = "" if ended is None else f" for {span_of_time(wall - ended)}"
        yield f"waits for a new attempt{since}: no rank runs", "◌"


def _places(job: Job, names: Sequence[str], called: Namer) -> str:
    """ "gpu02 and 3 other nodes"."""
    others = f" and {count_of(len(names) - 1, 'other node')}" if len(names) > 1 else ""
    return called(job.cluster, names[0]) + others


def _idle(job: Job, nodes: dict[tuple[str, str], Node], called: Namer) -> Iterator[Alert]:
    """GPUs of a job that idle while its others are busy."""
    members: list[tuple[Node, Gpu, float]] = []
    for place in job.nodes:
        node = nodes.get((job.cluster, place.name))
        if node is not None and node.link.state is LinkState.ONLINE:
            members += (
                (node, gpu, gpu.utilization)
                for gpu in _gpus_of(job, node, len(place.ranks))
                if gpu.utilization is not None
            )
    if len(members) < 3:
        return
    usual = median([utilization for _, _, utilization in members])
    if usual < BUSY:
        return
    for node, gpu, utilization in members:
        if utilization <= IDLE:
            yield Alert(
                "warn",
                "▲",
                f"{called(node.cluster, node.name)} gpu{gpu.index} util {utilization:.0f}% "
                f"while peers {usual:.0f}%",
                node=node_key(node),
                job=job.id,
                cluster=job.cluster,
                brief=True,
                topic=f"gpu{gpu.index}",
            )


def _gpus_of(job: Job, node: Node, ranks: int) -> Sequence[Gpu]:
    """The GPUs that a job uses on a node, as far as that can be told."""
    used = [gpu for gpu in node.gpus if any(each.job == job.id for each in gpu.processes)]
    if used or ranks != len(node.gpus):
        return used
    return node.gpus


class Watch:
    """Lets brief alerts through once they last, and says for how long they have."""

    def __init__(self) -> None:
        self._since: dict[tuple[str, str, str], float] = {}

    def look(self, found: Sequence[Alert], now: float) -> list[Alert]:
        """What is to be shown of these. `now`: seconds, of a clock that never goes back."""
        before = self._since
        self._since = {each.key: before.get(each.key, now) for each in found if each.brief}
        shown = []
        for each in found:
            if each.brief:
                lasted = now - self._since[each.key]
                if lasted < PATIENCE:
                    continue
                each = each._replace(text=f"{each.text} ({span_of_time(lasted)})")
            shown.append(each)
        return shown
