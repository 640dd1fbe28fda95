"""A job's metrics: the figures of its ranks put together, each with its history.

Called by `jobs` for a snapshot. The lowest rank that reports a metric speaks for the job, as in
most training scripts; how far the others are apart is told by the least and the highest value.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from cockpit.model.beats import STEP, STEP_TIME, BeatsFold
from cockpit.model.history import POINTS, evenly
from cockpit.model.medians import median
from cockpit.model.types import Job, JobNode, Metric, Rank, Stage

MAX_METRICS = 64


def job_metrics(
    nodes: Iterable[JobNode], folds: Iterable[tuple[str, BeatsFold]], skews: Mapping[str, float]
) -> tuple[Metric, ...]:
    """The job's own metrics in the order of their appearance, then step and step_time.

    `nodes` are those of the newest attempt; `folds` all of all attempts, by name of the node.
    What no rank reports at the moment stays as it was reported last.
    """
    folds = list(folds)
    newest: dict[str, list[tuple[int, float]]] = {}
    for node in nodes:
        for rank in node.ranks:
            for name, value in _figures(rank):
                newest.setdefault(name, []).append((rank.rank, value))
    names = dict.fromkeys(newest)
    for _, fold in folds:
        names.update(dict.fromkeys(fold.speakers))
    own = [name for name in names if name not in (STEP, STEP_TIME)][:MAX_METRICS]
    found = []
    for name in (*own, STEP, STEP_TIME):
        if name in names:
            metric = _metric(name, newest.get(name, []), folds, skews)
            if metric is not None:
                found.append(metric)
    return tuple(found)


def step_time_of(job: Job) -> float | None:
    """Seconds of a step, the median over the ranks that train; None where nothing tells."""
    times = [
        rank.step_time
        for node in job.nodes
        for rank in node.ranks
        if rank.step_time is not None and rank.stage is Stage.TRAINING
    ]
    return median(times) if times else None


def _figures(rank: Rank) -> Iterable[tuple[str, float]]:
    yield from rank.metrics.items()
    # A metric of the user's own by that name beats ours.
    if rank.step is not None and STEP not in rank.metrics:
        yield STEP, float(rank.step)
    if rank.step_time is not None and STEP_TIME not in rank.metrics:
        yield STEP_TIME, rank.step_time


def _metric(
    name: str,
    newest: list[tuple[int, float]],
    folds: list[tuple[str, BeatsFold]],
    skews: Mapping[str, float],
) -> Metric | None:
    if newest:
        speaker, value = min(newest)
    else:
        speaker = min(fold.speakers[name] for _, fold in folds if name in fold.speakers)
        value = 0.0
    points: list[tuple[float, float]] = []
    for node, fold in folds:
        history = fold.histories.get((speaker, name))
        if history is not None:
            skew = skews.get(node, 0.0)
            points += [(at - skew, figure) for at, figure in history.points()]
    points.sort()
    if not newest:
        if not points:
            return None
        value = points[-1][1]
    values = [figure for _, figure in newest] or [value]
    numbers = [figure for figure in values if not math.isnan(figure)] or [math.nan]
    return Metric(
        name=name,
        rank=speaker,
        value=value,
        low=min(numbers),
        high=max(numbers),
        history=tuple(evenly(points, POINTS)),
    )
