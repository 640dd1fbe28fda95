"""Requests to the launcher process: files that its supervisor leaves in the attempt's folder.

One file per request, `requests/<id>.json`, whole or absent; `cockpit.protocol.events` has the
format. Read by the instrumented launcher process between two looks at its ranks, so looking costs
one stat of the folder as long as nothing is there. This module neither obeys nor judges a request.
"""

from __future__ import annotations

import json
import math
import os
from typing import Any, NamedTuple

from cockpit.protocol import layout

RESTART = "restart"
STOP = "stop"
ON_STALL = "on_stall"
"""`by` of what a stall brought about."""

_SUFFIX = ".json"
_RESCAN = 1.0
"""Seconds after which the folder is read again although its mtime says that nothing changed: two
changes within one tick of the file system's clock look like one."""


class Request(NamedTuple):
    """`do`: RESTART the ranks, or STOP them for good. `generation` None: whichever runs.

    `cost`: whether it counts against max_restarts; `grace` in seconds, None is the usual one.
    """

    id: str
    do: str
    generation: int | None
    by: str
    reason: str
    cost: bool = False
    grace: float | None = None


def decode(data: bytes) -> Request | None:
    """None for what is no request, or asks for what this version does not know."""
    try:
        value = json.loads(data)
        request = Request(
            id=str(value["id"]),
            do=str(value["do"]),
            generation=_number(value.get("generation")),
            by=str(value.get("by") or ""),
            reason=str(value.get("reason") or ""),
            cost=value.get("cost") is True,
            grace=_seconds(value.get("grace")),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return request if request.do in (RESTART, STOP) else None


def _number(value: Any) -> int | None:
    """Raises ValueError for what is neither a generation nor null: it may mean another one."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise ValueError(value)
    return value


def _seconds(value: Any) -> float | None:
    """None for what is no time to wait."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if number and math.isfinite(value) and value >= 0 else None


class Inbox:
    """The requests of one attempt, in the order in which they were left."""

    def __init__(self, attempt_dir: str) -> None:
        self._folder = os.path.join(attempt_dir, layout.REQUESTS)
        self._done: set[str] = set()
        self._waiting: dict[str, Request] = {}
        self._read: set[str] = set()
        self._mtime = -1
        self._scanned = -math.inf

    def next(self, generation: int, now: float) -> Request | None:
        """The oldest request for `generation` that has not been obeyed; others are dropped.

        `now` is monotonic seconds. A request for a later generation waits for it.
        """
        self._scan(now)
        for request in list(self._waiting.values()):
            if request.generation is None or request.generation == generation:
                return request
            if request.generation < generation:
                self.obeyed(request.id)
        return None

    def obeyed(self, request_id: str) -> None:
        """It has had its effect, on this node or by way of another; it never comes again."""
        self._done.add(request_id)
        self._waiting.pop(request_id, None)

    def _scan(self, now: float) -> None:
        try:
            mtime = os.stat(self._folder).st_mtime_ns
            if mtime == self._mtime and now - self._scanned < _RESCAN:
                return
            with os.scandir(self._folder) as entries:
                found = sorted((e.stat().st_mtime_ns, e.name, e.path) for e in entries)
        except OSError:
            return  # nothing was ever asked, or it is asked again in a moment
        self._mtime, self._scanned = mtime, now
        for _, name, path in found:
            known = name.startswith(".") or not name.endswith(_SUFFIX) or name in self._read
            if not known:
                self._take(name, path)

    def _take(self, name: str, path: str) -> None:
        try:
            with open(path, "rb") as file:
                data = file.read()
        except OSError:
            return
        self._read.add(name)
        request: Any = decode(data)
        if request is not None and request.id not in self._done:
            self._waiting[request.id] = request
