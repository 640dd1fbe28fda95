"""Themes while the screen is open: their order for `T`, and files that change meanwhile.

Files are looked at off the event loop, once a second. A file that became wrong is told once and
changes nothing: the last good theme of its name stays.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cockpit.tui.draw import themes
from cockpit.tui.draw.themes import ThemeFailure, ThemeLoadResult

if TYPE_CHECKING:
    from cockpit.tui.app import CockpitApp

PERIOD = 1.0
"""Seconds between two looks at the files."""

Stamps = frozenset[tuple[str, int, int]]
"""Path, time of change and size of every theme file."""


class ThemeWatch:
    def __init__(self, folders: Sequence[Path], loaded: ThemeLoadResult) -> None:
        self._folders = folders
        self._loaded = dict(loaded.loaded)
        self._complete = loaded.complete
        self._told: set[ThemeFailure] = set(loaded.failed)

    @property
    def names(self) -> list[str]:
        """Themes from files, in their order."""
        return list(self._loaded)

    def after(self, name: str) -> str:
        """The theme that follows `name`, round and round; itself where there are none."""
        names = self.names
        if not names:
            return name
        at = names.index(name) if name in names else -1
        return names[(at + 1) % len(names)]

    async def watch(self, app: CockpitApp) -> None:
        """Take up what changes, until cancelled."""
        known: Stamps | None = None
        while True:
            try:
                known = await self._look(app, known)
            except Exception as error:  # noqa: BLE001 - a defect is no reason to look away
                app.house.defect(f"watching theme files: {type(error).__name__}: {error}")
            await asyncio.sleep(PERIOD)

    async def _look(self, app: CockpitApp, known: Stamps | None) -> Stamps:
        """Take up what has changed since the files looked like this; None at the first look."""
        found = await asyncio.to_thread(stamps, self._folders)
        if found != known and not (known is None and self._complete):
            self.take(app, await asyncio.to_thread(themes.load, self._folders))
        return found

    def take(self, app: CockpitApp, result: ThemeLoadResult) -> None:
        """Use these themes from now on."""
        for failure in result.failed:
            if failure not in self._told:
                app.say(f"theme {failure.file}: {failure.message}", severity="warning")
        self._told = set(result.failed)
        for name, theme in result.loaded.items():
            if self._loaded.get(name) != theme:
                self._loaded[name] = theme
                app.register_theme(theme)
                if app.theme == name:
                    app.mutate_reactive(type(app).theme)
                    app.say(f"theme {name} was read again")
        # In the order of their files.
        kept = {name: self._loaded[name] for name in result.loaded}
        self._loaded = {**kept, **self._loaded}
        broken = {Path(failure.file).stem for failure in result.failed}
        for name in set(self._loaded) - set(result.loaded) - broken - {app.theme}:
            del self._loaded[name]
            app.unregister_theme(name)


def stamps(folders: Iterable[Path]) -> Stamps:
    """What all theme files look like from outside."""
    found = set()
    for folder in folders:
        try:
            files = sorted(folder.glob("*.toml"))
            for file in files:
                status = file.stat()
                found.add((str(file), status.st_mtime_ns, status.st_size))
        except OSError:
            continue  # it is going, or may not be read; it is looked at again
    return frozenset(found)
