"""Lines of many streams as one log, ordered by when they were written.

The order is (time, node rank, stream, offset): the same for whoever reads, whenever, in whatever
order the bytes came. `history` merges what is held; `take` follows and holds lines back for a
moment so that nodes whose bytes arrive a little later still find their place. One `take` does a
bounded amount of work, however much has arrived; `history` and `drain` are complete.
"""

from __future__ import annotations

import collections
import heapq
import sys
from collections.abc import Iterable, Iterator

import msgspec

from cockpit.model.lines import Line, LineReader
from cockpit.model.mirror import MirrorStream

SETTLE = 0.15
"""Seconds for which a line waits for earlier ones of other streams."""
PATIENCE = 5.0
"""Seconds for which a stream that is known to hold more may hold up the others, and for which
the bytes of a hole in the middle of a stream are waited for."""
QUIET = 1.0
"""Seconds without new bytes after which the last line of an ended stream counts as finished."""
BUFFER = 1024 * 1024
"""Bytes per stream that wait in memory; the rest waits in the mirror."""
TURN = 1024 * 1024
"""Bytes that one `take` reads from all mirrors together."""
LINES = 5000
"""Lines that one `take` gives out at most."""
_LINE_COST = 64

Order = tuple[int, int, int, int, int]
Key = tuple[float, Order]


class LogLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a job's log. `text` is clean; `at` is the node's wall clock, less its skew.

    `rank`, `local_rank` and `generation` are None for what a launcher process wrote.
    """

    node: str
    node_rank: int
    rank: int | None
    local_rank: int | None
    stream: str
    attempt: int
    generation: int | None
    offset: int
    at: float | None
    text: str


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """A stream and whose it is. `skew`: seconds by which the node's clock runs ahead."""

    mirror: MirrorStream
    node: str
    node_rank: int
    attempt: int
    stream: str
    rank: int | None = None
    local_rank: int | None = None
    generation: int | None = None
    skew: float = 0.0

    @property
    def order(self) -> Order:
        """Breaks ties between lines of the same time."""
        return (
            self.node_rank,
            self.attempt,
            -1 if self.generation is None else self.generation,
            -1 if self.local_rank is None else self.local_rank,
            0 if self.stream == "out" else 1,
        )

    def line(self, line: Line) -> LogLine:
        return LogLine(
            node=self.node,
            node_rank=self.node_rank,
            rank=self.rank,
            local_rank=self.local_rank,
            stream=self.stream,
            attempt=self.attempt,
            generation=self.generation,
            offset=line.offset,
            at=None if line.at is None else line.at - self.skew,
            text=line.text,
        )


class _Run:
    """Lines of one stream that have the same time, in order."""

    __slots__ = ("at", "cost", "lines", "source")

    def __init__(self, at: float, source: Source) -> None:
        self.at = at
        self.source = source
        self.lines: list[Line] = []
        self.cost = 0

    @property
    def key(self) -> tuple[float, Order, int]:
        return (self.at, self.source.order, self.lines[0].offset)


class _Clock:
    """Puts lines into runs. Their times never go back, so that a merge keeps their order."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.last = 0.0

    def add(self, runs: collections.deque[_Run], lines: Iterable[Line]) -> int:
        """Append `lines` to the last run or new ones; returns what they cost in memory."""
        added = 0
        run = runs[-1] if runs else None
        for line in lines:
            at = self.last if line.at is None else max(line.at - self._source.skew, self.last)
            if run is None or at != run.at:
                self.last = at
                run = _Run(at, self._source)
                runs.append(run)
            run.lines.append(line)
            cost = len(line.data) + _LINE_COST
            run.cost += cost
            added += cost
        return added


class _Feed:
    """One source while it is followed: lines that were read but not yet taken."""

    def __init__(self, source: Source, start: int, align: bool) -> None:
        self.source = source
        self.reader = LineReader(source.mirror, start, align=align)
        self.order = source.order
        self.waiting: collections.deque[_Run] = collections.deque()
        self.cost = 0
        self.arrivals: collections.deque[tuple[float, float]] = collections.deque()
        """(when lines were read, time of the last of them)."""
        self.progress: float | None = None
        """When something was last read, or would have been had it been this stream's turn."""
        self._hole_since: float | None = None
        self._clock = _Clock(source)

    @property
    def last(self) -> float:
        return self._clock.last

    @property
    def full(self) -> bool:
        """No more is read before some of it was taken."""
        return self.cost >= BUFFER

    @property
    def behind(self) -> bool:
        """The stream is known to hold lines that were not read yet."""
        return not self.reader.drained or self.reader.position < self.source.mirror.expected

    def read(self, now: float) -> int:
        """Take in the next chunk of what the mirror holds; how many bytes that were."""
        before = self.reader.position
        self._push(self.reader.read(), now)
        count = self.reader.position - before
        if count:
            self.progress, self._hole_since = now, None
        return count

    def idle(self, now: float) -> bool:
        """Nothing could be read. True when there is something to read after all.

        A hole that is not filled in time (the node dropped those bytes) is stepped over, and a
        stream that has ended gives out its unfinished last line.
        """
        if self.progress is None:
            self.progress = now
        if not self.reader.drained:
            if self._hole_since is None:
                self._hole_since = now
            lost = self.source.mirror.is_dropped(self.reader.position)
            if (lost or now - self._hole_since > PATIENCE) and self.reader.skip_hole():
                self._hole_since = None
                return True
        elif self.source.mirror.ended and not self.behind and now - self.progress >= QUIET:
            self._finish(now)
        return False

    def read_rest(self) -> None:
        """Read over holes until there is nothing more or the buffer is full."""
        never = float("inf")
        while not self.full:
            if not self.read(never) and not self.reader.skip_hole():
                break
        if self.reader.drained:
            self._finish(never)

    def _finish(self, now: float) -> None:
        """Count the unfinished last line as a line."""
        rest = self.reader.flush()
        self._push([] if rest is None else [rest], now)

    def _push(self, lines: list[Line], now: float) -> None:
        if lines:
            self.cost += self._clock.add(self.waiting, lines)
            self.arrivals.append((now, self.last))

    def settled(self, before: float) -> float | None:
        """The time of the newest line that was read at or before `before`, and not taken."""
        newest: float | None = None
        for arrived, last in self.arrivals:
            if arrived > before:
                break
            newest = last
        return newest

    def ready(self, limit: Key) -> bool:
        """The next line belongs before `limit`."""
        return bool(self.waiting) and (self.waiting[0].at, self.order) <= limit

    def take(self, most: int) -> list[Line]:
        """The next lines that have the same time, `most` of them at most."""
        run = self.waiting[0]
        if len(run.lines) <= most:
            self.waiting.popleft()
            taken, cost = run.lines, run.cost
        else:
            taken = run.lines[:most]
            del run.lines[:most]
            cost = sum(len(line.data) + _LINE_COST for line in taken)
            run.cost -= cost
        self.cost -= cost
        while self.arrivals and (not self.waiting or self.arrivals[0][1] < self.waiting[0].at):
            self.arrivals.popleft()
        return taken


