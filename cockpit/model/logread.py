"""Reads lines of a document where they lie: by number, by time, by a test. Used by `logdoc`.

Only what is asked for is split into lines; a small cache keeps what was split last.
"""

from __future__ import annotations

import collections
from collections.abc import Iterator, Sequence
from typing import Protocol

from cockpit.model.logruns import LIMIT, Run, RunTable
from cockpit.model.logtap import Tap
from cockpit.model.logtypes import Finder, RawLine
from cockpit.model.mirror import MirrorStream

MOST = 10_000
"""Lines that one call gives."""
CAP = LIMIT
"""Bytes of a line that are given."""
CACHED = 1024 * 1024
"""Bytes of lines that are kept split."""
SPAN = 1024 * 1024
"""Bytes of one stream that a search looks at in one piece."""
_OVERHEAD = 128


class _Of(Protocol):
    @property
    def tap(self) -> Tap: ...
    def end_of(self, start: int) -> int | None: ...


_Lines = list[tuple[bytes, float | None]]


class Reader:
    """`lanes` (which grows) says which stream a run's number means; `table` holds lines 0 … ."""

    def __init__(self, lanes: Sequence[_Of], table: RunTable) -> None:
        self._lanes = lanes
        self._tables: list[tuple[int, RunTable]] = [(0, table)]
        """In order of their lines, each with the number of its first."""
        self._cache: collections.OrderedDict[tuple[int, int, int], _Lines] = (
            collections.OrderedDict()
        )
        self._cached = 0

    @property
    def first(self) -> int:
        return self._tables[0][0]

    @property
    def size(self) -> int:
        return sum(table.size for _, table in self._tables)

    def prepend(self, table: RunTable) -> None:
        """Lines from before the first one."""
        if table.lines:
            self._tables.insert(0, (self.first - table.lines, table))

    def _runs(self, start: int, stop: int) -> Iterator[tuple[int, Run]]:
        """The runs that hold lines of [start, stop), each with the number of its first line."""
        for base, table in self._tables:
            if start < base + table.lines and base < stop:
                for run in table.runs(start - base, stop - base):
                    yield base + run.first, run

    # -- lines ---------------------------------------------------------------------------------

    def lines(self, start: int, stop: int) -> list[RawLine]:
        """The lines [start, stop) that there are, MOST at most."""
        start = max(start, self.first)
        stop = min(stop, start + MOST)
        result: list[RawLine] = []
        for number, run in self._runs(start, stop):
            origin = self._lanes[run.lane].tap.origin
            low, high = max(start - number, 0), min(stop - number, run.lines)
            for place, (data, at) in enumerate(self._split(number, run)[low:high], number + low):
                result.append(RawLine(place, origin, at, data))
        return result

    def _split(self, number: int, run: Run) -> _Lines:
        key = (number, run.lines, run.start)
        lines = self._cache.get(key)
        if lines is not None:
            self._cache.move_to_end(key)
            return lines
        lane = self._lanes[run.lane]
        source = lane.tap.source
        pieces, whole = _pieces(source.mirror, run)
        if len(pieces[-1]) == CAP and b"\r" in pieces[-1]:
            start = run.start + sum(len(piece) + 1 for piece in pieces[:-1])
            end = lane.end_of(start)
            if end is not None:
                pieces[-1] = _newest(source.mirror, pieces[-1], end)
                whole = False
        lines = _timed(source.mirror, run, pieces, source.skew)
        if whole:
            self._cache[key] = lines
            self._cached += run.size + _OVERHEAD * run.lines
            while self._cached > CACHED and len(self._cache) > 1:
                _, dropped = self._cache.popitem(last=False)
                self._cached -= sum(len(data) + 1 + _OVERHEAD for data, _ in dropped)
        return lines

    # -- by time -------------------------------------------------------------------------------

    def at_time(self, at: float) -> int:
        """The number of the first line that was written at `at` or later."""
        end = 0
        for base, table in self._tables:
            end = base + table.lines
            found = table.since(at)
            # The run before it begins earlier and may reach beyond `at`.
            for run in table.runs(found - 1, found):
                for place, (_, when) in enumerate(self._split(base + run.first, run)):
                    if when is not None and when >= at:
                        return base + run.first + place
            if found < table.lines:
                return base + found
        return end

    # -- by a test -----------------------------------------------------------------------------

    def search(self, finder: Finder, start: int, stop: int) -> list[int]:
        """Numbers of the lines in [start, stop) that pass, in order."""
        found: list[int] = []
        spans: dict[int, _Span] = {}
        for number, run in self._runs(start, stop):
            span = spans.get(run.lane)
            if span is not None and not span.takes(run):
                self._look(finder, spans.pop(run.lane), found)
                span = None
            if span is None:
                span = spans[run.lane] = _Span(run)
            span.add(number, run)
        for span in spans.values():
            self._look(finder, span, found)
        found.sort()
        return [number for number in found if start <= number < stop]

    def _look(self, finder: Finder, span: _Span, found: list[int]) -> None:
        """Test the lines of neighbouring runs of one stream; mostly nothing in them passes."""
        data = self._lanes[span.lane].tap.source.mirror.read(span.start, span.end - span.start)
        if len(data) == span.end - span.start and data.endswith(b"\n"):
            if not finder.block(data):
                return
            for number, run in span.runs:
                begin = run.start - span.start
                part = data[begin : begin + run.size]
                if len(span.runs) == 1 or finder.block(part):
                    lines = part.split(b"\n")
                    lines.pop()
                    test = finder.line
                    found.extend(place for place, line in enumerate(lines, number) if test(line))
            return
        for number, run in span.runs:
            for place, (line, _) in enumerate(self._split(number, run), number):
                if finder.line(line):
                    found.append(place)


