"""What a dangerous order will do, in words, before it is given. Pure; the dialogs show it."""

from __future__ import annotations

import dataclasses

from cockpit.model.types import Job, JobNode, LinkState, RankState
from cockpit.text import count_of

SHOWN_NODES = 4
"""Nodes that are named on a line of their own."""


@dataclasses.dataclass(frozen=True)
class Order:
    """`typed`: what must be typed before it can be given, "" when a button is enough."""

    title: str
    text: tuple[str, ...]
    button: str
    typed: str


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


def cancel(job: Job) -> Order:
    """Cancel a job that has not ended."""
    nodes = [node for node in job.nodes if not node.state.ended]
    ranks = sum(len(_running(node)) for node in nodes)
    return Order(
        f"Cancel {job.name}?",
        (
            f"{count_of(ranks, 'rank')} on {count_of(len(nodes), 'node')} will be ended:",
            *_named(nodes),
            "One SIGTERM to each launcher process; what is left after the grace period is "
            "killed. Then every node is searched until nothing is left.",
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


def restart(job: Job) -> Order:
    """Restart a job, whether it runs or has ended."""
    nodes = [node for node in job.nodes if not node.state.ended]
    text: list[str] = []
    if job.state.ended:
        nodes = list(job.nodes)
    else:
        ranks = sum(len(_running(node)) for node in nodes)
        text.append(
            f"Attempt {job.attempt} is cancelled first: {count_of(ranks, 'rank')} on "
            f"{count_of(len(nodes), 'node')} will be ended:"
        )
        text.extend(_named(nodes))
    text.append(
        f"Attempt {job.attempt + 1} then starts on {count_of(len(job.nodes), 'node')} "
        "with the same code and plan."
    )
    if job.state.ended:
        text.extend(f"  {node.name}" for node in nodes[:SHOWN_NODES])
        if len(nodes) > SHOWN_NODES:
            text.append(f"  and {count_of(len(nodes) - SHOWN_NODES, 'more node')}")
    return Order(
        f"Restart {job.name}?",
        tuple(text),
        "Restart job",
        job.name if len(job.nodes) > 1 else "",
    )
