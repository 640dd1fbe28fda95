"""What a dangerous order will do, in words, before it is given. Pure; the dialogs show it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from cockpit.model.types import Job, JobNode, LinkState, RankState
from cockpit.text import count_of
from cockpit.tui.orders.restarting import named

SHOWN_NODES = 4
"""Nodes that are named on a line of their own."""


@dataclasses.dataclass(frozen=True)
class Order:
    """`typed`: what must be typed before it can be given, "" when a button is enough;
    `typed_name` is what that is."""

    title: str
    text: tuple[str, ...]
    button: str
    typed: str
    typed_name: str = "the name of the job"


def _sequence(grace: float | None) -> str:
    """What a cancel does, in order. `grace`: seconds, None where it is not known here."""
    after = "the grace period" if grace is None else f"{grace:g} s of grace"
    return (
        f"One SIGTERM to each launcher process; what is left after {after} is killed. "
        "Then every node is searched until nothing is left."
    )


def numbers(values: list[int]) -> str:
    """ "0-3", "0-3, 6"."""
    parts: list[list[int]] = []
    for value in sorted(values):
        if parts and value == parts[-1][-1] + 1:
            parts[-1].append(value)
        else:
            parts.append([value])
    return ", ".join(str(p[0]) if len(p) == 1 else f"{p[0]}-{p[-1]}" for p in parts)


def _running(node: JobNode) -> list[int]:
    return [rank.rank for rank in node.ranks if rank.state is RankState.RUNNING]


def _named(nodes: list[JobNode]) -> list[str]:
    rows = []
    for node in nodes[:SHOWN_NODES]:
        ranks = _running(node)
        row = f"{node.name}: {count_of(len(ranks), 'rank')}"
        if ranks:
            row += f" ({numbers(ranks)})"
        if node.link.state is not LinkState.ONLINE:
            row += f" — {node.link.state.value}: runs on until it is reached"
        rows.append("  " + row)
    rest = nodes[SHOWN_NODES:]
    if rest:
        away = sum(1 for node in rest if node.link.state is not LinkState.ONLINE)
        row = f"  and {count_of(len(rest), 'more node')}"
        rows.append(row + (f", {away} of them not online" if away else ""))
    return rows


def cancel(job: Job, grace: float | None = None) -> Order:
    """Cancel a job that has not ended."""
    nodes = [node for node in job.nodes if not node.state.ended]
    ranks = sum(len(_running(node)) for node in nodes)
    return Order(
        f"Cancel {job.name}?",
        (
            f"{count_of(ranks, 'rank')} on {count_of(len(nodes), 'node')} will be ended:",
            *_named(nodes),
            _sequence(grace),
        ),
        "Cancel job",
        job.name if len(job.nodes) > 1 else "",
    )


def restart_ranks(job: Job) -> Order:
    """Restart the ranks of a running job in place."""
    nodes = [node for node in job.nodes if not node.state.ended]
    count = sum(len(_running(node)) for node in nodes)
    return Order(
        f"Restart the ranks of {job.name}?",
        (
            f"{count_of(count, 'rank')} on {count_of(len(nodes), 'node')} will be ended:",
            *_named(nodes),
            f"A new generation of attempt {job.attempt} then starts in their place. It costs none "
            "of the job's restarts.",
        ),
        "Restart ranks",
        job.name if len(job.nodes) > 1 else "",
    )


def cancel_many(jobs: Sequence[Job], grace: float | None = None) -> Order:
    """Cancel several jobs that have not ended."""
    text = []
    ranks = places = 0
    for job in jobs:
        nodes = [node for node in job.nodes if not node.state.ended]
        count = sum(len(_running(node)) for node in nodes)
        ranks += count
        places += len(nodes)
        text.append(
            f"  {job.name} ({job.id}): {count_of(count, 'rank')} on {count_of(len(nodes), 'node')}"
            + _where(nodes)
        )
    many = count_of(len(jobs), "job")
    return Order(
        f"Cancel {many}?",
        (
            f"{count_of(ranks, 'rank')} on {count_of(places, 'node')} will be ended:",
            *text,
            _sequence(grace),
        ),
        f"Cancel {many}",
        many,
        "how many they are",
    )


def _where(nodes: list[JobNode]) -> str:
    names = [node.name for node in nodes]
    return f" ({named(names)})" if names else ""


def restart(
    job: Job, next_nodes: Sequence[str] | None = None, *, checkpoint: bool = False
) -> Order:
    """Restart a job, whether it runs or has ended. `next_nodes`: those of the next attempt, the
    same as now if not given; `checkpoint`: the ranks are asked for one first."""
    nodes = [node for node in job.nodes if not node.state.ended]
    names = [node.name for node in job.nodes]
    following = names if next_nodes is None else list(next_nodes)
    text: list[str] = []
    if checkpoint:
        text.append("Every rank is asked for a checkpoint, and it is waited for.")
    if not job.state.ended:
        ranks = sum(len(_running(node)) for node in nodes)
        text.append(
            f"Attempt {job.attempt} is cancelled{' then' if checkpoint else ' first'}: "
            f"{count_of(ranks, 'rank')} on {count_of(len(nodes), 'node')} will be ended:"
        )
        text.extend(_named(nodes))
    text.append(
        f"Attempt {job.attempt + 1} then starts on {count_of(len(following), 'node')} "
        "with the same code and plan."
    )
    if job.state.ended or following != names:
        text.append(f"  {named(following)}")
    gone = [name for name in names if name not in following]
    come = [name for name in following if name not in names]
    if gone:
        text.append(f"  without {named(gone)}")
    if come:
        text.append(f"  new: {named(come)}")
    return Order(
        f"Restart {job.name}?",
        tuple(text),
        "Restart job",
        job.name if len({*names, *following}) > 1 else "",
    )
