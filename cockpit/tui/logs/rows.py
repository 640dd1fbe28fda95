"""Which lines of a log are shown, and in which order: filter, context and folds together. Pure.

Nothing here ever goes through a whole log: the view asks for the next few shown lines from a
number on, in either direction.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from itertools import islice

from cockpit.model.logtypes import LogDocument, RawLine
from cockpit.tui.logs.fold import BLOCK, Fold
from cockpit.tui.logs.matches import Matches

_FOLDS = 256
"""Blocks whose folds are remembered."""

MOST = 10_000
"""Lines that a document gives at once."""

_GAP = 16
"""Lines between two wanted ones that are read along with them."""


class LogRows:
    """`matches`: None shows all lines. `context`: lines shown around each match. `expanded`:
    first lines of folds that are open."""

    def __init__(self, document: LogDocument) -> None:
        self.document = document
        self.matches: Matches | None = None
        self.context = 0
        self.folding = True
        self.expanded: set[int] = set()
        self._first = document.first
        # Lines that were fetched later are folded apart, so that nothing below them changes.
        self._cuts = [document.first]
        self._folds: OrderedDict[int, Fold] = OrderedDict()
        self._sizes: dict[int, int] = {}
        self._latest = (0, 0, Fold())
        """The fold that was asked for last, and its block."""

    def refilter(self, matches: Matches | None) -> None:
        self.matches = matches
        self._folds.clear()
        self._sizes.clear()
        self._latest = (0, 0, Fold())

    def sync(self) -> None:
        """Take note of older lines that came."""
        if self.document.first < self._first:
            insort(self._cuts, self.document.first)
            self._latest = (0, 0, Fold())
            self._first = self.document.first

    # -------------------------------------------------------------------- reading

    def after(self, number: int, count: int) -> list[int]:
        """The first `count` shown lines from `number` on."""
        return list(islice(self._forward(number), max(count, 0)))

    def before(self, number: int, count: int) -> list[int]:
        """The last `count` shown lines before `number`, the nearest first."""
        return list(islice(self._backward(number), max(count, 0)))

    def lines(self, numbers: Iterable[int]) -> dict[int, RawLine]:
        """The lines of some ascending numbers."""
        wanted = list(numbers)
        found: dict[int, RawLine] = {}
        at = 0
        while at < len(wanted):
            stop = at + 1
            while (
                stop < len(wanted)
                and wanted[stop] - wanted[stop - 1] <= _GAP
                and wanted[stop] - wanted[at] < MOST
            ):
                stop += 1
            found.update(
                (line.number, line)
                for line in self.document.lines(wanted[at], wanted[stop - 1] + 1)
            )
            at = stop
        return found

    def is_match(self, number: int) -> bool:
        """False for a line that is shown only around a match."""
        if self.matches is None or not self.context:
            return True
        index = self.matches.index(number)
        return index < len(self.matches) and self.matches[index] == number

    def folded(self, number: int) -> int:
        """Lines that are hidden behind this one."""
        if not self.folding or number in self.expanded:
            return 0
        return len(self._fold_of(number).heads.get(number, ()))

    def head(self, number: int) -> int:
        """The line that stands for this one on the screen: itself, unless it is folded."""
        if not self.folding:
            return number
        head = self._fold_of(number).head_of.get(number, number)
        return number if head in self.expanded else head

    def expand(self, number: int) -> bool:
        """Open or close the fold that this line belongs to; False when it is in none."""
        fold = self._fold_of(number)
        head = fold.head_of.get(number, number)
        if not self.folding or head not in fold.heads:
            return False
        self.expanded ^= {head}
        return True

    # -------------------------------------------------------------------- walking

    def _forward(self, number: int) -> Iterator[int]:
        document = self.document
        number = max(number, document.first)
        if self.matches is not None:
            yield from self._matches_forward(self.matches, number)
        elif not self.folding:
            yield from range(number, document.end)
        else:
            while number < document.end:
                _, stop = self._span(number)
                hidden = self._fold_of(number).head_of
                for each in range(number, min(stop, document.end)):
                    if each not in hidden or hidden[each] in self.expanded:
                        yield each
                number = stop

    def _backward(self, number: int) -> Iterator[int]:
        document = self.document
        number = min(number, document.end)
        if self.matches is not None:
            yield from self._matches_backward(self.matches, number)
        elif not self.folding:
            yield from range(number - 1, document.first - 1, -1)
        else:
            while number > document.first:
                start, _ = self._span(number - 1)
                hidden = self._fold_of(number - 1).head_of
                for each in range(number - 1, max(start, document.first) - 1, -1):
                    if each not in hidden or hidden[each] in self.expanded:
                        yield each
                number = start

    def _matches_forward(self, matches: Matches, number: int) -> Iterator[int]:
        around, end = self.context, self.document.end
        index = matches.index(number - around)
        while index < len(matches):
            match = matches[index]
            index += 1
            if not self._hidden(match):
                start, stop = max(match - around, number), min(match + around + 1, end)
                yield from (n for n in range(start, stop) if n == match or not self._hidden(n))
                number = max(number, stop)

    def _matches_backward(self, matches: Matches, number: int) -> Iterator[int]:
        around, first = self.context, self.document.first
        index = matches.index(number + around)
        while index > 0:
            index -= 1
            match = matches[index]
            if not self._hidden(match):
                start, stop = max(match - around, first), min(match + around + 1, number)
                yield from (
                    n for n in range(stop - 1, start - 1, -1) if n == match or not self._hidden(n)
                )
                number = min(number, start)

    # -------------------------------------------------------------------- folding

    def _hidden(self, number: int) -> bool:
        return self.folding and self.head(number) != number

    def _span(self, number: int) -> tuple[int, int]:
        """The lines that are folded together with this one."""
        start = number // BLOCK * BLOCK
        stop = start + BLOCK
        index = bisect_right(self._cuts, number)
        if index:
            start = max(start, self._cuts[index - 1])
        if index < len(self._cuts):
            stop = min(stop, self._cuts[index])
        return start, stop

    def _fold_of(self, number: int) -> Fold:
        start, stop, fold = self._latest
        if start <= number < stop and fold.end == min(stop, self.document.end):
            return fold
        start, stop = self._span(number)
        fold = self._folds.get(start) or self._remember(start, Fold())
        if self.matches is not None:
            self._add_matches(fold, self.matches, start, stop)
            return fold
        at = start if fold.end is None else fold.end
        if at < min(stop, self.document.end):
            fold.add(self.document.lines(at, min(stop, self.document.end)))
            if fold.end == stop:
                fold.close()
        self._latest = (start, stop, fold)
        return fold

    def _add_matches(self, fold: Fold, matches: Matches, start: int, stop: int) -> None:
        """Fold the matches of a block that were found since it was last looked at."""
        below = matches.index(start)
        size = matches.index(stop) - below
        known = self._sizes.get(start, 0)
        if size == known:
            return
        if fold.end is not None and matches.index(fold.end) - below != known:
            # The search went backward and found earlier lines of the block: begin anew.
            fold.clear()
        numbers = matches.between(start if fold.end is None else fold.end, stop)
        lines = self.lines(numbers)
        fold.add(lines[number] for number in numbers if number in lines)
        self._sizes[start] = size
        if matches.low <= start and stop <= matches.high:
            fold.close()

    def _remember(self, start: int, fold: Fold) -> Fold:
        self._folds[start] = fold
        if len(self._folds) > _FOLDS:
            old, _ = self._folds.popitem(last=False)
            self._sizes.pop(old, None)
        return fold
