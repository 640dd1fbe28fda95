"""All events of a recording in order of time, and how far a replay has come. Pure."""

from __future__ import annotations

import contextlib
from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from cockpit.model.jobs import JobModel
from cockpit.model.types import Link, LinkState
from cockpit.tui.replay.recording import STAMPS, Journal, Recording

STEP = 5_000
"""Moments that are fed at once, so that a leap over a day does not hold up the screen."""


class Moment(NamedTuple):
    """One line of a journal. `at` never goes back within a journal."""

    at: float
    journal: int
    start: int
    stop: int


def moments(journals: Sequence[Journal]) -> list[Moment]:
    """Every line of all journals by time; those that are no events come with the one before."""
    found: list[Moment] = []
    for number, journal in enumerate(journals):
        at, start = float("-inf"), 0
        while start < len(journal.data):
            end = journal.data.find(b"\n", start)
            stop = len(journal.data) if end < 0 else end + 1
            # A line that is torn or empty is for the model to count.
            with contextlib.suppress(msgspec.MsgspecError, ValueError, RecursionError):
                at = max(at, STAMPS.decode(journal.data[start:stop].strip()).at)
            found.append(Moment(at, number, start, stop))
            start = stop
    found.sort(key=lambda moment: (moment.at, moment.journal, moment.start))
    return found


class Timeline:
    """A recording that is told to a JobModel, up to a moment. `began` and `ended`: wall clock."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._moments = moments(recording.journals)
        told = [moment.at for moment in self._moments if moment.at > float("-inf")]
        self.began, self.ended = min(told, default=0.0), max(told, default=0.0)
        self._notable = sorted(
            {
                moment.at
                for moment in self._moments
                if recording.journals[moment.journal].name != "beats"
            }
        )
        self._next = 0
        self.model = self._fresh()

    def _fresh(self) -> JobModel:
        model = JobModel(self._recording.job)
        for plan in self._recording.plans:
            model.plan(plan)
            for member in plan.members:
                model.link(member.name, Link(state=LinkState.ONLINE, since=self.began))
        for journal in self._recording.journals:
            if journal.name == "beats":
                model.beats_from(journal.attempt, journal.node_rank, 0)
        return model

    def rewind(self) -> None:
        """Nothing was told yet."""
        self._next = 0
        self.model = self._fresh()

    def tell(self, until: float) -> None:
        """Feed what was written up to then, STEP lines at most."""
        last = min(self._next + STEP, len(self._moments))
        while self._next < last and self._moments[self._next].at <= until:
            moment = self._moments[self._next]
            journal = self._recording.journals[moment.journal]
            self.model.feed(
                journal.attempt,
                journal.node_rank,
                journal.name,
                moment.start,
                journal.data[moment.start : moment.stop],
            )
            self._next += 1

    def after(self, at: float) -> float | None:
        """When the next thing but beats was told after `at`; None after the last."""
        place = bisect_right(self._notable, at)
        return self._notable[place] if place < len(self._notable) else None
