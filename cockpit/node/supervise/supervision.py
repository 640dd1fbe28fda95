"""The agent's side of supervision: start supervisors, leave commands, replace dead supervisors.

All functions block, may be called from any thread of an agent, and raise RequestFailedError for
what a person must hear. Nothing here owns a process of a job: agents come and go, supervisors
stay.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import Any

import cockpit
from cockpit.node import durable, openfiles, processes
from cockpit.node.failures import RequestFailedError
from cockpit.node.supervise import claims, codecopy, commands, supervisor
from cockpit.node.supervise.claims import Place
from cockpit.protocol import layout, messages, records
from cockpit.protocol.records import AttemptRecord, JobRecord

_ANSWER_TIMEOUT = 60.0
_ERROR_TAIL = 2000


def prepare(
    state_dir: str,
    runtime: str,
    job: dict[str, Any],
    record: dict[str, Any],
    secrets: dict[str, str],
    go_timeout: float = messages.GO_TIMEOUT,
) -> dict[str, Any]:
    """Claim the attempt of `record` and have a supervisor wait `go_timeout` seconds for `go`.

    `job` and `record` are JSON of JobRecord and AttemptRecord, `runtime` the folder that holds
    the package `cockpit`. Returns {claimed: True, supervisor: ProcessId}. Raises
    RequestFailedError: invalid, still_running, job_differs, no_code, no_working_dir, no_space,
    already_claimed (details by, at), start.
    """
    job_record, attempt_record = _parse(job, record)
    place = _place(state_dir, record["job"], record["attempt"], record["node_rank"])
    _refuse_if_busy(place)
    try:
        durable.make_folder(place.file(layout.LOGS))
        _write_job(place, job)
        _make_work_dir(place, job_record)
    except OSError as error:
        raise _storage_failure(f"preparing job {place.job}", error) from error
    if claims.read_owner(place) is not None:
        raise supervisor.already_claimed(place)
    document = {
        "job": job,
        "record": records.to_builtins(attempt_record),
        "secrets": secrets,
        "go_timeout": go_timeout,
    }
    return _spawn(place, runtime, "claim", document)


def leave_command(
    state_dir: str, request: Mapping[str, Any], runtime: str | None = None
) -> dict[str, Any]:
    """Leave the command of a `command` request for the attempt's supervisor, durably.

    Makes sure that there is a supervisor to obey it. Returns {accepted: True}, or {accepted:
    False, ended: Event} for an attempt that is over. Raises RequestFailedError: invalid,
    not_found, no_space, start.
    """
    place = _place(state_dir, request.get("job"), request.get("attempt"), request.get("node_rank"))
    command = commands.parse(request)
    owner = claims.read_owner(place)
    if owner is None:
        raise RequestFailedError(
            "not_found",
            f"there is no attempt {place.attempt} of job {place.job} as node rank "
            f"{place.node_rank} on this node",
        )
    ended = claims.ended(place)
    if ended is not None:
        return {"accepted": False, "ended": ended}
    try:
        commands.leave(place.path, command)
    except OSError as error:
        raise _storage_failure(f"leaving a command for job {place.job}", error) from error
    if owner.is_here and not claims.is_supervised(place):
        _spawn(place, runtime or _own_runtime(), "adopt")
    return {"accepted": True}


def ensure_supervised(state_dir: str, runtime: str) -> list[dict[str, Any]]:
    """Start a supervisor for every running attempt of this machine whose own is dead.

    Returns one {job, attempt, node_rank, adopted, supervisor or null, error} for each that was
    found without; `adopted` is False when another adopter was faster, or for an `error`.
    """
    found = []
    for place in claims.places(os.path.abspath(state_dir)):
        owner = claims.read_owner(place)
        if owner is None or not owner.is_here:
            continue
        if claims.ended(place) is not None or claims.is_supervised(place):
            continue
        answer: dict[str, Any] = {"adopted": False}
        error = ""
        try:
            answer = _spawn(place, runtime, "adopt")
        except RequestFailedError as failure:
            error = failure.message
        found.append(
            {
                "job": place.job,
                "attempt": place.attempt,
                "node_rank": place.node_rank,
                "adopted": bool(answer["adopted"]),
                "supervisor": answer.get("supervisor"),
                "error": error,
            }
        )
    return found


def _parse(job: dict[str, Any], record: dict[str, Any]) -> tuple[JobRecord, AttemptRecord]:
    try:
        job_record, attempt_record = records.job_record(job), records.attempt_record(record)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RequestFailedError(
            "invalid", f"the job or its plan cannot be read: {error}"
        ) from None
    if job_record.id != attempt_record.job:
        raise RequestFailedError(
            "invalid", f"the plan is for job {attempt_record.job!r}, not for {job_record.id!r}"
        )
    return job_record, attempt_record


def _place(state_dir: str, job: object, attempt: object, node_rank: object) -> Place:
    """Raises RequestFailedError for what cannot be a part of an attempt's path."""
    if not isinstance(job, str) or not layout.JOB_ID.fullmatch(job):
        raise RequestFailedError("invalid", f"{job!r} cannot be a job's id")
    return Place(
        os.path.abspath(state_dir),
        job,
        _number(attempt, "attempt"),
        _number(node_rank, "node rank"),
    )


