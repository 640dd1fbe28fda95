"""When the bytes of a log were written: the time index that stands beside it, read as it grows.

Used by `follow`. A log without an index, or bytes that it does not reach yet, get the time of the
file's last change, which is at most a little late. Never writes.
"""

from __future__ import annotations

import os

from cockpit.protocol.frames import INDEX_ENTRY

COVERED = 0.25
"""Seconds after an entry's time during which later bytes may belong to it: entries are written at
most 20 times a second, by a process that may be late."""
OWN_INTERVAL = 0.05
"""Seconds between entries that are made here."""
_BLOCK = 2048 * INDEX_ENTRY.size

Entry = tuple[int, float]


class IndexReader:
    """Entries for consecutive chunks of one log. `path` is that of the index; it may be missing."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = -1
        self._next = 0
        """File position of the first entry that was not used."""
        self._in_force: Entry | None = None
        self._own_time: float | None = None
        self._sent = -1
        """Offset of the newest entry that was returned."""

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def entries(self, start: int, end: int, changed: float) -> list[Entry]:
        """What to send before the chunk of bytes `start`..`end`, in rising order of offset.

        The first entry is in force at `start` unless an earlier call returned it. `changed` is the
        wall time of the file's last change. Raises OSError when the index cannot be read.
        """
        inside, newest = self._advance(start, end)
        before = self._in_force
        last = inside[-1] if inside else before
        found: list[Entry] = []
        if before is not None:
            found.append(before)
        elif inside:
            found.append((start, min(changed, inside[0][1])))
        found += inside
        if last is None or (newest and not inside and changed - last[1] > COVERED):
            found += self._own(start, changed)
        self._in_force = last
        return [entry for entry in found if self._is_news(entry)]

    def _own(self, start: int, changed: float) -> list[Entry]:
        if self._own_time is not None and changed - self._own_time < OWN_INTERVAL:
            return []
        self._own_time = changed
        return [(start, changed)]

    def _is_news(self, entry: Entry) -> bool:
        if entry[0] <= self._sent:
            return False
        self._sent = entry[0]
        return True

    def _advance(self, start: int, end: int) -> tuple[list[Entry], bool]:
        """Move past every entry before `end` and note the one in force at `start`.

        Returns the entries inside, and whether the index says nothing of what comes later.
        """
        if self._fd < 0:
            try:
                self._fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            except FileNotFoundError:
                return [], True
            self._next = self._position_of(start)
        inside: list[Entry] = []
        while True:
            block = os.pread(self._fd, _BLOCK, self._next)
            whole = len(block) - len(block) % INDEX_ENTRY.size  # the last one may be torn
            for position in range(0, whole, INDEX_ENTRY.size):
                offset, time = INDEX_ENTRY.unpack_from(block, position)
                if offset >= end:
                    return inside, False
                self._next += INDEX_ENTRY.size
                if offset <= start:
                    self._in_force = (offset, time)
                elif not inside or offset > inside[-1][0]:
                    inside.append((offset, time))
            if whole < _BLOCK:
                return inside, True

    def _position_of(self, start: int) -> int:
        """File position of the newest entry whose offset is not past `start`, else of the first."""
        low, high = 0, os.fstat(self._fd).st_size // INDEX_ENTRY.size
        while low < high:
            middle = (low + high) // 2
            entry = os.pread(self._fd, INDEX_ENTRY.size, middle * INDEX_ENTRY.size)
            if len(entry) == INDEX_ENTRY.size and INDEX_ENTRY.unpack(entry)[0] <= start:
                low = middle + 1
            else:
                high = middle
        return max(low - 1, 0) * INDEX_ENTRY.size
