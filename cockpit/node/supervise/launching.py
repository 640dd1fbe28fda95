"""Turning a plan into a running launcher process: argv, environment, files, execve.

Called by the supervisor after `go`. No shell is involved, and no value is decoded or quoted on
its way: text becomes bytes by UTF-8 whatever the node's locale says. Never retries.
"""

from __future__ import annotations

import dataclasses
import errno
import os
import subprocess
from collections.abc import Mapping

from cockpit.node import durable, processes
from cockpit.node.supervise import claims
from cockpit.protocol import layout, macros
from cockpit.protocol.records import AttemptRecord, JobRecord, ProcessId

_FOREIGN = ("COCKPIT_", "PET_", "SSH_")
"""Beginnings of variables of the connection's environment that a job must not inherit: another
attempt's marks, settings that torchrun would read as if they were flags, and the connection's
own (its agent socket dies with it)."""

FINISHED_FLAG_ENV = "FAULT_TOL_FINISHED_FLAG_FILE"
"""How a job is told the path of its finished flag: nvidia-resiliency-ext's own name for it."""


class StartFailedError(Exception):
    """The launcher process could not be started; says what, why, and what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


@dataclasses.dataclass(frozen=True)
class Launch:
    """A launcher process as it is to be executed, in bytes."""

    argv: tuple[bytes, ...]
    env: dict[bytes, bytes]
    cwd: bytes
    cleared: tuple[str, ...]
    """Names of inherited PET_* variables that were taken away."""
    files: dict[str, bytes] = dataclasses.field(default_factory=dict)
    """Path below the attempt's folder -> what is written there before the start."""
    finished_flag: str = ""
    """Absolute path of the job's finished flag; "" for none."""


def work_dir(place: claims.Place, job: JobRecord) -> str:
    """Where the ranks run: the job's copy of its code; with `code` None the user's folder."""
    if job.code is None:
        return job.working_dir
    return os.path.join(place.state_dir, layout.work_dir(job.id))


def prepare(
    place: claims.Place,
    job: JobRecord,
    record: AttemptRecord,
    secrets: Mapping[str, str],
    inherited: Mapping[str, str],
    runtime: str,
    slots: str = "",
) -> Launch:
    """What to execute. `inherited` is the supervisor's own environment, `slots` the folder in
    which ranks beat, "" where they do not.

    Raises StartFailedError for a macro without a value and for text that no process can take.
    """
    if not job.argv:
        raise StartFailedError("starting the launcher process: the plan holds no command")
    try:
        values = _macro_values(place, record, runtime)
        argv = tuple(_bytes(macros.substitute(item, values)) for item in job.argv)
        files = {path: _bytes(macros.substitute(text, values)) for path, text in job.files.items()}
        flag = finished_flag(place, job, record, runtime)
        env, cleared = _environment(place, job, secrets, inherited)
        env.pop(_bytes(layout.SLOTS_ENV), None)
        own = {FINISHED_FLAG_ENV: flag, layout.SLOTS_ENV: slots}
        env.update((_bytes(name), _bytes(value)) for name, value in own.items() if value)
        return Launch(argv, env, _bytes(work_dir(place, job)), cleared, files, flag)
    except KeyError as error:
        name = error.args[0]
        raise StartFailedError(
            f"starting the launcher process: the macro ${{{name}}} has no value on this node",
            f"known macros: {', '.join(sorted(macros.NAMES))}",
        ) from None
    except UnicodeEncodeError:
        # Which one is not said: it may be a secret.
        raise StartFailedError(
            "starting the launcher process: an argument, a variable or the working directory "
            "holds text that is not Unicode",
            "no process can be given half of a surrogate pair",
        ) from None


def finished_flag(place: claims.Place, job: JobRecord, record: AttemptRecord, runtime: str) -> str:
    """Absolute path of the job's finished flag on this node; "" for none.

    Raises KeyError with the name of a macro that has no value.
    """
    if not job.finished_flag:
        return ""
    path = macros.substitute(job.finished_flag, _macro_values(place, record, runtime))
    return os.path.join(work_dir(place, job), path)


