"""The supervisor: a process of its own per attempt and node, which outlives every connection.

An agent starts it through `supervision`, as `BOOT runtime mode state_dir job attempt node_rank`;
mode "claim" reads a job, its plan and its secrets from stdin, mode "adopt" takes over from a
supervisor that died. It answers once, one JSON document on stdout, and then belongs to nobody.
Secrets stay in its memory and go into the launcher process's environment only.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

from cockpit.node import durable, journal, linux, openfiles, processes
from cockpit.node.failures import RequestFailedError
from cockpit.node.supervise import claims, commands, folding, launching
from cockpit.node.supervise.claims import Owner, Place
from cockpit.node.supervise.folding import Past
from cockpit.node.supervise.insight import Insight
from cockpit.node.supervise.keeper import BY, Keeper
from cockpit.node.supervise.watching import Bell
from cockpit.protocol import layout, records
from cockpit.protocol.events import TERMINAL
from cockpit.protocol.records import AttemptRecord, JobRecord, ProcessId, Watch

BOOT = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from cockpit.node.supervise.supervisor import main; main(sys.argv[1:])"
)
"""What `python -c` runs. The runtime's folder is the first argument."""

_DEFAULT_GRACE = 30.0
_LOCK_WAIT = 10.0


def main(argv: list[str]) -> None:
    """Run in a fresh interpreter, with stdin, stdout and stderr as the agent prepared them."""
    runtime, mode, state_dir, job, attempt, node_rank = argv
    openfiles.restore_from(os.environ)
    place = Place(state_dir, job, int(attempt), int(node_rank))
    document = json.loads(sys.stdin.buffer.read()) if mode == "claim" else None
    answer = _detach()
    umask = os.umask(0o077)
    bell = Bell()
    linux.become_subreaper()
    events = journal.Journal(place.file(layout.EVENTS), reserve=journal.RESERVE)
    # Held until this process ends, however it ends.
    lock = claims.Lock(place)
    if document is None:
        _adopt(place, lock, events, bell, answer, runtime)
    else:
        _claim(place, lock, events, bell, answer, document, runtime, umask)


def _detach() -> int:
    """Leave the agent's process tree and session; returns the descriptor for the answer."""
    if os.fork() > 0:
        os._exit(0)
    answer = os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(2, 1)
    os.close(null)
    os.chdir("/")
    return answer


def _claim(
    place: Place,
    lock: claims.Lock,
    events: journal.Journal,
    bell: Bell,
    answer: int,
    document: dict[str, Any],
    runtime: str,
    umask: int,
) -> None:
    job = records.job_record(document["job"])
    record = records.attempt_record(document["record"])
    me = _identity()
    try:
        _take(place, lock, record, me)
        durable.write(place.file(layout.PLAN), durable.to_json(document["record"]))
        durable.write(place.file(layout.SUPERVISOR), durable.to_json(records.to_builtins(me)))
    except RequestFailedError as error:
        return _reply(answer, error=_failure(error))
    except OSError as error:
        if claims.is_claimed_by(place, me):
            reason = f"its supervisor could not write its files: {error}"
            insight = _insight(place, events, job, runtime)
            keeper = Keeper(place, events, bell, grace=0, log_limit=0, insight=insight)
            keeper.withdraw(reason, BY)
        message = f"writing to {place.path}: {os.strerror(error.errno or 0)}"
        failure = RequestFailedError("start", message, "the state folder needs room and its owner")
        return _reply(answer, error=_failure(failure))
    events.write(
        "claimed",
        job=place.job,
        attempt=place.attempt,
        node_rank=place.node_rank,
        host=claims.host(),
        supervisor=records.to_builtins(me),
        by=record.created_by,
        python=".".join(map(str, sys.version_info[:3])),
    )
    events.sync()
    _reply(answer, claimed=True, supervisor=records.to_builtins(me))
    commands.lay_in_spares(place.path)
    insight = _insight(place, events, job, runtime)
    keeper = Keeper(place, events, bell, grace=job.grace, log_limit=job.log_limit, insight=insight)
    return keeper.start(
        job,
        record,
        document["secrets"],
        runtime=runtime,
        umask=umask,
        go_timeout=document["go_timeout"],
    )


