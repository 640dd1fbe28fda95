"""The app under test, on a FakeSource, with frozen clocks."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from textual.widgets import Input
from tui_hands import Hands
from tui_quiet import until
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
        self.hands = Hands(app)

    async def press(self, *keys: str) -> None:
        """Press keys, then take what is new."""
        await self.hands.press(*keys)
        await self.pulse()

    async def command(self, text: str) -> None:
        """Type a line behind the colon."""
        await self.press("colon")
        self.app.query_one("#command", Input).value = text
        await self.press("enter")

    async def pulse(self) -> None:
        """Take what is new, and draw it."""
        self.app.pulse()
        await self.settle()

    async def settle(self) -> None:
        """Wait until everything is done."""
        await self.hands.pause()

    async def until(self, done: Callable[[], object]) -> None:
        """Wait, pulse by pulse, for what comes from time, files or processes."""
        await until(done, meanwhile=self.app.pulse, seen=lambda: f"{self.text}\n{self.said}")
        await self.settle()

    async def shows(self, text: str) -> None:
        await self.until(lambda: text in self.text)

    async def says(self, text: str) -> None:
        await self.until(lambda: any(text in said for said in self.said))

    async def click(self, *where: Any, **how: Any) -> None:
        """As `Pilot.click`, and take what is new."""
        await self.hands.click(*where, **how)
        await self.pulse()

    async def resize(self, width: int, height: int) -> None:
        await self.hands.resize_terminal(width, height)
        await self.pulse()

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
