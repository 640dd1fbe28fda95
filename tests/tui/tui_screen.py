"""The app under test, on a FakeSource, with frozen clocks."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from tui_world import FakeSource, FrozenClock

from cockpit.model.types import Fleet
from cockpit.tui.app import CockpitApp
from cockpit.tui.draw import themes
from cockpit.tui.settings import Settings

LOADED = themes.load([themes.shipped_folder()])


class Screen:
    """The app under test and the hands on its keyboard."""

    def __init__(self, app: CockpitApp, source: FakeSource, frozen: FrozenClock) -> None:
        self.app = app
        self.source = source
        self.frozen = frozen
        self.pilot: Any = None

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.pulse()

    async def pulse(self) -> None:
        self.app.pulse()
        await self.pilot.pause()

    @property
    def text(self) -> str:
        """What is on the screen, as plain text."""
        return "\n".join(strip.text for strip in self.app.screen._compositor.render_strips())

    @property
    def said(self) -> list[str]:
        """The messages that were flashed."""
        return [each.message for each in self.app._notifications]


def make(fleet: Fleet, **options: Any) -> Screen:
    """`options`: fields of Settings, `focus_job` and `memory`."""
    source = FakeSource(fleet)
    frozen = FrozenClock()
    focus_job, memory = options.pop("focus_job", None), options.pop("memory", None)
    settings = Settings(**{"loaded": LOADED, **options})
    app = CockpitApp(
        source,
        settings,
        memory=memory,
        focus_job=focus_job,
        clock=frozen.clock,
        pulsing=False,
    )
    return Screen(app, source, frozen)


Opener = Callable[..., AbstractAsyncContextManager[Screen]]
