"""What a supervisor knows of its ranks beyond their being alive: beats, stalls, figures, Xids.

The keeper asks for the folder of the slots before the start, calls `tick` all the time and `finish`
at the end; everything about watching ranks is behind this one object. A failure in here is told in
the journal and costs insight only, never the attempt.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from cockpit.node import journal
from cockpit.node.launch.requests import RESTART, Request
from cockpit.node.sensors.xids import XidWatch
from cockpit.node.supervise import slots
from cockpit.node.supervise.asking import leave
from cockpit.node.supervise.beats import GenerationBeats
from cockpit.node.supervise.checkpoints import Checkpoints
from cockpit.node.supervise.claims import Place
from cockpit.node.supervise.commands import Command
from cockpit.node.supervise.digests import Digests
from cockpit.node.supervise.folding import Past, PastStall
from cockpit.node.supervise.generations import Generation, LauncherTail, RankProcess
from cockpit.node.supervise.metricfeed import MetricFeed
from cockpit.node.supervise.stallresponse import StallResponse, Verdict
from cockpit.node.supervise.stalls import Stall, StallWatch
from cockpit.protocol import layout
from cockpit.protocol.records import ProcessId, Watch

SAMPLE = 0.25
"""Seconds between two samples of the slots."""
DIGEST = 1.0
"""Seconds between two digests while something changes."""
DIGEST_AT_LEAST = 5.0
XID_INTERVAL = 1.0
MOST_XIDS = 100
"""Of a GPU that reports thousands, the first ones say it all."""

_T = TypeVar("_T")

COMMAND = "command"
"""The kind of job that has no ranks."""


class Insight:
    """One attempt's. `kind` is the job's, `runtime` the folder with the package `cockpit`."""

    def __init__(
        self,
        place: Place,
        events: journal.Journal,
        *,
        kind: str,
        watch: Watch,
        runtime: str,
        past: Past | None = None,
    ) -> None:
        past = past if past is not None else Past()
        self._place = place
        self._events = events
        self._kind = kind
        self._watch = watch
        self._stall = past.stall
        self._complaints: set[str] = set()
        self._tail = LauncherTail(place.file(layout.LAUNCHER_EVENTS))
        self._response = StallResponse(place, events, watch, self._tail, past, self.complain)
        self._checkpoints = Checkpoints(events, past.checkpoint)
        self._feed = MetricFeed(watch.metrics, place.marker, runtime, self.complain)
        self._digests = Digests(place.file(layout.BEATS))
        self._xids: XidWatch | None = None
        self._slots = ""
        self._blind = ""
        self._beats: GenerationBeats | None = None
        self._stalls: StallWatch | None = None
        self._due = 0.0
        self._judged = 0.0
        self._xids_due = 0.0
        self._xids_told = 0
        self._written = 0.0
        self._given_up = past.stall.generation if past.stall is not None else -1
        """The newest generation on which rank monitors gave up."""
        self._shown: tuple[object, ...] = ()
        self._stages: tuple[str, ...] = ()

    def prepare(self) -> str:
        """To be called before the start: the folder in which ranks are to beat, "" for none."""
        self._guarded(self._prepare)
        return self._slots

    def resume(self) -> None:
        """To be called instead by a supervisor that takes over."""
        self._guarded(self._resume)

    def _prepare(self) -> None:
        if self._watch.instrument and self._kind != COMMAND:
            try:
                self._slots = slots.make(self._place)
            except OSError as error:
                self._blind = (
                    f"not instrumented: no folder for heartbeats: {error.strerror or error}"
                )
                self.complain(self._blind)
        self._begin()

    def _resume(self) -> None:
        self._slots = slots.find(self._place)
        self._begin()

    def _begin(self) -> None:
        self._xids = XidWatch()
        if self._kind == COMMAND and self._watch.metrics:
            self._watch_command()

    def _watch_command(self) -> None:
        """A command has no ranks; as far as figures in its output go, it is one."""
        nobody = ProcessId(0, 0, "")
        out, err = (layout.launcher_log(stream) for stream in ("out", "err"))
        rank = RankProcess(self._place.node_rank, 0, nobody, out, err)
        self._watch_generation(Generation(0, (rank,)))

    def tick(self, now: float, judge: bool) -> Verdict | None:
        """Look at everything that is due. `judge`: whether silence means anything, because nobody
        is ending the attempt. A verdict when the attempt has to be ended."""
        if now < self._due:
            return None
        self._due = now + SAMPLE
        return self._guarded(lambda: self._look(now, judge))

    def restart(self, command: Command) -> None:
        """Pass on an operator's wish that the ranks be restarted, or say why not."""
        why = self._cannot_restart()
        if not why:
            request = Request(
                id=command.id,
                do=RESTART,
                generation=None,
                by=command.by,
                reason=command.reason,
                cost=command.cost,
                grace=command.grace,
            )
            try:
                leave(self._place.path, request)
            except OSError as error:
                why = error.strerror or str(error)
        if why:
            self._events.write(
                "note",
                level="warn",
                message=f"the ranks are not restarted: {why}",
                command=command.id,
            )
            return
        self._events.write(
            "restart",
            command=command.id,
            by=command.by,
            reason=command.reason,
            cost=command.cost,
        )

    def checkpoint(self, command: Command) -> None:
        """Ask the ranks for a checkpoint, take that back, or say why not."""
        self._guarded(lambda: self._ask_for_checkpoint(command))

    def refuse_checkpoint(self, command: Command, why: str) -> None:
        self._checkpoints.refuse(command, why)

    def _ask_for_checkpoint(self, command: Command) -> None:
        self._follow_launcher()
        beats = None if self._tail.over else self._beats
        if beats is not None:
            beats.sample(time.monotonic())
        self._checkpoints.obey(command, beats)

    def complain(self, message: str) -> None:
        """Tell people, once."""
        if message not in self._complaints:
            self._complaints.add(message)
            self._events.write("note", level="warn", message=message)

    def finish(self) -> None:
        """Tell what there is left to tell, and leave nothing behind. The ranks are gone."""
        self._guarded(self._finish)
        self._digests.close()
        self._tail.close()
        slots.remove(self._slots or slots.find(self._place))

    def _finish(self) -> None:
        self._feed.finish()
        self._follow_launcher()
        self._end_generation(time.monotonic(), final=True)

    def _guarded(self, work: Callable[[], _T | None]) -> _T | None:
        """What `work` returns, or None. Training goes on whatever is wrong in here."""
        try:
            return work()
        except Exception as error:  # noqa: BLE001 - told once; see above
            self.complain(f"watching the ranks failed: {type(error).__name__}: {error}")
            return None

    def _look(self, now: float, judge: bool) -> Verdict | None:
        self._follow_launcher()
        self._feed.tick(now)
        self._look_for_xids(now)
        self._look_for_timeouts()
        if self._beats is not None:
            self._beats.sample(now)
            self._checkpoints.look(self._beats, over=self._tail.over)
            if self._tail.over and self._kind != COMMAND:
                self._end_generation(now)
            else:
                self._tell(now)
            if judge:
                self._judge(now)
        return self._response.tick(now, act=judge)

    def _follow_launcher(self) -> None:
        self._tail.look()
        generation = self._tail.generation
        if generation is None:
            return
        if self._beats is not None and self._beats.number == generation.number:
            return
        self._end_generation(time.monotonic())
        self._watch_generation(generation)

    def _watch_generation(self, generation: Generation) -> None:
        if self._beats is not None:
            self._beats.close()
        self._beats = GenerationBeats(generation, self._slots, self._watch, self._blind)
        self._stalls = StallWatch(self._watch.interval, _declared(self._stall, generation.number))
        self._stall = None
        self._shown = self._stages = ()
        self._feed.follow(
            [
                (rank.local_rank, self._place.file(path))
                for rank in generation.ranks
                for path in (rank.out, rank.err)
                if path
            ]
        )

    def _end_generation(self, now: float, *, final: bool = False) -> None:
        if self._beats is not None:
            self._beats.end()
            self._checkpoints.look(self._beats, over=True)
            self._tell(now, final=final)

    def _judge(self, now: float) -> None:
        if self._beats is None or self._stalls is None or now - self._judged < self._watch.interval:
            return
        self._judged = now
        found = self._stalls.look(now, self._beats.looks(now))
        if isinstance(found, Stall):
            self._response.stalled(now, self._beats.number, found)
        elif found is not None:
            self._response.recovered(self._beats.number)

    def _tell(self, now: float, *, final: bool = False) -> None:
        """Write a digest if one is due; `final`: if there is anything that none has told yet."""
        beats = self._beats
        assert beats is not None
        stages = beats.stages(now)
        age = now - self._written
        if stages == self._stages and age < DIGEST and not final:
            return
        ranks = beats.digest(now, self._feed.values)
        shown = tuple((r["beats"], r["step"], r["metrics"], r["ft"]) for r in ranks)
        if stages == self._stages and shown == self._shown and age < DIGEST_AT_LEAST:
            return
        self._stages, self._shown, self._written = stages, shown, now
        self._digests.write(beats.number, ranks, now)

    def _look_for_timeouts(self) -> None:
        """A stall that ft_launcher's rank monitors found is one, whatever limit it broke."""
        generation, timeouts = self._tail.generation, self._tail.timeouts
        if generation is not None and timeouts and self._given_up != generation.number:
            self._given_up = generation.number
            self._response.given_up(generation.number, timeouts)

    def _look_for_xids(self, now: float) -> None:
        if self._xids is None or now < self._xids_due:
            return
        self._xids_due = now + XID_INTERVAL
        for xid in self._xids.poll():
            if self._xids_told == MOST_XIDS:
                self.complain(f"more than {MOST_XIDS} Xids; further ones are not noted")
                self._xids = None
                return
            self._xids_told += 1
            self._events.write("xid", **xid)

    def _cannot_restart(self) -> str:
        if self._kind == COMMAND:
            return "a command has none; restart the job"
        if self._tail.generation is None:
            return "the launcher process is not instrumented, or has not started any yet"
        if not self._tail.monitored:
            return "the launcher process is not instrumented for it"
        return ""


def _declared(stall: PastStall | None, generation: int) -> dict[int, float]:
    """What `StallWatch` has to know of a stall that an earlier supervisor declared."""
    if stall is None or stall.generation != generation:
        return {}
    return {local_rank: stall.mono - limit for local_rank, limit in stall.limits.items()}