def write_files(place: claims.Place, launch: Launch) -> None:
    """Put the job's own files into the attempt's folder. Raises StartFailedError.

    A path that leaves the folder, or that is taken by a file of cockpit's, is refused.
    """
    for path, data in launch.files.items():
        doing = f"writing the job's file {path!r} into the attempt's folder"
        target = place.file(path)
        if not {"", ".", ".."}.isdisjoint(path.split("/")) or "\0" in path:
            raise StartFailedError(f"{doing}: it would lie outside")
        if os.path.lexists(target):
            raise StartFailedError(f"{doing}: something is there already")
        try:
            durable.make_folder(os.path.dirname(target))
            durable.write(target, data)
        except OSError as error:
            raise StartFailedError(f"{doing}: {os.strerror(error.errno or 0)}") from None


def start(launch: Launch, out: int, err: int, umask: int) -> subprocess.Popen[bytes]:
    """Execute it in a session of its own, output into the descriptors `out` and `err`.

    The child dies neither with this process nor with its session. Raises StartFailedError.
    """
    try:
        return subprocess.Popen(
            launch.argv,
            env=launch.env,
            cwd=launch.cwd,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
            umask=umask,
        )
    except ValueError as error:
        raise StartFailedError(
            f"starting the launcher process: {error}",
            "arguments and variables cannot hold NUL, nor a variable's name a =",
        ) from None
    except OSError as error:
        raise StartFailedError(*_explain(launch, error)) from None


def identity(process: subprocess.Popen[bytes]) -> ProcessId:
    """Of a child that has not been waited for, so that its entry in /proc is there to be read."""
    entry = processes.stat(process.pid)
    start_ticks = entry.start_ticks if entry is not None else 0
    return ProcessId(process.pid, start_ticks, processes.boot_id())


def _macro_values(place: claims.Place, record: AttemptRecord, runtime: str) -> dict[str, str]:
    return {
        "job": record.job,
        "attempt": str(record.attempt),
        "node_rank": str(record.node_rank),
        "num_nodes": str(len(record.members)),
        "nproc_per_node": str(record.nproc_per_node),
        "is_head": "1" if record.node_rank == 0 else "0",
        **record.macros,
        "runtime": runtime,
        "attempt_dir": place.path,
    }


def _environment(
    place: claims.Place,
    job: JobRecord,
    secrets: Mapping[str, str],
    inherited: Mapping[str, str],
) -> tuple[dict[bytes, bytes], tuple[str, ...]]:
    env = {name: value for name, value in inherited.items() if not name.startswith(_FOREIGN)}
    cleared = tuple(sorted(name for name in inherited if name.startswith("PET_")))
    env.setdefault("PYTHONUNBUFFERED", "1")
    env.update(job.env)
    env.update(secrets)
    env[layout.MARKER] = place.marker
    env[layout.ATTEMPT_DIR_ENV] = place.path
    return {_bytes(name): _bytes(value) for name, value in env.items()}, cleared


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _explain(launch: Launch, error: OSError) -> tuple[str, str]:
    program, cwd = (os.fsdecode(item) for item in (launch.argv[0], launch.cwd))
    reason = os.strerror(error.errno) if error.errno else str(error)
    if error.filename == launch.cwd:
        return (
            f"starting {program!r} in {cwd!r}: that folder cannot be entered: {reason}",
            "the working directory must exist on the node and be open to this user",
        )
    message = f"starting {program!r} in {cwd!r}: {reason}"
    if isinstance(error, FileNotFoundError):
        path = os.path.join(cwd, program)
        if "/" in program and os.path.exists(path):
            return (
                message,
                f"{path!r} is there, but the interpreter that its first line names is not",
            )
        if "/" in program:
            return message, f"there is no {path!r} on this node"
        search = os.fsdecode(launch.env.get(b"PATH", b""))
        return message, f"it is in no folder of this node's PATH: {search or 'not set'}"
    if isinstance(error, PermissionError):
        return message, "the file must be executable by this user, on a file system without noexec"
    if error.errno == errno.ENOEXEC:
        return message, "a script needs a first line such as #!/bin/sh"
    if error.errno == errno.E2BIG:
        return message, "the kernel takes 128 KiB per argument and 2 MiB in all"
    return message, ""
