"""What is wrong right now, worst first, in one line each. Pure; the Fleet view draws it.

An alert ends by itself when its reason does. What happened and is over is an event, not an alert.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from cockpit.model.medians import median
from cockpit.model.types import Gpu, Job, LinkState, Node
from cockpit.text import count_of, ranges
from cockpit.tui.draw.words import span_of_time
from cockpit.tui.fleet.condition import Condition, condition_of
from cockpit.tui.frame import Frame, node_key

IDLE, BUSY = 10.0, 60.0
"""Utilization in percent of a GPU that idles while its peers' median is at least BUSY."""
PATIENCE = 10.0
"""Seconds for which a GPU must idle before it is worth a word: one sample says little."""


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


def alerts(frame: Frame) -> list[Alert]:
    """Everything that is wrong, worst first."""
    nodes = {(node.cluster, node.name): node for node in frame.fleet.nodes}
    running = [job for job in frame.fleet.jobs if not job.state.ended and job.seen_at is None]
    found = [*_of_nodes(frame), *(each for job in running for each in _of_job(job, frame.wall))]
    for job in running:
        found += _idle(job, nodes)
    order = {"bad": 0, "warn": 1}
    return sorted(found, key=lambda alert: order.get(alert.severity, len(order)))


def _of_nodes(frame: Frame) -> Iterator[Alert]:
    for node in frame.fleet.nodes:
        age = None if node.sampled_at is None else max(int(frame.mono - node.sampled_at), 0)
        condition = condition_of(node, age)
        text = _trouble(node, condition, age, frame.wall)
        if text:
            severity = condition.tone
            yield Alert(
                severity,
                condition.glyph,
                f"{node.name} {text}",
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


def _of_job(job: Job, wall: float) -> Iterator[Alert]:
    if "stalled" in job.flags:
        stalls = [stall for stall in job.stalls if stall.recovered_at is None]
        where = ""
        if stalls:
            stall = stalls[0]
            others = len({each.node for each in stalls}) - 1
            more = f" and {count_of(others, 'other node')}" if others else ""
            since = span_of_time(wall - stall.at)
            word = "rank" if len(stall.ranks) == 1 else "ranks"
            where = f": {word} {ranges(stall.ranks)} on {stall.node}{more} for {since}"
        yield Alert("bad", "◇", f"{job.name} stalled{where}", job=job.id, cluster=job.cluster)
    if "straggler" in job.flags:
        for node in job.nodes:
            slow = [rank.rank for rank in node.ranks if rank.straggler]
            if slow:
                word = "rank" if len(slow) == 1 else "ranks"
                yield Alert(
                    "warn",
                    "▲",
                    f"{node.name} {word} {ranges(slow)} of {job.name} slower than the others",
                    node=f"{job.cluster}/{node.name}",
                    job=job.id,
                    cluster=job.cluster,
                )


def _idle(job: Job, nodes: dict[tuple[str, str], Node]) -> Iterator[Alert]:
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
                f"{node.name} gpu{gpu.index} util {utilization:.0f}% while peers {usual:.0f}%",
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
