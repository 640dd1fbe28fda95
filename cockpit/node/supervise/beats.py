"""What the heartbeat slots of a generation's ranks say: stages, steps, times, as figures.

The supervisor samples the slots a few times a second; from the differences come step times, and
from these the limit of a rank that was given none. Reads slots and /proc, writes nothing, judges
no stall. A slot counts only if the pid in it is the rank's.
"""

from __future__ import annotations

import collections
import math
import os
from typing import Any

from cockpit.node import processes
from cockpit.node.rank import slot
from cockpit.node.supervise.generations import Generation, RankProcess
from cockpit.node.supervise.stalls import Look
from cockpit.protocol import layout
from cockpit.protocol.records import Watch

NONE, STARTING, TRAINING, SILENT, ENDED = "none", "starting", "training", "silent", "ended"
"""Stages of a rank, see RANKBEAT in `cockpit.protocol.events`."""

LEAST_LIMIT = 120.0
"""Seconds that a rank whose profile gives no limit may always be silent."""
STEPS_LIMIT = 10
"""Such a rank may be silent for this many of its own steps."""
WINDOW = 60
"""Samples over which medians are taken; a sample is one step, or 0.25 s of shorter ones."""

_ALIVE_EVERY = 1.0


class GenerationBeats:
    """The ranks of one generation. `slots`: their folder, "" where nothing beats.

    `note` says why not, for people.
    """

    def __init__(self, generation: Generation, slots: str, watch: Watch, note: str = "") -> None:
        self.number = generation.number
        self.ranks = [RankBeats(rank, generation.number, slots, watch) for rank in generation.ranks]
        self._note = note
        self._ended = False

    def sample(self, now: float) -> None:
        """Read every slot. `now` is monotonic seconds."""
        for rank in self.ranks:
            rank.sample(now)

    def end(self) -> None:
        """The generation is over: from now on no rank of it does anything."""
        self._ended = True

    def stages(self, now: float) -> tuple[str, ...]:
        return tuple(ENDED if self._ended else rank.stage(now) for rank in self.ranks)

    def looks(self, now: float) -> list[Look]:
        """The ranks that can stall."""
        if self._ended:
            return []
        return [look for rank in self.ranks if (look := rank.look(now)) is not None]

    def digest(self, now: float, metrics: dict[int, dict[str, float]]) -> list[dict[str, Any]]:
        """RANKBEATs. `metrics`: local rank -> values found in logs; beats' own names win."""
        return [
            rank.digest(now, stage, metrics.get(rank.local_rank, {}), self._note)
            for rank, stage in zip(self.ranks, self.stages(now))
        ]

    def close(self) -> None:
        for rank in self.ranks:
            rank.close()