class _Span:
    """Neighbouring runs of one stream."""

    __slots__ = ("end", "lane", "runs", "start")

    def __init__(self, run: Run) -> None:
        self.lane = run.lane
        self.start = self.end = run.start
        self.runs: list[tuple[int, Run]] = []

    def takes(self, run: Run) -> bool:
        return run.start == self.end and self.end - self.start < SPAN

    def add(self, number: int, run: Run) -> None:
        self.runs.append((number, run))
        self.end += run.size


def _pieces(mirror: MirrorStream, run: Run) -> tuple[list[bytes], bool]:
    """The lines of a run, and whether they are all finished and there."""
    if run.lines == 1:
        # It may be very long, and it may go on where it was not finished yet.
        data = mirror.read(run.start, CAP + 1)
        line, newline, _ = data.partition(b"\n")
        return [line[:CAP]], bool(newline) or len(data) > CAP
    data = mirror.read(run.start, run.size)
    pieces = data.split(b"\n")
    if not pieces[-1]:
        pieces.pop()
    whole = len(pieces) == run.lines and data.endswith(b"\n")
    if not whole:
        # Replaced on the node, lost on the disk, or the last line is not finished yet.
        if len(data) == run.size and pieces:
            more = mirror.read(run.start + run.size, CAP)
            pieces[-1] += more.partition(b"\n")[0]
        pieces = [*pieces, *[b""] * (run.lines - len(pieces))][: run.lines]
    return [piece[:CAP] for piece in pieces], whole


def _newest(mirror: MirrorStream, piece: bytes, end: int) -> bytes:
    """Of a line that overwrites itself what it says at its end; `piece` if that is not held."""
    tail = mirror.read(end - CAP, CAP)
    return tail.partition(b"\r")[2] or piece


def _timed(mirror: MirrorStream, run: Run, pieces: list[bytes], skew: float) -> _Lines:
    pairs = mirror.index.between(run.start, run.start + run.size)
    if not pairs:
        return [(piece, None) for piece in pieces]
    at = pairs[0][1] - skew
    if len(pairs) == 1:
        return [(piece, at) for piece in pieces]
    lines: _Lines = []
    offset, following = run.start, 1
    for piece in pieces:
        while following < len(pairs) and pairs[following][0] <= offset:
            at = pairs[following][1] - skew
            following += 1
        lines.append((piece, at))
        offset += len(piece) + 1
    return lines
