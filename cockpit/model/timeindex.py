"""When the bytes of a log stream were written: (offset, wall time) pairs, sorted by offset.

Held in a file beside the mirror in the node's own format, read by bisection, so memory does not
grow with a stream's age. Used by `mirror`, `lines` and `merged`.
"""

from __future__ import annotations

import bisect
import contextlib
import itertools
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from cockpit.model.descriptors import Descriptors
from cockpit.model.private import write_atomic
from cockpit.protocol.frames import INDEX_ENTRY

MIN_BYTES = 4096
MIN_SECONDS = 0.04
"""An entry closer than both to the one before is dropped. Nodes write 20 a second at most."""
PENDING = 512
"""Entries that wait in memory before they are written out."""
MAX_IN_MEMORY = 65536
"""Entries that are kept while the disk takes none; then every second one of them goes."""

Pair = tuple[int, float]


class TimeIndex:
    """The index of one stream. Failing disks are reported through `on_problem`, never raised."""

    def __init__(self, path: str, files: Descriptors, on_problem: Callable[[str], None]) -> None:
        self._path = path
        self._files = files
        self._problem = on_problem
        self._count = self._stored()
        self._recent: list[Pair] = []
        self._last: Pair | None = self._entry(self._count - 1) if self._count else None

    def _stored(self) -> int:
        try:
            return os.stat(self._path).st_size // INDEX_ENTRY.size
        except OSError:
            return 0

    def __len__(self) -> int:
        return self._count + len(self._recent)

    # -- adding --------------------------------------------------------------------------------

    def add(self, entries: Sequence[Pair]) -> None:
        """Take in entries in the order of their offsets; known ones are dropped."""
        older: list[Pair] = []
        for offset, at in entries:
            last = self._last
            if last is not None and offset <= last[0]:
                older.append((offset, at))
            elif (
                last is None
                or offset - last[0] >= MIN_BYTES
                or not 0.0 <= at - last[1] < MIN_SECONDS
            ):
                self._last = (offset, at)
                self._recent.append(self._last)
        if older:
            self._insert(older)
        if len(self._recent) >= PENDING:
            self.flush()

    def _insert(self, older: list[Pair]) -> None:
        """Entries from before the end: rare (history fetched later), so the file is rewritten."""
        new = [(offset, at) for offset, at in older if self._exact(offset) is None]
        if not new or self._splice(new):
            return
        everything = dict(self._slice(0, len(self)))
        for offset, at in new:
            everything.setdefault(offset, at)
        merged = sorted(everything.items())
        try:
            data = b"".join(INDEX_ENTRY.pack(*pair) for pair in merged)
            write_atomic(Path(self._path), data)
        except OSError as error:
            self._problem(f"cannot keep the time index {self._path}: {error.strerror}")
            if not self._count:
                self._recent = merged
                self._trim()
            return
        self._files.drop(self._path)
        self._count, self._recent = len(merged), []

    def _splice(self, new: Sequence[Pair]) -> bool:
        """Put in entries that lie between two known ones, as a range that is fetched later does.

        False when they do not, or the disk fails.
        """
        place = self._bisect(new[0][0])
        if place >= self._count or place != self._bisect(new[-1][0]):
            return False
        self.flush()
        size = INDEX_ENTRY.size
        if self._recent or any(one[0] >= two[0] for one, two in itertools.pairwise(new)):
            return False
        try:
            known = os.pread(self._files.get(self._path), self._count * size, 0)
            if len(known) != self._count * size:
                return False
            packed = b"".join(INDEX_ENTRY.pack(*pair) for pair in new)
            data = known[: place * size] + packed + known[place * size :]
            write_atomic(Path(self._path), data)
        except OSError:
            return False  # the long way round reports it
        self._files.drop(self._path)
        self._count += len(new)
        return True

    def flush(self) -> None:
        """Write out what waits in memory."""
        if not self._recent:
            return
        data = b"".join(INDEX_ENTRY.pack(*pair) for pair in self._recent)
        try:
            fd = self._files.get(self._path)
            position = self._count * INDEX_ENTRY.size
            written = 0
            while written < len(data):
                written += os.pwrite(fd, data[written:], position + written)
        except OSError as error:
            self._problem(f"cannot keep the time index {self._path}: {error.strerror}")
            self._trim()
            return
        self._count += len(self._recent)
        self._recent = []

    def _trim(self) -> None:
        if len(self._recent) > MAX_IN_MEMORY:
            del self._recent[: MAX_IN_MEMORY // 2 : 2]

    def reset(self) -> None:
        """Forget everything."""
        self._count, self._recent, self._last = 0, [], None
        with contextlib.suppress(OSError):
            os.truncate(self._path, 0)

    def close(self) -> None:
        self._files.drop(self._path)

    # -- asking --------------------------------------------------------------------------------

    def at(self, offset: int) -> float | None:
        """When the byte at `offset` was first seen on the node; None while that is unknown.

        Bytes from before the first entry get the first entry's time.
        """
        pairs = self.between(offset, offset + 1)
        return pairs[0][1] if pairs else None

    def between(self, start: int, end: int) -> list[Pair]:
        """The entries that say the time of [start, end), the first one at or before `start`."""
        if not len(self):
            return []
        if self._last is not None and self._last[0] <= start:
            return [self._last]  # most questions are about the end
        first = max(self._bisect(start + 1) - 1, 0)
        last = self._bisect(end)
        return self._slice(first, max(last, first + 1))

    def _exact(self, offset: int) -> float | None:
        position = self._bisect(offset)
        if position < len(self):
            found, at = self._entry(position)
            if found == offset:
                return at
        return None

    def _bisect(self, offset: int) -> int:
        """Number of entries whose offset is below `offset`."""
        if self._recent and self._recent[0][0] < offset:
            return self._count + bisect.bisect_left(self._recent, (offset,))
        low, high = 0, self._count
        while low < high:
            middle = (low + high) // 2
            if self._entry(middle)[0] < offset:
                low = middle + 1
            else:
                high = middle
        return low

    def _entry(self, number: int) -> Pair:
        return self._slice(number, number + 1)[0]

    def _slice(self, first: int, last: int) -> list[Pair]:
        result: list[Pair] = []
        if first < self._count:
            stop = min(last, self._count)
            size = INDEX_ENTRY.size
            data = b""
            try:
                data = os.pread(self._files.get(self._path), (stop - first) * size, first * size)
            except OSError as error:
                self._problem(f"cannot read the time index {self._path}: {error.strerror}")
            data = data.ljust((stop - first) * size, b"\0")
            result.extend(INDEX_ENTRY.iter_unpack(data))
        if last > self._count:
            result.extend(self._recent[max(first - self._count, 0) : last - self._count])
        return result
