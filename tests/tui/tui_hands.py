"""Hands on the keyboard and the mouse of an app, which wait until all is done that they led to."""

from __future__ import annotations

import unicodedata
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from textual import keys as textual_keys
from textual.app import App
from textual.events import Key
from textual.pilot import Pilot
from tui_quiet import quiet, watch_threads


class Hands(Pilot[Any]):
    """Textual's own would wait until the process uses little of the processor: a second on a
    machine that is busy, and no proof of anything."""

    async def press(self, *keys: str) -> None:
        """Press keys, each when everything is done that the one before it led to."""
        for key in keys:
            event = key_event(key)
            event.set_sender(self.app)
            driver = self.app._driver
            assert driver is not None
            driver.send_message(event)
            await quiet(self.app)

    async def pause(self, delay: float | None = None) -> None:
        """Clicks and new sizes wait by this, too."""
        assert delay is None, "a time is no proof"
        await quiet(self.app)


def key_event(key: str) -> Key:
    """A key by its name, or by the character that it types."""
    if len(key) == 1 and not key.isalnum():
        key = textual_keys._character_to_key(key)
    name = textual_keys._get_unicode_name_from_key(textual_keys.REPLACED_KEYS.get(key, key))
    try:
        return Key(key, unicodedata.lookup(name))
    except KeyError:
        return Key(key, key if len(key) == 1 else None)


@asynccontextmanager
async def running(app: App[Any], size: tuple[int, int] = (80, 24)) -> AsyncIterator[Hands]:
    """Run an app without a terminal, from when it is at rest for the first time."""
    watch_threads()
    async with app.run_test(size=size):
        hands = Hands(app)
        await hands.pause()
        yield hands
