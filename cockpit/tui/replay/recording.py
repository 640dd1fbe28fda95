"""Finding and reading what a job left: journals, plans and logs, as they lie on a node.

`read` takes one journal, the folder of one node's part in an attempt, or the folder of a job
(`cockpit record` writes one). Reads disks; everything else of a replay is pure.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from cockpit.errors import CockpitError, UsageError
from cockpit.model.logtypes import Origin
from cockpit.protocol import layout, records
from cockpit.protocol.records import AttemptRecord, JobRecord, Member
from cockpit.text import clean
from cockpit.tui.replay.files import LogFile, load

JOB_FILE = "job.json"
ATTEMPTS = "attempts"
NODES = "nodes"
FILES = {layout.EVENTS: "events", layout.LAUNCHER_EVENTS: "launcher", layout.BEATS: "beats"}
"""Files of journals, and what the model calls them."""
MAX_JOURNAL = 512 * 1024 * 1024
"""Bytes of a journal that are read."""
_NUMBER = re.compile(r"\d{1,9}")
_RANK_LOG = re.compile(r"(\d{1,9})\.(out|err)")
_LAUNCHER = frozenset(
    ("launcher", "rendezvous_begin", "rendezvous", "rendezvous_failed", "generation", "group",
     "stopping", "stopped", "restarting", "restart_refused", "ft_timeout", "launcher_exc",
     "launcher_exit", "hook_missing", "hook_error")
)  # fmt: skip
_HINT = "a journal (events.jsonl) or a job's folder, as nodes have them or `cockpit record` made it"


class Stamp(msgspec.Struct, frozen=True):
    """What every event of a journal has."""

    seq: int
    at: float
    kind: str


STAMPS = msgspec.json.Decoder(Stamp)


@dataclasses.dataclass(frozen=True)
class Journal:
    """One journal of one node in one attempt. `name`: "events", "launcher" or "beats"."""

    attempt: int
    node_rank: int
    name: str
    data: bytes


@dataclasses.dataclass(frozen=True)
class Recording:
    """What was found. `name`: of the file or folder, for people."""

    name: str
    job: JobRecord
    plans: tuple[AttemptRecord, ...]
    journals: tuple[Journal, ...]
    logs: tuple[LogFile, ...]


def read(path: Path) -> Recording:
    """Raises UsageError for what is no recording, CockpitError for what cannot be read."""
    try:
        return _read(path.absolute())
    except OSError as error:
        raise CockpitError(f"cannot read {path}: {error.strerror or error}") from error


def _read(path: Path) -> Recording:
    if not path.exists():
        raise UsageError(f"there is nothing to replay at {path}", _HINT)
    if path.is_file():
        if path.name in FILES:
            return _of_seats(path, path.parent.parents[3:4], [path.parent])
        return _of_file(path)
    if any((path / name).is_file() for name in FILES):
        return _of_seats(path, path.parents[3:4], [path])
    seats = [seat for _, seat in _seats(path)]
    if not seats:
        raise UsageError(f"{path} is no recording: it holds no journal", _HINT)
    return _of_seats(path, [path], seats)


def _seats(job: Path) -> Iterator[tuple[tuple[int, int], Path]]:
    """(attempt, node rank) and folder of every part of a job, in order."""
    found = []
    for folder in job.glob(f"{ATTEMPTS}/*/{NODES}/*"):
        attempt, rank = folder.parent.parent.name, folder.name
        if _NUMBER.fullmatch(attempt) and _NUMBER.fullmatch(rank) and folder.is_dir():
            found.append(((int(attempt), int(rank)), folder))
    return iter(sorted(found))


def _of_file(path: Path) -> Recording:
    """A journal that lies alone, under any name."""
    data = _bytes(path)
    first = _first(data)
    if first is None:
        raise UsageError(f"{path} is no journal of a job", _HINT)
    name = "events"
    if first["kind"] in _LAUNCHER:
        name = "launcher"
    elif first["kind"] == "beats":
        name = "beats"
    seat = _Seat(path.parent, {name: data}, 0, 0)
    return _assemble(path, None, [seat])


def _of_seats(path: Path, jobs: Any, folders: list[Path]) -> Recording:
    job = next((_job(folder / JOB_FILE) for folder in jobs if (folder / JOB_FILE).is_file()), None)
    seats = [_seat(folder) for folder in folders]
    if not any(_first(data) for seat in seats for data in seat.journals.values()):
        raise UsageError(f"{path} is no recording: no journal in it has an event", _HINT)
    return _assemble(path, job, seats)


@dataclasses.dataclass(frozen=True)
class _Seat:
    folder: Path
    journals: dict[str, bytes]
    attempt: int
    node_rank: int
    plan: AttemptRecord | None = None


def _seat(folder: Path) -> _Seat:
    journals = {
        name: _bytes(folder / file) for file, name in FILES.items() if (folder / file).is_file()
    }
    plan = _plan(folder / layout.PLAN)
    if plan is not None:
        return _Seat(folder, journals, plan.attempt, plan.node_rank, plan)
    attempt, rank = folder.parent.parent.name, folder.name
    placed = bool(_NUMBER.fullmatch(attempt) and _NUMBER.fullmatch(rank))
    where = (int(attempt), int(rank)) if placed else (0, 0)
    return _Seat(folder, journals, *where)


def _assemble(path: Path, job: JobRecord | None, seats: list[_Seat]) -> Recording:
    claims = [_first(seat.journals.get("events", b"")) or {} for seat in seats]
    plans = tuple(
        seat.plan or _guessed_plan(seat, claim) for seat, claim in zip(seats, claims, strict=True)
    )
    names = {(p.attempt, m.node_rank): clean(m.name) for p in plans for m in p.members}
    return Recording(
        name=clean(path.name),
        job=job or _guessed_job(path, seats, claims),
        plans=plans,
        journals=tuple(
            Journal(seat.attempt, seat.node_rank, name, data)
            for seat in seats
            for name, data in seat.journals.items()
        ),
        logs=tuple(
            log
            for seat in seats
            for log in _logs(seat, names.get((seat.attempt, seat.node_rank), ""))
        ),
    )


def _guessed_job(path: Path, seats: list[_Seat], claims: list[dict[str, Any]]) -> JobRecord:
    """A job of which only journals are known."""
    claim: dict[str, Any] = next((claim for claim in claims if claim), {})
    told = str(claim.get("job", ""))
    begun = [stamp["at"] for seat in seats for d in seat.journals.values() if (stamp := _first(d))]
    kind = "torchrun" if any("launcher" in seat.journals for seat in seats) else "command"
    return JobRecord(
        id=told or path.stem, name=told or path.stem, created_at=min(begun, default=0.0),
        created_by=str(claim.get("by", "")), cluster="replay", launcher="", kind=kind,
        min_nodes=len(seats), max_nodes=len(seats), nproc_per_node=1, command=(), argv=(), env={},
        secrets={}, working_dir="", code=None, max_restarts=0, grace=0.0,
    )  # fmt: skip


def _guessed_plan(seat: _Seat, claim: dict[str, Any]) -> AttemptRecord:
    host = str(claim.get("host", "")) or f"node{seat.node_rank}"
    return AttemptRecord(
        job=str(claim.get("job", "")), attempt=seat.attempt, node_rank=seat.node_rank,
        members=(Member(seat.node_rank, host, host, ""),), macros={}, created_at=0.0,
        created_by="", nproc_per_node=1,
    )  # fmt: skip


def _logs(seat: _Seat, node: str) -> Iterator[LogFile]:
    folder = seat.folder / layout.LOGS
    for stream in ("out", "err"):
        path = seat.folder / layout.launcher_log(stream)
        if path.is_file():
            origin = Origin(node, seat.node_rank, None, None, stream, seat.attempt, None)
            yield load(origin, path)
    ranks = _ranks(seat.journals.get("launcher", b""))
    for generation in sorted(folder.glob("*")) if folder.is_dir() else []:
        if not _NUMBER.fullmatch(generation.name):
            continue
        for path in sorted(generation.iterdir()):
            match = _RANK_LOG.fullmatch(path.name)
            if match and path.is_file():
                number, local = int(generation.name), int(match[1])
                rank = ranks.get((number, local))
                where = (node, seat.node_rank, rank, local, match[2], seat.attempt, number)
                yield load(Origin(*where), path)


def _ranks(launcher: bytes) -> dict[tuple[int, int], int]:
    """(generation, local rank) -> rank, as the launcher process told it."""
    found: dict[tuple[int, int], int] = {}
    for line in launcher.splitlines():
        if b'"generation"' not in line:
            continue
        try:
            event = json.loads(line)
            for rank in event["ranks"]:
                found[int(event["generation"]), int(rank["local_rank"])] = int(rank["rank"])
        except (ValueError, KeyError, TypeError, RecursionError):
            continue  # another kind of event, or a torn line
    return found


def _job(path: Path) -> JobRecord:
    try:
        return records.job_record(json.loads(path.read_bytes()))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UsageError(f"{path} is damaged: {type(error).__name__}: {error}") from error


def _plan(path: Path) -> AttemptRecord | None:
    if not path.is_file():
        return None
    try:
        return records.attempt_record(json.loads(path.read_bytes()))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UsageError(f"{path} is damaged: {type(error).__name__}: {error}") from error


def _bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_JOURNAL)


def _first(data: bytes) -> dict[str, Any] | None:
    """The first event of a journal; None where none of its first lines is one."""
    for line in data[: 1 << 20].splitlines()[:100]:
        try:
            STAMPS.decode(line)
            event: dict[str, Any] = msgspec.json.decode(line)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            continue
        return event
    return None
