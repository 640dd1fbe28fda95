"""A job's log as the screen follows it, shared by the views that show it."""

from __future__ import annotations

import time
from collections.abc import Callable

from cockpit.model.logtypes import LogDocument
from cockpit.tui.logs.streams import ALL, Choice

_EVERY = 1.0
"""Seconds over which lines are counted."""


FAST = 10_000
"""Lines a second that nobody reads as they go by …"""
FAST_EVERY = 0.09
"""… so that they are taken in after so many seconds only: a little less than every other pulse."""


class LogFeed:
    """Owned by the app, one at a time; `error` says why there is no document.

    `rate`: lines that came each second, lately. `streams`: how many are known.
    """

    def __init__(
        self,
        job_id: str,
        document: LogDocument | None,
        error: str = "",
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.job_id = job_id
        self.error = error
        self.document = document
        self.choice = ALL
        self.rate = 0.0
        self._clock = clock
        self.streams = 0 if document is None else len(document.origins)
        self._polled = clock()
        self._counted = (self._polled, 0 if document is None else document.end)

    def poll(self) -> bool:
        """Take what is new; True when there is something to draw."""
        document = self.document
        if document is None:
            return False
        now = self._clock()
        if self.rate > FAST and 0 <= now - self._polled < FAST_EVERY:
            return False
        self._polled = now
        opening = document.opening
        changed = document.poll()
        if opening:
            # What was written before somebody looked does not come now.
            self._counted = (now, document.end)
        return self._look_around() or changed

    def choose(self, choice: Choice) -> None:
        """Show only these streams, now and when more of them come."""
        self.choice = choice
        self._select()

    def _select(self) -> None:
        document = self.document
        if document is None:
            return
        wanted = self.choice.of(document.origins)
        if wanted != document.selected:
            self.document = document.select(wanted)
            document.close()
            self._counted = (self._clock(), self.document.end)

    def _look_around(self) -> bool:
        """Once in a while measure the rate and look for new streams; True when either changed."""
        document = self.document
        assert document is not None
        now = self._clock()
        at, end = self._counted
        if now - at < _EVERY:
            return False
        before, self.rate = self.rate, max(document.end - end, 0) / (now - at)
        self._counted = (now, document.end)
        streams = len(document.origins)
        if streams == self.streams:
            return self.rate != before
        self.streams = streams
        self._select()
        return True

    def close(self) -> None:
        if self.document is not None:
            self.document.close()
