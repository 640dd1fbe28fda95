"""The log view: a window on a LogRing whose reading position never moves by itself.

It draws the lines on the screen and nothing else, whatever the rate at which lines come. The
position is the absolute number of the top line; only following moves it. The owner calls
`arrived` after the ring grew. It never reads from a source.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from textual import events
from textual.worker import Worker

from cockpit.tui.ring import Entry, LogRing, Matches
from cockpit.tui.spans import RANK_COLOURS, Line, Span, cut
from cockpit.tui.widgets.lines import LineWidget
from cockpit.tui.words import fine_clock_time

SLICE = 5_000
"""Lines that a filter tests before it lets the event loop go on."""

SIDEWAYS = 8
"""Cells of a horizontal step."""

LABEL_LIMIT = 24


class LogView(LineWidget, can_focus=True):
    """The last row is the status; the others show the log."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._ring = LogRing()
        self._matches: Matches | None = None
        self._top = 0
        self._seen = 0
        self._left = 0
        self._notice = ""
        self._scanner: Worker[None] | None = None
        self.following = True
        self.times = True

    def attach(self, ring: LogRing, notice: str = "") -> None:
        """Show another ring, from its end. `notice` is shown while it is empty."""
        if ring is not self._ring:
            self._ring = ring
            pattern = self.pattern
            self._left = 0
            self.following = True
            self._matches = None
            self.filter(pattern)
        self._notice = notice
        self.redraw()

    def arrived(self) -> None:
        """The ring may have grown: extend the filter, repaint what is different."""
        if self._matches is not None and not self._scanning():
            self._scan()
        self.redraw()

    # ------------------------------------------------------------------ filter

    @property
    def pattern(self) -> str:
        """The filter, "" without one."""
        return "" if self._matches is None else self._matches.pattern

    def filter(self, pattern: str) -> None:
        """Show only the lines that match; "" shows all. The line being read stays in sight."""
        if pattern == self.pattern:
            return
        self._matches = Matches(self._ring, pattern) if pattern else None
        self._scan()
        self.redraw()

    def _scanning(self) -> bool:
        return self._scanner is not None and not self._scanner.is_finished

    def _scan(self) -> None:
        """Test what was not tested: at once when it is little, else in slices beside."""
        matches = self._matches
        if matches is not None and not matches.advance(SLICE):
            self._scanner = self.run_worker(self._scan_on(matches), group="scan", exclusive=True)

    async def _scan_on(self, matches: Matches) -> None:
        while matches is self._matches:
            if matches.advance(SLICE):
                break
            await asyncio.sleep(0)
        self.redraw()

    # ---------------------------------------------------------------- movement

    def _count(self) -> int:
        """Lines that can be shown."""
        if self._matches is not None:
            return len(self._matches)
        return self._ring.end - self._ring.first

    def _number(self, index: int) -> int:
        return self._ring.first + index if self._matches is None else self._matches[index]

    def _index(self, number: int) -> int:
        if self._matches is not None:
            return self._matches.index(number)
        return max(number - self._ring.first, 0)

    def _body(self) -> int:
        return max(self.size.height - 1, 1)

    def _top_index(self) -> int:
        last = max(self._count() - self._body(), 0)
        return last if self.following else min(self._index(self._top), last)

    def _go(self, index: int) -> None:
        """Read from the line at `index` on; this ends following."""
        if self.following:
            self._seen = self._ring.end
        self.following = False
        index = min(max(index, 0), max(self._count() - self._body(), 0))
        self._top = self._number(index) if self._count() else self._ring.first
        self.redraw()

    def move(self, delta: int) -> None:
        """Scroll by `delta` lines."""
        if not (self.following and delta > 0):
            self._go(self._top_index() + delta)

    def page(self, direction: int) -> None:
        """Scroll by a screenful, -1 up or 1 down."""
        self.move(direction * max(self._body() - 1, 1))

    def top(self) -> None:
        self._go(0)

    def bottom(self) -> None:
        """Go to the newest line and follow."""
        self.following = True
        self.redraw()

    def sideways(self, steps: int) -> None:
        """Scroll horizontally by steps of eight cells; 0 goes to the first column."""
        self._left = max(self._left + steps * SIDEWAYS, 0) if steps else 0
        self.redraw()

    def toggle_times(self) -> None:
        self.times = not self.times
        self.redraw()

    @property
    def position(self) -> int:
        """Absolute number of the line in the top row."""
        return self._number(self._top_index()) if self._count() else self._ring.first

    @property
    def behind(self) -> int:
        """Lines that came since the reader stopped following."""
        return 0 if self.following else self._ring.end - self._seen

    # ----------------------------------------------------------------- drawing

    def lines(self, width: int, height: int) -> Sequence[Line]:
        if self._matches is not None:
            self._matches.prune()
        body = max(height - 1, 0)
        count = self._count()
        start = self._top_index()
        rows = [
            self._draw(self._ring.entry(self._number(index)), width)
            for index in range(start, min(start + body, count))
        ]
        if not rows and body:
            rows.append(Line((Span(self._nothing(), "dim"),)))
        rows.extend([Line()] * (body - len(rows)))
        if height:
            rows.append(self._status())
        return rows

    def _nothing(self) -> str:
        if self._matches is not None and self._ring.end > self._ring.first:
            return f"  no line matches {self.pattern}"
        return f"  {self._notice or 'no lines yet'}"

    def _draw(self, entry: Entry, width: int) -> Line:
        origin = entry.origin
        label_width = min(self._ring.label_width, LABEL_LIMIT, max(width // 3, 8))
        label = origin.label
        if len(label) > label_width:
            # The end holds the rank.
            label = "…" + label[len(label) - label_width + 1 :]
        tone = "dim" if origin.rank is None else f"rank{origin.rank % RANK_COLOURS}"
        mark = Span(" ! ", "bad") if origin.error else Span(" │ ", "dim")
        spans = [Span(label.ljust(label_width), tone), mark]
        room = width - label_width - 3
        if self.times:
            stamp = fine_clock_time(entry.at)
            stamp = stamp if width >= 80 else stamp[:8]
            spans.insert(0, Span(stamp + " ", "dim"))
            room -= len(stamp) + 1
        spans.append(Span(cut(entry.text, self._left, room)))
        return Line(tuple(spans))

    def _status(self) -> Line:
        spans: list[Span] = [Span(" ")]
        if self.following:
            spans.append(Span("▼ following", "ok"))
        else:
            spans.append(Span("■ reading", "warn"))
            if self.behind:
                spans.append(Span(f"  +{self.behind:,} lines", "accent"))
            spans.append(Span("  G follows", "dim"))
            if self._top < self._ring.first:
                spans.append(Span("  older lines are no longer held", "warn"))
        count = self._count()
        if self._matches is not None:
            spans.append(Span("  /", "dim"))
            spans.append(Span(self.pattern, "match"))
            spans.append(Span(f"  {count:,} of {self._ring.end - self._ring.first:,}", "dim"))
        else:
            spans.append(Span(f"  {self._ring.end:,} lines", "dim"))
        if self._left:
            spans.append(Span(f"  from column {self._left}", "dim"))
        return Line(tuple(spans), "bar")

    # ------------------------------------------------------------------- mouse

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.move(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.move(-3)

    def on_click(self, event: events.Click) -> None:
        if event.y == self.size.height - 1:
            self.bottom()
