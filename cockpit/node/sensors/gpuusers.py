"""Who uses a GPU: user, command and job of a process, by its pid.

Used by the GPU sources. What cannot be seen (another container's process, another user's
environment) is "", never a guess. Reads /proc only.
"""

from __future__ import annotations

import os
import pwd
import time

from cockpit.node import processes
from cockpit.node.sensors.gpusample import Json
from cockpit.protocol import layout

MAX_COMMAND = 60
"""Characters of a command that are told."""
_SETTLED = 5.0
"""Seconds after its first look that a process is looked at again: it changes when a new process
becomes another program."""


class GpuUsers:
    """Remembers what it found, since a pid that stays the same process stays what it is."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[int, float, Json]] = {}
        """pid -> (start ticks, when it was first seen, what it is)"""

    def describe(self, pid: int, memory: int | None) -> Json:
        """One of a GPU's `processes`. `memory` in bytes."""
        found = processes.stat(pid)
        ticks = -1 if found is None else found.start_ticks
        now = time.monotonic()
        known = self._known.get(pid)
        if known is None or known[0] != ticks:
            known = self._known[pid] = (ticks, now, _look(pid))
        elif known[1] < now - _SETTLED:
            known = self._known[pid] = (ticks, float("inf"), _look(pid))
        return {"pid": pid, "memory": memory, **known[2]}

    def forget(self, pids: set[int]) -> None:
        """Keep only these."""
        for pid in self._known.keys() - pids:
            del self._known[pid]


def _look(pid: int) -> Json:
    return {"user": _user(pid), "command": _command(pid), "job": _job(pid)}


def _user(pid: int) -> str:
    try:
        return user_name(os.stat(f"/proc/{pid}").st_uid)
    except OSError:
        return ""


def user_name(uid: int) -> str:
    """The user's name, or the number where there is none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _command(pid: int) -> str:
    arguments = _read(f"/proc/{pid}/cmdline").rstrip(b"\0").split(b"\0")
    return b" ".join(arguments).decode("utf-8", "replace")[:MAX_COMMAND]


def _job(pid: int) -> str:
    """The id of the job that the process belongs to, by the marker in its environment."""
    marker = layout.MARKER.encode() + b"="
    for item in _read(f"/proc/{pid}/environ").split(b"\0"):
        if item.startswith(marker):
            return os.fsdecode(item[len(marker) :]).partition("/")[0]
    return ""


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""
