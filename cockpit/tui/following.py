"""The log that is followed: the feed of the job on the screen, one at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from cockpit.errors import CockpitError

if TYPE_CHECKING:
    from cockpit.tui.logs.feed import LogFeed
    from cockpit.tui.source import Source


class Following:
    def __init__(self, source: Source, clock: Callable[[], float]) -> None:
        self._source = source
        self._clock = clock
        self.feed: LogFeed | None = None

    def of(self, job_id: str) -> LogFeed:
        """The feed of this job; one that could not be had is tried again."""
        feed = self.feed
        if feed is None or feed.job_id != job_id or feed.document is None:
            self.close()
            feed = self.feed = self._open(job_id)
        return feed

    def _open(self, job_id: str) -> LogFeed:
        from cockpit.tui.logs.feed import LogFeed

        try:
            return LogFeed(job_id, self._source.log(job_id), clock=self._clock)
        except CockpitError as error:
            return LogFeed(job_id, None, f"no log: {error.message}")

    def retry(self) -> bool:
        """Ask again for the log that could not be had; True when there is one to draw, or another
        reason why there is none."""
        feed = self.feed
        if feed is None or feed.document is not None:
            return False
        now = self._open(feed.job_id)
        if now.document is None and now.error == feed.error:
            return False
        self.feed = now
        return True

    def poll(self) -> bool:
        """Take new lines; True when there are some to draw."""
        return self.feed is not None and self.feed.poll()

    def close(self) -> None:
        if self.feed is not None:
            self.feed.close()
            self.feed = None
