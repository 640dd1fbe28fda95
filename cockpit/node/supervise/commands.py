"""Commands to an attempt: files that agents leave in its folder and its supervisor obeys.

One file per command, `commands/<id>.json`, whole or absent, so that it works alike on a local
disk and on a file system shared by nodes, needs nobody listening, and outlives both sides. A
file stays where it is: leaving the same id again changes nothing, and whoever adopts the attempt
finds what was asked. This module neither obeys nor judges a command.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import re
from collections.abc import Mapping
from typing import Any

from cockpit.node import durable
from cockpit.node.failures import RequestFailedError
from cockpit.protocol import layout

WORDS = ("go", "withdraw", "cancel", "restart", "checkpoint")

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SUFFIX = ".json"
_SPARE = ".spare."
_SPARES = 4
_SPARE_SIZE = 4096
_RESCAN = 1.0
"""Seconds after which the folder is read again although its mtime says that nothing changed: two
changes within one tick of the file system's clock look like one."""


@dataclasses.dataclass(frozen=True)
class Command:
    """What somebody wants of a supervisor. `grace` in seconds, None is the job's own.

    `cost`: whether a restart of the ranks counts against `max_restarts`. `step`: from which on the
    ranks shall make a checkpoint, None to want none any more.
    """

    id: str
    do: str
    by: str
    reason: str = ""
    grace: float | None = None
    cost: bool = False
    step: int | None = None


def parse(value: Mapping[str, Any]) -> Command:
    """Read a request or a command file. Raises RequestFailedError "invalid"."""
    command_id, do, grace = value.get("id"), value.get("do"), value.get("grace")
    if not isinstance(command_id, str) or not _ID.fullmatch(command_id):
        raise RequestFailedError("invalid", f"{command_id!r} cannot be a command's id")
    if do not in WORDS:
        raise RequestFailedError("invalid", f"a supervisor cannot {do!r}", f"one of {WORDS}")
    if grace is not None:
        number = isinstance(grace, (int, float)) and not isinstance(grace, bool)
        if not number or not math.isfinite(grace) or grace < 0:
            raise RequestFailedError("invalid", f"{grace!r} is no number of seconds to wait")
    cost = value.get("cost")
    if cost is not None and not isinstance(cost, bool):
        raise RequestFailedError("invalid", f"cost is true or false, not {cost!r}")
    step = value.get("step")
    if step is not None and (isinstance(step, bool) or not isinstance(step, int) or step < 0):
        raise RequestFailedError("invalid", f"{step!r} cannot be a step")
    return Command(
        id=command_id,
        do=str(do),
        by=str(value.get("by", "")),
        reason=str(value.get("reason") or ""),
        grace=None if grace is None else float(grace),
        cost=bool(cost),
        step=step,
    )


def leave(attempt: str, command: Command) -> None:
    """Put `command` into the attempt's folder, durably. Raises OSError."""
    folder = os.path.join(attempt, layout.COMMANDS)
    path = os.path.join(folder, command.id + _SUFFIX)
    document = durable.to_json(dataclasses.asdict(command))
    try:
        durable.make_folder(folder)
        durable.write_new(path, document)
    except OSError as error:
        if not durable.is_full(error) or not _use_spare(path, document):
            raise


def lay_in_spares(attempt: str) -> None:
    """Keep room for a few commands, so that a job can be cancelled when the disk is full."""
    folder = os.path.join(attempt, layout.COMMANDS)
    with contextlib.suppress(OSError):
        durable.make_folder(folder)
        for number in range(_SPARES):
            path = os.path.join(folder, f"{_SPARE}{number}")
            with open(path, "xb") as file:
                file.write(b" " * _SPARE_SIZE)


def _use_spare(path: str, document: bytes) -> bool:
    """Write `document` over a file that already has its place on the disk, and rename that."""
    folder = os.path.dirname(path)
    for number in range(_SPARES if len(document) <= _SPARE_SIZE else 0):
        spare = os.path.join(folder, f"{_SPARE}{number}")
        mine = durable.temporary_name(path)
        try:
            os.rename(spare, mine)  # whoever renames it has it
            with open(mine, "r+b") as file:
                file.write(document.ljust(_SPARE_SIZE))
                file.flush()
                os.fsync(file.fileno())
            os.rename(mine, path)
        except OSError:
            continue
        return True
    return False


class Inbox:
    """The commands of one attempt, each handed out once, in the order in which they were left.

    Made by the supervisor. `done` are ids that an earlier supervisor has obeyed.
    """

    def __init__(self, attempt: str, done: frozenset[str] = frozenset()) -> None:
        self._folder = os.path.join(attempt, layout.COMMANDS)
        self._seen = set(done)
        self._mtime = -1
        self._scanned = -math.inf

    def new(self, now: float) -> list[Command]:
        """What arrived since the last call. `now` is monotonic seconds. Raises OSError."""
        try:
            mtime = os.stat(self._folder).st_mtime_ns
        except FileNotFoundError:
            return []
        if mtime == self._mtime and now - self._scanned < _RESCAN:
            return []
        found = []
        with os.scandir(self._folder) as entries:
            for entry in entries:
                name, suffix = os.path.splitext(entry.name)
                if suffix == _SUFFIX and not name.startswith(".") and name not in self._seen:
                    found.append((entry.stat().st_mtime_ns, name, entry.path))
        self._mtime, self._scanned = mtime, now
        arrived = []
        for _, name, path in sorted(found):
            command = _load(path, name)
            self._seen.add(name)
            if command is not None:
                arrived.append(command)
        return arrived


def _load(path: str, command_id: str) -> Command | None:
    """None for a file that holds no command: nobody could have been told that it was accepted."""
    value = durable.read_json(path)
    try:
        command = parse(value) if isinstance(value, dict) else None
    except RequestFailedError:
        return None
    return command if command is not None and command.id == command_id else None
