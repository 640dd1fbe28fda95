"""A job's live state: bytes of journals in, a frozen `Job` out.

The controller feeds what its follow streams deliver and asks for a snapshot at its own pace. The
snapshot is a pure function of what was fed and of the links: the same for any order across
journals, any chunking, any repetition after a resume. It costs next to nothing while nothing
changed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import msgspec

from cockpit.errors import ExitCode
from cockpit.model import checkpoints
from cockpit.model.attempts import INSTRUMENTED, AttemptFold, Verdict, judge
from cockpit.model.clocks import skews
from cockpit.model.figures import job_metrics
from cockpit.model.generations import stalls_of
from cockpit.model.journals import NodeEvent
from cockpit.model.masking import Mask
from cockpit.model.nodes import NodeFold
from cockpit.model.rules import Rules
from cockpit.model.stragglers import mark_nodes, slow_ranks
from cockpit.model.types import (
    Cause,
    Generation,
    Job,
    JobNode,
    JobState,
    Link,
    LinkState,
    Stage,
    Stall,
)
from cockpit.protocol.records import AttemptRecord, JobRecord
from cockpit.text import clean

NO_PYTHON = "--no-python"
"""Option of a launcher whose ranks run a program that is not Python, as far as anybody knows."""
WAITING_AFTER = 10.0
"""Seconds in a rendezvous after which a job that had run before is said to be waiting."""
AGE_STEP = 0.5
"""Seconds between two snapshots that differ by the age of beats only."""


class JobModel:
    """Everything that is known of one job. `revision` grows with every change."""

    def __init__(
        self, record: JobRecord, rules: Rules | None = None, mask: Mask | None = None
    ) -> None:
        """`rules` recognise causes; the built-in ones unless given. `mask` hides secrets."""
        self.record = record
        self._mask = mask
        self._rules = rules or Rules()
        self.revision = 0
        self.beats_only = 0
        """How often it grew because of beats and nothing else."""
        self._attempts: dict[int, AttemptFold] = {}
        self._links: dict[str, Link] = {}
        self._verdicts: dict[int, tuple[object, Verdict]] = {}
        self._nodes: dict[tuple[int, int], tuple[object, JobNode]] = {}
        self._snapshot: tuple[tuple[int, bool, float], Job] | None = None
        self._beating: tuple[int, bool] = (-1, False)
        self._past: Job | None = None

    # -- what is fed ---------------------------------------------------------------------------

    def plan(self, plan: AttemptRecord) -> None:
        """Learn the members of an attempt; any node's plan does, several add up."""
        attempt = self._attempt(plan.attempt)
        before = attempt.revision
        attempt.plan(plan)
        if attempt.revision != before:
            self.revision += 1

    def feed(
        self, attempt: int, node_rank: int, journal: str, offset: int, data: bytes
    ) -> tuple[NodeEvent, ...]:
        """Take in bytes of the journal "events" or "launcher" of one node; returns new events.

        Repeated bytes change nothing. Raises GapError, which says from where to follow
        again, when bytes before `offset` are missing, and KeyError for another journal.
        The journal "beats" has no gaps, and returns nothing.
        """
        node = self._attempt(attempt).node(node_rank)
        events = node.revision
        before = events + node.beats.revision
        entries = node.feed(journal, offset, data)
        if node.revision + node.beats.revision != before:
            self.revision += 1
            self.beats_only += node.revision == events
        return tuple(
            NodeEvent(
                job=self.record.id,
                attempt=attempt,
                node_rank=node_rank,
                node=node.name,
                journal=journal,
                seq=entry.seq,
                at=entry.at,
                kind=entry.kind,
                fields=entry.fields,
            )
            for entry in entries
        )

    def beats_from(self, attempt: int, node_rank: int, offset: int) -> None:
        """The journal of beats is read from `offset` on: its tail, or one that replaced it."""
        self._attempt(attempt).node(node_rank).digests.begin(offset)

    def sized(self, attempt: int, node_rank: int, journal: str, size: int) -> None:
        """A journal is known to hold `size` bytes: the job is not judged before they were fed.

        Needed for a launcher process that was killed before it could write its last word, where
        the node's `ended` does not say the size.
        """
        node = self._attempt(attempt).node(node_rank)
        if size != node.sizes.get(journal):
            node.sizes[journal] = max(size, node.sizes.get(journal, 0))
            self._touch(node)

    def absent(self, attempt: int, node_rank: int) -> None:
        """The node was asked and holds nothing of the attempt (any more, or yet)."""
        node = self._attempt(attempt).node(node_rank)
        if not node.absent and not node.heard:
            node.absent = True
            self._touch(node)

    def supervised(self, attempt: int, node_rank: int, alive: bool) -> None:
        """Whether a supervisor watches over the attempt on that node, as its agent sees it.

        Cheap and without effect while nothing changed, and once the attempt has ended there.
        """
        node = self._attempt(attempt).node(node_rank)
        if node.supervised != alive and node.events.ended is None:
            node.supervised = alive
            self._touch(node)

    def known_end(self, past: Job) -> None:
        """The job as it was seen to end earlier: the end of an attempt is final.

        It stands while the nodes that are in reach cannot tell the whole story again.
        """
        if past.id == self.record.id and past.state.ended:
            self._past = past
            self.revision += 1

    def link(self, node: str, link: Link) -> None:
        """The connection to the node of that name changed."""
        if self._links.get(node) != link:
            self._links[node] = link
            self.revision += 1

    def _attempt(self, number: int) -> AttemptFold:
        if number not in self._attempts:
            self._attempts[number] = AttemptFold(number, self.record.kind, self._mask)
        return self._attempts[number]

    def _touch(self, node: NodeFold) -> None:
        node.revision += 1
        self.revision += 1

    # -- what comes out ------------------------------------------------------------------------

    def snapshot(self, now: float) -> Job:
        """The job as it is known. `now` is the controller's wall clock; it decides how long is
        "waiting", and how old beats are, and nothing else. The same object while nothing changed;
        ages move every AGE_STEP seconds."""
        key = (self.revision, self._waiting(now), self._moment(now))
        if self._snapshot is None or self._snapshot[0] != key:
            self._snapshot = (key, self._with_past(self._build(*key[1:])))
        return self._snapshot[1]

    def node(self, attempt: int, node_rank: int) -> JobNode | None:
        """One node of any attempt, as it was heard of last."""
        fold = self._attempts.get(attempt)
        if fold is None or node_rank not in fold.nodes:
            return None
        return fold.nodes[node_rank].snapshot(self._link(fold.nodes[node_rank].name), 0.0)

    def newest_names(self) -> tuple[int, dict[int, str]]:
        """The newest attempt, and the names of its nodes by their node rank."""
        newest = max(self._attempts, default=0)
        nodes = self._attempts[newest].nodes if self._attempts else {}
        return newest, {rank: node.name for rank, node in nodes.items()}

    def _with_past(self, job: Job) -> Job:
        past = self._past
        if past is None or job.attempt != past.attempt:
            return job
        if job.state.ended:
            return _with_figures(job, past)
        nodes = tuple(
            msgspec.structs.replace(node, link=self._link(node.name)) for node in past.nodes
        )
        return msgspec.structs.replace(past, nodes=nodes)

    def _waiting(self, now: float) -> bool:
        if not self._attempts:
            return False
        attempt = self._attempts[max(self._attempts)]
        began: float | None = None
        for node in attempt.nodes.values():
            if node.running:
                return False
            since = node.launcher.rendezvous_since
            if since is not None and node.launcher.generations and node.events.ended is None:
                offset = self._link(node.name).clock_offset or 0.0
                began = since - offset if began is None else max(began, since - offset)
        return began is not None and now - began > WAITING_AFTER

    def _moment(self, now: float) -> float:
        """`now` in steps while beats grow older, else always the same."""
        if self._beating[0] != self.revision:
            attempt = self._attempts.get(max(self._attempts, default=0))
            nodes = attempt.nodes.values() if attempt else ()
            beating = any(node.running and node.beats.newest_at is not None for node in nodes)
            self._beating = (self.revision, beating)
        return math.floor(now / AGE_STEP) * AGE_STEP if self._beating[1] else 0.0

    def _link(self, name: str) -> Link:
        return self._links.get(name) or Link()

    def use_rules(self, rules: Rules) -> None:
        """Recognise causes by these from now on, those of earlier failures too."""
        self._rules = rules
        self._verdicts.clear()
        self.revision += 1

    def _judge(self, number: int, offsets: dict[str, float]) -> Verdict:
        attempt = self._attempts[number]
        key = (attempt.revision, offsets)
        cached = self._verdicts.get(number)
        if cached is None or cached[0] != key:
            verdict = judge(attempt, self.record, offsets, self._rules)
            cached = self._verdicts[number] = (key, verdict)
        return cached[1]

    def _node(self, attempt: int, node: NodeFold, moment: float) -> JobNode:
        where, link = (attempt, node.node_rank), self._link(node.name)
        key = (node.revision, node.beats.revision, link, moment)
        cached = self._nodes.get(where)
        if cached is None or cached[0] != key:
            cached = self._nodes[where] = (key, node.snapshot(link, moment))
        return cached[1]

    def _build(self, waiting: bool, moment: float) -> Job:
        newest = self._attempt(max(self._attempts, default=0))
        offsets = skews(self._links)
        verdicts = [self._judge(number, offsets) for number in sorted(self._attempts)]
        verdict = verdicts[-1]
        history = tuple(item for past in verdicts for item in past.generations)
        members = [newest.nodes[rank] for rank in sorted(newest.nodes)]
        nodes = tuple(self._node(newest.number, node, moment) for node in members)
        slow = slow_ranks(_own_times(members, nodes))
        record = self.record
        folds = (
            (node.name, node.beats)
            for number in sorted(self._attempts)
            for _, node in sorted(self._attempts[number].nodes.items())
        )
        starts = [past.started_at for past in verdicts if past.started_at is not None]
        return Job(
            id=record.id,
            name=clean(record.name),
            state=verdict.state,
            flags=self._flags(newest, verdict, waiting, bool(slow)),
            cluster=clean(record.cluster),
            launcher=clean(record.launcher),
            kind=clean(record.kind),
            command=tuple(clean(word) for word in record.command),
            min_nodes=record.min_nodes,
            max_nodes=record.max_nodes,
            attempt=newest.number,
            restarts=_restarts(newest.number, history),
            max_restarts=record.max_restarts,
            exit_code=_exit_code(verdict),
            cause=verdict.cause or _newest_failure(verdict, history),
            created_at=record.created_at,
            created_by=clean(record.created_by),
            started_at=min(starts, default=None),
            ended_at=verdict.ended_at,
            nodes=mark_nodes(nodes, slow),
            history=history,
            cancelled_by=verdict.cancelled_by,
            metrics=job_metrics(nodes, folds, offsets),
            stalls=self._stalls(offsets),
            finished=self._finished(members, verdict),
            can_checkpoint=not verdict.state.ended and checkpoints.possible(nodes),
            checkpoint=checkpoints.of_job(nodes, offsets),
            no_beats=_no_beats(record),
        )

    def _stalls(self, offsets: Mapping[str, float]) -> tuple[Stall, ...]:
        return tuple(
            stall
            for number in sorted(self._attempts, reverse=True)
            for stall in stalls_of(self.record.id, number, self._attempts[number].nodes, offsets)
        )

    def _finished(self, nodes: Iterable[NodeFold], verdict: Verdict) -> bool | None:
        if not self.record.finished_flag or not verdict.state.ended:
            return None
        return any(node.events.finished for node in nodes)

    def _flags(
        self, attempt: AttemptFold, verdict: Verdict, waiting: bool, slow: bool
    ) -> tuple[str, ...]:
        nodes = list(attempt.nodes.values())
        going = not verdict.state.ended
        unknown = any(
            node.events.ended is None
            and not node.absent
            and (not node.heard or self._link(node.name).state is LinkState.UNREACHABLE)
            for node in nodes
        )
        current = verdict.generations[-1].generation if verdict.generations else None
        flags = {
            "stalled": going
            and any(
                node.events.ended is None and node.events.stalls.open_in(current) for node in nodes
            ),
            "straggler": going and slow,
            "cancelling": going and any(node.events.cancel is not None for node in nodes),
            "degraded": verdict.degraded,
            "uninstrumented": any(node.launcher.hook_missing for node in nodes),
            "unknown_nodes": going and unknown,
            "waiting": going and waiting,
        }
        return tuple(name for name, on in flags.items() if on)


