"""Jobs that this controller has seen, remembered on its own disk.

So that `ps` and `attach` know which cluster a job belongs to without asking every node of every
cluster, and ended jobs stay visible when their nodes are gone. The journals on the nodes remain
the truth: what is read here is old by definition. One small file per job.
"""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path
from typing import Any

import msgspec

from cockpit.errors import CockpitError, Problem
from cockpit.model.private import make_folder, write_atomic
from cockpit.model.types import Job
from cockpit.protocol import layout

_SUFFIX = ".json"
KEEP = 500
"""Jobs that are remembered; the oldest go first."""


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """A job as it was when it was last seen. `seen_at`: controller's wall clock, seconds."""

    job: Job
    seen_at: float
    schema: int = 1


class JobStore:
    """The files below `root`. Makes nothing before the first `remember`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._written: dict[str, Job] = {}

    def remember(self, job: Job, now: float) -> None:
        """Keep `job`; does nothing when just this was kept last.

        Raises ValueError for an id that is none, CockpitError when the disk refuses.
        """
        path = self._path(job.id)
        if self._written.get(job.id) == job:
            return
        try:
            make_folder(self._root)
            write_atomic(path, _encode(Seen(job=job, seen_at=now)))
        except OSError as error:
            raise CockpitError(
                f"cannot remember job {job.id} in {path}: {error.strerror}",
                "the job itself is not affected",
            ) from error
        self._written[job.id] = job

    def recall(self, job: str) -> Job | None:
        """One job as it was last seen, None when it is not remembered or damaged."""
        try:
            return _decode(self._path(job).read_bytes()).job
        except (OSError, ValueError, msgspec.DecodeError):
            return None

    def load(self) -> tuple[list[Seen], list[Problem]]:
        """Every job remembered, newest first, and what could not be read.

        A damaged file is put aside as `.bad`; the others still load. Jobs over KEEP are forgotten.
        """
        seen: list[Seen] = []
        problems: list[Problem] = []
        try:
            names = sorted(os.listdir(self._root))
        except OSError:
            return [], []
        for name in names:
            if not name.endswith(_SUFFIX):
                continue
            path = self._root / name
            try:
                found = _decode(path.read_bytes())
                if found.job.id + _SUFFIX != name:
                    raise msgspec.ValidationError("it holds another job")
            except msgspec.DecodeError as error:
                problems.append(_put_aside(path, error))
            except OSError as error:
                problems.append(Problem(f"cannot be read: {error.strerror}", str(path)))
            else:
                seen.append(found)
        seen.sort(key=lambda item: (-item.job.created_at, item.job.id))
        for item in seen[KEEP:]:
            self.forget(item.job.id)
        return seen[:KEEP], problems

    def forget(self, job: str) -> None:
        """Remove a job's file; unknown jobs are ignored. Raises ValueError for no id."""
        with contextlib.suppress(OSError):
            self._path(job).unlink()
        self._written.pop(job, None)

    def _path(self, job: str) -> Path:
        if not layout.JOB_ID.fullmatch(job):
            raise ValueError(f"not a job id: {job!r}")
        return self._root / f"{job}{_SUFFIX}"


def _encode(seen: Seen) -> bytes:
    return msgspec.json.encode(_in_words(msgspec.to_builtins(seen)))


def _in_words(value: Any) -> Any:
    """`value` with texts for NaN and infinity, which JSON has no numbers for."""
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, dict):
        return {key: _in_words(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_in_words(item) for item in value]
    return value


def _decode(data: bytes) -> Seen:
    """Raises msgspec.DecodeError. Not strictly: "nan" is a number here."""
    return msgspec.json.decode(data, type=Seen, strict=False)


def _put_aside(path: Path, error: Exception) -> Problem:
    bad = path.with_suffix(".bad")
    try:
        os.replace(path, bad)
    except OSError:
        return Problem(f"is damaged ({error})", str(path), hint="delete it")
    return Problem(f"was damaged ({error}) and is now {bad.name}", str(path))
