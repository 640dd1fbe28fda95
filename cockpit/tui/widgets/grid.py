"""A table on the line API: fixed columns, a cursor that follows identity, visible rows only.

The owner hands over its items (any number) and a function that draws one; only items on the
screen are drawn. When items come, go or change places, the cursor stays with its item. Widths
are terminal cells.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

from textual import events
from textual.message import Message

from cockpit.tui.draw.spans import Line, Span, fit
from cockpit.tui.widgets.lines import LineWidget

T = TypeVar("T")

MARKER = "❯ "
GAP = 1


class Column(NamedTuple):
    """`grow` shares out spare width; columns with the highest `drop` go first, 0 stays."""

    title: str
    width: int
    grow: int = 0
    drop: int = 0
    align: str = "left"


class Cell(NamedTuple):
    """Spans over one or more columns."""

    spans: tuple[Span, ...] = ()
    columns: int = 1


class Row(NamedTuple):
    cells: tuple[Cell, ...]
    base: str = ""


def cell(text: str = "", tone: str = "", columns: int = 1) -> Cell:
    return Cell((Span(text, tone),) if text else (), columns)


def widths_for(columns: Sequence[Column], width: int) -> tuple[int, ...]:
    """The width of each column in `width` cells, 0 for those that are dropped."""
    widths = [column.width for column in columns]

    def needed() -> int:
        shown = [size for size in widths if size]
        return sum(shown) + GAP * max(len(shown) - 1, 0)

    order = sorted(
        (index for index, column in enumerate(columns) if column.drop),
        key=lambda index: -columns[index].drop,
    )
    for index in order:
        if needed() <= width:
            break
        widths[index] = 0
    spare = width - needed()
    growing = [index for index, size in enumerate(widths) if size and columns[index].grow]
    total = sum(columns[index].grow for index in growing)
    for index in growing if spare > 0 else ():
        share = spare * columns[index].grow // total
        total -= columns[index].grow
        spare -= share
        widths[index] += share
    return tuple(widths)


class RowGrid(LineWidget, Generic[T], can_focus=True):
    """Rows of `T`. Movement comes through `move`, `page`, `top` and `bottom`."""

    class Opened(Message):
        """A row was clicked twice."""

        def __init__(self, grid: RowGrid[T]) -> None:
            super().__init__()
            self.grid = grid

    class Moved(Message):
        """The cursor went to another item, by key or mouse."""

        def __init__(self, grid: RowGrid[T]) -> None:
            super().__init__()
            self.grid = grid

    def __init__(
        self,
        columns: Sequence[Column],
        row: Callable[[T], Row],
        key: Callable[[T], str],
        *,
        empty: str = "",
        header: bool = True,
        id: str | None = None,  # noqa: A002
    ) -> None:
        super().__init__(id=id)
        self.columns = tuple(columns)
        self._row = row
        self._key = key
        self._empty = empty
        self._header = header
        self._items: Sequence[T] = ()
        self._cursor = 0
        self._cursor_key: str | None = None
        self._first = 0
        self._body = 0
        """Rows that there was room for when it was last drawn."""

    def show(self, items: Sequence[T], empty: str | None = None) -> None:
        """Take new items; the cursor stays with its item, or near where it was."""
        self._items = items
        if empty is not None:
            self._empty = empty
        if self._cursor_key is not None:
            self._find()
        self._place(min(self._cursor, max(len(items) - 1, 0)))
        self.redraw()

    def _find(self) -> None:
        at = self._cursor
        if at < len(self._items) and self._key(self._items[at]) == self._cursor_key:
            return
        for index, item in enumerate(self._items):
            if self._key(item) == self._cursor_key:
                if self._first:
                    # The row stays where it is on the screen, too; a list at its top stays there.
                    self._first = max(self._first + index - at, 0)
                self._cursor = index
                return

    def _place(self, index: int) -> None:
        self._cursor = index
        if self._items:
            self._cursor_key = self._key(self._items[index])

    @property
    def current(self) -> T | None:
        """The item under the cursor."""
        return self._items[self._cursor] if self._items else None

    @property
    def items(self) -> Sequence[T]:
        """All items, in the order of the rows."""
        return self._items

    @property
    def cursor(self) -> int:
        """Index of the item under the cursor."""
        return self._cursor

    def select(self, key: str) -> None:
        """Put the cursor on the item with this key, now or once it comes."""
        self._cursor_key = key
        self._find()
        self.redraw()

    def move(self, delta: int) -> None:
        """Move the cursor by `delta` items."""
        self._go(self._cursor + delta)

    def page(self, direction: int) -> None:
        """Move the cursor by a screenful, -1 up or 1 down."""
        self._go(self._cursor + direction * max(self._body_height() - 1, 1))

    def top(self) -> None:
        self._go(0)

    def bottom(self) -> None:
        self._go(len(self._items) - 1)

    def _go(self, index: int) -> None:
        index = min(max(index, 0), max(len(self._items) - 1, 0))
        moved = index != self._cursor
        self._place(index)
        self.redraw()
        if moved:
            self.post_message(self.Moved(self))

    def _body_height(self) -> int:
        return max(self.size.height - self._header, 1)

    def lines(self, width: int, height: int) -> Sequence[Line]:
        room = width - len(MARKER)
        widths = widths_for(self.columns, room)
        rows: list[Line] = []
        if self._header:
            rows.append(self._draw_header(widths))
        body = max(height - len(rows), 0)
        if not self._items:
            return [*rows, Line((Span("  " + self._empty, "dim"),))]
        # What more room shows is above: it takes back what less room did.
        self._first = max(self._first - max(body - self._body, 0), 0)
        self._body = body
        last_first = max(len(self._items) - body, 0)
        self._first = min(self._first, last_first)
        if self._cursor < self._first:
            self._first = self._cursor
        elif self._cursor >= self._first + body:
            self._first = self._cursor - body + 1
        for index in range(self._first, min(self._first + body, len(self._items))):
            rows.append(self._draw(self._row(self._items[index]), widths, index == self._cursor))
        return rows

    def _draw_header(self, widths: Sequence[int]) -> Line:
        spans: list[Span] = [Span(" " * len(MARKER))]
        for column, size in zip(self.columns, widths, strict=True):
            if size:
                spans.extend(fit((Span(column.title, "title"),), size, column.align))
                spans.append(Span(" " * GAP))
        return Line(tuple(spans))

    def _draw(self, row: Row, widths: Sequence[int], under_cursor: bool) -> Line:
        here = under_cursor and self.has_focus
        spans: list[Span] = [
            Span(MARKER, "accent") if under_cursor else Span(" " * len(MARKER)),
        ]
        index = 0
        for item in row.cells:
            covered = [size for size in widths[index : index + item.columns] if size]
            if covered:
                align = self.columns[index].align if item.columns == 1 else "left"
                size = sum(covered) + GAP * (len(covered) - 1)
                spans.extend(fit(item.spans, size, align))
                spans.append(Span(" " * GAP))
            index += item.columns
        return Line(tuple(spans), "cursor" if here else row.base)

    def on_focus(self) -> None:
        self.redraw()

    def on_blur(self) -> None:
        self.redraw()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.move(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.move(-3)

    def on_click(self, event: events.Click) -> None:
        index = self._first + event.y - self._header
        if event.y < self._header or index >= len(self._items):
            return
        self._go(index)
        if event.chain == 2:
            self.post_message(self.Opened(self))
