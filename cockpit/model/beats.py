"""What a node's watcher says of its ranks' beats: digests folded into the newest word per rank.

`BeatsFold` belongs to one node and attempt and depends on its journal of beats only; `watched`
puts what it holds into the snapshot of a rank. Nothing here decides how a job stands: a watcher
that is silent or out of reach makes ranks unknown, never healthy, and never failed.
"""

from __future__ import annotations

import math
from collections import deque

import msgspec

from cockpit.model import events as ev
from cockpit.model.history import History
from cockpit.model.types import Link, LinkState, Rank, RankState, Stage

SILENCE = 15.0
"""Seconds without a digest after which nothing is known of the beats any more. A watcher writes
one at least every 5 s; two of them may be late on a busy machine."""
PERSISTENCE = 3
"""Digests in a row over which a rank's own time is judged, see `stragglers`."""

STEP = "step"
STEP_TIME = "step_time"
"""Names under which the figures of every rank have their history, beside the job's own metrics."""

_GENERATIONS = 3
"""Generations of which the newest beats are kept: the launcher's journal may be read later."""
_HISTORIES = 4096
_METRICS = 64
_LONGEST_NAME = 64

_NOT_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
"""How a digest says what JSON has no numbers for."""

_STAGES = {
    "none": Stage.NONE,
    "starting": Stage.STARTING,
    "training": Stage.TRAINING,
    "silent": Stage.SILENT,
    "ended": Stage.ENDED,
}


class Seen(msgspec.Struct):
    """The newest that was said of one rank in one generation. `at` is the node's wall clock."""

    beat: ev.RankBeat
    at: float
    own: deque[float]
    """The newest own times, at most PERSISTENCE."""


class BeatsFold:
    """State of `beats.jsonl`."""

    def __init__(self) -> None:
        self.revision = 0
        self.newest_at: float | None = None
        """Node's wall clock at the newest digest; None without any."""
        self.histories: dict[tuple[int, str], History] = {}
        """(rank, name of the metric) -> its values."""
        self.speakers: dict[str, int] = {}
        """Name of a metric -> the lowest rank that ever reported it."""
        self._generations: dict[int, dict[int, Seen]] = {}

    def apply(self, digest: ev.Beats) -> None:
        self.revision += 1
        self.newest_at = digest.at
        ranks = self._generations.setdefault(digest.generation, {})
        if len(self._generations) > _GENERATIONS:
            del self._generations[min(self._generations)]
        for beat in digest.ranks:
            seen = ranks.get(beat.local_rank)
            if seen is None:
                seen = ranks[beat.local_rank] = Seen(beat, digest.at, deque(maxlen=PERSISTENCE))
            seen.beat, seen.at = beat, digest.at
            if beat.own is not None:
                seen.own.append(beat.own)
            self._remember(beat, digest.at)

    def seen(self, generation: int, local_rank: int) -> Seen | None:
        """The newest word on a rank in that generation, None where there is none."""
        return self._generations.get(generation, {}).get(local_rank)

    def _remember(self, beat: ev.RankBeat, at: float) -> None:
        figures = metrics_of(beat)
        # A metric of the user's own by such a name beats ours.
        if beat.step is not None:
            figures.setdefault(STEP, float(beat.step))
        if beat.interval is not None:
            figures.setdefault(STEP_TIME, beat.interval)
        for name, value in figures.items():
            self._add(beat.rank, name, at, value)

    def _add(self, rank: int, name: str, at: float, value: float) -> None:
        history = self.histories.get((rank, name))
        if history is None:
            if len(self.histories) >= _HISTORIES:
                return
            history = self.histories[rank, name] = History()
            self.speakers[name] = min(rank, self.speakers.get(name, rank))
        history.add(at, value)


def metrics_of(beat: ev.RankBeat) -> dict[str, float]:
    """The metrics of a rank; NaN and infinity are values, too."""
    found = {}
    for name, said in list(beat.metrics.items())[:_METRICS]:
        value = _NOT_FINITE.get(said) if isinstance(said, str) else said
        if value is not None and len(name) <= _LONGEST_NAME:
            found[name] = value
    return found


def watched(
    rank: Rank, fold: BeatsFold, generation: int, started_at: float, link: Link, now: float
) -> Rank:
    """`rank` with what is known of its beats. `now`: controller's wall clock.

    `started_at`: when the generation started, on the node's wall clock.
    """
    seen = fold.seen(generation, rank.local_rank)
    if rank.state is not RankState.RUNNING:
        return msgspec.structs.replace(rank, stage=Stage.ENDED, **_figures(seen))
    if fold.newest_at is None:
        return rank
    there = now + (link.clock_offset or 0.0)
    blind = link.state is not LinkState.ONLINE
    if seen is None:
        # Until the first digest of a generation, its start is the newest that is known.
        blind = blind or abs(there - max(fold.newest_at, started_at)) > SILENCE
        return msgspec.structs.replace(rank, stage=Stage.UNKNOWN if blind else Stage.STARTING)
    passed = max(there - seen.at, 0.0)
    beat = seen.beat
    # A time far ahead is of a clock that was set back since: nobody knows how old it is.
    if blind or abs(there - seen.at) > SILENCE:
        return msgspec.structs.replace(
            rank, stage=Stage.UNKNOWN, beat_limit=beat.limit, **_figures(seen)
        )
    monitored = beat.ft
    return msgspec.structs.replace(
        rank,
        stage=_STAGES.get(beat.stage, Stage.UNKNOWN),
        beat_age=_older(beat.age, passed),
        beat_limit=beat.limit,
        sections=monitored.sections if monitored else (),
        monitor_age=_older(monitored.age, passed) if monitored else None,
        **_figures(seen),
    )


def _older(age: float | None, passed: float) -> float | None:
    return None if age is None else round(max(age, 0.0) + passed, 3)


def _figures(seen: Seen | None) -> dict[str, object]:
    """What stays true when nobody watches any more."""
    if seen is None:
        return {}
    beat = seen.beat
    nothing = beat.stage == Stage.NONE.value
    return {
        "step": beat.step,
        "beats": None if nothing else beat.beats,
        "step_time": beat.interval,
        "own_time": beat.own,
        "metrics": metrics_of(beat),
        "note": beat.note,
        "checkpoint_step": beat.checkpoint.step if beat.checkpoint is not None else None,
        "checkpoint_pace": beat.checkpoint.pace if beat.checkpoint is not None else None,
    }
