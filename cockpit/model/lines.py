"""Lines out of a log mirror: forwards as they arrive, and windows of them for the screen.

`LineReader` reads on where it stopped; `Lines` fetches lines around an offset and counts them
block by block. A line without end is cut here, so memory stays bounded whatever a rank writes.
Both read only what the mirror holds and say which bytes they would need.
"""

from __future__ import annotations

import array
import bisect

import msgspec

from cockpit.model.mirror import MirrorStream
from cockpit.text import MAX_LINE, clean, clean_line

CAP = MAX_LINE * 4
"""Bytes of a line that are kept."""
CHUNK = 128 * 1024
BLOCK = 64 * 1024
"""Bytes per entry of the sparse line count."""


class Line(msgspec.Struct, frozen=True):
    """One line. `data` has no newline and at most CAP bytes; `length` is what it would be uncut.

    `end` is the offset after the newline. Bytes before the last carriage return of a very long
    line are not counted: a terminal would not show them either. `at` is the node's wall clock.
    """

    offset: int
    end: int
    at: float | None
    data: bytes
    length: int

    @property
    def text(self) -> str:
        """The line made harmless (`cockpit.text`), with "… (+N bytes)" where it was cut."""
        if self.length == len(self.data):
            return clean_line(self.data)
        text = clean(self.data.decode("utf-8", "replace"))[:MAX_LINE]
        rest = self.length - len(text.encode("utf-8", "replace"))
        return f"{text}… (+{max(rest, 1)} bytes)"


class LineReader:
    """Complete lines of one stream from `start` on, each once, however the bytes arrive.

    `align`: `start` may lie inside a line, the rest of which is left out.
    """

    def __init__(self, stream: MirrorStream, start: int = 0, *, align: bool = False) -> None:
        self.stream = stream
        self.position = start
        """The next byte to read."""
        self.stalled = False
        """The last `read` found nothing to read."""
        self._aligning = align and start > 0
        self._line_start = start
        self._parts: list[bytes] = []
        self._kept = 0
        self._length = 0

    @property
    def drained(self) -> bool:
        """Everything that the mirror holds from here on was read."""
        return self.position >= self.stream.end

    @property
    def hole(self) -> tuple[int, int] | None:
        """The missing range at which reading stopped although later bytes are held."""
        holes = self.stream.missing(self.position, self.stream.end)
        return holes[0] if holes and holes[0][0] == self.position else None

    def skip_hole(self) -> bool:
        """Go on after a hole with the next whole line; False when there is no hole here."""
        hole = self.hole
        if hole is None:
            return False
        self.position = self._line_start = hole[1]
        self._clear()
        self._aligning, self.stalled = True, False
        return True

    def read(self, chunk: int = CHUNK) -> list[Line]:
        """The lines that the next `chunk` bytes complete; empty when nothing new is held."""
        data = self.stream.read(self.position, chunk)
        self.stalled = not data
        if not data:
            return []
        base = self.position
        self.position += len(data)
        if self._aligning:
            newline = data.find(b"\n")
            if newline < 0:
                return []
            self._aligning = False
            data = data[newline + 1 :]
            base = self._line_start = base + newline + 1
        pieces = data.split(b"\n")
        rest = pieces.pop()
        lines: list[Line] = []
        if pieces:
            self._keep(pieces[0])
            times = _Times(self.stream, self._line_start, base + len(data))
            end = base + len(pieces[0]) + 1
            lines.append(self._finish(end, times.at(self._line_start)))
            for piece in pieces[1:]:
                start, end = end, end + len(piece) + 1
                if len(piece) <= CAP:
                    lines.append(Line(start, end, times.at(start), piece, len(piece)))
                else:
                    self._keep(piece)
                    self._line_start = start
                    lines.append(self._finish(end, times.at(start)))
            self._line_start = end
        if rest:
            self._keep(rest)
        return lines

    def flush(self) -> Line | None:
        """The unfinished last line, once; None when there is none."""
        if not self._length or self._aligning:
            return None
        return self._finish(self.position, self.stream.index.at(self._line_start))

    def _keep(self, piece: bytes) -> None:
        if self._kept + len(piece) > CAP and b"\r" in piece:
            shown = piece.rstrip(b"\r").rpartition(b"\r")
            if shown[1]:
                self._clear()
                piece = shown[2]
        self._length += len(piece)
        if self._kept < CAP:
            self._parts.append(piece[: CAP - self._kept])
            self._kept += len(self._parts[-1])

    def _finish(self, end: int, at: float | None) -> Line:
        line = Line(self._line_start, end, at, b"".join(self._parts), self._length)
        self._clear()
        self._line_start = end
        return line

    def _clear(self) -> None:
        self._parts, self._kept, self._length = [], 0, 0


