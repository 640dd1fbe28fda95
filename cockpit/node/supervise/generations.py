"""The generation that runs on this node, as `launcher.jsonl` tells of it while it grows.

Read by the supervisor a few times a second; only what is new is read. Never waits, never writes,
and knows only what the launcher process wrote: one that is not instrumented has no generation.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from typing import Any

from cockpit.node.launch.requests import ON_STALL
from cockpit.protocol import records
from cockpit.protocol.records import ProcessId

_HEALTHY = "HEALTHY"
_MONITOR = "_monitor_workers"


@dataclasses.dataclass(frozen=True)
class RankProcess:
    """A rank of this node in one generation; `out`, `err` relative to the attempt's folder."""

    rank: int
    local_rank: int
    process: ProcessId
    out: str
    err: str


@dataclasses.dataclass(frozen=True)
class Generation:
    number: int
    ranks: tuple[RankProcess, ...]


@dataclasses.dataclass(frozen=True)
class Refusal:
    """The launcher process did not restart the ranks. `at`: monotonic seconds."""

    generation: int
    reason: str
    at: float


@dataclasses.dataclass(frozen=True)
class TimedOut:
    """A rank monitor of ft_launcher gave up on its rank, and ends it."""

    rank: int
    local_rank: int
    pid: int
    message: str


class LauncherTail:
    """Follows the launcher process's journal at `path`."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = -1
        self._offset = 0
        self._rest = b""
        self.generation: Generation | None = None
        """The newest one."""
        self.over = True
        """Whether its end has begun."""
        self.restarts = 0
        """Restarts after stalls that took place, whichever node asked for them."""
        self.refusal: Refusal | None = None
        """The newest one."""
        self.timeouts: list[TimedOut] = []
        """Of the newest generation."""
        self.announced = -1
        """The generation that the newest restart after a stall is about to end, -1 for none."""
        self.monitored = True
        """False once torch was found to lack what restarts of the ranks need."""

    def look(self) -> None:
        """Read what is new. Raises OSError."""
        if self._fd < 0:
            try:
                self._fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return
        size = os.lseek(self._fd, 0, os.SEEK_END)
        while self._offset < size:
            data = os.pread(self._fd, size - self._offset, self._offset)
            if not data:
                break
            self._offset += len(data)
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                self._read(line)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _read(self, line: bytes) -> None:
        # A line that is torn or from another version tells nothing.
        with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
            self._fold(json.loads(line))

    def _fold(self, event: dict[str, Any]) -> None:
        kind = event["kind"]
        if kind == "generation":
            self.generation = Generation(
                int(event["generation"]), tuple(_rank(rank) for rank in event["ranks"])
            )
            self.over = False
            self.timeouts = []
        elif kind == "ft_timeout":
            number = self.generation.number if self.generation is not None else -1
            if int(event["generation"]) == number:
                self.timeouts.append(
                    TimedOut(
                        int(event["rank"]),
                        int(event["local_rank"]),
                        int(event["pid"]),
                        str(event["message"]),
                    )
                )
        elif kind in ("stopping", "launcher_exc", "launcher_exit", "rendezvous_begin"):
            self.over = True
        elif kind == "group":
            self.over = self.over or event["state"] != _HEALTHY
        elif kind == "restarting":
            if event["by"] == ON_STALL:
                self.restarts += 1
                self.announced = int(event["generation"])
        elif kind == "restart_refused":
            refusal = Refusal(int(event["generation"]), str(event["reason"]), float(event["mono"]))
            if self.announced == refusal.generation:
                self.restarts -= 1
                self.announced = -1
            self.refusal = refusal
        elif kind == "hook_missing" and str(event["name"]).endswith(_MONITOR):
            self.monitored = False


def _rank(value: dict[str, Any]) -> RankProcess:
    return RankProcess(
        rank=int(value["rank"]),
        local_rank=int(value["local_rank"]),
        process=records.process_id(value["process"]),
        out=str(value["out"]),
        err=str(value["err"]),
    )
