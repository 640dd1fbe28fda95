"""What takes long with a log: seeking a line, copying, saving, the pager. Each runs in a worker.

A second errand of a kind ends the first one. What goes wrong is said, never raised.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Protocol, cast

from cockpit.errors import CockpitError
from cockpit.text import count_of
from cockpit.tui.draw.words import size_of
from cockpit.tui.errands import start
from cockpit.tui.logs.feed import LogFeed
from cockpit.tui.logs.level import Level
from cockpit.tui.logs.view import LogView

if TYPE_CHECKING:
    from cockpit.tui.app import CockpitApp

MOST_COPIED = 10_000
"""Lines that are copied at once."""


class Say(Protocol):
    """Flashes a message."""

    def __call__(self, text: str, *, warn: bool = False) -> None: ...


class LogErrands:
    def __init__(self, view: LogView, say: Say) -> None:
        self._view = view
        self._say = say

    def _work(self, work: Coroutine[Any, Any, None], group: str) -> None:
        async def guarded() -> None:
            try:
                await work
            except CockpitError as error:
                hint = f" ({error.hint})" if error.hint else ""
                self._say(f"{error.message}{hint}", warn=True)
            except OSError as error:
                self._say(f"{error.filename or 'file'}: {error.strerror or error}", warn=True)

        start(self._view, guarded(), group, group=group, exclusive=True)

    # ----------------------------------------------------------------------- seek

    def go_to_found(self, start: int, step: int) -> None:
        """Go to the first place from line `start` on that is sought, or the last one before."""
        self._work(self._go_to_found(start, step), "seek")

    async def _go_to_found(self, start: int, step: int) -> None:
        from cockpit.tui.logs.search import search_of, seek

        view = self._view
        queries = [query for query in (view.filter_query, view.found) if query is not None]
        search = search_of(queries, view.level, view.choice)
        if search is None:
            return
        document = view.document
        found = await seek(document, search, start, step)
        if document is not view.document:
            return
        if found is not None:
            view.go(found)
            return
        what = view.found.text if view.found is not None else "the filter"
        where = "below" if step > 0 else "above"
        more = "" if document.complete or step > 0 else "; earlier lines are being fetched"
        if step < 0:
            document.older()
        self._say(f"no match of {what} {where} here{more}", warn=True)

    def first_error(self) -> None:
        """To the first error of the lines that are held."""
        self._work(self._go_to_first_error(), "seek")

    async def _go_to_first_error(self) -> None:
        from cockpit.tui.logs.level import LevelFinder
        from cockpit.tui.logs.search import seek

        document = self._view.document
        finder = LevelFinder(Level.ERROR)
        found = await seek(document, lambda d, a, b: d.search(finder, a, b), document.first, 1)
        if document is not self._view.document:
            return
        rest = "" if document.complete else "; earlier lines are not here yet"
        if found is None:
            self._say(f"no line of this log looks like an error{rest}", warn=True)
            return
        self._view.go(found)
        if rest:
            self._say(f"the first error of the lines that are here{rest}")

    # ----------------------------------------------------------------------- copy

    def copy(self) -> None:
        """Copy the cursor's line, or the selected ones: to the clipboard and to a file."""
        window = self._view.window
        window.hold()
        lines = window.selected(MOST_COPIED)
        self._view.redraw()
        if not lines:
            self._say("there is nothing to copy", warn=True)
            return

        async def work() -> None:
            from cockpit.tui.logs import clipboard
            from cockpit.tui.logs.export import as_text

            app = cast("CockpitApp", self._view.app)
            path, taken = await clipboard.copy(app, as_text(lines))
            most = ", the most at once," if len(lines) == MOST_COPIED else ""
            where = "copied to the clipboard and" if taken else "too much for a clipboard:"
            self._say(f"{count_of(len(lines), 'line')}{most} {where} written to {path}")

        self._work(work(), "copy")

    # ----------------------------------------------------------------------- save

    def save(self, feed: LogFeed | None) -> None:
        """Write the whole log of the shown streams, from the first byte on, to a file."""
        if self._view.busy:
            self._say(f"still {self._view.busy}", warn=True)
        elif feed is not None and feed.document is not None:
            self._work(self._save(feed), "save")

    async def _save(self, feed: LogFeed) -> None:
        from cockpit.tui.logs.export import free_path, written

        document = feed.document
        assert document is not None
        path = await asyncio.to_thread(free_path, feed.job_id)
        saving = asyncio.ensure_future(document.save(path))
        try:
            while not saving.done():
                size = await asyncio.to_thread(written, path)
                self._show_busy(f"saving {path.name}: {size_of(size)}")
                await asyncio.wait({saving}, timeout=0.5)
            self._say(f"saved {size_of(await saving)} to {path}")
        finally:
            saving.cancel()
            self._show_busy("")

    def _show_busy(self, text: str) -> None:
        self._view.busy = text
        self._view.redraw()

    # ---------------------------------------------------------------------- pager

    def open_pager(self) -> None:
        """Read what is shown around here in $PAGER."""
        self._work(self._open_pager(), "pager")

    async def _open_pager(self) -> None:
        from cockpit.tui.logs.export import write_shown
        from cockpit.tui.outside import outside, pager

        argv = pager()
        window = self._view.window
        cursor = window.document.end - 1 if window.following else window.cursor
        name = await asyncio.to_thread(_new_file)
        try:
            above = await write_shown(window.rows, cursor, name)
            if os.path.basename(argv[0]) == "less":
                argv.append(f"+{above + 1}")
            code = await outside(self._view.app, [*argv, name])
            if code:
                self._say(f"{argv[0]} ended with {code}", warn=True)
        finally:
            await asyncio.to_thread(os.unlink, name)
            self._view.redraw()


def _new_file() -> str:
    handle, name = tempfile.mkstemp(prefix="cockpit-log-", suffix=".log")
    os.close(handle)
    return name
