"""The log streams of one job while documents of it are open: followed into mirrors and handed on.

All documents of a job share one `JobSupply`, and each stream is followed once. The last document
that is closed stops it; what was mirrored stays for the next look.
"""

from __future__ import annotations

import asyncio
import collections
import functools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from cockpit.controller.tracking import LogStream, TrackedJob
from cockpit.model.clocks import skews
from cockpit.model.logtap import Tap
from cockpit.model.merged import Source
from cockpit.model.mirror import MirrorStore, MirrorStream, StreamKey
from cockpit.model.rangesfile import Unsaved
from cockpit.transport.link import Follow, NodeLink

T = TypeVar("T")

TAIL = 256 * 1024
"""Bytes before the end of each stream at which a document begins."""
LEAST_TAIL = 16 * 1024
TAILS = 4 * 1024 * 1024
"""Bytes of all streams together with which a document begins: a first look, no more."""
FETCHES = 16
"""Ranges that are fetched from one node at the same time."""
PATIENCE = 10.0
"""Seconds without a byte after which what is fetched for a whole log is given up."""
_LOOK = 0.05
_BUDGET = 0.02
"""Seconds in which streams are opened at a stretch, which looks at files of their mirrors; then the
event loop has a turn."""


def source_of(
    tracked: TrackedJob, stream: LogStream, mirrors: MirrorStore, skew: float = 0.0
) -> Source:
    """A log stream with its mirror, as a merge wants it."""
    key = StreamKey(
        job=tracked.record.id,
        attempt=stream.attempt,
        node_rank=stream.node_rank,
        generation=stream.generation,
        local_rank=stream.local_rank,
        stream=stream.stream,
    )
    return Source(
        mirror=mirrors.stream(key),
        node=tracked.seats[stream.attempt, stream.node_rank].key.node,
        node_rank=stream.node_rank,
        attempt=stream.attempt,
        stream=stream.stream,
        rank=stream.rank,
        local_rank=stream.local_rank,
        generation=stream.generation,
        skew=skew,
    )


class _Live:
    """Carries what a stream writes from now on into its tap."""

    def __init__(self) -> None:
        self.tap: Tap
        self.follow: Follow | None = None

    def opened(self, offset: int, size: int) -> None:
        self.tap.opened(offset, size)

    def received(self, offset: int, data: bytes) -> None:
        self.tap.received(offset, data)

    def indexed(self, entries: Sequence[tuple[int, float]]) -> None:
        self.tap.mirror.indexed(entries)

    def replaced(self) -> None:
        self.tap.replaced()

    def detached(self) -> None:
        """The follow resumes at the exact byte by itself."""


class _Range:
    """Carries one missing range into a mirror."""

    def __init__(
        self, mirror: MirrorStream, start: int, stop: int, done: Callable[[_Range], None]
    ) -> None:
        self._mirror = mirror
        self._next = start
        self._stop = stop
        self._done = done
        self._entries: list[tuple[int, float]] = []

    def opened(self, offset: int, size: int) -> None:
        self._mirror.expect(size)
        if size <= offset:
            self._finish()

    def received(self, offset: int, data: bytes) -> None:
        self._mirror.drop(self._next, min(offset, self._stop))
        self._next = offset + len(data)
        self._mirror.write(offset, data)
        if self._next >= self._stop:
            self._finish()

    def indexed(self, entries: Sequence[tuple[int, float]]) -> None:
        # Entries before the end of an index are put in all at once: each time costs a rewrite.
        self._entries.extend(entries)

    def replaced(self) -> None:
        self._finish()

    def detached(self) -> None:
        """The follow resumes at the exact byte by itself."""

    def _finish(self) -> None:
        self.keep_index()
        self._done(self)

    def keep_index(self) -> None:
        """Hand over the times of what came."""
        entries, self._entries = self._entries, []
        if entries:
            self._mirror.indexed(entries)


class _Fetches:
    """Missing ranges from one node, a few at a time."""

    def __init__(self, link: NodeLink) -> None:
        self._link = link
        self._queue: collections.deque[tuple[str, MirrorStream, int, int]] = collections.deque()
        self._open: dict[_Range, Follow] = {}

    def add(self, path: str, mirror: MirrorStream, start: int, stop: int) -> None:
        """Fetch [start, stop) of the log at `path`."""
        self._queue.append((path, mirror, start, stop))
        self._next()

    def _next(self) -> None:
        while self._queue and len(self._open) < FETCHES:
            path, mirror, start, stop = self._queue.popleft()
            if mirror.missing(start, stop):
                sink = _Range(mirror, start, stop, self._finished)
                length = stop - start
                self._open[sink] = self._link.follow(path, start, sink, index=True, length=length)

    def _finished(self, sink: _Range) -> None:
        follow = self._open.pop(sink, None)
        if follow is not None:
            follow.close()
            self._next()

    def close(self) -> None:
        """Give up what was not fetched yet."""
        self._queue.clear()
        for sink, follow in self._open.items():
            follow.close()
            sink.keep_index()
        self._open.clear()


