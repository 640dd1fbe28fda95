"""A log document on the screen: follows the end, or stays where it is read.

It draws a screenful of lines at most once a pulse, whatever the rate at which lines come. A filter
is searched in slices beside, what is on the screen first. It reads only what its document has at
hand and never waits for it; the owner calls `arrived` after the document took in new lines.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Sequence

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.filter import ANSIToTruecolor, DimFilter, LineFilter, Monochrome, NoColor
from textual.message import Message
from textual.strip import Strip
from textual.worker import Worker

from cockpit.model.logtypes import LogDocument
from cockpit.text import clean
from cockpit.tui.draw.spans import RANK_COLOURS, Line, Span
from cockpit.tui.draw.themes import colourless
from cockpit.tui.errands import start
from cockpit.tui.logs import sgr
from cockpit.tui.logs.drawing import LABEL_LIMIT, Facts, Look, Times, label_of, status
from cockpit.tui.logs.level import Level
from cockpit.tui.logs.matches import Matches
from cockpit.tui.logs.memorylog import MemoryDocument
from cockpit.tui.logs.query import Query
from cockpit.tui.logs.search import search_of
from cockpit.tui.logs.streams import ALL, Choice
from cockpit.tui.logs.window import LogWindow, Mark
from cockpit.tui.widgets.lines import LineWidget

SIDEWAYS = 8
"""Cells of a horizontal step."""

CONTEXTS = (0, 1, 3, 10)
"""Lines around matches that can be chosen."""

FLOOD = 1000
"""New lines between two drawings from which on they are not compared with each other."""

_NOW = 0.004
"""Seconds that a filter is searched within a pulse."""

_SLICE = 0.008
"""Seconds that it is searched before the event loop goes on."""

_STRIPS = 512
"""Rows that are kept as the terminal gets them."""

_FETCHING = "fetching earlier lines"

_OF_STYLES = (ANSIToTruecolor, DimFilter, Monochrome, NoColor)
"""Filters of lines that look at styles only, so that once for each style is enough."""


class LogView(LineWidget, can_focus=True):
    """The last row is the status; the others show the log."""

    class Opened(Message):
        """A line was clicked twice."""

    class Changed(Message):
        """Something else is sought or shown."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.window = LogWindow(MemoryDocument())
        self.query_text = ""
        self.level = Level.ALL
        self.choice: Choice = ALL
        self.found: Query | None = None
        """What `n` and `N` go to."""
        self.times = Times.CLOCK
        self.wrap = False
        self.fold = True
        self.rate = 0.0
        self.busy = ""
        """What is being done with the log beside, for the status row."""
        self._filter: Query | None = None
        self._notice = ""
        self._climbing = False
        """On the way to the very first line, which is to be fetched."""
        self._left = 0
        self._label = 8
        self._since: float | None = None
        self._wanted: float | None = None
        """The moment to go to, once lines of it are there."""
        self._marks: list[Mark] = []
        """Marks that have no place yet."""
        self._drawn_end = 0
        self._flood = False
        self._scanner: Worker[None] | None = None
        self._cache: dict[tuple[Line, int], Strip] = {}
        self._finished: dict[tuple[str, str], Style] = {}

    # ------------------------------------------------------------------- document

    @property
    def document(self) -> LogDocument:
        return self.window.document

    def attach(self, document: LogDocument | None, notice: str = "", *, at: bool = False) -> None:
        """Show another document, from its end, or with `at` from the time that is read now."""
        self._notice = notice
        self._climbing = False
        if document is self.document or (document is None and not self.document.end):
            self.redraw()
            return
        old = self.window
        self._wanted = None if old.following or not at else self.moment
        self._marks = [mark for mark in old.marks if mark.at is not None] if at else []
        self.window = LogWindow(document or MemoryDocument())
        self.window.rows.context = old.rows.context
        if not at:
            self._left = 0
            self._since = None
        self._drawn_end = self.document.end
        self.relabel()
        self._research()
        self._catch_up()
        self.redraw()

    def relabel(self) -> None:
        """Make room for the labels of all streams that are known."""
        self._label = max((len(label_of(each)) for each in self.document.origins), default=8)

    def arrived(self) -> None:
        """The document may have grown: extend the filter, repaint what is different."""
        self._catch_up()
        self._scan()
        self.redraw()

    def _catch_up(self) -> None:
        """Go on to the moment that is wanted, and put marks in their places, as lines come."""
        document = self.document
        if document.end == document.first:
            return
        for mark in self._marks:
            assert mark.at is not None
            self.window.marks.append(mark._replace(number=document.at_time(mark.at)))
        self._marks = []
        if self._wanted is None:
            return
        begins = self._moment(document.first)
        self._sync()
        self.window.go(document.at_time(self._wanted))
        if begins is None or begins <= self._wanted or document.complete:
            self._wanted = None
        else:
            document.older()

    def _moment(self, number: int) -> float | None:
        line = self.window.line(number)
        return None if line is None else line.at

    @property
    def moment(self) -> float | None:
        """When the line under the cursor was written, or the newest."""
        window = self.window
        number = window.document.end - 1 if window.following else window.cursor
        return self._moment(number)

    # --------------------------------------------------------------------- filter

    @property
    def pattern(self) -> str:
        """The filter, "" without one."""
        return self.query_text

    @property
    def following(self) -> bool:
        return self.window.following

    def filter(self, pattern: str) -> None:
        """Show only the lines that match; "" shows all. The line being read stays in sight."""
        if pattern != self.query_text:
            self.query_text = pattern
            self._research()

    def show_level(self, level: Level) -> None:
        if level is not self.level:
            self.level = level
            self._research()

    def show_choice(self, choice: Choice) -> None:
        """Say which streams the document shows; the errors of others are found here."""
        again = choice.errors or self.choice.errors
        self.choice = choice
        if again:
            self._research()
        else:
            self.post_message(self.Changed())

    def find(self, query: Query | None) -> None:
        """What to make conspicuous and to go to."""
        self.found = query
        self.post_message(self.Changed())
        self.redraw()

    def forget(self) -> None:
        """Seek nothing any more; for the document that is attached next."""
        self.query_text = ""
        self.level = Level.ALL
        self.choice = ALL
        self.found = None
        self.post_message(self.Changed())

    @property
    def filtered(self) -> bool:
        return self.window.rows.matches is not None

    @property
    def filter_query(self) -> Query | None:
        return self._filter

    def _research(self) -> None:
        window = self.window
        window.pin()
        self._filter = Query(self.query_text) if self.query_text not in ("", "!") else None
        queries = [] if self._filter is None else [self._filter]
        search = search_of(queries, self.level, self.choice)
        anchor = window.document.end if window.following else window.cursor
        window.rows.refilter(None if search is None else Matches(window.document, search, anchor))
        window.settled = search is None
        self.post_message(self.Changed())
        self._scan()
        self.redraw()

    def _scan(self) -> None:
        """Search what was not searched: at once when it is little, else in slices beside."""
        matches = self.window.rows.matches
        if matches is None or (self._scanner is not None and not self._scanner.is_finished):
            if matches is None:
                self._look_back()
            return
        if self._advance(matches, _NOW):
            self._look_back()
        elif self.is_attached:
            self._scanner = start(
                self,
                self._scan_on(matches),
                "the search",
                group="scan",
                exclusive=True,
                failed=self._scan_broke,
            )

    def _scan_broke(self, _: str) -> None:
        """Nothing more will be found: do not say that it is still sought."""
        self.window.settled = True
        self.redraw()

    def _advance(self, matches: Matches, seconds: float) -> bool:
        window = self.window
        near = window.document.end if window.following else window.cursor
        rows = 2 * max(window.height, 1)
        done = matches.advance(seconds, near, rows, following=window.following)
        at = matches.index(near)
        window.settled = done or (at >= rows and len(matches) - at >= rows)
        return done

    async def _scan_on(self, matches: Matches) -> None:
        drawn = time.perf_counter()
        while matches is self.window.rows.matches:
            done = self._advance(matches, _SLICE)
            if done or time.perf_counter() - drawn > 0.05:
                self.redraw()
                drawn = time.perf_counter()
            if done:
                self._look_back()
                return
            # What is on the screen goes first; the rest of a long log leaves time for others.
            await asyncio.sleep(_SLICE / 2 if self.window.settled else 0)
        self.call_later(self._scan)

    def _look_back(self) -> None:
        """All that is held was searched: ask for earlier lines, where those that are shown do not
        fill the screen, or the first one is wanted."""
        window = self.window
        document = window.document
        rows = window.rows
        if self._climbing:
            self._sync()
            window.top()
        if document.complete:
            self._climbing = False
        elif self._climbing or (
            rows.matches is not None
            and len(rows.after(document.first, window.height)) < window.height
        ):
            first = document.first
            document.older()
            if document.first < first:
                self.call_later(self.arrived)

    # ------------------------------------------------------------------- movement

    def moved(self, do: Callable[[LogWindow], object]) -> None:
        """Have the window move, fetch earlier lines where it comes near the first ones."""
        self._wanted = None
        self._climbing = False
        self._sync()
        do(self.window)
        if self.window.near_top and not self.document.complete:
            self.document.older()
        self._scan()
        self.redraw()

    def move(self, delta: int) -> None:
        self.moved(lambda window: window.move(delta))

    def page(self, direction: int) -> None:
        self.moved(lambda window: window.page(direction))

    def top(self) -> None:
        """To the first line; earlier ones are fetched until it is there, or something else is
        done."""
        self.moved(lambda window: window.top())
        self._climbing = True
        self._scan()
        self.redraw()

    def rest(self) -> bool:
        """End the way to the first line; False when there is none."""
        climbing, self._climbing = self._climbing, False
        if climbing:
            self.redraw()
        return climbing

    def bottom(self) -> None:
        """Go to the newest line and follow."""
        self.moved(lambda window: window.follow())

    def go(self, number: int) -> None:
        """Read at this line."""
        self.moved(lambda window: window.go(number))

    def go_to_time(self, at: float) -> None:
        """Read from the first line of a moment on; earlier lines are fetched until it is there."""
        self.go(self.document.at_time(at))
        self._wanted = at
        self._catch_up()
        self.redraw()

    def sideways(self, steps: int) -> None:
        """Scroll horizontally by steps of eight cells; 0 goes to the first column."""
        self._left = max(self._left + steps * SIDEWAYS, 0) if steps else 0
        self.redraw()

    # ------------------------------------------------------------------- switches

    def next_times(self) -> None:
        """The time of day, the seconds since the newest mark or the first line held, nothing."""
        order = list(Times)
        self.times = order[(order.index(self.times) + 1) % len(order)]
        if self.times is Times.SINCE:
            marked = [mark.at for mark in self.window.marks if mark.at is not None]
            self._since = marked[-1] if marked else self._moment(self.document.first)
        self.redraw()

    def toggle_wrap(self) -> None:
        self.window.pin()
        self.wrap = not self.wrap
        self.redraw()

    def toggle_fold(self) -> None:
        self.window.pin()
        self.fold = not self.fold
        self.redraw()

    def open_fold(self) -> bool:
        """Open or close the fold under the cursor; False when there is none."""
        window = self.window
        window.hold()
        window.pin()
        done = window.rows.expand(window.cursor)
        if done:
            window.cursor = window.rows.head(window.cursor)
        self.redraw()
        return done

    def next_context(self) -> None:
        """More lines around each match, or none again."""
        self.window.pin()
        rows = self.window.rows
        rows.context = CONTEXTS[(CONTEXTS.index(rows.context) + 1) % len(CONTEXTS)]
        self.redraw()

    # -------------------------------------------------------------------- drawing

    def _sync(self) -> None:
        """Have the window of the size and the look that the widget has now."""
        width, height = self.size
        window = self.window
        window.height = max(height - 1, 1)
        queries = tuple(query for query in (self._filter, self.found) if query is not None)
        window.rows.folding = self.fold and not self._flood
        window.look = Look(
            width,
            left=self._left,
            wrap=self.wrap,
            times=self.times,
            since=self._since,
            label=min(self._label, LABEL_LIMIT),
            queries=queries,
        )

    def lines(self, width: int, height: int) -> Sequence[Line]:
        window = self.window
        end = window.document.end
        self._flood = window.following and end - self._drawn_end > FLOOD
        self._drawn_end = end
        self._sync()
        body = window.height if height > 1 else 0
        shown = window.view() if body else []
        selection = window.selection
        rows: list[Line] = []
        for number, _, line in shown:
            chosen = selection is not None and selection[0] <= number <= selection[1]
            here = not window.following and number == window.cursor and self.has_focus
            rows.append(line._replace(base="cursor") if chosen or here else line)
        if body and not any(row.number < end for row in shown):
            rows.insert(0, Line((Span(self._nothing(), "dim"),)))
            del rows[body:]
        rows.extend([Line()] * (body - len(rows)))
        if height:
            rows.append(status(self._facts(), width))
        return rows

    def _nothing(self) -> str:
        matches = self.window.rows.matches
        if matches is not None and self.document.end > self.document.first:
            if matches.behind or (matches.earlier and not matches.capped):
                return "  searching…"
            if not self.document.complete:
                held = self.document.end - self.document.first
                lines = "line" if held == 1 else f"{held:,} lines"
                return f"  no match in the newest {lines}; looking further back…"
            sought = self.query_text or f"level {self.level.name.lower()}"
            return f"  no line matches {sought}"
        return f"  {self._notice or self.document.notice or 'no lines yet'}"

    def _facts(self) -> Facts:
        window = self.window
        document = window.document
        matches = window.rows.matches
        selection = window.selection
        climbing = self._climbing and not document.notice.startswith(_FETCHING)
        notes = [
            self.busy,
            f"{_FETCHING}…" if climbing else "",
            document.notice,
            self._filter.note if self._filter else "",
        ]
        return Facts(
            following=window.following,
            new=window.behind,
            held=document.end - document.first,
            size=document.size,
            rate=self.rate,
            level=self.level,
            pattern=self.query_text,
            matches=0 if matches is None else len(matches),
            searched=matches is None or not matches.earlier,
            lag=0 if matches is None else matches.behind,
            find=self.found.text if self.found is not None else "",
            context=window.rows.context,
            wrap=self.wrap,
            times=self.times,
            fold=self.fold,
            flood=self._flood,
            left=self._left,
            marked=0 if selection is None else selection[1] - selection[0] + 1,
            streams=self.choice.label,
            notice=" · ".join(note for note in notes if note),
        )

    def _filters_to_do(self) -> Sequence[LineFilter]:
        return ()  # the rows are kept with their colours filtered, see `_made`

    def _strip(self, row: Line, width: int) -> Strip:
        strip = self._cache.get((row, width))
        if strip is None:
            if len(self._cache) >= _STRIPS:
                self._cache.clear()
            strip = self._cache[row, width] = self._made(row, width)
        return strip

    def _made(self, row: Line, width: int) -> Strip:
        segments = []
        cells = 0
        for text, tone in row.spans:
            shown = text if text.isprintable() else clean(text)
            if shown:
                cells += len(shown) if shown.isascii() else cell_len(shown)
                segments.append(Segment(shown, self._style(tone, row.base)))
        if cells < width:
            segments.append(Segment(" " * (width - cells), self._style("", row.base)))
        strip = Strip(segments, max(cells, width))
        if cells > width:
            strip = strip.crop(0, width)
        for each in self.get_line_filters():
            if not isinstance(each, _OF_STYLES):
                strip = strip.apply_filter(each, self.background_colors[1])
        return strip

    def _style(self, tone: str, base: str) -> Style:
        style = self._finished.get((tone, base))
        if style is None:
            if sgr.is_sgr(tone):
                style = super()._style("", base) + sgr.style_of(tone, colours=self._coloured())
            else:
                style = super()._style(tone, base)
            segments = [Segment("x", style)]
            for each in self.get_line_filters():
                if isinstance(each, _OF_STYLES):
                    segments = each.apply(segments, self.background_colors[1])
            if len(self._finished) >= _STRIPS:
                self._finished.clear()
            style = self._finished[tone, base] = segments[0].style or style
        return style

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._cache.clear()
        self._finished.clear()

    def _coloured(self) -> bool:
        """Colours of the lines' own are welcome: neither the person nor the theme forbids them."""
        tokens = self.app.theme_variables
        ranks = {tokens.get(f"rank-{number}") for number in range(RANK_COLOURS)}
        return len(ranks) > 1 and not colourless(os.environ)

    def on_focus(self) -> None:
        self.redraw()

    def on_blur(self) -> None:
        self.redraw()

    # ---------------------------------------------------------------------- mouse

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.moved(lambda window: window.scroll(3))

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.moved(lambda window: window.scroll(-3))

    def on_click(self, event: events.Click) -> None:
        if event.y >= self.size.height - 1:
            self.bottom()
            return
        shown = self.window.view()
        if event.y < len(shown) and shown[event.y].number < self.document.end:
            self.moved(lambda window: window.put_cursor(shown[event.y].number))
            if event.chain == 2:
                self.post_message(self.Opened())
