"""Searching a log: what a filter, a level and a choice of streams ask for, and seeking one line.

`seek` goes through a log of any size in slices between which the event loop goes on. Pure but for
that.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from cockpit.model.logtypes import Finder, LogDocument
from cockpit.tui.logs.level import Level, LevelFinder, level_of
from cockpit.tui.logs.matches import Search
from cockpit.tui.logs.query import Every, Query
from cockpit.tui.logs.streams import Choice

_SLICE = 4096
_QUICK = 0.004
"""Seconds that one slice should take."""


def search_of(queries: Sequence[Query], level: Level, choice: Choice) -> Search | None:
    """The search for lines that pass everything; None if all lines do."""
    finders: list[Finder] = [*queries]
    if level is not Level.ALL:
        finders.append(LevelFinder(level))
    finder = finders[0] if len(finders) == 1 else Every(finders)
    if choice.errors:
        return _chosen_or_errors(finder, choice)
    if not finders:
        return None
    return lambda document, start, stop: document.search(finder, start, stop)


def _chosen_or_errors(finder: Finder, choice: Choice) -> Search:
    def search(document: LogDocument, start: int, stop: int) -> list[int]:
        found: list[int] = []
        while start < stop:
            lines = document.lines(start, min(start + _SLICE, stop))
            found.extend(
                line.number
                for line in lines
                if (choice.takes(line.origin) or level_of(line.data) is Level.ERROR)
                and finder.line(line.data)
            )
            start += _SLICE
        return found

    return search


async def seek(document: LogDocument, search: Search, start: int, step: int) -> int | None:
    """The first line from `start` on that is found, or with `step` < 0 the last before it."""
    size = _SLICE
    at = min(max(start, document.first), document.end)
    while at < document.end if step > 0 else at > document.first:
        begin = time.perf_counter()
        if step > 0:
            stop = min(at + size, document.end)
            found = search(document, at, stop)
            at = stop
        else:
            stop = max(at - size, document.first)
            found = search(document, stop, at)
            at = stop
        if found:
            return found[0] if step > 0 else found[-1]
        took = time.perf_counter() - begin
        size = min(size * 2, 1 << 20) if took < _QUICK / 2 else max(size // 2, 256)
        await asyncio.sleep(0)
    return None
