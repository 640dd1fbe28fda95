"""What jobs this node knows: a scan of the state folder, and the subscription to its changes.

Used by the operations `jobs` and `watch_jobs`. The scan runs in a thread, also sees to it that
every living attempt has a supervisor, and writes nothing itself. A damaged document costs its own
entry only.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from cockpit.node import journal
from cockpit.node.agent.streams import OneShot, Services, Stream
from cockpit.node.agent.workers import Probe
from cockpit.node.arguments import Arguments
from cockpit.node.statedir import Node
from cockpit.protocol import layout
from cockpit.protocol.events import TERMINAL

if TYPE_CHECKING:
    from cockpit.node.supervise.claims import Place

DEFAULT_INTERVAL = 2.0
LEAST_INTERVAL = 0.2
MAX_SHARE = 0.005
"""Share of a processor that watching may take; with very many jobs it becomes slower instead."""
CLAIM_PATIENCE = 10.0
"""Seconds in which an attempt's supervisor, which takes a moment to start, has claimed it."""
ADOPT_RETRY = 10.0
"""Seconds between tries to give a supervisor to attempts that cannot get one."""
MAX_DOCUMENT = 8 * 1024 * 1024
"""Bytes of JSON in one answer. The oldest jobs are left out above it, and counted."""

Json = dict[str, Any]


class Scan(NamedTuple):
    """What a scan found, newest job first, and the processor seconds that it took."""

    entries: list[Json]
    cost: float


class Scanner:
    """Reads the jobs folder again and again, and only what has changed since. For one thread."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._documents: dict[str, tuple[tuple[int, int, int], Any]] = {}
        self._orphans = False
        self._adoption = _Adoption(node)

    def scan(self) -> Scan:
        """Entries as `messages` describes them.

        A job whose job.json cannot be read has `job` null and says why in `damaged`. Attempts that
        have lost their supervisor get another one first.
        """
        before = time.thread_time()
        entries = self._scan()
        if self._orphans and self._adoption.try_it():
            entries = self._scan()
        return Scan(entries, time.thread_time() - before)

    def _scan(self) -> list[Json]:
        self._orphans = False
        seen: dict[str, tuple[tuple[int, int, int], Any]] = {}
        folder = f"{self._node.state_dir}/{layout.JOBS}"
        entries = [
            self._job(name, seen) for name in _names(folder) if layout.JOB_ID.fullmatch(name)
        ]
        self._documents = seen
        return sorted(entries, key=_created, reverse=True)

    def _job(self, job: str, seen: dict[str, Any]) -> Json:
        # Slow to load (dataclasses): here a thread does it, and only where there are jobs.
        from cockpit.node.supervise import claims

        entry: Json = {"id": job}
        path = f"{self._node.state_dir}/{layout.job_file(job)}"
        record, problem = self._document(path, _whole, seen)
        if problem or not isinstance(record, dict):
            entry["job"] = None
            entry["damaged"] = problem or "job.json does not hold a job"
        else:
            entry["job"] = record
        entry["attempts"] = [
            self._attempt(place, seen) for place in claims.places(self._node.state_dir, job)
        ]
        return entry

    def _attempt(self, place: Place, seen: dict[str, Any]) -> Json:
        # Before the journal is read: a supervisor that writes its last event and leaves in between
        # would be taken for a lost one.
        supervised, is_here = _watched(place)
        plan, problem = self._document(place.file(layout.PLAN), _whole, seen)
        event, _ = self._document(place.file(layout.EVENTS), _newest_event, seen)
        over = isinstance(event, dict) and event.get("kind") in TERMINAL
        entry: Json = {
            "attempt": place.attempt,
            "node_rank": place.node_rank,
            "plan": plan,
            "events": event,
        }
        if over:
            supervised = False
        elif supervised is False:
            self._orphans |= is_here
        if supervised is not None:
            entry["supervised"] = supervised
        if problem:
            entry["damaged"] = problem
        return entry

    def _document(
        self, path: str, read: Callable[[str], Any], seen: dict[str, Any]
    ) -> tuple[Any, str]:
        """What `read` makes of the file, None when it is missing or damaged; and why."""
        try:
            status = os.stat(path)
        except OSError as error:
            missing = isinstance(error, (FileNotFoundError, NotADirectoryError))
            name = os.path.basename(path)
            required = name == "job.json"
            problem = f"{name}: {error.strerror}" if required or not missing else ""
            return None, problem
        stamp = (status.st_ino, status.st_size, status.st_mtime_ns)
        known = self._documents.get(path)
        if known is None or known[0] != stamp:
            try:
                known = (stamp, (read(path), ""))
            except (OSError, ValueError, RecursionError) as error:
                known = (stamp, (None, f"{os.path.basename(path)}: {error}"))
        seen[path] = known
        value, problem = known[1]
        return value, problem


class _Adoption:
    """Gives new supervisors to attempts that have lost theirs. Failures are not fatal."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._complaint = ""
        self._not_before = 0.0

    def try_it(self) -> bool:
        """Whether a try was made; after a failure there is none for ADOPT_RETRY seconds."""
        if time.monotonic() < self._not_before:
            return False
        from cockpit.node.supervise.supervision import ensure_supervised

        try:
            found = ensure_supervised(self._node.state_dir, self._node.runtime)
            complaint = "; ".join(attempt["error"] for attempt in found if attempt["error"])
        except Exception as error:  # noqa: BLE001 - the jobs are shown nevertheless
            complaint = f"{type(error).__name__}: {error}"
        if complaint:
            self._not_before = time.monotonic() + ADOPT_RETRY
        if complaint and complaint != self._complaint:
            sys.stderr.write(f"cockpit: attempts could not be adopted: {complaint}\n")
        self._complaint = complaint
        return True


