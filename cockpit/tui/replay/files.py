"""The log files of a recording: their sizes and time indexes, read once, and ranges of their bytes.

`load` reads disks and belongs before the screen; `Files` hands out ranges afterwards.
"""

from __future__ import annotations

import collections
import math
import os
import struct
from array import array
from bisect import bisect_right
from pathlib import Path

from cockpit.model.logtypes import Origin
from cockpit.protocol import layout
from cockpit.protocol.frames import INDEX_ENTRY

UNKNOWN = -math.inf
MOST_OPEN = 64


class LogFile:
    """A stream of a job's log. `size`: its bytes when the recording was read."""

    def __init__(self, origin: Origin, path: Path, size: int, index: bytes) -> None:
        self.origin = origin
        self.path = path
        self.size = size
        self._offsets, self._times = array("Q"), array("d")
        whole = index[: len(index) - len(index) % INDEX_ENTRY.size]
        for offset, at in struct.iter_unpack(INDEX_ENTRY.format, whole):
            if not self._times or (offset > self._offsets[-1] and at >= self._times[-1]):
                self._offsets.append(offset)
                self._times.append(at)

    def time(self, offset: int) -> float:
        """When the byte at `offset` was written; UNKNOWN without an index."""
        place = bisect_right(self._offsets, offset) - 1
        return self._times[place] if place >= 0 else UNKNOWN

    @property
    def ended(self) -> float:
        """When its last bytes were written; UNKNOWN without an index."""
        return self._times[-1] if self._times else UNKNOWN


def load(origin: Origin, path: Path) -> LogFile:
    """Raises OSError."""
    index = path.with_name(path.name + layout.INDEX_SUFFIX)
    data = index.read_bytes() if index.is_file() else b""
    return LogFile(origin, path, path.stat().st_size, data)


class Files:
    """Ranges of files, with a few of them open."""

    def __init__(self) -> None:
        self._open: collections.OrderedDict[Path, int] = collections.OrderedDict()

    def read(self, path: Path, offset: int, size: int) -> bytes:
        """Shorter, or empty, where the file cannot be read any more."""
        try:
            return os.pread(self._descriptor(path), size, offset)
        except OSError:
            return b""

    def _descriptor(self, path: Path) -> int:
        known = self._open.get(path)
        if known is not None:
            self._open.move_to_end(path)
            return known
        made = self._open[path] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        if len(self._open) > MOST_OPEN:
            os.close(self._open.popitem(last=False)[1])
        return made

    def close(self) -> None:
        while self._open:
            os.close(self._open.popitem()[1])