class RankBeats:
    """One rank: its newest beat, and what the beats before it teach."""

    def __init__(self, rank: RankProcess, generation: int, slots: str, watch: Watch) -> None:
        self.local_rank = rank.local_rank
        self._rank = rank
        self._watch = watch
        self._own_slot = _Source(
            slots and os.path.join(slots, layout.slot(generation, rank.local_rank))
        )
        self._monitor = _Source(
            slots and os.path.join(slots, layout.monitor_slot(generation, rank.local_rank))
        )
        self._beat: slot.Beat | None = None
        self._monitored: slot.Beat | None = None
        self._gone = False
        self._looked = 0.0
        self._steps: collections.deque[float] = collections.deque(maxlen=WINDOW)
        self._beats: collections.deque[float] = collections.deque(maxlen=WINDOW)
        self._own: collections.deque[float] = collections.deque(maxlen=WINDOW)
        self.slot_path = self._own_slot.path
        """Where its slot lies, "" where it has none."""
        self._paces: collections.deque[float] = collections.deque(maxlen=WINDOW)
        self._paced = 0.0
        """When the step at which it asks for checkpoints was seen to move; 0: not yet."""

    def sample(self, now: float) -> None:
        beat, before = self._own_slot.read(), self._beat
        moved = False
        if beat is not None and beat.pid == self._rank.process.pid:
            self._beat = beat
            if before is not None and beat.asked_step != before.asked_step:
                self._learn_pace(now, beat.asked_step - before.asked_step)
            if before is not None and beat.mono_ns != before.mono_ns:
                self._learn(before, beat)
                moved = True
        if now - self._looked >= _ALIVE_EVERY:
            self._looked = now
            process = self._rank.process
            self._gone = not moved and process.pid > 0 and not processes.is_alive(process)
            self._monitored = self._monitor.read()

    def _learn(self, before: slot.Beat, beat: slot.Beat) -> None:
        seconds = (beat.mono_ns - before.mono_ns) / 1e9
        beats, steps = beat.beats - before.beats, _count(beat) - _count(before)
        if before.mono_ns == 0 or seconds <= 0 or beats <= 0:
            return
        self._beats.append(seconds / beats)
        if steps > 0 and _counts_user_steps(beat) == _counts_user_steps(before):
            self._steps.append(seconds / steps)
        own_steps = beat.own_steps - before.own_steps
        if own_steps > 0:
            self._own.append((beat.own_ns - before.own_ns) / 1e9 / own_steps)

    def _learn_pace(self, now: float, steps: int) -> None:
        if self._paced and steps > 0:
            self._paces.append((now - self._paced) / steps)
        self._paced = now

    @property
    def rank(self) -> int:
        return self._rank.rank

    @property
    def newest(self) -> slot.Beat | None:
        """The newest beat, as it was sampled."""
        return self._beat

    def look_now(self) -> slot.Beat | None:
        """What the slot says at this moment, whosever it is."""
        return self._own_slot.read()

    @property
    def makes_checkpoints(self) -> slot.Beat | None:
        """Its newest beat, if it is there and makes checkpoints on request."""
        beat = self._beat
        if beat is None or self._gone or beat.flags & slot.ENDED:
            return None
        return beat if beat.flags & slot.CHECKPOINTS else None

    def stage(self, now: float) -> str:
        beat = self._beat
        if self._gone or (beat is not None and beat.flags & slot.ENDED):
            return ENDED
        if beat is None or _is_mute(beat):
            return NONE
        limit = self.limit
        if limit is not None and now - self._since(beat) > limit:
            return SILENT
        return TRAINING if beat.beats else STARTING

    @property
    def limit(self) -> float | None:
        """Seconds that it may be silent now; None for ever."""
        beat = self._beat
        if beat is None or not beat.beats:
            return self._watch.initial_timeout
        if self._watch.timeout is not None:
            return self._watch.timeout
        # A user's beat may stand for many steps; before two beats tell anything, the time from
        # the start to the first stands in.
        known = [m for m in (_median(self._steps), _median(self._beats)) if m is not None]
        typical = max(known) if known else (beat.mono_ns - beat.started_ns) / 1e9 / beat.beats
        return max(LEAST_LIMIT, STEPS_LIMIT * typical)

    def look(self, now: float) -> Look | None:
        beat = self._beat
        if beat is None or self.stage(now) in (NONE, ENDED):
            return None
        return Look(
            rank=self._rank.rank,
            local_rank=self.local_rank,
            pid=self._rank.process.pid,
            since=self._since(beat),
            limit=self.limit,
            step=beat.step,
            first=not beat.beats,
        )

    def digest(
        self, now: float, stage: str, metrics: dict[str, float], note: str
    ) -> dict[str, Any]:
        beat = self._beat
        return {
            "local_rank": self.local_rank,
            "rank": self._rank.rank,
            "pid": self._rank.process.pid,
            "stage": stage,
            "beats": beat.beats if beat is not None else 0,
            "step": beat.step if beat is not None else None,
            "age": _age(now, beat),
            "limit": self.limit if stage in (STARTING, TRAINING, SILENT) else None,
            "interval": _rounded(_median(self._steps)),
            "own": _rounded(_median(self._own)),
            "metrics": {
                # JSON has no word for NaN and infinity.
                name: value if math.isfinite(value) else str(value)
                for name, value in {**metrics, **(beat.metrics if beat is not None else {})}.items()
            },
            "note": (beat.note if beat is not None else "") or note,
            "checkpoint": self._checkpoint(),
            "ft": _monitored(now, self._monitored),
        }

    def _checkpoint(self) -> dict[str, Any] | None:
        beat = self.makes_checkpoints
        if beat is None:
            return None
        return {"step": beat.asked_step, "pace": _rounded(_median(self._paces))}

    def close(self) -> None:
        self._own_slot.close()
        self._monitor.close()

    def _since(self, beat: slot.Beat) -> float:
        return float(beat.mono_ns if beat.beats else beat.started_ns) / 1e9


class _Source:
    """A slot that may not be there yet. `path` "" for one that never will be."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._reader: slot.Reader | None = None

    def read(self) -> slot.Beat | None:
        if self._reader is None and self.path:
            try:
                self._reader = slot.Reader(self.path)
            except OSError:
                return None  # not there yet, or just being made
        return self._reader.read() if self._reader is not None else None

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        self.path = ""


def _is_mute(beat: slot.Beat) -> bool:
    """Whether nothing will ever beat here: it never has, and there is a reason."""
    return not beat.beats and not beat.flags & (slot.HOOKED | slot.USER) and bool(beat.note)


def _counts_user_steps(beat: slot.Beat) -> bool:
    return bool(beat.flags & slot.USER) and beat.step is not None


def _count(beat: slot.Beat) -> int:
    """Steps by whoever counts them: the user's code, torch's optimizers, or each beat is one."""
    if beat.step is not None and _counts_user_steps(beat):
        return int(beat.step)
    return int(beat.steps or beat.beats)


def _median(values: collections.deque[float]) -> float | None:
    return sorted(values)[len(values) // 2] if values else None


def _age(now: float, beat: slot.Beat | None) -> float | None:
    if beat is None or not beat.beats:
        return None
    return _rounded(max(now - beat.mono_ns / 1e9, 0.0))


def _monitored(now: float, beat: slot.Beat | None) -> dict[str, Any] | None:
    if beat is None:
        return None
    return {"beats": beat.beats, "age": _age(now, beat), "sections": list(beat.sections)}


def _rounded(value: float | None) -> float | None:
    """To six digits: what is finer is noise, and would be most of a digest."""
    return None if value is None else float(f"{value:.6g}")
