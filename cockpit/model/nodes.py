"""One node of one attempt: its two folds put together, and the snapshot that the screen shows.

Held by `attempts.AttemptFold`. It says what this node did and why it failed, in its own words;
comparing nodes is the business of `attempts`.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from cockpit.model import events as ev
from cockpit.model.beats import BeatsFold, watched
from cockpit.model.causes import (
    Guilt,
    Suspect,
    first_cause,
    guilt_of,
    process_suspect,
    rank_suspect,
    split_code,
    words_suspect,
)
from cockpit.model.digests import DigestReader
from cockpit.model.folds import LauncherFold, LocalGeneration, SupervisorFold
from cockpit.model.journals import Entry, JournalReader
from cockpit.model.masking import Mask
from cockpit.model.types import JobNode, Link, NodeState, Rank, RankState
from cockpit.protocol.records import Member
from cockpit.text import clean

JOURNALS = ("events", "launcher")
"""What a node's part in an attempt is judged by."""
BEATS = "beats"
"""The journal of beats: shown, never judged by."""

_STOPPED = "Stopped"
"""What a launcher process raises when watchers have the ranks of all nodes ended at a stall."""

UNSUPERVISED = "no supervisor watches over it"
"""Note of a node whose attempt goes on alone: its end may stay unseen until one adopts it."""
UNCLAIMED = "no supervisor has taken it on"
"""Note of a node that holds the attempt's folder, and nobody's word that it starts it."""

_OUTCOMES = {
    "succeeded": NodeState.SUCCEEDED,
    "failed": NodeState.FAILED,
    "cancelled": NodeState.CANCELLED,
    "withdrawn": NodeState.WITHDRAWN,
    "start_failed": NodeState.FAILED,
    "lost": NodeState.LOST,
}


