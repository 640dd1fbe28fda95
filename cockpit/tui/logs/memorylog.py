"""A log document that lies in memory: for replays, the simulated fleet and tests."""

from __future__ import annotations

import asyncio
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from pathlib import Path

from cockpit.model.logtypes import Finder, LogDocument, Origin, RawLine
from cockpit.text import clean

MAX_LINES = 10_000
"""Lines that one call gives."""

Written = tuple[Origin, "float | None", bytes]
"""A line: its stream, when it was written, its bytes."""


class _Lines:
    """All lines of a job, shared by the documents that show parts of them."""

    def __init__(self, lines: Iterable[Written], earlier: Iterable[Written]) -> None:
        self.lines = list(lines)
        self.earlier = list(earlier)
        self.fetched = not self.earlier
        self.origins: dict[Origin, None] = dict.fromkeys(
            line[0] for line in (*self.earlier, *self.lines)
        )

    def append(self, line: Written) -> None:
        self.lines.append(line)
        self.origins.setdefault(line[0])


class MemoryDocument:
    """Satisfies `LogDocument`. Whoever fills it keeps the order of time.

    `earlier`: lines that have to be asked for with `older`; they get numbers below zero.
    """

    def __init__(
        self,
        lines: Iterable[Written] = (),
        *,
        notice: str = "",
        earlier: Iterable[Written] = (),
    ) -> None:
        self._all = _Lines(lines, earlier)
        self._shown = array("q", range(len(self._all.lines)))
        self._before = array("q")
        """Indices of the earlier lines that are shown."""
        self._taken = len(self._all.lines)
        self._fetched = self._all.fetched
        self._size = sum(len(data) + 1 for _, _, data in self._all.lines)
        self.selected: frozenset[Origin] | None = None
        self.notice = notice
        self.opening = True
        """Until the first `poll`."""
        self.grown = 0
        self.closed = False

    @property
    def first(self) -> int:
        return -len(self._before)

    @property
    def end(self) -> int:
        return len(self._shown)

    @property
    def complete(self) -> bool:
        return self._fetched

    @property
    def size(self) -> int:
        return self._size

    @property
    def origins(self) -> Sequence[Origin]:
        return tuple(self._all.origins)

    def append(self, origin: Origin, at: float | None, data: bytes) -> None:
        """One more line; it is there after the next `poll`."""
        self._all.append((origin, at, data))

    def poll(self) -> bool:
        self.opening = changed = False
        lines = self._all.lines
        for index in range(self._taken, len(lines)):
            if self._shows(lines[index]):
                self._shown.append(index)
                changed = True
        self._taken = len(lines)
        if self._all.fetched and not self._fetched:
            self._fetched = changed = True
            self._before = array(
                "q", (i for i, line in enumerate(self._all.earlier) if self._shows(line))
            )
        return changed

    def _shows(self, line: Written) -> bool:
        if self.selected is not None and line[0] not in self.selected:
            return False
        self._size += len(line[2]) + 1
        return True

    def _line(self, number: int) -> RawLine:
        written = (
            self._all.lines[self._shown[number]]
            if number >= 0
            else self._all.earlier[self._before[number]]
        )
        return RawLine(number, *written)

    def lines(self, start: int, stop: int) -> Sequence[RawLine]:
        start = max(start, self.first)
        stop = min(stop, self.end, start + MAX_LINES)
        return [self._line(number) for number in range(start, stop)]

    def at_time(self, at: float) -> int:
        numbers = range(self.first, self.end)
        # A line of unknown time is taken to be as old as can be.
        index = bisect_left(numbers, at, key=lambda number: self._line(number).at or 0.0)
        return self.first + index

    def search(self, finder: Finder, start: int, stop: int) -> list[int]:
        numbers = range(max(start, self.first), min(stop, self.end))
        return [number for number in numbers if finder.line(self._line(number).data)]

    def older(self) -> None:
        """Have the earlier lines come with the next `poll`."""
        self._all.fetched = True

    def select(self, origins: frozenset[Origin] | None) -> LogDocument:
        other = MemoryDocument(notice=self.notice)
        other._all = self._all
        other._fetched = not self._all.earlier
        other.selected = origins
        other.poll()
        return other

    async def save(self, path: Path) -> int:
        self.older()
        self.poll()
        texts = []
        for number in range(self.first, self.end):
            _, origin, at, data = self._line(number)
            stamp = "-" if at is None else f"{at:.3f}"
            rank = "launcher" if origin.rank is None else f"r{origin.rank}"
            texts.append(f"{stamp} {clean(origin.node)} {rank} ".encode() + data + b"\n")
        text = b"".join(texts)
        return await asyncio.to_thread(path.write_bytes, text)

    def close(self) -> None:
        self.closed = True
