"""What a log mirror holds at one moment, for work in a thread: mirrors themselves live on the loop.

Used by `logsave`.
"""

from __future__ import annotations

import os

from cockpit.model.descriptors import Descriptors
from cockpit.model.ranges import Ranges
from cockpit.model.timeindex import TimeIndex


class FrozenStream:
    """What a stream holds now, for reading in a thread while the mirror goes on growing.

    Made by `MirrorStream.frozen`. What is in memory, because the disk takes none, is left out.
    """

    def __init__(self, path: str, held: Ranges, files: Descriptors) -> None:
        self._path = path
        self._held = held
        self._files = files
        self._index: TimeIndex | None = None

    @property
    def index(self) -> TimeIndex:
        """When bytes were written."""
        if self._index is None:
            self._index = TimeIndex(f"{self._path}.idx", self._files, _say_nothing)
        return self._index

    @property
    def end(self) -> int:
        return self._held.end

    def read(self, start: int, length: int) -> bytes:
        """As `MirrorStream.read`; nothing where the disk fails."""
        stop = min(start + length, self._held.until(start))
        if stop <= start:
            return b""
        try:
            return os.pread(self._files.get(self._path), stop - start, start)
        except OSError:
            return b""

    def holes(self, start: int, end: int) -> list[tuple[int, int]]:
        """As `MirrorStream.holes`."""
        return self._held.missing(start, end)


def _say_nothing(problem: str) -> None:
    """The mirror itself reports what its disk refuses."""
