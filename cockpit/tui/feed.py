"""A job's log as the screen follows it: a source and the ring that it fills, shared by views."""

from __future__ import annotations

import time

from cockpit.tui.ring import LogRing
from cockpit.tui.source import LogSource

BUDGET = 0.02
"""Seconds of one pulse that reading may take."""


class LogFeed:
    """Owned by the app, one at a time; `error` says why there is nothing to follow."""

    def __init__(self, job_id: str, source: LogSource | None, error: str = "") -> None:
        self.job_id = job_id
        self.error = error
        self.ring = LogRing()
        self._source = source

    def poll(self) -> bool:
        """Take what is new, within the budget; True when lines came."""
        if self._source is None:
            return False
        before = self.ring.end
        stop = time.perf_counter() + BUDGET
        while lines := self._source.poll():
            self.ring.append(lines)
            if time.perf_counter() >= stop:
                break
        return self.ring.end != before

    def close(self) -> None:
        if self._source is not None:
            self._source.close()