class NodeFold:
    """What is known of one node of one attempt. `instrumented`: a launcher journal is expected.

    `mask` hides what its journals must not show.
    """

    def __init__(self, node_rank: int, *, instrumented: bool, mask: Mask | None = None) -> None:
        self.node_rank = node_rank
        self.name = f"node {node_rank}"
        self.host = self.addr = ""
        self.instrumented = instrumented
        self.events = SupervisorFold()
        self.launcher = LauncherFold()
        self.beats = BeatsFold()
        self.digests = DigestReader()
        self.readers = {journal: JournalReader(mask) for journal in JOURNALS}
        self.sizes: dict[str, int] = {}
        """Bytes that a journal is known to hold at least."""
        self.absent = False
        """The node was asked and holds nothing of the attempt."""
        self.supervised = True
        self.revision = 0
        self._ranks: tuple[int, tuple[Rank, ...]] = (-1, ())
        self._suspects: tuple[int, float, tuple[Suspect, ...]] = (-1, 0.0, ())

    def name_it(self, member: Member) -> None:
        named = (clean(member.name), clean(member.host), clean(member.addr))
        if named != (self.name, self.host, self.addr):
            self.name, self.host, self.addr = named
            self.revision += 1

    def feed(self, journal: str, offset: int, data: bytes) -> list[Entry]:
        """Raises KeyError for a journal that does not exist, GapError for missing bytes.

        Beats have neither gaps nor entries, and leave `revision` alone.
        """
        if journal == BEATS:
            for digest in self.digests.feed(offset, data):
                self.beats.apply(digest)
            return []
        reader = self.readers[journal]
        before = reader.position
        entries = reader.feed(offset, data)
        apply = self.events.apply if journal == "events" else self.launcher.apply
        for entry in entries:
            if entry.event is not None:
                apply(entry.event)
        if reader.position != before:
            self.absent = False
            self.revision += 1
        return entries

    # -- judgements of this node alone ---------------------------------------------------------

    @property
    def heard(self) -> bool:
        return self.events.heard or self.launcher.heard

    @property
    def outcome(self) -> str:
        """How it ended; "" while it has not."""
        return self.events.ended.outcome if self.events.ended else ""

    @property
    def took_part(self) -> bool:
        """It claimed the attempt and did not give the claim back."""
        return self.heard and self.events.withdrawn is None and self.outcome != "withdrawn"

    @property
    def settled(self) -> bool:
        """Nothing that is still to come can change what this node says about the attempt."""
        if self.events.ended is None:
            return self.absent
        if not self.instrumented or self.events.started is None:
            return True
        if self.launcher.exit is not None:
            return True
        sizes = (self.events.ended.launcher_size, self.sizes.get("launcher"))
        known = [size for size in sizes if size is not None]
        return bool(known) and self.readers["launcher"].position >= max(known)

    @property
    def state(self) -> NodeState:
        if not self.heard:
            return NodeState.MISSING
        if self.events.ended is not None:
            return _OUTCOMES.get(self.outcome, NodeState.FAILED)
        if self.events.withdrawn is not None:
            return NodeState.WITHDRAWN
        if self.events.cancel is not None:
            return NodeState.CANCELLING
        if self.launcher.generations:
            return NodeState.RUNNING
        if self.events.started is not None or self.launcher.heard:
            told = self.instrumented and not self.launcher.hook_missing
            return NodeState.STARTING if told else NodeState.RUNNING
        return NodeState.CLAIMED

    @property
    def running(self) -> bool:
        """Its ranks run, as far as can be told."""
        if self.events.ended is not None or self.events.exited is not None:
            return False
        local = self.launcher.current
        return local is not None and local.ended_at is None

    def succeeded_in(self, local: LocalGeneration) -> bool:
        """It ended well, and its last word about the ranks of `local` was success."""
        if self.outcome != "succeeded":
            return False
        said = local.group is not None and local.group.state == "SUCCEEDED"
        return said or not self.launcher.complete

    def suspects(self, skew: float) -> tuple[Suspect, ...]:
        """Everything that went wrong here; `skew` seconds are taken off this node's stamps."""
        if self._suspects[:2] != (self.revision, skew):
            self._suspects = (self.revision, skew, tuple(self._all_suspects(skew)))
        return self._suspects[2]

    def _all_suspects(self, skew: float) -> Iterator[Suspect]:
        for number, local in self.launcher.generations.items():
            for failure in local.failures.values():
                suspect = rank_suspect(failure, self.name, number, failure.at - skew)
                if failure.local_rank in local.timeouts and not failure.exception:
                    # Its rank monitor ended it; the stall is why.
                    suspect = msgspec.structs.replace(suspect, guilt=Guilt.VICTIM)
                yield suspect
        if self.events.start_failed is not None:
            failed = self.events.start_failed
            at = failed.at - skew
            yield words_suspect("start_failed", self.name, failed.message, at, guilt=Guilt.CULPRIT)
        elif self.events.withdrawn is not None:
            gone = self.events.withdrawn
            at, words = gone.at - skew, gone.reason or "the claim was withdrawn"
            yield words_suspect("start_failed", self.name, words, at, guilt=Guilt.UNCLEAR)
        else:
            yield from self._process_suspects(skew)

    def _process_suspects(self, skew: float) -> Iterator[Suspect]:
        current = self.launcher.current
        number = current.start.generation if current else None
        failing = current is not None and bool(current.failures)
        exited, ended, launcher = self.events.exited, self.events.ended, self.launcher
        killed = exited is not None and split_code(exited.code, exited.signal)[1] is not None
        if self.outcome == "lost" and ended is not None:
            words = ended.message or f"{self.name} was restarted while the job ran on it"
            yield words_suspect(
                "node_lost",
                self.name,
                words,
                ended.at - skew,
                generation=number,
                guilt=Guilt.CULPRIT,
            )
        elif exited is not None and (
            killed or exited.oom or (exited.code and not self.instrumented)
        ):
            yield process_suspect(
                exited, self.name, number, exited.at - skew, launcher=self.instrumented
            )
        elif failing:
            return
        elif launcher.rendezvous_failed is not None:
            lost = launcher.rendezvous_failed
            yield self._words(lost.type, lost.message, lost.at - skew, number)
        elif launcher.exception is not None and launcher.exception.type != "ChildFailedError":
            raised = launcher.exception
            yield self._words(raised.type, raised.message, raised.at - skew, number)
        elif exited is not None and exited.code:
            yield process_suspect(exited, self.name, number, exited.at - skew, launcher=True)
        elif ended is not None and self.outcome == "failed" and (exited is None or not killed):
            # It vanished without a word of its own, as a killed process does.
            what = "the launcher process" if self.instrumented else "the command"
            words = ended.message or f"{what} ended, its exit code is unknown"
            at = (ended.at if self.events.gone_at is None else self.events.gone_at) - skew
            yield words_suspect(
                "launcher", self.name, words, at, generation=number, guilt=Guilt.CULPRIT
            )

    def _words(self, kind: str, message: str, at: float, number: int | None) -> Suspect:
        if kind == _STOPPED:
            # Another node's watcher has the details, where it can be asked.
            return words_suspect(
                "stall", self.name, message, at, generation=number, guilt=Guilt.UNCLEAR
            )
        words = message if message.startswith(kind) else f"{kind}: {message}"
        guilt = guilt_of(words)
        if kind in ("SignalException", "KeyboardInterrupt"):
            # No cancel of ours, or it would not be asked: somebody else ended this node's part.
            words, guilt = f"the launcher process was told to end ({message})", Guilt.UNCLEAR
        if guilt is Guilt.CULPRIT and number is not None and "Rendezvous" in kind:
            guilt = Guilt.UNCLEAR
        return words_suspect("launcher", self.name, words, at, generation=number, guilt=guilt)

    # -- snapshot ------------------------------------------------------------------------------

    def snapshot(self, link: Link, now: float) -> JobNode:
        """`now` is the controller's wall clock; the ages of beats depend on it, nothing else."""
        events, local = self.events, self.launcher.current
        pid = events.started.process.pid if events.started else None
        if pid is None and self.launcher.process is not None:
            pid = self.launcher.process.pid
        end = events.ended if events.ended and events.ended.code is not None else None
        code, number = (end.code, end.signal) if end else (None, None)
        if end is None and events.exited is not None:
            code, number = split_code(events.exited.code, events.exited.signal)
        # What has ended needs no supervisor.
        supervised = self.supervised or events.ended is not None
        notes = (*events.notes, *self.launcher.notes)
        if not supervised:
            notes = (*notes, UNSUPERVISED if self.heard else UNCLAIMED)
        return JobNode(
            name=self.name,
            node_rank=self.node_rank,
            host=self.host,
            addr=self.addr,
            link=link,
            state=self.state,
            supervised=supervised,
            pid=pid,
            group_rank=local.start.group_rank if local else None,
            generation=local.start.generation if local else None,
            exit_code=code,
            signal=number,
            why=self._why(),
            ranks=self._watched_ranks(local, link, now),
            swept=tuple(events.swept),
            left=events.left,
            notes=notes,
            checkpoint=self.events.checkpoints.newest,
        )

    def _why(self) -> str:
        if self.state not in (NodeState.FAILED, NodeState.LOST):
            return ""
        cause = first_cause(s for s in self._all_suspects(0.0) if s.cause.rank is None)
        return cause.message if cause is not None else ""

    def _watched_ranks(
        self, local: LocalGeneration | None, link: Link, now: float
    ) -> tuple[Rank, ...]:
        if local is None:
            return ()
        number, began = local.start.generation, local.start.at
        return tuple(
            watched(rank, self.beats, number, began, link, now)
            for rank in self._snapshot_ranks(local)
        )

    def _snapshot_ranks(self, local: LocalGeneration | None) -> tuple[Rank, ...]:
        if local is None:
            return ()
        revision, ranks = self._ranks
        if revision != self.revision:
            ranks = tuple(
                self._rank(start, local)
                for start in sorted(local.start.ranks, key=lambda start: start.local_rank)
            )
            self._ranks = (self.revision, ranks)
        return ranks

    def _rank(self, start: ev.RankStart, local: LocalGeneration) -> Rank:
        failure = local.failures.get(start.local_rank)
        if failure is not None:
            code, number = split_code(failure.exit_code, failure.signal)
            return Rank(
                rank=start.rank,
                local_rank=start.local_rank,
                pid=start.process.pid,
                state=RankState.FAILED,
                exit_code=code,
                signal=number,
                message=failure.message,
            )
        if self.succeeded_in(local) or (local.group and local.group.state == "SUCCEEDED"):
            state = RankState.SUCCEEDED
        elif self.running:
            state = RankState.RUNNING
        else:
            state = RankState.STOPPED
        return Rank(
            rank=start.rank, local_rank=start.local_rank, pid=start.process.pid, state=state
        )