def document(entries: list[Json]) -> Json:
    """The answer that holds `entries`; `omitted` counts what would not fit."""
    used = 0
    for count, entry in enumerate(entries):
        used += len(json.dumps(entry))
        if used > MAX_DOCUMENT:
            return {"jobs": entries[:count], "omitted": len(entries) - count}
    return {"jobs": entries}


class Jobs(OneShot):
    """The operation `jobs`."""

    def start(self, probe: Probe) -> None:
        def answer(found: Scan, error: Exception | None) -> None:
            self.done({} if error is not None else document(found.entries), error)

        probe.ask(answer)


class WatchJobs(Stream):
    """The operation `watch_jobs`: an EVENT at once and after every change."""

    def __init__(self, services: Services, number: int, arguments: Arguments, probe: Probe) -> None:
        super().__init__(services, number)
        self._interval = arguments.seconds("interval", DEFAULT_INTERVAL, LEAST_INTERVAL)
        self._probe = probe
        self._known: list[Json] | None = None

    def start(self) -> None:
        self.reply({})
        self._ask()

    def _ask(self) -> None:
        self._probe.ask(self.guarded(self._scanned))

    def _scanned(self, found: Scan, error: Exception | None) -> None:
        if error is not None:
            self.fail(error)
            return
        if found.entries != self._known and not self.services.connection.congested:
            self._known = found.entries
            self.event(document(found.entries))
        self.later(max(self._interval, found.cost / MAX_SHARE), self._ask)


def _watched(place: Place) -> tuple[bool | None, bool]:
    """Whether its supervisor runs on this machine, and whether one of this machine claimed it.

    None while the supervisor is still to claim it.
    """
    from cockpit.node.supervise import claims

    owner = claims.read_owner(place)
    if owner is None:
        return (None if _is_new(place.path) else False), False
    return claims.is_supervised(place), owner.is_here


def _is_new(folder: str) -> bool:
    try:
        age = time.time() - os.stat(folder).st_mtime
    except OSError:
        return False
    return abs(age) < CLAIM_PATIENCE  # the clock of a file server may run ahead of ours


def _created(entry: Json) -> float:
    job = entry["job"]
    created = job.get("created_at") if job else None
    return float(created) if isinstance(created, (int, float)) else 0.0


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _reject_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _parse(text: bytes) -> Any:
    return json.loads(text.decode("utf-8"), parse_constant=_reject_constant)


def _whole(path: str) -> Any:
    with open(path, "rb") as file:
        return _parse(file.read())


def _newest_event(path: str) -> Any:
    event = journal.last(path)
    json.dumps(event, allow_nan=False)  # what no JSON reader takes is damage
    return event
