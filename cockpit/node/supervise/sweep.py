"""Ending every process of an attempt, and proving it.

Used by the supervisor once the launcher process is gone or its time is up. What belongs to the
attempt is known by its marker and by descent. Nothing that is not SIGKILL is sent from here, and
nothing counts as gone before two scans in a row have found nothing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import time
from collections.abc import Callable

from cockpit.node import processes
from cockpit.node.processes import Process
from cockpit.protocol.records import ProcessId

LIMIT = 15.0
"""Seconds that a sweep may take; a process in an uninterruptible state may outlast it."""

_PAUSE = 0.03
_POLL = 0.2

Tick = Callable[[float], bool]
"""Called between scans; waits that many seconds, and returns True to end all patience now."""


@dataclasses.dataclass(frozen=True)
class Swept:
    """`killed`: what had to be ended. `left`: what could not be. Both [{pid, command}]."""

    killed: tuple[dict[str, object], ...] = ()
    left: tuple[dict[str, object], ...] = ()


def remaining(marker: str) -> list[Process]:
    """Every live process of the attempt: by its marker, or a descendant of this process."""
    found = {process["pid"]: process for process in processes.descendants(os.getpid(), marker)}
    found.update((process["pid"], process) for process in processes.scan(marker))
    found.pop(os.getpid(), None)
    return list(found.values())


def clear(marker: str, patience: float, tick: Tick, limit: float = LIMIT) -> Swept:
    """Wait `patience` seconds for the attempt's processes to end, then SIGKILL what remains.

    Returns when two scans agree that nothing remains, or `limit` seconds after the first kill.
    """
    kill_at = time.monotonic() + patience
    killed: dict[tuple[int, int], dict[str, object]] = {}
    left: list[Process] = []
    clean = 0
    while True:
        left = remaining(marker)
        clean = 0 if left else clean + 1
        now = time.monotonic()
        if clean == 2 or now >= kill_at + limit:
            break
        killing = now >= kill_at
        for process in left if killing else ():
            if _kill(process):
                killed[process["pid"], process["start_ticks"]] = _named(process)
        if tick(_POLL if left and not killing else _PAUSE):
            kill_at = min(kill_at, time.monotonic())
    survivors = {(process["pid"], process["start_ticks"]) for process in left}
    return Swept(
        killed=tuple(entry for key, entry in killed.items() if key not in survivors),
        left=tuple(_named(process) for process in left),
    )


def _kill(process: Process) -> bool:
    identity = ProcessId(process["pid"], process["start_ticks"], processes.boot_id())
    with contextlib.suppress(PermissionError):
        return processes.send_signal(identity, signal.SIGKILL)
    return False


def _named(process: Process) -> dict[str, object]:
    return {"pid": process["pid"], "command": process["command"]}
