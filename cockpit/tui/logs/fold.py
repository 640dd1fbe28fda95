"""Identical lines of several streams within a second, folded into the first of them. Pure.

Lines are folded within blocks of `BLOCK` numbers, each for itself and from its beginning on, so
that what is shown of a block depends on nothing but its lines: more lines of it can hide others
behind them, but never change what stands above. Memory and work are bounded by a block.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from cockpit.model.logtypes import Origin, RawLine

BLOCK = 4096
"""Lines that are folded together."""

WINDOW = 1.0
"""Seconds between the first line of a fold and its last."""

_OPEN = 8
"""Folds of the same text that can be open at once: a traceback repeats some of its lines."""

_PREFIX = re.compile(
    rb"^\s*\[?(?:rank|default|r)\s?\d+\]?\s?:\s?|^\s*\[\d+\]\s?:\s?", re.IGNORECASE
)
_ESCAPE = re.compile(rb"\x1b\[[0-9;:]*m")


def text_of(data: bytes) -> bytes:
    """What has to be the same: the text without rank prefix, colours and outer space."""
    if b"\x1b" in data:
        data = _ESCAPE.sub(b"", data)
    head = data[:1]
    if head in (b"[", b"r", b"R", b"d", b" ", b"\t"):
        data = _PREFIX.sub(b"", data, count=1)
    return data.strip()


class _Open:
    """A fold that can still grow. `others`: the streams besides that of its first line."""

    __slots__ = ("at", "number", "origin", "others")

    def __init__(self, number: int, at: float, origin: Origin) -> None:
        self.number = number
        self.at = at
        self.origin = origin
        self.others: set[Origin] | None = None

    def takes(self, origin: Origin, at: float) -> bool:
        """Add a line of `origin`, if it belongs here."""
        if origin == self.origin or abs(at - self.at) > WINDOW:
            return False
        if self.others is None:
            self.others = {origin}
        elif origin in self.others:
            return False
        else:
            self.others.add(origin)
        return True


class Fold:
    """The lines of one block, added in order."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget all lines."""
        self.end: int | None = None
        """The number behind the last line that was added."""
        self.heads: dict[int, list[int]] = {}
        """First line of a fold -> the lines that are folded into it."""
        self.head_of: dict[int, int] = {}
        """Line that is folded -> the first line of its fold."""
        self._open: dict[bytes, list[_Open]] = {}

    def add(self, lines: Iterable[RawLine]) -> None:
        for number, origin, at, data in lines:
            self.end = number + 1
            if at is None:
                continue
            text = text_of(data)
            folds = self._open.get(text)
            if folds is None:
                self._open[text] = [_Open(number, at, origin)]
                continue
            for fold in folds:
                if fold.takes(origin, at):
                    self.heads.setdefault(fold.number, []).append(number)
                    self.head_of[number] = fold.number
                    break
            else:
                folds.append(_Open(number, at, origin))
                del folds[:-_OPEN]

    def close(self) -> None:
        """No more lines will come: let go of what is only needed to take them in."""
        self._open.clear()