def _own_times(folds: Iterable[NodeFold], nodes: Iterable[JobNode]) -> dict[int, tuple[float, ...]]:
    """The newest own times of every rank that trains, see `stragglers.slow_ranks`."""
    found: dict[int, tuple[float, ...]] = {}
    for fold, node in zip(folds, nodes, strict=True):
        for rank in node.ranks:
            if rank.stage is Stage.TRAINING and rank.own_time is not None:
                seen = fold.beats.seen(node.generation or 0, rank.local_rank)
                if seen is not None:
                    found[rank.rank] = tuple(seen.own)
    return found


def _with_figures(job: Job, past: Job) -> Job:
    """An ended job whose beats nobody has read again, with the figures that it was seen with."""
    if job.metrics or job.steps is not None or not (past.metrics or past.steps):
        return job
    steps = {(n.node_rank, r.rank): r.step for n in past.nodes for r in n.ranks}
    nodes = tuple(
        msgspec.structs.replace(
            node,
            ranks=tuple(
                msgspec.structs.replace(rank, step=steps.get((node.node_rank, rank.rank)))
                for rank in node.ranks
            ),
        )
        for node in job.nodes
    )
    return msgspec.structs.replace(job, nodes=nodes, metrics=past.metrics)


def _no_beats(record: JobRecord) -> str:
    """Why nothing is even tried to make ranks beat; "" where it is."""
    if record.kind not in INSTRUMENTED or NO_PYTHON in record.argv:
        return "plain command"
    return "" if record.watch.instrument else "instrument = false"


