"""Attempts in a state folder, and whose they are: at most one supervisor starts each, ever.

A claim is the folder `claim` of an attempt. It appears in one step together with its owner's
identity, because it is prepared under another name and renamed: renaming onto a folder that is
not empty fails, on local and on network file systems, so of any number of controllers one wins
and no claim is ever without an owner. Supervisors claim; agents read. Never starts or ends
anything.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
import zlib
from typing import Any

from cockpit.node import durable, journal, processes
from cockpit.protocol import layout, records
from cockpit.protocol.events import TERMINAL, Event
from cockpit.protocol.records import ProcessId

SUPERVISOR_ERR = "supervisor.err"
"""Beside the logs of the launcher process: what a supervisor says when it breaks."""

_OWNER = "owner.json"


@dataclasses.dataclass(frozen=True)
class Place:
    """An attempt on this node. `path` is the absolute path of its folder."""

    state_dir: str
    job: str
    attempt: int
    node_rank: int

    @property
    def path(self) -> str:
        relative = layout.attempt_dir(self.job, self.attempt, self.node_rank)
        return os.path.join(self.state_dir, relative)

    @property
    def marker(self) -> str:
        return layout.marker(self.job, self.attempt, self.node_rank)

    def file(self, name: str) -> str:
        return os.path.join(self.path, name)


@dataclasses.dataclass(frozen=True)
class Owner:
    """Who claimed an attempt: the machine, and the supervisor that started there.

    `at` is wall clock seconds; `nonce` tells this claim from every other try.
    """

    host: str
    machine: str
    supervisor: ProcessId
    by: str
    at: float
    nonce: str

    @property
    def is_here(self) -> bool:
        """Whether that machine is this one; with a shared state folder it may be another."""
        return self.host == host() and self.machine == machine()


def host() -> str:
    return os.uname().nodename


def machine() -> str:
    """Tells machines of the same name apart; "" where the system has no machine id."""
    try:
        with open("/etc/machine-id", "rb") as file:
            # Not the id itself, which programs are asked to keep to themselves.
            return f"{zlib.crc32(file.read().strip()):08x}"
    except OSError:
        return ""


def claim(place: Place, owner: Owner) -> bool:
    """Claim the attempt for `owner`; False when somebody has it. Raises OSError."""
    target = place.file(layout.CLAIM)
    prepared = durable.temporary_name(target)
    os.mkdir(prepared, 0o700)
    try:
        document = durable.to_json(dataclasses.asdict(owner))
        durable.write(os.path.join(prepared, _OWNER), document)
        os.rename(prepared, target)
    except OSError:
        if not os.path.isdir(target):
            raise
    finally:
        _discard(prepared)
    # A network file system may answer "exists" to a repeated request that had succeeded.
    winner = read_owner(place)
    if winner is None or winner.nonce != owner.nonce:
        return False
    durable.sync_folder(place.path)
    return True


def read_owner(place: Place) -> Owner | None:
    """Who claimed the attempt; None when nobody has, or what is written there makes no sense."""
    value = durable.read_json(os.path.join(place.file(layout.CLAIM), _OWNER))
    try:
        return Owner(
            host=value["host"],
            machine=value["machine"],
            supervisor=records.process_id(value["supervisor"]),
            by=value["by"],
            at=value["at"],
            nonce=value["nonce"],
        )
    except (KeyError, TypeError, ValueError):
        return None


def is_claimed_by(place: Place, supervisor: ProcessId) -> bool:
    owner = read_owner(place)
    return owner is not None and owner.supervisor == supervisor


def places(state_dir: str, job: str | None = None) -> list[Place]:
    """Every attempt folder, claimed or not, of all jobs or of one; oldest attempt first."""
    found = []
    for name in [job] if job is not None else _entries(os.path.join(state_dir, layout.JOBS)):
        if not layout.JOB_ID.fullmatch(name):
            continue
        attempts = os.path.join(state_dir, layout.job_dir(name), "attempts")
        for attempt in _numbers(attempts):
            nodes = os.path.join(attempts, str(attempt), "nodes")
            found += [Place(state_dir, name, attempt, rank) for rank in _numbers(nodes)]
    return found


def ended(place: Place) -> Event | None:
    """The event that ended the attempt on this node; None while it has not."""
    event = journal.last(place.file(layout.EVENTS))
    if event is not None and event["kind"] in TERMINAL:
        return event
    return None


def supervisor_of(place: Place) -> ProcessId | None:
    """The last process that is known to have supervised the attempt; it may be dead."""
    try:
        return records.process_id(durable.read_json(place.file(layout.SUPERVISOR)))
    except (KeyError, TypeError, ValueError):
        owner = read_owner(place)
        return owner.supervisor if owner is not None else None


def is_supervised(place: Place) -> bool:
    """Whether the attempt's supervisor runs on this machine right now."""
    supervisor = supervisor_of(place)
    return supervisor is not None and processes.is_alive(supervisor)


class Lock:
    """Held by the one supervisor of an attempt as long as it lives; freed by its death.

    All who compete for it run on the machine that claimed the attempt. Where the file system
    has no locks, a socket name of this machine takes the file's place.
    """

    def __init__(self, place: Place) -> None:
        self._path = place.file(layout.SUPERVISOR_LOCK)
        self._holder: Any = None

    def acquire(self) -> bool:
        """False when another process holds it. Raises OSError when the file cannot be made."""
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        except OSError:
            os.close(fd)
            return self._bind_name()
        self._holder = fd
        return True

    def release(self) -> None:
        if isinstance(self._holder, int):
            os.close(self._holder)
        elif self._holder is not None:
            self._holder.close()
        self._holder = None

    def _bind_name(self) -> bool:
        import hashlib  # both are rarely needed here, and slow to load
        import socket

        digest = hashlib.sha256(os.fsencode(os.path.realpath(self._path))).hexdigest()
        name = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            name.bind(f"\0cockpit-{os.getuid()}-{digest}")
        except OSError:
            name.close()
            return False
        self._holder = name
        return True


def _entries(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _numbers(folder: str) -> list[int]:
    return sorted(int(n) for n in _entries(folder) if n.isdecimal() and str(int(n)) == n)


def _discard(prepared: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(os.path.join(prepared, _OWNER))
    with contextlib.suppress(FileNotFoundError):
        os.rmdir(prepared)
