"""The part of a log that is on the screen, and how it moves. Pure: rows in, rows out.

The position is the number of a line and a row of it; only a person moves it. While `following` it
is the end. What is computed is what is seen: a screenful of lines, whatever the size of the log.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from cockpit.model.logtypes import LogDocument, RawLine
from cockpit.tui.draw.spans import Line
from cockpit.tui.logs.drawing import Look, draw, draw_mark
from cockpit.tui.logs.rows import LogRows

NEAR = 500
"""Lines from the first one at which earlier ones are worth fetching."""

_DRAWN = 1000
"""Lines whose drawing is remembered."""


class Row(NamedTuple):
    """`sub`: which of the rows of line `number` it is."""

    number: int
    sub: int
    line: Line


class Mark(NamedTuple):
    """A ruler above line `number`, drawn at that moment."""

    number: int
    at: float | None


class _Pin(NamedTuple):
    """Line `number` belongs into row `row` of the screen, as far as there are lines for it."""

    number: int
    row: int


class LogWindow:
    """`height`: rows of the screen; `settled`: nothing is being searched that could be shown."""

    def __init__(self, document: LogDocument, look: Look | None = None) -> None:
        self.rows = LogRows(document)
        self.height = 1
        self.following = True
        self.settled = True
        self.cursor = document.end - 1
        self.anchor: int | None = None
        """Where the selection begins that ends at the cursor."""
        self.marks: list[Mark] = []
        self.seen = document.end
        self._look = look or Look(80)
        self._top = document.first
        self._skip = 0
        self._pin: _Pin | None = None
        self._drawn: dict[int, tuple[tuple[int, bool], list[Line]]] = {}
        self._grown = document.grown

    @property
    def document(self) -> LogDocument:
        return self.rows.document

    @property
    def look(self) -> Look:
        return self._look

    @look.setter
    def look(self, look: Look) -> None:
        if look != self._look:
            self._look = look
            self._drawn.clear()

    @property
    def behind(self) -> int:
        """Lines that came since the reader stopped following."""
        return 0 if self.following else self.document.end - self.seen

    @property
    def position(self) -> int:
        """Number of the line in the top row."""
        rows = self.view()
        return rows[0].number if rows else self.document.first

    # -------------------------------------------------------------------- drawing

    def view(self) -> list[Row]:
        """What is on the screen, at most `height` rows."""
        self.rows.sync()
        if self._grown != self.document.grown:
            # A progress bar without a newline went on.
            self._grown = self.document.grown
            self._drawn.clear()
        if self.following:
            return self._ending()
        rows = self._pinned(self._pin) if self._pin is not None else self._reading()
        if rows and self.settled:
            self._keep(rows[0])
            self._pin = None
        numbers = [row.number for row in rows if row.number < self.document.end]
        if numbers and self.settled and self.cursor not in numbers:
            self.cursor = min(numbers, key=lambda number: abs(number - self.cursor))
        return rows

    def _keep(self, row: Row) -> None:
        self._top, self._skip = row.number, row.sub

    def _ending(self) -> list[Row]:
        tail = self._tail(self.height)
        return [*self._before(self.document.end, 0, self.height - len(tail)), *tail]

    def _reading(self) -> list[Row]:
        rows = self._from(self._top, self._skip, self.height)
        missing = self.height - len(rows)
        if missing and rows:
            return [*self._before(rows[0].number, rows[0].sub, missing), *rows]
        return rows or self._before(self.document.end, 0, self.height)

    def _pinned(self, pin: _Pin) -> list[Row]:
        above = self._before(pin.number, 0, min(pin.row, self.height - 1))
        rows = [*above, *self._from(pin.number, 0, self.height - len(above))]
        missing = self.height - len(rows)
        if missing and rows:
            rows = [*self._before(rows[0].number, rows[0].sub, missing), *rows]
        return rows or self._before(self.document.end, 0, self.height)

    def _from(self, number: int, sub: int, count: int) -> list[Row]:
        """The first `count` rows from row `sub` of line `number` on."""
        numbers = self.rows.after(number, count)
        known = self._fetch(numbers)
        rows: list[Row] = []
        for each in numbers:
            drawn = self._item(each, known)
            start = min(sub, max(len(drawn) - 1, 0)) if each == number else 0
            rows.extend(Row(each, at, drawn[at]) for at in range(start, len(drawn)))
            if len(rows) >= count:
                return rows[:count]
        return [*rows, *self._tail(count - len(rows))]

    def _before(self, number: int, sub: int, count: int) -> list[Row]:
        """The last `count` rows before row `sub` of line `number`."""
        if count <= 0:
            return []
        groups: list[list[Row]] = []
        have = 0
        numbers = self.rows.before(number, count)
        if sub > 0 and number < self.document.end:
            numbers.insert(0, number)
        known = self._fetch(reversed(numbers))
        for each in numbers:
            drawn = self._item(each, known)
            stop = min(sub, len(drawn)) if each == number else len(drawn)
            groups.append([Row(each, at, drawn[at]) for at in range(stop)])
            have += stop
            if have >= count:
                break
        rows = [row for group in reversed(groups) for row in group]
        return rows[-count:]

    def _fetch(self, numbers: Iterable[int]) -> dict[int, RawLine]:
        """The lines of those numbers that are not drawn yet."""
        wanted = [n for n in numbers if n not in self._drawn]
        return self.rows.lines(wanted) if wanted else {}

    def _item(self, number: int, known: dict[int, RawLine]) -> list[Line]:
        """The rows of a line, with the marks above it."""
        folded = self.rows.folded(number)
        key = (folded, not self.rows.is_match(number))
        drawn = self._drawn.get(number)
        if drawn is None or drawn[0] != key:
            line = known.get(number) or self.line(number)
            rows = [] if line is None else draw(line, self._look, folded, aside=key[1])
            if len(self._drawn) >= _DRAWN:
                self._drawn.clear()
            drawn = self._drawn[number] = (key, rows)
        if not self.marks:
            return drawn[1]
        previous = self.rows.before(number, 1)
        low = previous[0] if previous else number - 1
        above = [mark for mark in self.marks if low < mark.number <= number]
        return [*(draw_mark(mark.at, self._look.width) for mark in above), *drawn[1]]

    def _tail(self, count: int) -> list[Row]:
        """Marks behind the last shown line."""
        if not self.marks or count <= 0:
            return []
        end = self.document.end
        last = self.rows.before(end, 1)
        low = last[0] if last else self.document.first - 1
        after = [mark for mark in self.marks if mark.number > low]
        rows = [draw_mark(mark.at, self._look.width) for mark in after[-count:]]
        return [Row(end, sub, line) for sub, line in enumerate(rows)]

    def line(self, number: int) -> RawLine | None:
        return next(iter(self.document.lines(number, number + 1)), None)

    # ------------------------------------------------------------------- movement

    def hold(self) -> None:
        """Stop following: read from what is on the screen."""
        if not self.following:
            self._settle()
            return
        rows = self._ending()
        self.following = False
        self._pin = None
        self.seen = self.document.end
        last = self.rows.before(self.document.end, 1)
        self.cursor = last[0] if last else self.document.end - 1
        if rows:
            self._keep(rows[0])

    def _settle(self) -> None:
        """Take the place that a pin asked for."""
        if self._pin is not None:
            rows = self._pinned(self._pin)
            self._pin = None
            if rows:
                self._keep(rows[0])

    def follow(self) -> None:
        """Go to the newest line and stay there."""
        self.following = True
        self.anchor = None
        self._pin = None

    def move(self, delta: int) -> None:
        """Move the cursor by shown lines."""
        if self.following and delta >= 0:
            return
        self.hold()
        found = (
            self.rows.after(self.cursor + 1, delta)
            if delta > 0
            else self.rows.before(self.cursor, -delta)
        )
        if found:
            self.cursor = found[-1]
        self._reveal()

    def _reveal(self) -> None:
        """Scroll as little as it takes to have all rows of the cursor's line on the screen."""
        if self.cursor <= self._top:
            self._top, self._skip = self.cursor, 0
            return
        rows = self._from(self._top, self._skip, self.height)
        size = len(self._item(self.cursor, {}))
        shown = sum(1 for row in rows if row.number == self.cursor)
        if shown < min(size, self.height):
            above = self._before(self.cursor, size, self.height)
            self._keep(above[0] if size <= self.height else Row(self.cursor, 0, Line()))

    def scroll(self, delta: int) -> bool:
        """Scroll by rows; False when it could not."""
        if self.following and delta > 0:
            return False
        self.hold()
        if delta < 0:
            rows = self._before(self._top, self._skip, -delta)
            if rows:
                self._keep(rows[0])
            return bool(rows)
        rows = self._from(self._top, self._skip, self.height + delta)
        spare = len(rows) - self.height
        if spare > 0:
            self._keep(rows[min(delta, spare)])
        return spare > 0

    def page(self, direction: int) -> None:
        """Scroll by a screenful, the cursor with it; at the edge it goes to the last line."""
        if self.following and direction > 0:
            return
        numbers = [row.number for row in self.view()]
        row = numbers.index(self.cursor) if self.cursor in numbers else len(numbers) - 1
        moved = self.scroll(direction * max(self.height - 1, 1))
        rows = self.view()
        if rows:
            edge = 0 if direction < 0 else len(rows) - 1
            self.put_cursor(rows[min(max(row, 0), len(rows) - 1) if moved else edge].number)

    def put_cursor(self, number: int) -> None:
        """Put the cursor on a line that is on the screen."""
        self.hold()
        if number < self.document.end:
            self.cursor = number

    def top(self) -> None:
        """To the first line that is held."""
        self.hold()
        self._top, self._skip, self._pin = self.document.first, 0, None
        found = self.rows.after(self.document.first, 1)
        if found:
            self.cursor = found[0]

    def go(self, number: int, row: int | None = None) -> None:
        """Read at a line, or at the next one that is shown, a third down the screen."""
        self.hold()
        number = self.rows.head(number) if self.document.first <= number else self.document.first
        found = self.rows.after(number, 1) or self.rows.before(number, 1)
        self.cursor = found[0] if found else number
        self._pin = _Pin(self.cursor, self.height // 3 if row is None else row)

    def pin(self) -> None:
        """Keep the cursor's line where it is while what is shown around it changes."""
        if self.following:
            return
        numbers = [row.number for row in self.view()]
        row = numbers.index(self.cursor) if self.cursor in numbers else 0
        self._pin = _Pin(self.cursor, row)

    @property
    def near_top(self) -> bool:
        """The first line that is held is on the screen, or nearly."""
        if self.following:
            return False
        matches = self.rows.matches
        if matches is not None:
            return not matches.earlier and matches.index(self._top) < NEAR
        return self._top - self.document.first < NEAR

    # ------------------------------------------------------------ marks, selection

    def mark(self, at: float | None) -> None:
        """Draw a mark: below the newest line, or above the cursor's."""
        self.marks.append(Mark(self.document.end if self.following else self.cursor, at))
        self.marks.sort(key=lambda mark: mark.number)

    def next_mark(self, step: int) -> bool:
        """Go to the next mark, or the one before; False when there is none."""
        here = self.document.end if self.following else self.cursor
        if step > 0:
            found = next((m.number for m in self.marks if m.number > here), None)
        else:
            found = next((m.number for m in reversed(self.marks) if m.number < here), None)
        if found is not None:
            self.go(min(found, self.document.end - 1))
        return found is not None

    @property
    def selection(self) -> tuple[int, int] | None:
        """The first and the last line that are selected."""
        if self.anchor is None or self.following:
            return None
        return min(self.anchor, self.cursor), max(self.anchor, self.cursor)

    def select(self) -> None:
        """Begin a selection at the cursor, or end it."""
        self.hold()
        self.anchor = self.cursor if self.anchor is None else None

    def selected(self, most: int) -> list[RawLine]:
        """The shown lines of the selection, or the cursor's; at most `most`."""
        first, last = self.selection or (self.cursor, self.cursor)
        numbers: list[int] = []
        for number in self.rows.after(first, most):
            if number > last:
                break
            numbers.append(number)
        found = self.rows.lines(numbers)
        return [found[number] for number in numbers if number in found]
