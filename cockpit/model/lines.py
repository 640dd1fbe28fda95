"""Lines out of a log mirror, forwards as they arrive. Used by `merged`.

`LineReader` reads on where it stopped and takes only what the mirror holds. A line without end
is cut here, so memory stays bounded whatever a rank writes.
"""

from __future__ import annotations

import msgspec

from cockpit.model.mirror import MirrorStream
from cockpit.text import MAX_LINE, clean, clean_line

CAP = MAX_LINE * 4
"""Bytes of a line that are kept."""
CHUNK = 128 * 1024


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
        holes = self.stream.holes(self.position, self.stream.end)
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