class _Times:
    """The time index of a range, asked in the order of offsets."""

    def __init__(self, stream: MirrorStream, start: int, end: int) -> None:
        self._pairs = stream.index.between(start, end)
        self._next = 1

    def at(self, offset: int) -> float | None:
        pairs = self._pairs
        if not pairs:
            return None
        while self._next < len(pairs) and pairs[self._next][0] <= offset:
            self._next += 1
        return pairs[self._next - 1][1]


class Window(msgspec.Struct, frozen=True):
    """Lines of one stream in order. `missing`: the bytes to fetch for more of them, if any."""

    lines: tuple[Line, ...]
    missing: tuple[int, int] | None = None


class Lines:
    """Access to a stream by line, for a screen that shows a window of it."""

    def __init__(self, stream: MirrorStream) -> None:
        self.stream = stream
        self._counts = array.array("Q", [0])
        """Newlines before the start of each block."""

    def after(self, offset: int, count: int) -> Window:
        """`count` lines from the line that starts at `offset` on, an unfinished last one too."""
        reader = LineReader(self.stream, offset)
        lines: list[Line] = []
        while len(lines) < count and not reader.stalled:
            lines.extend(reader.read(BLOCK))
        if len(lines) < count and reader.drained and (rest := reader.flush()) is not None:
            lines.append(rest)
        lines = lines[:count]
        hole = reader.hole if len(lines) < count else None
        if hole is None and len(lines) < count and reader.position < self.stream.expected:
            hole = (reader.position, self.stream.expected)
        return Window(tuple(lines), hole)

    def before(self, offset: int, count: int) -> Window:
        """The `count` lines that end at `offset`, which is the start of a line or the end."""
        start, hole = self._back(offset, count)
        if hole is not None and start > 0:
            # The bytes right after a hole may be the rest of a line.
            reader = LineReader(self.stream, start, align=True)
        else:
            reader = LineReader(self.stream, start)
        lines: list[Line] = []
        while reader.position < offset and not reader.stalled:
            lines.extend(reader.read(min(BLOCK, offset - reader.position)))
        if (rest := reader.flush()) is not None:
            lines.append(rest)
        return Window(tuple(lines[-count:]) if count else (), hole)

    def last(self, count: int) -> Window:
        """The newest `count` lines that are held."""
        return self.before(self.stream.end, count)

    def _back(self, offset: int, count: int) -> tuple[int, tuple[int, int] | None]:
        """Where the `count`-th line before `offset` starts; or after which hole the view ends."""
        end = max(offset - 1, 0)
        while end > 0:
            start = max(end - BLOCK, 0)
            holes = self.stream.missing(start, end)
            floor = holes[-1][1] if holes else start
            data = self.stream.read(floor, end - floor)
            position = len(data)
            while (position := data.rfind(b"\n", 0, position)) >= 0:
                count -= 1
                if count == 0:
                    return floor + position + 1, None
            if holes:
                return floor, holes[-1]
            end = start
        return 0, None

    # -- counting ------------------------------------------------------------------------------

    @property
    def scanned(self) -> int:
        """Bytes from the start of the stream whose lines were counted."""
        return (len(self._counts) - 1) * BLOCK

    def scan(self, budget: int = 64 * BLOCK) -> bool:
        """Count the lines of `budget` more bytes; True when all whole blocks were counted."""
        stop = self.scanned + budget
        while self.scanned < stop:
            data = self.stream.read(self.scanned, BLOCK)
            if len(data) < BLOCK:
                return True
            self._counts.append(self._counts[-1] + data.count(b"\n"))
        return False

    def count(self) -> tuple[int, bool]:
        """Number of lines, and whether it is exact or an estimate from the bytes counted."""
        end, scanned = self.stream.end, self.scanned
        known = self._counts[-1]
        data = self.stream.read(scanned, BLOCK)
        if scanned + len(data) >= end:
            rest = 1 if data and not data.endswith(b"\n") else 0
            return known + data.count(b"\n") + rest, True
        sample, lines = scanned, known
        if not sample:
            held = self.stream.held
            data = data or (self.stream.read(max(held[-1][0], end - BLOCK), BLOCK) if held else b"")
            sample, lines = len(data), data.count(b"\n")
        return (int(end * lines / sample) if sample else 0), False

    def offset_of(self, number: int) -> int | None:
        """Where line `number` (from 0) starts; None when it lies outside what was counted."""
        if number <= 0:
            return 0
        block = bisect.bisect_left(self._counts, number) - 1
        data = self.stream.read(block * BLOCK, BLOCK)
        position = -1
        for _ in range(number - self._counts[block]):
            position = data.find(b"\n", position + 1)
            if position < 0:
                return None
        return block * BLOCK + position + 1

    def number_of(self, offset: int) -> int | None:
        """The number (from 0) of the line that holds `offset`; None when it was not counted."""
        block = offset // BLOCK
        if block >= len(self._counts):
            return None
        data = self.stream.read(block * BLOCK, offset - block * BLOCK)
        if len(data) < offset - block * BLOCK:
            return None
        return self._counts[block] + data.count(b"\n")
