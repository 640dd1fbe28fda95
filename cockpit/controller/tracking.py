"""Every job that the connected nodes know: found by their listings, kept true by their journals.

A node's listing (`watch_jobs`) says which jobs and attempts lie there; for each of them this
module follows the journals into the job's model (`beating` the one of beats). It starts nothing and
ends nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from cockpit.controller.beating import BeatsSink
from cockpit.model.jobs import JobModel
from cockpit.model.masking import Mask
from cockpit.model.rules import Rules
from cockpit.model.types import Job
from cockpit.protocol import layout, records
from cockpit.text import clean
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


_Postponed = tuple[records.JobRecord, NodeLink, Mapping[str, Any]]


class _JournalSink:
    """Carries one journal's bytes into the model."""

    def __init__(
        self, job: TrackedJob, attempt: int, node_rank: int, journal: str, ended: bool
    ) -> None:
        self._job = job
        self._where = (attempt, node_rank, journal)
        self._until: int | None = None
        self._ended = ended
        self._position = 0
        self.follow: Follow | None = None
        self.caught_up = False
        """Everything that the journal held when it was opened was read."""

    def of(self, attempt: int, node_rank: int, journal: str) -> bool:
        return self._where == (attempt, node_rank, journal)

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
            elif event.kind == "ended":
                self._job.seat_ended(attempt, node_rank, event.fields.get("launcher_size"))
        self._job.changed()
        self._check_caught_up(offset + len(data))

    def no_more_than(self, size: int | None) -> None:
        """The attempt has ended: the journal does not grow beyond `size` (None: what it is)."""
        self._ended = True
        self._until = max(self._until or 0, size or 0)
        self._check_caught_up(self._position)

    def _check_caught_up(self, position: int) -> None:
        self._position = position
        if self._until is None or position < self._until:
            return
        first, self.caught_up = not self.caught_up, True
        # The journal of an ended attempt does not grow: one pass is enough.
        if self._ended and self.follow is not None:
            self.follow.close()
        if first:
            self._job.changed()

    def indexed(self, entries: Sequence[tuple[int, float]]) -> None:
        """Journals have no time index."""

    def replaced(self) -> None:
        """An append-only journal that was replaced is a damaged node; keep what was read."""

    def detached(self) -> None:
        """The follow resumes at the exact byte by itself."""