def _restarts(attempt: int, history: tuple[Generation, ...]) -> int:
    counts: dict[int, int] = {}
    for item in history:
        counts[item.attempt] = counts.get(item.attempt, 0) + 1
    return attempt + sum(count - 1 for count in counts.values())


def _newest_failure(verdict: Verdict, history: tuple[Generation, ...]) -> Cause | None:
    if verdict.state.ended:
        return None
    here = (item.cause for item in reversed(verdict.generations))
    earlier = (item.cause for item in reversed(history))
    return next((cause for cause in (*here, verdict.trouble, *earlier) if cause is not None), None)


def _exit_code(verdict: Verdict) -> int | None:
    """The job's exit code: 0, the first cause's own code, 128 + its signal, 130, 69 or 1.

    69 is a gang start that was given up before anything ran; 1 stands for all that has no code
    of its own, a launcher process that could not be executed among it. A rank that raised gives
    Python's 1 also where a signal ended it on its way out, so that one bug has one code.
    """
    if not verdict.state.ended:
        return None
    if verdict.state is JobState.SUCCEEDED:
        return int(ExitCode.OK)
    if verdict.state is JobState.CANCELLED:
        return int(ExitCode.CANCELLED)
    cause = verdict.cause
    if cause is None:
        return int(ExitCode.FAILED)
    if cause.kind != "exit" and cause.signal is not None and 0 < cause.signal < 128:
        return 128 + cause.signal
    if cause.exit_code is not None and 0 < cause.exit_code < 256:
        return cause.exit_code
    if cause.kind == "start_failed" and verdict.never_started:
        return int(ExitCode.UNAVAILABLE)
    return int(ExitCode.FAILED)
