"""The log of one job while somebody looks: streams followed into mirrors, merged by time.

New generations, attempts and nodes are taken in as the job's journals tell of them. Closing it
stops following; what was mirrored stays for the next look.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from cockpit.controller.documents import source_of
from cockpit.controller.tracking import LogStream, Seat, TrackedJob
from cockpit.errors import CockpitError
from cockpit.model.clocks import skews
from cockpit.model.merged import LogLine, MergedLog, Source
from cockpit.model.mirror import MirrorStore, MirrorStream
from cockpit.protocol import layout
from cockpit.transport.link import Follow

TAIL = 256 * 1024
"""Bytes before the end of each stream at which a look begins that does not ask for everything."""
LIST_TIMEOUT = 20.0
ENDED_MARGIN = 2.0
"""Seconds after a node's last event in which its last log bytes are still on their way."""


class _Sink:
    """Carries one followed log file into its mirror."""

    def __init__(self, mirror: MirrorStream, source: Source, merged: MergedLog, tail: bool) -> None:
        self.mirror = mirror
        self._source = source
        self._merged = merged
        self._waits_for_offset = tail
        self.attempt = source.attempt
        self.node_rank = source.node_rank
        self.ended_since: float | None = None
        self._next = 0
        self.follow: Follow | None = None

    def opened(self, offset: int, size: int) -> None:
        self.mirror.expect(size)
        self._next = offset
        self._begin(offset)

    def received(self, offset: int, data: bytes) -> None:
        self._begin(offset)
        # A follow never skips what the node still has: a jump is a head that was thrown away.
        self.mirror.drop(self._next, offset)
        self._next = offset + len(data)
        self.mirror.write(offset, data)

    def _begin(self, offset: int) -> None:
        """Only the node knows where "near the end" is; merging starts there."""
        if self._waits_for_offset:
            self._waits_for_offset = False
            self._merged.add(self._source, offset, align=offset > 0)

    def indexed(self, entries: Sequence[tuple[int, float]]) -> None:
        self.mirror.indexed(list(entries))

    def replaced(self) -> None:
        self.mirror.reset()

    def detached(self) -> None:
        """The follow resumes at the exact byte by itself."""


class JobLog:
    """All log streams of a job as one. `poll` never waits."""

    def __init__(
        self,
        tracked: TrackedJob,
        mirrors: MirrorStore,
        *,
        from_start: bool,
        first_attempt: int,
        on_close: Callable[[JobLog], None],
    ) -> None:
        self._tracked = tracked
        self._mirrors = mirrors
        self._from_start = from_start
        self._first_attempt = first_attempt
        self._on_close = on_close
        self._merged = MergedLog()
        self._sinks: dict[str, _Sink] = {}
        self._taken = 0
        self._closed = False
        self._take_in()

    def poll(self) -> list[LogLine]:
        """New lines since the last call, in order of time; each line once."""
        self._take_in()
        self._mark_ended()
        return self._masked(self._merged.take(time.monotonic()))

    def _mark_ended(self) -> None:
        """Streams of a node whose attempt ended a moment ago get nothing more to hold."""
        job = self._tracked.model.snapshot(time.time())
        over = {node.node_rank for node in job.nodes if node.state.ended}
        now = time.monotonic()
        for sink in self._sinks.values():
            if sink.mirror.ended:
                continue
            if sink.attempt == job.attempt and sink.node_rank not in over:
                sink.ended_since = None
            elif sink.ended_since is None:
                sink.ended_since = now
            elif now - sink.ended_since > ENDED_MARGIN:
                sink.mirror.ended = True

    def drain(self) -> Iterator[list[LogLine]]:
        """Everything that is held and was not given out, in batches; unfinished last lines too."""
        self._take_in()
        return map(self._masked, self._merged.drain())

    def _masked(self, lines: list[LogLine]) -> list[LogLine]:
        mask = self._tracked.mask
        if mask.empty:
            return lines
        return [msgspec.structs.replace(line, text=mask.text(line.text)) for line in lines]

    def close(self) -> None:
        """Stop following. Idempotent."""
        if self._closed:
            return
        self._closed = True
        for sink in self._sinks.values():
            if sink.follow is not None:
                sink.follow.close()
            sink.mirror.persist()
        self._on_close(self)

    async def complete(self, *, timeout: float, each: Callable[[], Any]) -> list[str]:
        """Wait until every byte that the nodes hold now was mirrored, calling `each` meanwhile.

        Returns what could not be had, as text for people, once nothing came for `timeout` seconds.
        """
        deadline, held = time.monotonic() + timeout, -1
        sizes, missing = await self._sizes()
        while True:
            self._take_in()
            open_ = {
                path: size
                for path, size in sizes.items()
                if (sink := self._sinks.get(path)) is None
                or (self._from_start and sink.mirror.missing(0, size))
                or sink.mirror.end < size
            }
            each()
            now_held = sum(sink.mirror.end for sink in self._sinks.values())
            if now_held != held:
                deadline, held = time.monotonic() + timeout, now_held
            if not open_:
                return missing
            if time.monotonic() > deadline:
                return [*missing, *(f"{path} ({size} bytes on the node)" for path, size in
                                    sorted(open_.items()))]  # fmt: skip
            await asyncio.sleep(0.02)

    async def _sizes(self) -> tuple[dict[str, int], list[str]]:
        """Sizes of all log files of the job on its nodes, and the nodes that did not say."""
        sizes: dict[str, int] = {}
        failed: list[str] = []
        seats = [s for s in self._tracked.seats.values() if s.attempt >= self._first_attempt]
        outcomes = await asyncio.gather(
            *(self._sizes_on(seat) for seat in seats), return_exceptions=True
        )
        for seat, outcome in zip(seats, outcomes, strict=True):
            if isinstance(outcome, CockpitError):
                failed.append(f"logs of attempt {seat.attempt} on {seat.key.node}: {outcome}")
            elif isinstance(outcome, BaseException):
                raise outcome
            else:
                sizes.update(outcome)
        return sizes, failed

    async def _sizes_on(self, seat: Seat) -> dict[str, int]:
        folder = layout.attempt_dir(self._tracked.record.id, seat.attempt, seat.node_rank)
        known = {s.path for s in self._tracked.streams}
        sizes: dict[str, int] = {}
        folders = [f"{folder}/{layout.LOGS}"]
        while folders:
            path = folders.pop()
            answer = await seat.link.request("list", timeout=LIST_TIMEOUT, path=path)
            for entry in answer["entries"]:
                name = f"{path}/{entry['name']}"
                if entry["directory"]:
                    folders.append(name)
                elif name in known:
                    sizes[name] = int(entry["size"])
        return sizes

    def _take_in(self) -> None:
        streams = self._tracked.streams
        while self._taken < len(streams):
            stream = streams[self._taken]
            self._taken += 1
            if stream.attempt >= self._first_attempt and stream.path not in self._sinks:
                self._open(stream)

    def _open(self, stream: LogStream) -> None:
        seat = self._tracked.seats[stream.attempt, stream.node_rank]
        links = {s.key.node: s.link.link for s in self._tracked.seats.values()}
        skew = skews(links).get(seat.key.node, 0.0)
        source = source_of(self._tracked, stream, self._mirrors, skew)
        mirror = source.mirror
        sink = _Sink(mirror, source, self._merged, tail=not self._from_start)
        self._sinks[stream.path] = sink
        start = -TAIL
        if self._from_start:
            holes = mirror.missing(0, mirror.end)
            start = holes[0][0] if holes else mirror.end
            self._merged.add(source)
        sink.follow = seat.link.follow(stream.path, start, sink, index=True)
