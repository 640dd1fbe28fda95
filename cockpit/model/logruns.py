"""Where the lines of a merged log lie: a table of runs, which are whole lines of one stream.

`logdoc` appends to it in order of time and asks it by line number and by time. A run costs 32
bytes, which go to an unlinked file in blocks, so that memory hardly grows with the log.
"""

from __future__ import annotations

import bisect
import collections
import os
import tempfile
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

LIMIT = 64 * 1024
"""Bytes that runs of the same stream are joined up to. Only a longer line makes a longer run."""
BLOCK = 2048
"""Runs per block of the table."""
CACHED = 16
"""Blocks that are kept in memory for reading."""
_SIZE = 32 * BLOCK
_MOST = 2**32 - 1


class Run(NamedTuple):
    """`lines` lines of stream number `lane`, from byte `start` on, the first of them line `first`
    of its table. `size` is in bytes; `at` is the time of the first line, less the node's skew."""

    first: int
    lines: int
    lane: int
    start: int
    size: int
    at: float


class Spill:
    """Blocks in an unlinked file in `folder`; in memory while the disk takes none."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._fd = -1
        self._end = 0
        self._kept: dict[int, bytes] = {}

    def write(self, data: bytes) -> int:
        """Keep a block; its place."""
        place = self._end
        self._end += len(data)
        try:
            if self._fd < 0:
                with tempfile.TemporaryFile(dir=self._folder, buffering=0) as file:
                    self._fd = os.dup(file.fileno())
            if os.pwrite(self._fd, data, place) == len(data):
                return place
        except OSError:
            pass  # memory is the answer; the mirrors on the same disk report it
        self._kept[place] = data
        return place

    def read(self, place: int, size: int) -> bytes:
        """The block at `place`; zeros where the disk fails."""
        kept = self._kept.get(place)
        if kept is not None:
            return kept
        try:
            data = os.pread(self._fd, size, place)
        except OSError:
            data = b""
        return data.ljust(size, b"\0")

    def close(self) -> None:
        """Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self._kept.clear()


class _Block:
    """Some runs, column by column."""

    __slots__ = ("ats", "firsts", "lanes", "sizes", "starts")

    def __init__(self) -> None:
        self.firsts = array("q")
        self.starts = array("q")
        self.ats = array("d")
        self.lanes = array("I")
        self.sizes = array("I")

    def columns(self) -> tuple[array[int] | array[float], ...]:
        return (self.firsts, self.starts, self.ats, self.lanes, self.sizes)

    def packed(self) -> bytes:
        return b"".join(column.tobytes() for column in self.columns())

    @classmethod
    def unpacked(cls, data: bytes) -> _Block:
        block, position = cls(), 0
        for column in block.columns():
            size = column.itemsize * BLOCK
            column.frombytes(data[position : position + size])
            position += size
        return block


class RunTable:
    """Runs in the order in which their lines are numbered, from 0 on."""

    def __init__(self, spill: Spill) -> None:
        self._spill = spill
        self._tail = _Block()
        self._firsts = array("q")
        self._ats = array("d")
        self._places = array("q")
        self._cache: collections.OrderedDict[int, _Block] = collections.OrderedDict()
        self._newest = float("-inf")
        self._last = (-1, -1, 0)
        """Stream, end and size of the newest run."""
        self.lines = 0
        self.size = 0
        """Bytes of all lines."""

    def __len__(self) -> int:
        return len(self._places) * BLOCK + len(self._tail.firsts)

    def append(self, lane: int, start: int, size: int, lines: int, at: float) -> None:
        """Add lines; joined with the last run where they go on right after it."""
        tail = self._tail
        last_lane, end, before = self._last
        if lane == last_lane and start == end and size + before <= LIMIT and tail.sizes:
            size += before
            tail.sizes[-1] = size
            self.size += size - before
        else:
            if len(tail.firsts) == BLOCK:
                self._store()
                tail = self._tail
            # Lines that came late have an earlier time; the column is for bisection and never
            # goes back.
            self._newest = max(self._newest, at)
            tail.firsts.append(self.lines)
            tail.starts.append(start)
            tail.ats.append(self._newest)
            tail.lanes.append(lane)
            tail.sizes.append(min(size, _MOST))
            end, before = start, 0
            self.size += size
        self.lines += lines
        self._last = (lane, end + size - before, size)

    def _store(self) -> None:
        self._firsts.append(self._tail.firsts[0])
        self._ats.append(self._tail.ats[0])
        self._places.append(self._spill.write(self._tail.packed()))
        self._tail = _Block()

    def _block(self, number: int) -> _Block:
        if number == len(self._places):
            return self._tail
        block = self._cache.get(number)
        if block is None:
            block = _Block.unpacked(self._spill.read(self._places[number], _SIZE))
            self._cache[number] = block
            if len(self._cache) > CACHED:
                self._cache.popitem(last=False)
        else:
            self._cache.move_to_end(number)
        return block

    def _start_of(self, number: int) -> int:
        """The first line of a block, or the number of lines after the last."""
        if number < len(self._firsts):
            return self._firsts[number]
        tail = self._tail.firsts
        return tail[0] if number == len(self._firsts) and tail else self.lines

    def runs(self, start: int, stop: int) -> Iterator[Run]:
        """The runs that hold the lines [start, stop), in order."""
        start, stop = max(start, 0), min(stop, self.lines)
        if start >= stop:
            return
        number = bisect.bisect_right(self._firsts, start) - 1
        tail = self._tail.firsts
        if number < 0 or (tail and tail[0] <= start):
            number = len(self._places)
        position = -1
        while number <= len(self._places):
            block = self._block(number)
            if position < 0:
                position = bisect.bisect_right(block.firsts, start) - 1
            following = self._start_of(number + 1)
            count = len(block.firsts)
            while position < count:
                first = block.firsts[position]
                if first >= stop:
                    return
                after = block.firsts[position + 1] if position + 1 < count else following
                yield Run(
                    first,
                    after - first,
                    block.lanes[position],
                    block.starts[position],
                    block.sizes[position],
                    block.ats[position],
                )
                position += 1
            number, position = number + 1, 0

    def since(self, at: float) -> int:
        """The first line of the first run that begins at `at` or later; the end if none does."""
        number = max(bisect.bisect_left(self._ats, at) - 1, 0)
        tail = self._tail.ats
        if tail and tail[0] < at:
            number = len(self._places)
        while number <= len(self._places):
            block = self._block(number)
            position = bisect.bisect_left(block.ats, at)
            if position < len(block.firsts):
                return block.firsts[position]
            number += 1
        return self.lines
