"""Which processes run on this node, told apart beyond doubt.

A process is known by pid, start time and boot (`ProcessId`), or by the marker of its attempt in
its environment; never by its command line, never by a bare pid. Used by agent and supervisor.
Reads /proc only; `send_signal` is the one function that acts.
"""

from __future__ import annotations

import functools
import os
import shlex
import signal
from typing import NamedTuple, TypedDict

from cockpit.protocol import layout
from cockpit.protocol.records import ProcessId

SUPERVISOR_ENV = "COCKPIT_SUPERVISOR"
"""Environment variable of every supervisor; its value is the marker of what it supervises."""

_COMMAND = 300


class Process(TypedDict):
    """A process of an attempt. `marker` says of which; by descent where its environment does not.

    "" for a process that only `descendants` knows to be one.
    """

    pid: int
    ppid: int
    state: str
    command: str
    marker: str
    start_ticks: int


class Stat(NamedTuple):
    """What /proc/<pid>/stat says. `start_ticks` counts clock ticks since boot."""

    name: str
    state: str
    ppid: int
    threads: int
    start_ticks: int

    @property
    def dead(self) -> bool:
        # A main thread that has exited is shown as a zombie although other threads go on.
        return self.state in "Xx" or (self.state == "Z" and self.threads <= 1)


@functools.cache
def boot_id() -> str:
    """Identifies the running kernel; changes with every boot."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def stat(pid: int) -> Stat | None:
    """None when there is no such process."""
    data = _read(f"/proc/{pid}/stat")
    # The name may hold anything, parentheses and newlines included.
    head, parenthesis, tail = data.rpartition(b")")
    fields = tail.split()
    if not parenthesis or len(fields) < 20:
        return None
    name = head.partition(b"(")[2].decode("utf-8", "replace")
    return Stat(name, fields[0].decode(), int(fields[1]), int(fields[17]), int(fields[19]))


def identify(pid: int) -> ProcessId | None:
    """The identity of the live process `pid`; None when there is none."""
    found = stat(pid)
    if found is None or found.dead:
        return None
    return ProcessId(pid, found.start_ticks, boot_id())


def is_alive(process: ProcessId) -> bool:
    """Whether that very process still runs; a zombie does not."""
    return process.boot_id == boot_id() and identify(process.pid) == process


def send_signal(process: ProcessId, number: int) -> bool:
    """Signal that very process and no other. False when it is gone; raises PermissionError."""
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return False
    except (OSError, AttributeError):  # an old kernel or C library
        handle = -1
    try:
        if not is_alive(process):
            return False
        if handle >= 0:
            signal.pidfd_send_signal(handle, number)
        else:
            os.kill(process.pid, number)
    except ProcessLookupError:
        return False
    finally:
        if handle >= 0:
            os.close(handle)
    return True


def scan(prefix: str) -> list[Process]:
    """Every live process that belongs to `prefix`, oldest first.

    `prefix` is "job", "job/attempt" or "job/attempt/node_rank" and is compared by whole parts.
    A process belongs to it by the marker in its environment, or by having such a process among
    its ancestors: programs overwrite their environment to change their title. A supervisor, and
    what carries another attempt's marker, belongs to that attempt and not to its ancestors'.
    """
    if not prefix:
        raise ValueError("a scan needs the job it is about")
    wanted = os.fsencode(f"{layout.MARKER}={prefix}")
    marked: dict[int, str] = {}
    for pid in _pids():
        environ = _read(f"/proc/{pid}/environ")
        if wanted in environ:
            marker = _value(environ, layout.MARKER)
            if _belongs(marker, prefix):
                marked[pid] = marker
    if not marked:
        return []
    table = _table()
    return _describe({**marked, **_below(marked, table, prefix)}, table)


def descendants(pid: int, prefix: str) -> list[Process]:
    """Every live process below `pid` that is not another attempt's, oldest first."""
    table = _table()
    return _describe(_below({pid: ""}, table, prefix), table)


def _describe(markers: dict[int, str], table: dict[int, Stat]) -> list[Process]:
    found: list[Process] = []
    for pid, marker in markers.items():
        entry = table.get(pid)
        if entry is None or entry.dead:
            continue
        found.append(
            {
                "pid": pid,
                "ppid": entry.ppid,
                "state": entry.state,
                "command": _command(pid, entry.name),
                "marker": marker,
                "start_ticks": entry.start_ticks,
            }
        )
    return sorted(found, key=lambda process: (process["start_ticks"], process["pid"]))


def _belongs(marker: str, prefix: str) -> bool:
    return marker == prefix or marker.startswith(prefix + "/")


def _below(roots: dict[int, str], table: dict[int, Stat], prefix: str) -> dict[int, str]:
    """Pids below `roots` that are no roots, each with the marker of the nearest one above it."""
    children: dict[int, list[int]] = {}
    for pid, entry in table.items():
        children.setdefault(entry.ppid, []).append(pid)
    found: dict[int, str] = {}
    todo = list(roots.items())
    while todo:
        parent, marker = todo.pop()
        for child in children.get(parent, ()):
            if child not in found and child not in roots and not _is_foreign(child, prefix):
                found[child] = marker
                todo.append((child, marker))
    return found


def _is_foreign(pid: int, prefix: str) -> bool:
    environ = _read(f"/proc/{pid}/environ")
    marker = _value(environ, layout.MARKER)
    return bool(marker and not _belongs(marker, prefix)) or bool(_value(environ, SUPERVISOR_ENV))


def _table() -> dict[int, Stat]:
    entries = ((pid, stat(pid)) for pid in _pids())
    return {pid: entry for pid, entry in entries if entry is not None}


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _value(environ: bytes, name: str) -> str:
    key = name.encode() + b"="
    for item in environ.split(b"\0"):
        if item.startswith(key):
            return os.fsdecode(item[len(key) :])
    return ""


def _command(pid: int, name: str) -> str:
    arguments = _read(f"/proc/{pid}/cmdline").rstrip(b"\0").split(b"\0")
    if arguments == [b""]:
        return f"[{name}]"[:_COMMAND]
    return shlex.join(part.decode("utf-8", "replace") for part in arguments)[:_COMMAND]


def _read(path: str) -> bytes:
    """b"" for what is gone or not ours to read: processes come and go while they are listed."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""
