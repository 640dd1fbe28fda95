"""Every job that the connected nodes know: found by their listings, kept true by their journals.

A node's listing (`watch_jobs`) says which jobs and attempts lie there; for each of them this
module follows the two journals into the job's model. It starts nothing and ends nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from cockpit.model.jobs import JobModel
from cockpit.protocol import layout, records
from cockpit.transport.link import Follow, NodeLink

NEWEST = 100
"""Ended jobs per node whose journals are read at once; older ones when somebody asks for them."""

CLAIM_TIME = 60.0
"""Seconds after which a node of a plan that lists nothing of the job took no part in it."""

_JOURNALS = (("events", layout.EVENTS), ("launcher", layout.LAUNCHER_EVENTS))


class NodeKey(msgspec.Struct, frozen=True, order=True):
    """A node as this controller's configuration names it."""

    cluster: str
    node: str


class Seat(msgspec.Struct, frozen=True):
    """One attempt on one node, and the link over which it was seen."""

    attempt: int
    node_rank: int
    key: NodeKey
    link: NodeLink


class LogStream(msgspec.Struct, frozen=True):
    """One log file of an attempt on a node; launcher logs have neither generation nor ranks."""

    attempt: int
    node_rank: int
    generation: int | None
    local_rank: int | None
    rank: int | None
    stream: str
    path: str
    """Relative to the node's state_dir."""


class _JournalSink:
    """Carries one journal's bytes into the model."""

    def __init__(
        self, job: TrackedJob, attempt: int, node_rank: int, journal: str, ended: bool
    ) -> None:
        self._job = job
        self._where = (attempt, node_rank, journal)
        self._until: int | None = None
        self._ended = ended
        self.follow: Follow | None = None
        self.caught_up = False
        """Everything that the journal held when it was opened was read."""

    def opened(self, offset: int, size: int) -> None:
        attempt, node_rank, journal = self._where
        self._job.model.sized(attempt, node_rank, journal, size)
        self._until = size
        self._check_caught_up(offset)

    def received(self, offset: int, data: bytes) -> None:
        attempt, node_rank, journal = self._where
        events = self._job.model.feed(attempt, node_rank, journal, offset, data)
        for event in events:
            if event.kind == "generation":
                self._job.add_rank_streams(attempt, node_rank, event.fields)
        self._job.changed()
        self._check_caught_up(offset + len(data))

    def _check_caught_up(self, position: int) -> None:
        if self.caught_up or self._until is None or position < self._until:
            return
        self.caught_up = True
        # The journal of an ended attempt does not grow: one pass is enough.
        if self._ended and self.follow is not None:
            self.follow.close()
        self._job.changed()

    def indexed(self, entries: Sequence[tuple[int, float]]) -> None:
        """Journals have no time index."""

    def replaced(self) -> None:
        """An append-only journal that was replaced is a damaged node; keep what was read."""

    def detached(self) -> None:
        """The follow resumes at the exact byte by itself."""


