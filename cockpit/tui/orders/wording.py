"""What a dangerous order will do, in words, before it is given. Pure; the dialogs show it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from cockpit.model.types import Job, JobNode, LinkState, RankState
from cockpit.text import count_of
from cockpit.tui.orders.restarting import named

COMMAND = "command"
"""The kind of jobs that have no ranks, but one process on each node."""
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


def _going(job: Job) -> list[JobNode]:
    return [node for node in job.nodes if not node.state.ended]


def _amount(jobs: Sequence[Job]) -> str:
    """What runs of some jobs: "4 ranks on 2 nodes", "2 commands on 1 node"."""
    going = [(job, node) for job in jobs for node in _going(job)]
    commands = sum(1 for job, _ in going if job.kind == COMMAND)
    ranks = sum(len(_running(node)) for job, node in going if job.kind != COMMAND)
    counts = [count_of(commands, "command")] if commands else []
    if ranks or not commands:
        counts.insert(0, count_of(ranks, "rank"))
    places = {(job.cluster, node.name) for job, node in going}
    return f"{' and '.join(counts)} on {count_of(len(places), 'node')}"


def _any_away(jobs: Sequence[Job]) -> bool:
    return any(n.link.state is not LinkState.ONLINE for job in jobs for n in _going(job))


def _later(jobs: Sequence[Job]) -> tuple[str, ...]:
    """What a cancel does about nodes that are out of reach."""
    if not _any_away(jobs):
        return ()
    return ("A node out of reach is told as soon as it is back, while this screen is open.",)


def follow_up(awaited: Sequence[str], lost: Sequence[str] = ()) -> str:
    """What becomes of the nodes that a cancel could not ask. `lost`: those without a link, which
    nobody waits for."""
    said = []
    if awaited:
        have, each = ("has", "it") if len(awaited) == 1 else ("have", "each of them")
        said.append(
            f"{named(awaited)} {have} not got the order and may run on. As long as this screen is "
            f"open, {each} is told as soon as it is back; Events says so."
        )
    if lost:
        have, it = ("has", "it is") if len(lost) == 1 else ("have", "they are")
        said.append(
            f"{named(lost)} {have} not got the order and cannot be told from here: {it} not in the "
            "profiles."
        )
    return "\n".join(said)


def _named(job: Job) -> list[str]:
    rows = []
    nodes = _going(job)
    for node in nodes[:SHOWN_NODES]:
        ranks = _running(node)
        row = f"{node.name}: {count_of(len(ranks), 'rank')}"
        if ranks:
            row += f" ({numbers(ranks)})"
        if job.kind == COMMAND:
            row = f"{node.name}: 1 command"
        if node.link.state is not LinkState.ONLINE:
            row += f" — {node.link.state.value}: runs on until it is reached"
        rows.append("  " + row)
    rest = nodes[SHOWN_NODES:]
    if rest:
        away = sum(1 for node in rest if node.link.state is not LinkState.ONLINE)
        row = f"  and {count_of(len(rest), 'more node')}"
        rows.append(row + (f", {away} of them not online" if away else ""))
    return rows


def _left_out(ended: Sequence[Job]) -> tuple[str, ...]:
    """That marked jobs are not part of it, and which."""
    if not ended:
        return ()
    has = "it has" if len(ended) == 1 else "they have"
    return (f"Left out, as {has} ended already: {named([job.name for job in ended])}",)


def cancel(job: Job, grace: float | None = None, ended: Sequence[Job] = ()) -> Order:
    """Cancel a job that has not ended. `ended`: jobs that were chosen with it and have."""
    return Order(
        f"Cancel {job.name}?",
        (
            f"{_amount([job])} will be ended:",
            *_named(job),
            *_left_out(ended),
            *_later([job]),
            _sequence(grace),
        ),
        "Cancel job",
        job.name if len(job.nodes) > 1 else "",
    )


def restart_ranks(job: Job) -> Order:
    """Restart the ranks of a running job in place."""
    return Order(
        f"Restart the ranks of {job.name}?",
        (
            f"{_amount([job])} will be ended:",
            *_named(job),
            f"A new generation of attempt {job.attempt} then starts in their place. It costs none "
            "of the job's restarts.",
        ),
        "Restart ranks",
        job.name if len(job.nodes) > 1 else "",
    )


def restart_each(jobs: Sequence[Job]) -> Order:
    """Restart the ranks of several running jobs in place."""
    many = count_of(len(jobs), "job")
    return Order(
        f"Restart the ranks of {many}?",
        (
            f"{_amount(jobs)} will be ended:",
            *map(_each, jobs),
            "In their place a new generation of the attempt of each then starts. It costs none of "
            "the jobs' restarts.",
        ),
        "Restart ranks",
        many,
        "how many they are",
    )


def _each(job: Job) -> str:
    return f"  {job.name} ({job.id}): {_amount([job])}{_where(_going(job))}"


def cancel_many(
    jobs: Sequence[Job], grace: float | None = None, ended: Sequence[Job] = ()
) -> Order:
    """Cancel several jobs that have not ended. `ended`: those that were chosen and have."""
    many = count_of(len(jobs), "job")
    return Order(
        f"Cancel {many}?",
        (
            f"{_amount(jobs)} will be ended:",
            *map(_each, jobs),
            *_left_out(ended),
            *_later(jobs),
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
    names = [node.name for node in job.nodes]
    following = names if next_nodes is None else list(next_nodes)
    text: list[str] = []
    if checkpoint:
        text.append("Every rank is asked for a checkpoint, and it is waited for.")
    if not job.state.ended:
        text.append(
            f"Attempt {job.attempt} is cancelled{' then' if checkpoint else ' first'}: "
            f"{_amount([job])} will be ended:"
        )
        text.extend(_named(job))
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


def restart_many(jobs: Sequence[Job]) -> Order:
    """Restart several jobs, each on the nodes that it has."""
    going = [job for job in jobs if not job.state.ended]
    ended = [job for job in jobs if job.state.ended]
    text: list[str] = []
    if going:
        text += [f"{_amount(going)} will be ended:", *map(_each, going)]
    if ended:
        names = named([job.name for job in ended])
        text.append(f"Nothing has to be ended of {names}: over already.")
    text.append("The next attempt of each then starts on the same nodes, same code and plan.")
    many = count_of(len(jobs), "job")
    return Order(f"Restart {many}?", tuple(text), f"Restart {many}", many, "how many they are")