class TrackedJob:
    """One job: its model, and where its attempts were seen."""

    def __init__(
        self,
        record: records.JobRecord,
        on_change: Callable[[TrackedJob], None],
        rules: Rules,
        mask: Mask,
    ) -> None:
        self.record = record
        self.mask = mask
        """Hides the job's secrets wherever its own words are handed on."""
        self.model = JobModel(record, rules, mask)
        self.seats: dict[tuple[int, int], Seat] = {}
        self.streams: list[LogStream] = []
        """Every log file that the journals told of, in the order in which they appeared."""
        self._on_change = on_change
        self._sinks: list[_JournalSink] = []
        self._beats: dict[tuple[int, int], BeatsSink] = {}

    @property
    def cluster(self) -> str:
        """The cluster whose profile the job was started with, or else where it was found."""
        found = {seat.key.cluster for seat in self.seats.values()}
        return self.record.cluster if self.record.cluster in found else min(found, default="")

    def changed(self) -> None:
        self._on_change(self)

    def see_link(self, link: NodeLink) -> None:
        """A link changed: so it did for the nodes that were seen over it."""
        for seat in self.seats.values():
            if seat.link is link:
                self.model.link(seat.key.node, link.link)

    @property
    def loaded(self) -> bool:
        """Every journal was read as far as it went when it was found.

        Of beats those count that are still to come, and those that `want_beats` asked for.
        """
        return all(sink.caught_up for sink in self._sinks) and all(
            sink.caught_up for sink in self._beats.values()
        )

    def want_beats(self) -> None:
        """Read what attempts that have ended left of their beats, in the background.

        Not done unasked: a listing of a hundred ended jobs would fetch them all for nothing.
        """
        for where, seat in self.seats.items():
            if where not in self._beats:
                self._follow_beats(seat, ended=True)

    def close(self) -> None:
        """Stop following the journals."""
        for sink in self._sinks:
            if sink.follow is not None:
                sink.follow.close()
        for beats in self._beats.values():
            beats.close()

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
        known = self.seats.get(where)
        if known is not None:
            # Profiles may name one machine twice, and nodes may share a state folder: the link
            # of the job's own cluster and of the node that was planned is kept.
            if self._fits(seat, where) > self._fits(known, where):
                self._seat(where, seat)
            return
        self._seat(where, seat)
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
        if not ended:
            self._follow_beats(seat, ended=False)
        self.changed()

    def _seat(self, where: tuple[int, int], seat: Seat) -> None:
        self.seats[where] = seat
        self.model.link(seat.key.node, seat.link.link)

    def _follow_beats(self, seat: Seat, *, ended: bool) -> None:
        folder = layout.attempt_dir(self.record.id, seat.attempt, seat.node_rank)
        sink = BeatsSink(
            self.model, seat.attempt, seat.node_rank, changed=self.changed, ended=ended
        )
        self._beats[seat.attempt, seat.node_rank] = sink
        sink.start(seat.link, f"{folder}/{layout.BEATS}")

    def check_absent(self, key: NodeKey) -> None:
        """The node listed its jobs: what it does not list of the newest attempt is not there."""
        newest, names = self.model.newest_names()
        for node_rank, name in names.items():
            if name == key.node and (newest, node_rank) not in self.seats:
                self.model.absent(newest, node_rank)

    def _fits(self, seat: Seat, where: tuple[int, int]) -> tuple[bool, bool]:
        return seat.key.cluster == self.record.cluster, seat.key.node == self._owner(where)

    def seat_ended(self, attempt: int, node_rank: int, launcher_size: object) -> None:
        """The attempt ended on a node: its journals are final."""
        size = launcher_size if isinstance(launcher_size, int) else None
        for sink in self._sinks:
            if sink.of(attempt, node_rank, "events"):
                sink.no_more_than(None)
            elif sink.of(attempt, node_rank, "launcher") and size is not None:
                sink.no_more_than(size)
        if (attempt, node_rank) in self._beats:
            self._beats[attempt, node_rank].finish()

    def _owner(self, where: tuple[int, int]) -> str:
        attempt, node_rank = where
        newest, names = self.model.newest_names()
        return names.get(node_rank, "") if newest == attempt else ""


