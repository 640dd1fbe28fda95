"""Streams of log bytes as nodes hold them, a supply of them, and a plain merge of their lines."""

from __future__ import annotations

import asyncio
import bisect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from cockpit.model.logdoc import LogDoc
from cockpit.model.logtap import Tap
from cockpit.model.merged import Source
from cockpit.model.mirror import MirrorStore, StreamKey
from tests.model.scenarios import JOB

T = TypeVar("T")


class Stream:
    """What one rank wrote: its bytes, and when. A node sends them to a tap."""

    def __init__(self, store: MirrorStore, rank: int, stream: str = "out") -> None:
        self.data = bytearray()
        self.times: list[tuple[int, float]] = []
        self.sent = 0
        self.reachable = True
        self.asked: list[tuple[int, int]] = []
        """Ranges that were asked for and not sent."""
        key = StreamKey(
            job=JOB, attempt=0, node_rank=rank // 2, generation=0, local_rank=rank % 2,
            stream=stream,
        )  # fmt: skip
        self.source = Source(
            mirror=store.stream(key),
            node=f"gpu{rank // 2}",
            node_rank=rank // 2,
            attempt=0,
            generation=0,
            rank=rank,
            local_rank=rank % 2,
            stream=stream,
        )
        self.mirror = self.source.mirror
        self.tap = Tap(self.source, lambda *span: self.asked.append(span), lambda: self.reachable)

    def write(self, at: float, text: bytes) -> None:
        """The rank writes at `at`."""
        self.times.append((len(self.data), at))
        self.data += text

    def open(self, tail: int | None = None) -> None:
        """The node answers; `tail`: it sends only that many bytes of what it has."""
        size = len(self.data)
        self.sent = 0 if tail is None else max(size - tail, 0)
        self.tap.opened(self.sent, size)

    def _index(self, start: int, stop: int) -> None:
        inside = [pair for pair in self.times if start < pair[0] < stop]
        before = [pair for pair in self.times if pair[0] <= start][-1:]
        self.mirror.indexed(before + inside)

    def send(self, most: int = 1 << 30) -> int:
        """The next bytes arrive; how many."""
        start, stop = self.sent, min(self.sent + most, len(self.data))
        if start < stop:
            self._index(start, stop)
            self.sent = stop
            self.tap.received(start, bytes(self.data[start:stop]))
        return stop - start

    def answer(self) -> None:
        """Send what was asked for."""
        asked, self.asked = self.asked, []
        for start, stop in asked:
            self._index(start, stop)
            self.mirror.write(start, bytes(self.data[start:stop]))

    def lines(self) -> list[tuple[float, tuple[int, ...], int, bytes]]:
        """(time, order, offset, text) of every line."""
        offsets = [offset for offset, _ in self.times]
        result, offset = [], 0
        for text in bytes(self.data).split(b"\n"):
            at = self.times[bisect.bisect_right(offsets, offset) - 1][1] if offsets else 0.0
            if text or offset < len(self.data):
                result.append((at, self.source.order, offset, text))
            offset += len(text) + 1
        return result


class World:
    """A supply of streams with a clock that the test moves."""

    def __init__(self, folder: Path, ranks: int = 0) -> None:
        self.store = MirrorStore(folder)
        self.folder = folder
        self.now = 1000.0
        self.streams = [Stream(self.store, rank) for rank in range(ranks)]
        self.readers = 0

    @property
    def taps(self) -> Sequence[Tap]:
        return [stream.tap for stream in self.streams]

    def refresh(self) -> bool:
        return True

    def join(self) -> None:
        self.readers += 1

    def leave(self) -> None:
        self.readers -= 1

    async def whole(self, taps: Sequence[Tap]) -> list[str]:
        for stream in self.streams:
            if stream.tap in taps:
                stream.asked += stream.mirror.missing(0, len(stream.data))
                await asyncio.to_thread(stream.answer)
        return []

    async def off_loop(self, work: Callable[[], T]) -> T:
        return await asyncio.to_thread(work)

    def document(self) -> LogDoc:
        return LogDoc(self, clock=lambda: self.now)

    def settle(self, document: LogDoc, seconds: float = 0.5) -> None:
        """Poll while time passes."""
        end = self.now + seconds
        while self.now < end:
            self.now += 0.1
            document.poll()

    def all_older(self, document: LogDoc) -> None:
        """Have all earlier lines fetched."""
        for _ in range(100):
            if document.complete:
                return
            document.older()
            for stream in self.streams:
                stream.answer()
            self.settle(document)
        raise AssertionError("it never became complete")

    def merged(self) -> list[bytes]:
        """Every line of every stream, by a plain sort."""
        lines = [line for stream in self.streams for line in stream.lines()]
        return [line[-1] for line in sorted(lines)]


def texts(document: LogDoc) -> list[bytes]:
    """All lines of a document."""
    lines: list[bytes] = []
    for start in range(document.first, document.end, 10_000):
        got = document.lines(start, start + 10_000)
        assert [line.number for line in got] == list(range(start, start + len(got)))
        lines += [line.data for line in got]
    return lines
