"""The log of a replay: the files beside the journals, as far as their time has come.

A line costs a few bytes of memory, wherever it lies; its text is read when it is looked at. Where a
file has no time index nobody knows when its lines were written: they stand at the beginning.
"""

from __future__ import annotations

import asyncio
import math
import time
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from cockpit.errors import CockpitError
from cockpit.model.logtypes import Finder, LogDocument, Origin, RawLine
from cockpit.tui.replay.files import UNKNOWN, Files, LogFile

MAX_LINES = 10_000
MOST = 5_000_000
"""Lines that are taken in, and no more."""
BUDGET = 0.008
"""Seconds for which one poll takes in lines, a batch at a time."""
BATCH = 128 * 1024
"""Bytes of all files together that a batch looks at …"""
LEAST = 1024
"""… and of one file, however many there are."""
LONGEST = 1 << 20
"""Bytes of a line; the rest of a longer one is the next line."""


class _Stream:
    """One log file, read up to a time."""

    def __init__(self, log: LogFile, files: Files) -> None:
        self.origin = log.origin
        self._log = log
        self._files = files
        self._position = 0

    @property
    def done(self) -> bool:
        return self._position >= self._log.size

    def horizon(self, chunk: int) -> float:
        """No line that was written before then begins beyond the next `chunk` bytes."""
        if self._log.size - self._position <= chunk:
            return math.inf
        later = self._log.time(self._position + chunk)
        if later > self._log.time(self._position):
            return math.nextafter(later, UNKNOWN)
        return later

    def new(self, until: float, chunk: int) -> Iterator[tuple[float, int, int]]:
        """(time, offset, size) of the lines that begin in the next `chunk` bytes and had been
        written by then."""
        if self.done or self._log.time(self._position) > until:
            return
        data = self._chunk(chunk)
        start = 0
        while start < len(data):
            end = data.find(b"\n", start)
            whole = end >= 0
            if not whole:
                end = len(data)
            at = self._log.time(self._position + start)
            if at > until:
                break
            yield at, self._position + start, end - start
            start = end + whole
        self._position = self._log.size if not data else self._position + start

    def _chunk(self, size: int) -> bytes:
        """The next bytes up to the end of a line: its rest must not come after younger lines."""
        data, step = self.text(self._position, size), LEAST
        while data and not data.endswith(b"\n") and len(data) < LONGEST:
            more = self.text(self._position + len(data), step)
            if not more:
                break
            end = more.find(b"\n") + 1
            data += more[:end] if end else more
            step *= 2
        return data

    def text(self, offset: int, size: int) -> bytes:
        return self._files.read(self._log.path, offset, size)


class _Lines:
    """The lines of all files in order of time, as far as they were taken in."""

    def __init__(self, logs: Sequence[LogFile], now: Callable[[], float]) -> None:
        self.files = Files()
        self.streams = [_Stream(log, self.files) for log in logs]
        self._now = now
        self.stream, self.at = array("H"), array("d")
        self.offset, self.length = array("Q"), array("I")
        self.size = 0
        """Bytes of the lines that were taken in."""

    def take(self, budget: float = BUDGET) -> None:
        """Take in what is due, for `budget` seconds at most."""
        until = time.monotonic() + budget
        while self._take_batch() and time.monotonic() < until:
            pass

    def _take_batch(self) -> bool:
        """Take in a little of what is due; whether there may be more."""
        room = MOST - len(self.at)
        left = [(number, stream) for number, stream in enumerate(self.streams) if not stream.done]
        if room <= 0 or not left:
            return False
        chunk = max(BATCH // len(left), LEAST)
        until = min([self._now(), *(stream.horizon(chunk) for _, stream in left)])
        found = [
            (at, number, offset, size)
            for number, stream in left
            for at, offset, size in stream.new(until, chunk)
        ]
        found.sort()
        for at, number, offset, size in found[:room]:
            self.stream.append(number)
            self.at.append(at)
            self.offset.append(offset)
            self.length.append(size)
            self.size += size + 1
        return bool(found) or any(stream.done for _, stream in left)

    def line(self, number: int, index: int) -> RawLine:
        stream = self.streams[self.stream[index]]
        at = self.at[index]
        text = stream.text(self.offset[index], self.length[index])
        return RawLine(number, stream.origin, None if at == UNKNOWN else at, text)


class ReplayLog:
    """Satisfies `LogDocument`. `now`: the clock of the replay."""

    complete = True
    opening = False
    grown = 0

    def __init__(
        self,
        logs: Sequence[LogFile],
        now: Callable[[], float],
        *,
        shared: _Lines | None = None,
        selected: frozenset[Origin] | None = None,
    ) -> None:
        self._logs = logs
        self._now = now
        self._lines = shared or _Lines(logs, now)
        self.selected = selected
        self._shown = array("I")
        self._seen = 0
        self.poll()

    @property
    def first(self) -> int:
        return 0

    @property
    def end(self) -> int:
        return len(self._lines.at) if self.selected is None else len(self._shown)

    @property
    def origins(self) -> Sequence[Origin]:
        return [stream.origin for stream in self._lines.streams]

    @property
    def size(self) -> int:
        return self._lines.size

    @property
    def notice(self) -> str:
        if not self._logs:
            return "no logs lie beside the journals"
        return f"only the first {MOST:,} lines" if len(self._lines.at) >= MOST else ""

    def poll(self) -> bool:
        before = self.end
        self._lines.take()
        if self.selected is not None:
            wanted = {number for number, o in enumerate(self.origins) if o in self.selected}
            for index in range(self._seen, len(self._lines.at)):
                if self._lines.stream[index] in wanted:
                    self._shown.append(index)
        self._seen = len(self._lines.at)
        return self.end != before

    def lines(self, start: int, stop: int) -> Sequence[RawLine]:
        stop = min(stop, self.end, start + MAX_LINES)
        return [self._line(number) for number in range(max(start, 0), stop)]

    def _line(self, number: int) -> RawLine:
        index = number if self.selected is None else self._shown[number]
        return self._lines.line(number, index)

    def at_time(self, at: float) -> int:
        times = self._lines.at
        if self.selected is None:
            return bisect_left(times, at)
        return bisect_left(self._shown, at, key=times.__getitem__)

    def search(self, finder: Finder, start: int, stop: int) -> list[int]:
        numbers = range(max(start, 0), min(stop, self.end))
        return [number for number in numbers if finder.line(self._line(number).data)]

    def older(self) -> None:
        """Everything is here."""

    def select(self, origins: frozenset[Origin] | None) -> LogDocument:
        return ReplayLog(self._logs, self._now, shared=self._lines, selected=origins)

    async def save(self, path: Path) -> int:
        try:
            return await asyncio.to_thread(self._write, path)
        except OSError as error:
            raise CockpitError(f"cannot write {path}: {error.strerror or error}") from error

    def _write(self, path: Path) -> int:
        """In a thread, with files of its own."""
        every = _Lines(self._logs, lambda: math.inf)
        every.take(math.inf)
        log = ReplayLog(self._logs, self._now, shared=every, selected=self.selected)
        size = 0
        with path.open("wb") as file:
            for number in range(log.end):
                line = log._line(number)
                rank = "" if line.origin.rank is None else f" rank {line.origin.rank}"
                when = "-" if line.at is None else f"{line.at:.3f}"
                head = f"{when} {line.origin.node}{rank} "
                size += file.write(head.encode() + line.data + b"\n")
        every.files.close()
        return size

    def close(self) -> None:
        self._lines.files.close()
