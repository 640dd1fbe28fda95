"""How a simulated job came to be as it is: attempts, generations, what it was told to do. Pure.

Times are seconds since the opening of the fleet; what was before is negative.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import msgspec

from cockpit.model.types import Cause, Generation, JobState
from cockpit.tui.simulated.story import DIP, Failure, Story

START = 3.0
"""Seconds from the start of an attempt to its first generation."""
OPERATOR = "operator"


@dataclasses.dataclass(frozen=True)
class Spec:
    """A job as it was asked for. `nodes`: indices of the fleet, by node rank. `level`: utilisation
    of its GPUs in percent; `memory` of each, GiB.
    """

    id: str
    name: str
    command: tuple[str, ...]
    nodes: tuple[int, ...]
    created: float
    level: int = 94
    memory: int = 71
    step_time: float = 1.02
    launcher: str = "torchrun"
    max_restarts: int = 3
    failing: bool = False
    """It fails now and then, as the story has it."""
    stalled: float | None = None
    """When its ranks fell silent."""
    waits: float | None = None
    """Since when it waits for a node that is out of reach."""
    ended: float | None = None
    end: JobState | None = None
    cause: Cause | None = None


@dataclasses.dataclass(frozen=True)
class Turn:
    """A generation came to an end."""

    at: float
    reason: str
    cause: Cause | None = None


@dataclasses.dataclass(frozen=True)
class Moment:
    """Where a job stands. `since`: start of the newest generation, None while there is none."""

    attempt: int
    nodes: tuple[int, ...]
    history: tuple[Generation, ...]
    generation: int
    since: float | None
    running: bool
    """Its ranks run."""
    dips: float
    """Seconds that it has lost so far."""
    restarts: int


class Plot:
    """What one job has gone through; `attempts` and `asked` grow with what people order."""

    def __init__(self, spec: Spec, story: Story, gpus: int, wall: float) -> None:
        self.spec = spec
        self.attempts: list[tuple[float, tuple[int, ...]]] = [(spec.created, spec.nodes)]
        self.asked: list[float] = []
        """When its ranks were restarted in place."""
        self.ended = spec.ended
        self.end = spec.end
        self.cause = spec.cause
        self._story = story
        self._gpus = gpus
        self._wall = wall

    @property
    def troubled(self) -> bool:
        """Nobody has restarted it since its trouble began."""
        return len(self.attempts) == 1 and not self.asked

    def restart(self, now: float, nodes: tuple[int, ...]) -> None:
        if self.ended is None:
            self.finish(now, JobState.CANCELLED, None)
        self.attempts.append((now, nodes))
        self.ended = self.end = self.cause = None

    def finish(self, now: float, state: JobState, cause: Cause | None) -> None:
        self.ended, self.end, self.cause = now, state, cause

    def at(self, now: float) -> Moment:
        """Everything up to `now`."""
        history: list[Generation] = []
        last = len(self.attempts) - 1
        moment: Moment | None = None
        lost = 0.0
        for number, (began, nodes) in enumerate(self.attempts):
            until = self.attempts[number + 1][0] if number < last else self.ended
            turns = self._turns(began, now if until is None else min(now, until))
            generations, gap = self._generations(number, nodes, began, turns, until, now)
            history += generations
            lost += gap
            newest = generations[-1] if generations else None
            running = newest is not None and newest.ended_at is None
            moment = Moment(
                attempt=number,
                nodes=nodes,
                history=tuple(history),
                generation=newest.generation if newest else 0,
                since=newest.started_at - self._wall if newest else None,
                running=running,
                dips=lost,
                restarts=number + max(len(generations) - 1, 0),
            )
        assert moment is not None
        return moment

    def _turns(self, began: float, until: float) -> list[Turn]:
        turns = [Turn(at, OPERATOR) for at in self.asked if began < at <= until]
        for failure in self._failures(until):
            if began < failure.at:
                turns.append(Turn(failure.at, "failed", self._told(failure)))
        if self.spec.waits is not None and began < self.spec.waits <= until and self.troubled:
            turns.append(Turn(self.spec.waits, "membership"))
        return sorted(turns, key=lambda turn: turn.at)

    def _failures(self, until: float) -> Sequence[Failure]:
        return self._story.failures(until) if self.spec.failing else ()

    def _told(self, failure: Failure) -> Cause:
        """The cause with its place in this job."""
        place = failure.place % len(self.spec.nodes)
        return msgspec.structs.replace(
            failure.cause,
            node=self._story.name(self.spec.nodes[place]),
            rank=place * self._gpus + failure.place % self._gpus,
            at=self._wall + failure.at,
        )

    def _generations(
        self,
        attempt: int,
        nodes: tuple[int, ...],
        began: float,
        turns: Sequence[Turn],
        until: float | None,
        now: float,
    ) -> tuple[list[Generation], float]:
        found: list[Generation] = []
        lost, start = START, began + START
        over = until is not None and now >= until
        for number, turn in enumerate([*turns, None]):
            if start > now or (until is not None and start > until):
                break
            end, reason, cause = None, "", None
            if turn is not None:
                end, reason, cause = turn.at, turn.reason, turn.cause
            elif over and until is not None:
                end, reason = until, self.end.value if self.end else "cancelled"
                cause = self.cause
            found.append(
                Generation(
                    attempt=attempt,
                    generation=number,
                    started_at=self._wall + start,
                    ended_at=None if end is None else self._wall + end,
                    world_size=len(nodes) * self._gpus,
                    nodes=len(nodes),
                    cause=None
                    if cause is None
                    else msgspec.structs.replace(cause, generation=number),
                    reason=reason,
                    by="demo" if reason == OPERATOR else "",
                    counted=reason == "failed" and turn is not None,
                )
            )
            if turn is not None:
                waits = turn.reason == "membership"
                start = float("inf") if waits else turn.at + DIP
                lost += min(max(now - turn.at, 0.0), DIP)
        return found, lost