class Tracker:
    """All jobs seen on all links of a controller. `recall`: a job as an earlier session saw it.

    `rules` recognise the causes of their failures, `mask_of` gives what hides a job's secrets.
    """

    def __init__(
        self,
        on_change: Callable[[TrackedJob], None],
        recall: Callable[[str], Job | None],
        rules: Rules | None = None,
        mask_of: Callable[[records.JobRecord], Mask] = lambda _: Mask(),
    ) -> None:
        self._mask_of = mask_of
        self._rules = rules or Rules()
        self.jobs: dict[str, TrackedJob] = {}
        self._on_change = on_change
        self._recall = recall
        self.problems: dict[tuple[NodeKey, str], str] = {}
        """What listings held that could not be read, as text for people."""
        self._postponed: dict[str, dict[NodeKey, _Postponed]] = {}

    def listed(self, key: NodeKey, link: NodeLink, listing: Mapping[str, Any], now: float) -> None:
        """Take in one node's listing of its jobs. `now` is the wall clock.

        An entry that makes no sense costs itself only; it is told in `problems`.
        """
        whole = []
        for entry in listing["jobs"]:
            try:
                whole.append((records.job_record(entry["job"]), entry))
            except (KeyError, TypeError, ValueError, AttributeError):
                name = clean(str(entry.get("id", "?")))
                why = clean(str(entry.get("damaged") or "its job.json cannot be read"))
                self.problems[key, name] = f"{key.node}: job {name}: {why}"
        whole.sort(key=lambda pair: pair[0].created_at, reverse=True)
        for number, (record, entry) in enumerate(whole):
            if not layout.JOB_ID.fullmatch(record.id):
                self.problems[key, "?"] = f"{key.node}: a job has an impossible id"
            elif number >= NEWEST and record.id not in self.jobs and _ended(entry):
                self._postponed.setdefault(record.id, {})[key] = (record, link, entry)
            else:
                self._take(key, link, record, entry)
        if listing.get("omitted"):
            self.problems[key, ""] = f"{key.node}: {listing['omitted']} older jobs are not listed"
            return
        for tracked in self.jobs.values():
            if tracked.cluster == key.cluster and now - tracked.record.created_at > CLAIM_TIME:
                tracked.check_absent(key)

    def unlist(self, key: NodeKey) -> None:
        """Nothing that only this node listed is known any more; it is not looked at."""
        for problem in [problem for problem in self.problems if problem[0] == key]:
            del self.problems[problem]
        for job, places in list(self._postponed.items()):
            places.pop(key, None)
            if not places:
                del self._postponed[job]

    def started(self, record: records.JobRecord, plan: records.AttemptRecord, seat: Seat) -> None:
        """Take in an attempt that this controller has just started, before any listing says so."""
        tracked = self.jobs.get(record.id)
        if tracked is None:
            tracked = self._track(record)
        tracked.take_seat(seat, plan, ended=False)

    def use_rules(self, rules: Rules) -> None:
        """Recognise causes by these from now on."""
        self._rules = rules
        for tracked in self.jobs.values():
            tracked.model.use_rules(rules)

    def forget(self, job: str) -> None:
        """The job was removed from its nodes, or all of them from the profiles."""
        self._postponed.pop(job, None)
        tracked = self.jobs.pop(job, None)
        if tracked is not None:
            tracked.close()

    def recall(self, reference: str) -> None:
        """Load all of ended jobs whose id begins with, or whose name is, `reference`.

        That is: older ones that were put off, and what they left of their beats.
        """
        for job, places in list(self._postponed.items()):
            record = next(iter(places.values()))[0]
            if job.startswith(reference) or record.name == reference:
                del self._postponed[job]
                for key, (found, link, entry) in places.items():
                    self._take(key, link, found, entry)
        for job, tracked in self.jobs.items():
            if job.startswith(reference) or tracked.record.name == reference:
                tracked.want_beats()

    def _track(self, record: records.JobRecord) -> TrackedJob:
        tracked = TrackedJob(record, self._on_change, self._rules, self._mask_of(record))
        self.jobs[record.id] = tracked
        return tracked

    def _take(
        self, key: NodeKey, link: NodeLink, record: records.JobRecord, entry: Mapping[str, Any]
    ) -> None:
        tracked = self.jobs.get(record.id)
        if tracked is None:
            tracked = self._track(record)
            past = self._recall(record.id)
            if past is not None:
                tracked.model.known_end(past)
        for attempt in entry["attempts"]:
            try:
                seat = Seat(int(attempt["attempt"]), int(attempt["node_rank"]), key, link)
                plan = records.attempt_record(attempt["plan"]) if attempt.get("plan") else None
            except (KeyError, TypeError, ValueError, AttributeError):
                self.problems[key, record.id] = f"{key.node}: a plan of job {record.id} is damaged"
                continue
            ended = (attempt.get("events") or {}).get("kind") == "ended"
            tracked.take_seat(seat, plan, ended)
            # What has ended needs no supervisor, though its journal may not be read yet; and where
            # nodes share a state folder, only the machine of a supervisor can see it.
            known = tracked.seats[seat.attempt, seat.node_rank]
            if "supervised" in attempt and not ended and known.link is link:
                alive = bool(attempt["supervised"])
                tracked.model.supervised(seat.attempt, seat.node_rank, alive)


def _ended(entry: Mapping[str, Any]) -> bool:
    return all((a.get("events") or {}).get("kind") == "ended" for a in entry["attempts"])
