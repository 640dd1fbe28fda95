"""The small file beside a mirror that tells what it holds, written from any thread.

What it shall hold is taken on the loop, where the mirror lives; a thread may write it later. A
writing that comes too late never lands on what was ordered after it, nor after the end.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from cockpit.model.private import write_atomic


class RangesFile:
    """Orders are numbered; `write` drops those that were overtaken."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._ordered = 0
        self._landed = 0

    def order(self) -> int:
        """The number of a new order, above all before it."""
        self._ordered += 1
        return self._ordered

    def write(self, order: int, data: bytes) -> None:
        """Replace the file, unless by something older. Raises OSError."""
        with self._lock:
            if order > self._landed:
                write_atomic(self.path, data)
                self._landed = order

    def close(self) -> None:
        """Let nothing land any more that was ordered until now."""
        with self._lock:
            self._landed = self._ordered


class Unsaved(NamedTuple):
    """What one file shall hold. `failed` is called on the loop with why it does not."""

    file: RangesFile
    order: int
    data: bytes
    failed: Callable[[OSError], None]

    def write(self) -> OSError | None:
        """In any thread."""
        try:
            self.file.write(self.order, self.data)
        except OSError as error:
            return error
        return None