def _take(place: Place, lock: claims.Lock, record: AttemptRecord, me: ProcessId) -> None:
    """Get the lock and the claim. Raises RequestFailedError "already_claimed", OSError."""
    deadline = time.monotonic() + _LOCK_WAIT
    while not lock.acquire():
        if claims.read_owner(place) is not None or time.monotonic() >= deadline:
            raise already_claimed(place)
        time.sleep(0.02)
    owner = Owner(
        host=claims.host(),
        machine=claims.machine(),
        supervisor=me,
        by=record.created_by,
        at=time.time(),
        nonce=os.urandom(16).hex(),
    )
    if not claims.claim(place, owner):
        raise already_claimed(place)


def already_claimed(place: Place) -> RequestFailedError:
    """The error for a second start of one attempt; names who was first, and when."""
    owner = claims.read_owner(place)
    by, at = (owner.by, owner.at) if owner is not None else ("", 0.0)
    return RequestFailedError(
        "already_claimed",
        f"attempt {place.attempt} of job {place.job} has been started here by {by or 'another'}",
        "attach to it, or restart it for a new attempt",
        {"by": by, "at": at},
    )


def _adopt(
    place: Place,
    lock: claims.Lock,
    events: journal.Journal,
    bell: Bell,
    answer: int,
    runtime: str,
) -> None:
    owner = claims.read_owner(place)
    if owner is None or not owner.is_here or not lock.acquire():
        return _reply(answer, adopted=False)
    written = journal.read(events.path)
    if any(event["kind"] in TERMINAL for event in written) or claims.is_supervised(place):
        return _reply(answer, adopted=False)
    me = _identity()
    past = folding.past(written)
    alive = past.process is not None and processes.is_alive(past.process)
    events.write("adopted", supervisor=records.to_builtins(me), launcher_alive=alive)
    try:
        durable.write(place.file(layout.SUPERVISOR), durable.to_json(records.to_builtins(me)))
    except OSError as error:
        # The lock still tells every other adopter that the attempt is in good hands.
        events.write("note", level="warn", message=f"writing supervisor.json failed: {error}")
    _reply(answer, adopted=True, supervisor=records.to_builtins(me))
    job = _read_job(place)
    keeper = Keeper(
        place,
        events,
        bell,
        grace=job.grace if job is not None else _DEFAULT_GRACE,
        log_limit=job.log_limit if job is not None else 0,
        insight=_insight(place, events, job, runtime, past),
        past=past,
        finished_flag=_finished_flag(place, job, runtime),
    )
    return keeper.resume(owner.supervisor.boot_id)


def _read_job(place: Place) -> JobRecord | None:
    """None when `job.json` is gone or damaged; an attempt can be seen to its end without it."""
    path = os.path.join(place.state_dir, layout.job_file(place.job))
    try:
        return records.job_record(durable.read_json(path))
    except (KeyError, TypeError):
        return None


def _insight(
    place: Place,
    events: journal.Journal,
    job: JobRecord | None,
    runtime: str,
    past: Past | None = None,
) -> Insight:
    """Without its `job.json` an attempt is watched in the default way."""
    return Insight(
        place,
        events,
        kind=job.kind if job is not None else "",
        watch=job.watch if job is not None else Watch(),
        runtime=runtime,
        past=past,
    )


def _finished_flag(place: Place, job: JobRecord | None, runtime: str) -> str:
    """Where the flag of an attempt lies that an earlier supervisor has started; "" for nowhere."""
    if job is None or not job.finished_flag:
        return ""
    try:
        record = records.attempt_record(durable.read_json(place.file(layout.PLAN)))
        return launching.finished_flag(place, job, record, runtime)
    except (KeyError, TypeError, ValueError):
        return ""


def _identity() -> ProcessId:
    me = processes.identify(os.getpid())
    if me is None:
        raise RuntimeError("this process is not in /proc")
    return me


def _failure(error: RequestFailedError) -> dict[str, Any]:
    return {
        "code": error.code,
        "message": error.message,
        "hint": error.hint,
        "details": error.details,
    }


def _reply(answer: int, **result: Any) -> None:
    """Tell the agent, if it is still there, and let go of it."""
    try:
        os.write(answer, durable.to_json(result))
    except BrokenPipeError:
        pass
    finally:
        os.close(answer)
