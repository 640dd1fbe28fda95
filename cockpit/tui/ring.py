"""The newest log lines in memory, each with an absolute number that never changes.

Kept as columns (times, source numbers, texts): 24 bytes a line beside its text object. Old lines
go in blocks of a tenth. `Matches` finds the lines that a filter lets through, step by step, so
that no step blocks the event loop. Pure; the log view and its feed use it.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable
from typing import NamedTuple

from cockpit.text import clean
from cockpit.tui.source import LogLine

CAPACITY = 200_000
"""Lines that are kept."""

_UNKNOWN = float("nan")


class Origin(NamedTuple):
    """Which stream a line comes from; one object for all its lines."""

    node: str
    rank: int | None
    error: bool

    @property
    def label(self) -> str:
        return f"{self.node} {'launcher' if self.rank is None else f'r{self.rank}'}"


class Entry(NamedTuple):
    """A line to be drawn. `at` is wall-clock seconds or None."""

    number: int
    origin: Origin
    at: float | None
    text: str


class LogRing:
    """Lines `first` … `end` - 1."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._times = array("d")
        self._origins = array("L")
        self._texts: list[str] = []
        self._known: dict[Origin, int] = {}
        self._by_number: list[Origin] = []
        self.first = 0
        self.label_width = 0
        """Cells of the longest label so far."""

    @property
    def end(self) -> int:
        """Number that the next line will get: lines that ever came."""
        return self.first + len(self._texts)

    def append(self, lines: Iterable[LogLine]) -> None:
        for item in lines:
            origin = Origin(item.node, item.rank, item.stream.endswith("err"))
            number = self._known.get(origin)
            if number is None:
                number = self._known[origin] = len(self._by_number)
                self._by_number.append(origin._replace(node=clean(origin.node)))
                self.label_width = max(self.label_width, len(self._by_number[number].label))
            self._times.append(_UNKNOWN if item.at is None else item.at)
            self._origins.append(number)
            text = item.text
            self._texts.append(text if text.isprintable() else clean(text))
        if len(self._texts) > self._capacity:
            # A tenth more than needed, so that the move of what stays is paid rarely.
            surplus = len(self._texts) - self._capacity
            surplus = min(surplus + self._capacity // 10, len(self._texts))
            del self._times[:surplus]
            del self._origins[:surplus]
            del self._texts[:surplus]
            self.first += surplus

    def entry(self, number: int) -> Entry:
        """The line with this absolute number. IndexError when it is not held."""
        index = number - self.first
        if not 0 <= index < len(self._texts):
            raise IndexError(number)
        at = self._times[index]
        return Entry(
            number,
            self._by_number[self._origins[index]],
            None if at != at else at,
            self._texts[index],
        )

    def search(self, test: Callable[[str], object], start: int, stop: int) -> list[int]:
        """Numbers in [start, stop) whose text passes `test`."""
        start = max(start, self.first)
        texts = self._texts[start - self.first : max(stop, start) - self.first]
        return [start + index for index, text in enumerate(texts) if test(text)]


_META = re.compile(r"[\\^$.|?*+()\[\]{}]")


def matcher(pattern: str) -> Callable[[str], object]:
    """A test for lines: literal, or a regular expression where `pattern` has metacharacters and
    compiles. A pattern without capitals ignores case."""
    ignore_case = pattern == pattern.lower()
    if _META.search(pattern):
        try:
            return re.compile(pattern, re.IGNORECASE if ignore_case else 0).search
        except re.error:
            pass  # "[rank0" and the like are meant literally
    if ignore_case:
        return lambda text: pattern in text.lower()
    return lambda text: pattern in text


class Matches:
    """Absolute numbers of the lines of `ring` that `pattern` lets through, in order."""

    def __init__(self, ring: LogRing, pattern: str) -> None:
        self.pattern = pattern
        self._ring = ring
        self._test = matcher(pattern)
        self._numbers = array("Q")
        self._next = ring.first

    def advance(self, lines: int) -> bool:
        """Test up to `lines` more lines; True when all were tested."""
        self.prune()
        ring = self._ring
        start = max(self._next, ring.first)
        self._next = min(start + lines, ring.end)
        self._numbers.extend(ring.search(self._test, start, self._next))
        return self._next >= ring.end

    def prune(self) -> None:
        """Forget lines that the ring no longer holds."""
        dropped = bisect_left(self._numbers, self._ring.first)
        if dropped:
            del self._numbers[:dropped]

    def __len__(self) -> int:
        return len(self._numbers)

    def index(self, number: int) -> int:
        """Index of the first match at or after the line `number`."""
        return bisect_left(self._numbers, number)

    def __getitem__(self, index: int) -> int:
        return self._numbers[index]