class TrackedJob:
    """One job: its model, and where its attempts were seen."""

    def __init__(self, record: records.JobRecord, on_change: Callable[[TrackedJob], None]) -> None:
        self.record = record
        self.model = JobModel(record)
        self.seats: dict[tuple[int, int], Seat] = {}
        self.cluster = ""
        self.streams: list[LogStream] = []
        """Every log file that the journals told of, in the order in which they appeared."""
        self._on_change = on_change
        self._sinks: list[_JournalSink] = []

    def changed(self) -> None:
        self._on_change(self)

    @property
    def loaded(self) -> bool:
        """Every journal was read as far as it went when it was found."""
        return all(sink.caught_up for sink in self._sinks)

    def close(self) -> None:
        """Stop following the journals."""
        for sink in self._sinks:
            if sink.follow is not None:
                sink.follow.close()

    def newest(self) -> tuple[Seat, ...]:
        """The seats of the newest attempt, by node rank."""
        if not self.seats:
            return ()
        attempt = max(seat.attempt for seat in self.seats.values())
        seats = (seat for seat in self.seats.values() if seat.attempt == attempt)
        return tuple(sorted(seats, key=lambda seat: seat.node_rank))

    def add_rank_streams(self, attempt: int, node_rank: int, fields: Mapping[str, Any]) -> None:
        """Learn the log files of a generation from its event."""
        folder = layout.attempt_dir(self.record.id, attempt, node_rank)
        for rank in fields.get("ranks", ()):
            for stream in ("out", "err"):
                path = rank.get(stream)
                if isinstance(path, str) and path:
                    self.streams.append(
                        LogStream(
                            attempt,
                            node_rank,
                            fields.get("generation"),
                            rank.get("local_rank"),
                            rank.get("rank"),
                            stream,
                            f"{folder}/{path}",
                        )
                    )

    def take_seat(self, seat: Seat, plan: records.AttemptRecord | None, ended: bool) -> None:
        """Follow an attempt's journals on a node; does nothing when that is done already."""
        where = (seat.attempt, seat.node_rank)
        if plan is not None:
            self.model.plan(plan)
        if where in self.seats:
            # Nodes that share a state folder list each other's attempts: keep the owner's link.
            if seat.key.node == self._owner(where):
                self.seats[where] = seat
            return
        self.seats[where] = seat
        self.cluster = seat.key.cluster
        folder = layout.attempt_dir(self.record.id, seat.attempt, seat.node_rank)
        for stream in ("out", "err"):
            path = f"{folder}/{layout.launcher_log(stream)}"
            self.streams.append(
                LogStream(seat.attempt, seat.node_rank, None, None, None, stream, path)
            )
        for journal, file in _JOURNALS:
            sink = _JournalSink(self, seat.attempt, seat.node_rank, journal, ended)
            self._sinks.append(sink)
            sink.follow = seat.link.follow(f"{folder}/{file}", 0, sink)
        self.changed()

    def check_absent(self, key: NodeKey) -> None:
        """The node listed its jobs: what it does not list of the newest attempt is not there."""
        job = self.model.snapshot(0.0)
        for node in job.nodes:
            if node.name == key.node and (job.attempt, node.node_rank) not in self.seats:
                self.model.absent(job.attempt, node.node_rank)

    def _owner(self, where: tuple[int, int]) -> str:
        attempt, node_rank = where
        job = self.model.snapshot(0.0)
        if job.attempt != attempt:
            return ""
        return next((node.name for node in job.nodes if node.node_rank == node_rank), "")


class Tracker:
    """All jobs seen on all links of a controller."""

    def __init__(self, on_change: Callable[[TrackedJob], None]) -> None:
        self.jobs: dict[str, TrackedJob] = {}
        self._on_change = on_change
        self._postponed: dict[str, list[tuple[NodeKey, NodeLink, dict[str, Any]]]] = {}

    def listed(
        self, key: NodeKey, link: NodeLink, listing: Sequence[dict[str, Any]], now: float
    ) -> None:
        """Take in one node's listing of its jobs, newest jobs first. `now` is the wall clock."""
        entries = [entry for entry in listing if entry.get("job")]
        entries.sort(key=lambda entry: float(entry["job"].get("created_at", 0.0)), reverse=True)
        for number, entry in enumerate(entries):
            job = str(entry["job"]["id"])
            if number >= NEWEST and job not in self.jobs and _ended(entry):
                self._postponed.setdefault(job, []).append((key, link, entry))
            else:
                self._take(key, link, entry)
        for tracked in self.jobs.values():
            if tracked.cluster == key.cluster and now - tracked.record.created_at > CLAIM_TIME:
                tracked.check_absent(key)

    def started(self, record: records.JobRecord, plan: records.AttemptRecord, seat: Seat) -> None:
        """Take in an attempt that this controller has just started, before any listing says so."""
        tracked = self.jobs.get(record.id)
        if tracked is None:
            tracked = self.jobs[record.id] = TrackedJob(record, self._on_change)
        tracked.take_seat(seat, plan, ended=False)

    def forget(self, job: str) -> None:
        """The job was removed from its nodes."""
        tracked = self.jobs.pop(job, None)
        if tracked is not None:
            tracked.close()

    def recall(self, reference: str) -> None:
        """Load older ended jobs whose id or name starts with `reference`."""
        for job, entries in list(self._postponed.items()):
            name = str(entries[0][2]["job"].get("name", ""))
            if job.startswith(reference) or name == reference:
                del self._postponed[job]
                for key, link, entry in entries:
                    self._take(key, link, entry)

    def _take(self, key: NodeKey, link: NodeLink, entry: dict[str, Any]) -> None:
        job = str(entry["job"]["id"])
        tracked = self.jobs.get(job)
        if tracked is None:
            record = records.job_record(entry["job"])
            tracked = self.jobs[job] = TrackedJob(record, self._on_change)
        for attempt in entry["attempts"]:
            seat = Seat(int(attempt["attempt"]), int(attempt["node_rank"]), key, link)
            newest = attempt.get("events") or {}
            plan = attempt.get("plan")
            known = records.attempt_record(plan) if plan else None
            tracked.take_seat(seat, known, newest.get("kind") == "ended")


def _ended(entry: dict[str, Any]) -> bool:
    return all((a.get("events") or {}).get("kind") == "ended" for a in entry["attempts"])