class MergedLog:
    """Many streams as one log. Streams may be added while it is followed."""

    def __init__(self, sources: Iterable[Source] = ()) -> None:
        self._feeds: list[_Feed] = []
        for source in sources:
            self.add(source)

    def add(self, source: Source, start: int = 0, *, align: bool = False) -> None:
        """Follow one more stream from `start` on; `align` when that may lie inside a line."""
        self._feeds.append(_Feed(source, start, align))

    @property
    def sources(self) -> tuple[Source, ...]:
        return tuple(feed.source for feed in self._feeds)

    def history(self) -> Iterator[LogLine]:
        """Every line that is held, from the first byte, in order; unfinished last lines too.

        Independent of `take`. Holes are stepped over to the next whole line.
        """
        runs = [_runs(feed.source) for feed in self._feeds]
        for run in heapq.merge(*runs, key=lambda run: run.key):
            for line in run.lines:
                yield run.source.line(line)

    def take(self, now: float, settle: float = SETTLE) -> list[LogLine]:
        """New lines that waited for `settle` seconds, in order; each line once, LINES at most.

        What is left over comes with the next call. `now` is any clock that does not go back. A
        line that comes later than `settle` after newer ones were taken is not lost: it comes
        next, with its own time.
        """
        self._read(now)
        settled: Key | None = None
        bound: Key | None = None
        for feed in self._feeds:
            newest = feed.settled(now - settle)
            if newest is not None:
                key = (newest, feed.order)
                settled = key if settled is None or key > settled else settled
            if feed.behind and now - (feed.progress or now) <= PATIENCE:
                key = (feed.last, feed.order)
                bound = key if bound is None or key < bound else bound
        if settled is None:
            return []
        return self._release(settled if bound is None else min(settled, bound), LINES)

    def _read(self, now: float) -> None:
        """Read TURN bytes: a chunk of each stream before any gets another, the oldest first."""
        left = TURN
        queue = [(0, feed.last, number) for number, feed in enumerate(self._feeds)]
        heapq.heapify(queue)
        while queue and left > 0:
            turns, _, number = heapq.heappop(queue)
            feed = self._feeds[number]
            if feed.full:
                feed.progress = now
                continue
            count = feed.read(now)
            left -= count
            if count or feed.idle(now):
                heapq.heappush(queue, (turns + 1, feed.last, number))
        for _, _, number in queue:
            feed = self._feeds[number]
            if not feed.reader.drained:
                feed.progress = now

    def drain(self) -> Iterator[list[LogLine]]:
        """All that is held and was not taken, in batches, with unfinished last lines."""
        while True:
            bound: Key | None = None
            for feed in self._feeds:
                feed.read_rest()
                if feed.full:
                    key = (feed.last, feed.order)
                    bound = key if bound is None or key < bound else bound
            end = (float("inf"), (0, 0, 0, 0, 0))
            batch = self._release(end if bound is None else bound)
            if batch:
                yield batch
            elif bound is None:
                return

    def _release(self, limit: Key, most: int = sys.maxsize) -> list[LogLine]:
        """The lines that belong before `limit`, in order, `most` of them at most."""
        feeds = self._feeds
        heads = [(feed.waiting[0].key, n) for n, feed in enumerate(feeds) if feed.ready(limit)]
        heapq.heapify(heads)
        lines: list[LogLine] = []
        while heads and len(lines) < most:
            _, number = heapq.heappop(heads)
            feed = feeds[number]
            lines.extend(map(feed.source.line, feed.take(most - len(lines))))
            if feed.ready(limit):
                heapq.heappush(heads, (feed.waiting[0].key, number))
        return lines


def _runs(source: Source) -> Iterator[_Run]:
    """All lines of one stream in runs."""
    reader, clock = LineReader(source.mirror), _Clock(source)
    waiting: collections.deque[_Run] = collections.deque()
    while not reader.stalled or reader.skip_hole():
        lines = reader.read()
        if reader.drained and (rest := reader.flush()) is not None:
            lines.append(rest)
        clock.add(waiting, lines)
        # The last run may go on in what is read next.
        while len(waiting) > 1:
            yield waiting.popleft()
    yield from waiting
