"""Bytes of a log stream into runs of lines that have one time, without looking at single lines.

Used by `logdoc` for what arrives, by `logpast` for earlier lines and by `logsave` for all of
them. The time of a line is that of its first byte; within a stream times never go back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from cockpit.model.logruns import LIMIT
from cockpit.model.merged import Order

CHUNK = 256 * 1024
"""Bytes that are read from a mirror at once."""


class Stretch(NamedTuple):
    """Lines of one time. Stretches of several streams sort into the order of the merged log."""

    at: float
    order: Order
    start: int
    lane: int
    size: int
    lines: int


class Times(Protocol):
    """A time index, see `TimeIndex.between`."""

    def between(self, start: int, end: int) -> Sequence[tuple[int, float]]: ...


class Readable(Protocol):
    """What a scan needs of a mirrored stream: `MirrorStream` and `FrozenStream`."""

    @property
    def index(self) -> Times: ...

    def read(self, start: int, length: int) -> bytes: ...

    def holes(self, start: int, end: int) -> list[tuple[int, int]]: ...


class Scanner:
    """Takes the bytes of one stream in order, from `start` on, and appends to `out`.

    `align`: `start` may lie inside a line, the rest of which is left out.
    """

    __slots__ = ("_index", "_lane", "_order", "_out", "_skew", "aligning", "ends", "grown",
                 "last", "line", "position", "shown")  # fmt: skip

    def __init__(
        self,
        lane: int,
        order: Order,
        skew: float,
        index: Times,
        out: list[Stretch],
        start: int = 0,
        *,
        align: bool = False,
    ) -> None:
        self._lane = lane
        self._order = order
        self._skew = skew
        self._index = index
        self._out = out
        self.position = start
        """The next byte to take."""
        self.line = start
        """Where the line begins that is not finished yet."""
        self.last = 0.0
        """Time of the newest line."""
        self.aligning = align and start > 0
        """The line is left out: its beginning is not there."""
        self.shown = False
        """The line was given out, unfinished as it is."""
        self.grown = False
        """More of a line came that was given out; whoever looks sets it back."""
        self.ends: dict[int, int] = {}
        """Where those end that grew beyond LIMIT, by where they begin."""

    def skip(self, position: int) -> None:
        """Go on at `position`, with the next whole line."""
        self.position = self.line = position
        self.aligning, self.shown = position > 0, False

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        base = self.position
        self.position += len(data)
        begin = 0
        if self.aligning or self.shown:
            self.grown |= self.shown
            begin = data.find(b"\n") + 1
            if not begin:
                return
            if self.shown and base + begin - self.line > LIMIT:
                self.ends[self.line] = base + begin - 1
            self.aligning = self.shown = False
            self.line = base + begin
        stop = data.rfind(b"\n", begin) + 1
        if not stop:
            return
        line, end = self.line, base + stop
        self.line = end
        pairs = self._index.between(line, end)
        at = max(pairs[0][1] - self._skew, self.last) if pairs else self.last
        for offset, when in pairs[1:]:
            if offset > line:
                # Of the lines in these bytes, those that begin before `offset` are older.
                newline = data.index(b"\n", max(offset - 1 - base, begin))
                following = base + newline + 1
                self._emit(data, base, line, following, at)
                line = following
                if line == end:
                    break
            at = max(when - self._skew, at)
        if line < end:
            self._emit(data, base, line, end, at)

    def _emit(self, data: bytes, base: int, start: int, stop: int, at: float) -> None:
        self.last = at
        while stop - start > LIMIT:
            # A line that began in earlier bytes, or is long, is alone.
            here = start - base
            cut = data.rfind(b"\n", here, here + LIMIT) + 1 if here >= 0 else 0
            cut = cut or data.index(b"\n", max(here, 0)) + 1
            if base + cut == stop:
                break
            self._append(data, base, start, base + cut, at)
            start = base + cut
        self._append(data, base, start, stop, at)

    def _append(self, data: bytes, base: int, start: int, stop: int, at: float) -> None:
        lines = data.count(b"\n", max(start - base, 0), stop - base)
        self._out.append(Stretch(at, self._order, start, self._lane, stop - start, lines))

    def finish(self) -> bool:
        """Give out the unfinished line, which may still grow; False when there is none."""
        if self.aligning or self.shown or self.line >= self.position:
            return False
        pairs = self._index.between(self.line, self.line + 1)
        self.last = max(pairs[0][1] - self._skew, self.last) if pairs else self.last
        size = self.position - self.line
        self._out.append(Stretch(self.last, self._order, self.line, self._lane, size, 1))
        self.shown = True
        return True


def scan(
    stream: Readable,
    lane: int,
    order: Order,
    skew: float,
    start: int,
    stop: int,
    chunk: int = CHUNK,
) -> Iterator[list[Stretch]]:
    """The lines that begin in [start, stop), which is held but for holes, chunk by chunk.

    `start` may lie inside a line, which is left out; after a hole it goes on with a whole line.
    """
    out: list[Stretch] = []
    scanner = Scanner(lane, order, skew, stream.index, out, start, align=True)
    while scanner.position < stop:
        data = stream.read(scanner.position, min(chunk, stop - scanner.position))
        if data:
            scanner.feed(data)
            del data  # not to be kept meanwhile, of hundreds of streams
            yield out[:]
            out.clear()
            continue
        holes = stream.holes(scanner.position, stop)
        if not holes or holes[0][0] != scanner.position:
            return
        scanner.skip(holes[0][1])
    if scanner.finish():
        yield out