def _number(value: object, what: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise RequestFailedError("invalid", f"{value!r} cannot be a job's {what}")
    return value


def _refuse_if_busy(place: Place) -> None:
    """Two attempts of one job never run on one machine at the same time."""
    others = [
        other
        for other in claims.places(place.state_dir, place.job)
        if other.attempt != place.attempt and _is_ours(other)
    ]
    for other in others:
        if claims.ended(other) is None:
            raise _still_running(other, [])
    markers = {other.marker: other for other in others}
    left = [entry for entry in processes.scan(place.job) if entry["marker"] in markers]
    if left:
        raise _still_running(markers[left[0]["marker"]], left)


def _is_ours(place: Place) -> bool:
    owner = claims.read_owner(place)
    return owner is not None and owner.is_here


def _still_running(other: Place, left: list[processes.Process]) -> RequestFailedError:
    what = f"{len(left)} processes of attempt" if left else "attempt"
    return RequestFailedError(
        "still_running",
        f"{what} {other.attempt} of job {other.job} still run on this node"
        if left
        else f"{what} {other.attempt} of job {other.job} has not ended on this node",
        "cancel it first",
        {"attempt": other.attempt, "node_rank": other.node_rank, "processes": list(left)},
    )


def _write_job(place: Place, job: dict[str, Any]) -> None:
    path = os.path.join(place.state_dir, layout.job_file(place.job))
    data = durable.to_json(job)
    if not durable.write_new(path, data) and durable.read_json(path) != json.loads(data):
        raise RequestFailedError(
            "job_differs",
            f"job {place.job} is known on this node with another plan",
            "a job never changes; start a new one",
        )


def _make_work_dir(place: Place, job: JobRecord) -> None:
    if job.code is None:
        if not os.path.isdir(job.working_dir):
            raise RequestFailedError(
                "no_working_dir",
                f"the working directory {job.working_dir!r} does not exist on this node",
                "without sync it must be there already, for example on a shared file system",
            )
        return
    source = os.path.join(place.state_dir, layout.code_dir(job.code.digest))
    if not layout.DIGEST.fullmatch(job.code.digest) or not os.path.isdir(source):
        raise RequestFailedError("no_code", f"the code {job.code.digest} is not on this node")
    codecopy.copy_once(source, os.path.join(place.state_dir, layout.work_dir(job.id)))


def _storage_failure(doing: str, error: OSError) -> RequestFailedError:
    full = durable.is_full(error)
    where = f" ({error.filename})" if error.filename else ""
    return RequestFailedError(
        "no_space" if full else "start",
        f"{doing}{where}: {os.strerror(error.errno or 0)}",
        "make room on the node, or choose another state folder" if full else "",
    )


def _own_runtime() -> str:
    """The folder from which this very code was imported."""
    return os.path.dirname(os.path.dirname(os.path.abspath(cockpit.__file__)))


def _spawn(
    place: Place, runtime: str, mode: str, document: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Start a supervisor that outlives this process, and wait for its answer."""
    argv = [sys.executable, "-I", "-S", "-X", "utf8", "-c", supervisor.BOOT]
    argv += [os.path.abspath(runtime), mode, place.state_dir]
    argv += [place.job, str(place.attempt), str(place.node_rank)]
    env = {name: value for name, value in os.environ.items() if not name.startswith("COCKPIT_")}
    env[processes.SUPERVISOR_ENV] = place.marker
    env.update(openfiles.environment())
    errors = os.path.join(place.file(layout.LOGS), claims.SUPERVISOR_ERR)
    try:
        durable.make_folder(os.path.dirname(errors))
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        stderr = os.open(errors, flags, 0o600)
    except OSError as error:
        if not durable.is_full(error):
            raise _storage_failure(f"starting a supervisor for job {place.job}", error) from error
        stderr = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    try:
        process = subprocess.Popen(
            argv,
            env=env,
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            start_new_session=True,
        )
    except OSError as error:
        raise _storage_failure(f"starting a supervisor with {sys.executable}", error) from error
    finally:
        os.close(stderr)
    try:
        data = b"" if document is None else durable.to_json(document)
        answer, _ = process.communicate(data, timeout=_ANSWER_TIMEOUT)
    except subprocess.TimeoutExpired:
        _give_up(process)
        raise RequestFailedError(
            "start",
            f"the supervisor of job {place.job} did not answer within {_ANSWER_TIMEOUT:g} s",
            f"is {place.state_dir} on a file system that hangs?",
        ) from None
    return _read_answer(place, answer, errors)


def _give_up(process: subprocess.Popen[bytes]) -> None:
    """Kill it and let go. What hangs in the kernel dies later, or never: a thread reaps it."""
    process.kill()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):  # flushing what it did not read
                pipe.close()
    threading.Thread(target=process.wait, name="reaper", daemon=True).start()


def _read_answer(place: Place, answer: bytes, errors: str) -> dict[str, Any]:
    try:
        result: dict[str, Any] = json.loads(answer)
    except ValueError:
        raise RequestFailedError(
            "start",
            f"the supervisor of job {place.job} broke: {_last_line(errors) or 'no reason given'}",
            f"{errors} on the node tells more",
        ) from None
    if "error" in result:
        failure = result["error"]
        raise RequestFailedError(
            failure["code"], failure["message"], failure["hint"], failure["details"]
        )
    return result


def _last_line(path: str) -> str:
    try:
        with open(path, "rb") as file:
            file.seek(max(os.path.getsize(path) - _ERROR_TAIL, 0))
            lines = file.read().decode("utf-8", "replace").split("\n")
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
