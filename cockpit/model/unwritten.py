"""Bytes of mirrors that wait to be written: how many there are, and whose turn it is.

One for all mirrors of a store. Each write to a disk costs about the same for a line as for a
thousand, so a stream gathers what comes; only where all of them hold too much together, those that
began first are written early, one after the other.
"""

from __future__ import annotations

from typing import Protocol

ROOM = 8 * 1024 * 1024
"""Bytes of all streams of a store together that may wait."""


class Holder(Protocol):
    """A stream that holds bytes. `flush` writes them, and has them counted by `written`."""

    def flush(self) -> None: ...


class Unwritten:
    """`room`: bytes that may wait."""

    def __init__(self, room: int = ROOM) -> None:
        self._room = room
        self._waiting = 0
        self._holders: dict[Holder, None] = {}

    @property
    def waiting(self) -> int:
        """Bytes that wait now."""
        return self._waiting

    def held(self, holder: Holder, count: int) -> None:
        """`holder` holds `count` bytes more; the oldest are written where that is too much."""
        self._waiting += count
        self._holders.setdefault(holder)
        while self._waiting > self._room:
            next(iter(self._holders)).flush()

    def written(self, holder: Holder, count: int) -> None:
        """`holder` holds nothing any more; it were `count` bytes."""
        self._waiting -= count
        self._holders.pop(holder, None)
