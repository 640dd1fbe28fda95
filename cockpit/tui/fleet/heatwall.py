"""A wall of small cells on the line API: many items at once, filled column by column.

The owner hands over its items and a function that draws one in so many terminal cells; only items
on the screen are drawn. The cursor goes in two dimensions and stays with its item. The wall takes
as few columns as show everything, up to what fits, and scrolls by rows beyond that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from typing import Generic, NamedTuple, TypeVar

from rich.cells import cell_len
from rich.segment import Segment
from textual import events
from textual.color import Color
from textual.filter import LineFilter
from textual.geometry import Size
from textual.message import Message
from textual.strip import Strip

from cockpit.text import clean
from cockpit.tui.draw.spans import Line, Span
from cockpit.tui.widgets.lines import LineWidget

T = TypeVar("T")

CURSOR, MARK, BOTH = "❯", "◆", "◈"
"""What stands before a cell: under the cursor, marked, both."""
REMEMBERED = 1 << 14
"""Spans that are kept as what Textual draws."""
SPARE = 10
"""Terminal cells that a cell of the wall may be wider than it asks for."""


class Layout(NamedTuple):
    """`width`: of one cell; `rows`: all of them, seen or not."""

    columns: int
    width: int
    rows: int


def layout(count: int, width: int, height: int, least: int, wanted: int) -> Layout:
    """How `count` cells stand in `width` × `height`: each has `wanted` terminal cells, or fewer,
    down to `least`, where only that shows all of them."""
    roomy = max(width // max(wanted, 1), 1)
    tight = max(width // max(least, 1), roomy)
    columns = next((n for n in range(roomy, tight + 1) if n * height >= count), tight)
    rows = max(-(-count // columns), 1)
    return Layout(columns, min(width // columns, wanted + SPARE), rows)


class HeatWall(LineWidget, Generic[T], can_focus=True):
    """Cells of `T`. Movement comes through `move`, `sideways`, `page`, `top` and `bottom`."""

    class Opened(Message):
        """A cell was clicked twice."""

    class Moved(Message):
        """The cursor went to another item, by key or mouse."""

    def __init__(
        self,
        draw: Callable[[T, int], tuple[Span, ...]],
        key: Callable[[T], str],
        *,
        id: str | None = None,  # noqa: A002
    ) -> None:
        """`draw` fills exactly that many terminal cells. Its first span is the item's name with a
        space before it, where the sign of the cursor or of a mark goes."""
        super().__init__(id=id)
        self._draw = draw
        self._key = key
        self._empty = ""
        self._items: Sequence[T] = ()
        self._marked: Set[str] = frozenset()
        self._least = self._wanted = 8
        self._cursor = 0
        self._cursor_key: str | None = None
        self._first = 0
        self._layout = Layout(1, 8, 1)
        self._segments: dict[Span, tuple[Segment, int, str]] = {}
        self._filters: tuple[LineFilter, ...] = ()

    def show(
        self,
        items: Sequence[T],
        *,
        least: int,
        wanted: int,
        marked: Set[str] = frozenset(),
        empty: str = "",
    ) -> None:
        """Take new items, whose cells need `least` terminal cells and would like `wanted`."""
        self._items, self._marked, self._empty = items, marked, empty
        self._least, self._wanted = least, wanted
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
        return self._items

    @property
    def cursor(self) -> int:
        """Index of the item under the cursor."""
        return self._cursor

    def rows_in(self, height: int) -> int:
        """How many rows all items take where there is room for `height` of them."""
        size = self.size.width, height
        return layout(len(self._items), *size, self._least, self._wanted).rows

    @property
    def columns(self) -> int:
        """How many cells stand beside each other."""
        return self._layout.columns

    def select(self, key: str) -> None:
        """Put the cursor on the item with this key, now or once it comes."""
        self._cursor_key = key
        self._find()
        self.redraw()

    def move(self, delta: int) -> None:
        """Down or up; from the end of a column to the next one."""
        self._go(self._cursor + delta)

    def sideways(self, columns: int) -> None:
        """To the cell beside, in the same row; stays where there is none."""
        index = self._cursor + columns * self._layout.rows
        if 0 <= index < len(self._items):
            self._go(index)
        elif columns > 0 and self._cursor // self._layout.rows < (
            (len(self._items) - 1) // self._layout.rows
        ):
            self._go(len(self._items) - 1)

    def page(self, direction: int) -> None:
        """A screenful of rows, -1 up or 1 down."""
        self._go(self._cursor + direction * max(self.size.height - 1, 1))

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
            self.post_message(self.Moved())

    def lines(self, width: int, height: int) -> Sequence[Line]:
        count = len(self._items)
        if not count:
            return [Line((Span("  " + self._empty, "dim"),))]
        placed = self._layout = layout(count, width, height, self._least, self._wanted)
        row = self._cursor % placed.rows
        self._first = min(self._first, max(placed.rows - height, 0), row)
        self._first = max(self._first, row - height + 1)
        last = min(self._first + height, placed.rows)
        return [self._line(y, placed) for y in range(self._first, last)]

    def _line(self, y: int, placed: Layout) -> Line:
        spans: list[Span] = []
        items, marked, width, draw = self._items, self._marked, placed.width, self._draw
        cursor = self._cursor
        for index in range(y, len(items), placed.rows):
            item = items[index]
            drawn = draw(item, width)
            if index == cursor or (marked and self._key(item) in marked):
                drawn = self._signed(drawn, index == cursor, self._key(item) in marked)
            spans += drawn
        return Line(tuple(spans))

    def _signed(self, drawn: tuple[Span, ...], here: bool, marked: bool) -> tuple[Span, ...]:
        sign = (BOTH if marked else CURSOR) if here else MARK
        name = Span(drawn[0].text[1:], "cursor" if here and self.has_focus else drawn[0].tone)
        return (Span(sign, "accent"), name, *drawn[1:])

    # A tick may change every cell. So that it costs little, a span that was drawn before is not
    # looked at again, and lines do not go through the steps that borders and padding need.

    def redraw(self) -> None:
        if self._backdrop is None:
            self._backdrop = self.background_colors[1]
        filters = tuple(self.get_line_filters())
        if filters != self._filters:
            self._filters = filters
            self._segments.clear()
            self._drawn = Size(0, 0)
        super().redraw()

    def _strip(self, row: Line, width: int) -> Strip:
        known = self._segments
        segments: list[Segment] = []
        escapes: list[str] = []
        length = 0
        for span in row.spans:
            made = known.get(span)
            if made is None:
                made = self._remember(span)
            segments.append(made[0])
            length += made[1]
            escapes.append(made[2])
        if length < width:
            blank = self._remember(Span(" " * (width - length)))
            segments.append(blank[0])
            escapes.append(blank[2])
            length = width
        strip = Strip(segments, length)
        if length > width:
            return strip.crop(0, width)
        # What `render` would make of the same parts.
        strip._render_cache = "".join(escapes)  # noqa: SLF001
        return strip

    def _remember(self, span: Span) -> tuple[Segment, int, str]:
        """What Textual draws of a span, as its filters (no colours, ASCII only) leave it."""
        if len(self._segments) >= REMEMBERED:
            self._segments.clear()
        text = span.text if span.text.isprintable() else clean(span.text)
        segments = [Segment(text, self._style(span.tone, ""))]
        for each in self._filters:
            segments = each.apply(segments, self._backdrop or Color(0, 0, 0))
        escapes = Strip(segments[:1]).render(self.app.console)
        made = self._segments[span] = segments[0], cell_len(text), escapes
        return made

    def _filters_to_do(self) -> Sequence[LineFilter]:
        return ()  # its spans went through them, see `_remember`

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._segments.clear()

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
        placed = self._layout
        column, row = event.x // placed.width, self._first + event.y
        index = column * placed.rows + row
        if column >= placed.columns or row >= placed.rows or index >= len(self._items):
            return
        self._go(index)
        if event.chain == 2:
            self.post_message(self.Opened())
