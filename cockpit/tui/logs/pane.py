"""A log view with its prompt and everything that can be done with a log; in Job and in Logs.

Nothing here waits in a key handler: `LogErrands` does what takes long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Input

from cockpit.errors import CockpitError
from cockpit.tui.draw.words import clock_time
from cockpit.tui.logs.drawing import Times
from cockpit.tui.logs.errands import LogErrands
from cockpit.tui.logs.feed import LogFeed
from cockpit.tui.logs.level import Level
from cockpit.tui.logs.query import Query
from cockpit.tui.logs.streams import ALL, Choice
from cockpit.tui.logs.view import LogView
from cockpit.tui.widgets.cleaninput import CleanInput

if TYPE_CHECKING:
    from cockpit.tui.app import CockpitApp

_FILTER, _FIND = "filter: text or regular expression, ! inverts", "find: text or regular expression"


class LogPane(Vertical):
    """`/` opens the prompt for the filter, enter goes back to the log, esc clears the filter."""

    def __init__(self, *, id: str) -> None:  # noqa: A002
        super().__init__(id=id)
        self.view = LogView()
        self._errands = LogErrands(self.view, self._say)
        self._feed: LogFeed | None = None
        self._box = CleanInput(compact=True)
        self._box.cursor_blink = False
        self._finding = False
        self._last = {False: "", True: ""}
        """What was sought last, to filter and to find."""
        self._streams = 0
        self._words: str | None = None
        """Streams that were asked for before there was a log."""

    def compose(self) -> ComposeResult:
        yield self.view
        yield self._box

    def on_mount(self) -> None:
        self._box.display = False

    @property
    def _cockpit(self) -> CockpitApp:
        return cast("CockpitApp", self.app)

    def _say(self, text: str, *, warn: bool = False) -> None:
        self._cockpit.say(text, severity="warning" if warn else "information")

    # ----------------------------------------------------------------------- feed

    def attach(self, feed: LogFeed | None) -> None:
        """Show the log of a feed, from its end unless it is shown already."""
        if feed is None:
            return
        same = feed is self._feed
        if self._feed is not None and feed.job_id != self._feed.job_id:
            self._forget()
        self._feed = feed
        self.view.show_choice(feed.choice)
        self.view.rate = feed.rate
        self.view.attach(feed.document, feed.error, at=same)
        if self._words is not None:
            words, self._words = self._words, None
            self.choose(words)

    def _forget(self) -> None:
        """What was sought in one job does not hide the lines of another."""
        if self._box.has_focus:
            self._close()
        self._box.display = False
        self._words = None
        self.view.forget()

    def arrived(self) -> None:
        feed = self._feed
        if feed is None:
            return
        self.view.rate = feed.rate
        if feed.document is not None and feed.document is not self.view.document:
            self.view.attach(feed.document, at=True)
        if feed.streams != self._streams:
            self._streams = feed.streams
            self.view.relabel()
        self.view.arrived()

    # --------------------------------------------------------------------- filter

    def set_filter(self, pattern: str) -> None:
        self._last[False] = pattern or self._last[False]
        self.view.filter(pattern)

    def open_filter(self) -> None:
        """Edit the filter, beginning with the one that is set, or that was set last."""
        self._open(self.view.pattern or self._last[False], finding=False)

    def open_find(self) -> None:
        """Ask what to find; lines that do not match stay in sight."""
        self._open(self._last[True], finding=True)

    def _open(self, text: str, *, finding: bool) -> None:
        self.view.rest()
        self._finding = finding
        self._box.placeholder = _FIND if finding else _FILTER
        self._box.value = text
        self._box.display = True
        if self._box.is_attached:
            self.screen.set_focus(self._box)  # at once: more keys may be waiting
        else:
            self._box.call_later(self._box.focus)

    def _close(self) -> None:
        self._box.display = False
        self.view.focus()

    def clear_filter(self) -> bool:
        """Take back one thing after the other: the way to the first line, the selection, what is
        sought, the filter and the level. False when all is shown already."""
        view = self.view
        if view.rest():
            return True
        if self._box.display:
            self._close()
            if self._finding:
                view.find(None)
            else:
                view.filter("")
            return True
        if view.window.selection is not None:
            view.moved(lambda window: window.select())
        elif view.found is not None:
            view.find(None)
        elif view.pattern or view.level is not Level.ALL:
            view.filter("")
            view.show_level(Level.ALL)
        else:
            return False
        return True

    def invert(self) -> None:
        """Show what the filter hides, and hide what it shows."""
        pattern = self.view.pattern or self._last[False]
        self.set_filter(pattern[1:] if pattern.startswith("!") else f"!{pattern}")

    def next_level(self) -> None:
        """All lines, warnings and errors, errors only."""
        order = list(Level)
        self.view.show_level(order[(order.index(self.view.level) + 1) % len(order)])

    def next_context(self) -> None:
        self.view.next_context()

    @on(Input.Changed)
    def _typing(self, event: Input.Changed) -> None:
        event.stop()
        if not self._box.display:
            return
        if self._finding:
            self.view.find(Query(event.value) if event.value else None)
        else:
            self.view.filter(event.value)

    @on(Input.Submitted)
    def _entered(self, event: Input.Submitted) -> None:
        event.stop()
        if event.value:
            self._last[self._finding] = event.value
        self._close()
        if self._finding and self.view.found is not None:
            self._seek_found(-1 if self.view.following else 1, include=True)

    # ----------------------------------------------------------------------- find

    def find(self, pattern: str) -> None:
        """Find text: the next place, or the last one while the log is followed."""
        self._last[True] = pattern
        self.view.find(Query(pattern) if pattern else None)
        if pattern:
            self._seek_found(-1 if self.view.following else 1, include=True)

    def seek(self, step: int) -> None:
        """To the next place that was sought, or match of the filter, or the one before."""
        if self.view.found is None and not self.view.filtered:
            self.open_find()
        else:
            self._seek_found(step)

    def _seek_found(self, step: int, *, include: bool = False) -> None:
        view = self.view
        window = view.window
        here = window.document.end if window.following else window.cursor
        start = here + 1 if (step > 0) is not include else here
        self._errands.go_to_found(start, step)

    def first_error(self) -> None:
        """To the first error of the lines that are held."""
        self._errands.first_error()

    # -------------------------------------------------------------------- streams

    def pick_streams(self) -> None:
        """A menu of all streams."""
        from cockpit.tui.logs import streams
        from cockpit.tui.logs.dialogs import ChoiceDialog

        def chosen(words: str | None) -> None:
            if words is not None:
                self._choose(words)

        offers = streams.offers(self.view.document.origins)
        self.app.push_screen(
            ChoiceDialog("Show which streams?", "r3, r8-15, a node, err …", offers), chosen
        )

    def _choose(self, words: str) -> None:
        try:
            self.choose(words)
        except CockpitError as error:
            self._say(f"{error.message} ({error.hint})", warn=True)

    def choose(self, words: str) -> None:
        """Show the streams that these words name. Raises UsageError."""
        from cockpit.tui.logs.streams import parse

        if self._feed is None or self._feed.document is None:
            self._words = words
            return
        self._show(parse(words, self._feed.document.origins))

    def _show(self, choice: Choice) -> None:
        feed = self._feed
        if feed is None or feed.document is None:
            return
        feed.choose(choice)
        self.view.show_choice(choice)
        self.view.attach(feed.document, at=True)

    def beside(self, step: int) -> None:
        """The log of the next rank, or of the one before."""
        from cockpit.tui.logs.streams import beside

        if self._feed is not None:
            self._show(beside(self._feed.choice, self.view.document.origins, step))

    def merged(self) -> None:
        """All streams again."""
        self._show(ALL)

    # ---------------------------------------------------------------------- times

    def jump(self, seconds: float) -> None:
        """To another time, so many seconds from the line that is read."""
        moment = self.view.moment
        if moment is None:
            self._say("this line has no time", warn=True)
        else:
            self.view.go_to_time(moment + seconds)

    def time_menu(self) -> None:
        """Ask for a moment."""
        from cockpit.tui.logs.dialogs import ChoiceDialog
        from cockpit.tui.logs.moments import OFFERS
        from cockpit.tui.logs.streams import Offer

        def chosen(text: str | None) -> None:
            if text is not None:
                self._jump(text)

        offers = [Offer(*each) for each in OFFERS]
        self.app.push_screen(
            ChoiceDialog("Go to which time?", "5m, 1h30m, 12:03, 2026-08-21 09:30", offers), chosen
        )

    def _jump(self, text: str) -> None:
        try:
            self.jump_to(text)
        except CockpitError as error:
            self._say(f"{error.message} ({error.hint})", warn=True)

    def jump_to(self, text: str) -> None:
        """To a moment in words. Raises UsageError."""
        from cockpit.tui.logs.moments import parse

        document = self.view.document
        first = self.view.window.line(document.first)
        at = parse(text, self._cockpit.frame.wall)
        self.view.go_to_time(at)
        if first is not None and first.at is not None and at < first.at and not document.complete:
            self._say(
                f"nothing from before {clock_time(first.at)} is here yet; it is being fetched"
            )

    # ------------------------------------------------------------- marks, switches

    def mark(self) -> None:
        """Draw a mark with the time: below the newest line, or above the cursor's."""
        view = self.view
        at = self._cockpit.frame.wall if view.following else view.moment
        view.moved(lambda window: window.mark(at))

    def next_mark(self, step: int) -> None:
        if not self.view.window.marks:
            self._say("no mark was drawn; m draws one", warn=True)
            return
        gone: list[bool] = []
        self.view.moved(lambda window: gone.append(window.next_mark(step)))
        if not gone[0]:
            self._say(f"no mark {'below' if step > 0 else 'above'} here", warn=True)

    def open_fold(self) -> None:
        if not self.view.open_fold():
            self._say("this line stands for no others")

    def select(self) -> None:
        """Begin a selection, or end it."""
        self.view.moved(lambda window: window.select())

    def sideways(self, steps: int) -> None:
        self.view.sideways(steps)

    def follow(self) -> None:
        self.view.bottom()

    def toggle_times(self) -> None:
        self.view.next_times()

    def toggle_wrap(self) -> None:
        self.view.toggle_wrap()

    def toggle_fold(self) -> None:
        self.view.toggle_fold()

    def memory(self) -> dict[str, Any]:
        """The switches, to be remembered."""
        view = self.view
        return {"wrap": view.wrap, "times": view.times.value, "fold": view.fold}

    def recall(self, memory: dict[str, Any]) -> None:
        view = self.view
        if isinstance(memory.get("wrap"), bool):
            view.wrap = memory["wrap"]
        if isinstance(memory.get("fold"), bool):
            view.fold = memory["fold"]
        if memory.get("times") in (Times.CLOCK.value, Times.OFF.value):
            view.times = Times(memory["times"])

    # -------------------------------------------------------------------- errands

    def copy(self) -> None:
        """Copy the cursor's line, or the selected ones: to the clipboard and to a file."""
        self._errands.copy()

    def save(self) -> None:
        """Write the whole log of the shown streams, from the first byte on, to a file."""
        self._errands.save(self._feed)

    def open_pager(self) -> None:
        """Read what is shown around here in $PAGER."""
        self._errands.open_pager()

    @on(LogView.Opened)
    def _opened(self, event: LogView.Opened) -> None:
        event.stop()
        self.view.open_fold()
