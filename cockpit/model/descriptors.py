"""Open files of the log mirror, few at a time however many streams are followed."""

from __future__ import annotations

import collections
import os

OPEN_FILES = 256
OPEN = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


class Descriptors:
    """Open files, at most `limit` (OPEN_FILES); the one that was not used for longest is closed."""

    def __init__(self, limit: int | None = None) -> None:
        self._limit = limit
        self._open: collections.OrderedDict[str, int] = collections.OrderedDict()

    def get(self, path: str) -> int:
        """A descriptor for reading and writing. Raises OSError."""
        fd = self._open.get(path)
        if fd is None:
            fd = os.open(path, OPEN, 0o600)
            self._open[path] = fd
            if len(self._open) > (self._limit or OPEN_FILES):
                os.close(self._open.popitem(last=False)[1])
        else:
            self._open.move_to_end(path)
        return fd

    def drop(self, path: str) -> None:
        fd = self._open.pop(path, None)
        if fd is not None:
            os.close(fd)

    def close(self) -> None:
        while self._open:
            os.close(self._open.popitem()[1])
