"""The GPU utilisation of the last ten minutes, of every job and of the fleet. Pure; bounded.

The app feeds it frames, whatever view is on the screen; the views ask for a row of values to draw.
A stretch of time in which no node had fresh figures is None, and is drawn as a gap.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Sequence

from cockpit.model.types import Node
from cockpit.tui.draw.words import STALE_AFTER
from cockpit.tui.frame import Frame

SPAN = 600.0
"""Seconds that are remembered."""
POINTS = 60
EVERY = SPAN / POINTS


class Trends:
    """Owned by the app."""

    def __init__(self) -> None:
        self._series: dict[str, deque[float | None]] = {}
        """By job id."""
        self._fleet: deque[dict[str, tuple[float, int]]] = deque(maxlen=POINTS)
        """For each point, by cluster, the sum of the levels that were known and their number."""
        self._due: float | None = None

    def observe(self, frame: Frame) -> bool:
        """Take a point when one is due, every ten seconds; True when it did."""
        if not frame.fleet.nodes:
            return False
        if self._due is None:
            self._due = frame.mono
        if frame.mono < self._due:
            return False
        missed = int((frame.mono - self._due) / EVERY)
        self._due += EVERY * (missed + 1)
        levels = {
            (node.cluster, node.name): _level(node)
            for node in frame.fleet.nodes
            if node.sampled_at is not None and frame.mono - node.sampled_at <= STALE_AFTER
        }
        clusters: dict[str, tuple[float, int]] = {}
        for (cluster, _), value in levels.items():
            if value is not None:
                total, count = clusters.get(cluster, (0.0, 0))
                clusters[cluster] = (total + value, count + 1)
        self._fleet.extend([{}] * min(missed, POINTS))
        self._fleet.append(clusters)
        points = {}
        for job in frame.fleet.jobs:
            if not job.state.ended and job.seen_at is None:
                points[job.id] = _mean(levels.get((job.cluster, n.name)) for n in job.nodes)
        known = {job.id for job in frame.fleet.jobs}
        self._series = {key: each for key, each in self._series.items() if key in known}
        for key, value in points.items():
            series = self._series.setdefault(key, deque(maxlen=POINTS))
            series.extend([None] * min(missed, POINTS))
            series.append(value)
        return True

    def of(self, key: str, width: int) -> Sequence[float | None]:
        """The newest values of a job, 0 to 1, in at most `width` cells: means of all points."""
        return _cells(list(self._series.get(key, ())), width)

    def fleet(self, clusters: Collection[str], width: int) -> Sequence[float | None]:
        """The same of all nodes of these clusters, of every node if none is named."""
        series: list[float | None] = []
        for point in self._fleet:
            known = [each for name, each in point.items() if not clusters or name in clusters]
            count = sum(number for _, number in known)
            series.append(sum(total for total, _ in known) / count if count else None)
        return _cells(series, width)


def _cells(series: list[float | None], width: int) -> Sequence[float | None]:
    if len(series) <= width or width <= 0:
        return series if width > 0 else ()
    size = -(-len(series) // width)
    cells = []
    for stop in range(len(series), 0, -size):
        cells.append(_mean(series[max(stop - size, 0) : stop]))
    return cells[::-1]


def _level(node: Node) -> float | None:
    percents = [gpu.utilization for gpu in node.gpus if gpu.utilization is not None]
    return sum(percents) / len(percents) / 100 if percents else None


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