def write_aside(unsaved: Sequence[Unsaved]) -> None:
    """Write down in a thread what mirrors hold: of a thousand streams it takes long."""
    if not unsaved:
        return

    def written(done: asyncio.Future[list[OSError | None]]) -> None:
        for each, error in zip(unsaved, done.result(), strict=True):
            if error is not None:
                each.failed(error)

    loop = asyncio.get_running_loop()
    future = loop.run_in_executor(None, lambda: [each.write() for each in unsaved])
    future.add_done_callback(written)


class JobSupply:
    """Satisfies `cockpit.model.logtap.Supply`. `on_close` is called once nobody reads any more."""

    def __init__(
        self,
        tracked: TrackedJob,
        mirrors: MirrorStore,
        on_close: Callable[[], object],
    ) -> None:
        self._tracked = tracked
        self._mirrors = mirrors
        self._on_close = on_close
        self._readers = 0
        self._taken = 0
        self._paths: set[str] = set()
        self._follows: list[Follow] = []
        self._opening: asyncio.Handle | None = None
        """The next turn of opening streams; None while none waits to be opened."""
        self._fetches: dict[NodeLink, _Fetches] = {}
        self.taps: list[Tap] = []
        self.folder: Path = mirrors.folder

    def join(self) -> None:
        self._readers += 1
        self.refresh()

    def leave(self) -> None:
        self._readers -= 1
        if self._readers == 0:
            self.close()

    def close(self) -> None:
        """Stop following. Idempotent."""
        if self._opening is not None:
            self._opening.cancel()
            self._opening = None
        for follow in self._follows:
            follow.close()
        for fetches in self._fetches.values():
            fetches.close()
        self._follows.clear()
        self._fetches.clear()
        left = (tap.mirror.unsaved() for tap in self.taps)
        write_aside([each for each in left if each is not None])
        self.taps = []
        self._on_close()

    def refresh(self) -> bool:
        if self._opening is None:
            self._open_some()
        return self._opening is None

    def _open_some(self) -> None:
        """Open streams for a moment, and go on with those that are left as soon as others had a
        turn, however seldom anybody polls."""
        self._opening = None
        streams = self._tracked.streams
        if self._taken == len(streams):
            return
        seats = self._tracked.seats.values()
        ahead = skews({seat.key.node: seat.link.link for seat in seats})
        tail = min(max(TAILS // len(streams), LEAST_TAIL), TAIL)
        deadline = time.monotonic() + _BUDGET
        while self._taken < len(streams):
            if time.monotonic() > deadline:
                self._opening = asyncio.get_running_loop().call_soon(self._open_some)
                return
            stream = streams[self._taken]
            self._taken += 1
            if stream.path not in self._paths:
                self._paths.add(stream.path)
                self._open(stream, ahead, tail)

    def _open(self, stream: LogStream, ahead: dict[str, float], tail: int) -> None:
        seat = self._tracked.seats[stream.attempt, stream.node_rank]
        link = seat.link
        skew = ahead.get(seat.key.node, 0.0)
        source = source_of(self._tracked, stream, self._mirrors, skew)
        sink = _Live()
        sink.tap = tap = Tap(
            source,
            functools.partial(self._fetch, link, stream.path, source.mirror),
            lambda: link.online,
        )
        self.taps.append(tap)
        start = -tail
        if not link.online and source.mirror.held:
            # Nobody can say how long it is now: what was seen of it is shown, and more is taken
            # in from there on.
            begin, start = source.mirror.held[-1]
            tap.begin(max(start - tail, begin))
        self._follows.append(link.follow(stream.path, start, sink, index=True))

    def _fetch(
        self, link: NodeLink, path: str, mirror: MirrorStream, start: int, stop: int
    ) -> None:
        if self._readers:
            self._fetches.setdefault(link, _Fetches(link)).add(path, mirror, start, stop)

    async def whole(self, taps: Sequence[Tap]) -> list[str]:
        """Wait until every byte was mirrored that the nodes had at first."""
        wanted = {tap: max(tap.mirror.expected, tap.mirror.end) for tap in taps}
        for tap, size in wanted.items():
            for start, stop in tap.mirror.missing(0, size):
                tap.fetch(start, stop)
        deadline, before = 0.0, -1
        loop = asyncio.get_running_loop()
        while True:
            left = {
                tap: sum(stop - start for start, stop in tap.mirror.missing(0, size))
                for tap, size in wanted.items()
            }
            wanted = {tap: wanted[tap] for tap, missing in left.items() if missing}
            total = sum(left.values())
            if total != before:
                before, deadline = total, loop.time() + PATIENCE
            if not total or loop.time() > deadline or not self._readers:
                break
            await asyncio.sleep(_LOOK)
        nodes: dict[str, int] = {}
        for tap, missing in left.items():
            if missing or tap.begun is None:
                nodes[tap.origin.node] = nodes.get(tap.origin.node, 0) + missing
        return [f"{missing} bytes of {node}" for node, missing in sorted(nodes.items())]

    async def off_loop(self, work: Callable[[], T]) -> T:
        return await asyncio.to_thread(work)
