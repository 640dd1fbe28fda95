"""Whether the file system of an attempt has room; what is written there is cut off if not.

Asked by the keeper every few seconds. A full disk silences everybody who could say so, logs and
journals first; so the supervisor says it in good time, out of the room that its journal has set
aside. Writes nothing to find out.
"""

from __future__ import annotations

import os
from collections.abc import Callable

INTERVAL = 3.0
"""Seconds between two looks."""
LEAST = 64 * 1024
"""Bytes; with less than that free, even small files are cut off."""


class Room:
    """That of the folder `path`. `tell` is called once, when it is found to have no room."""

    def __init__(self, path: str, tell: Callable[[], None]) -> None:
        self._path = path
        self._tell = tell
        self._due = 0.0
        self._told = False
        self.gone = False
        """Whether there was none at the newest look."""

    def tick(self, now: float, refused: bool = False) -> None:
        """Look if it is time, in monotonic seconds. `refused`: a write there has just failed."""
        if now >= self._due or (refused and not self.gone):
            self._due = now + INTERVAL
            self.look(refused)

    def look(self, refused: bool = False) -> None:
        self.gone = refused or _is_full(self._path)
        if self.gone and not self._told:
            self._told = True
            self._tell()


def _is_full(path: str) -> bool:
    try:
        status = os.statvfs(path)
    except OSError:
        return False
    # Some file systems count no files, and say 0 of 0.
    bytes_left = (status.f_bfree if os.geteuid() == 0 else status.f_bavail) * status.f_frsize
    return bytes_left < LEAST or (status.f_files > 0 and status.f_ffree == 0)
