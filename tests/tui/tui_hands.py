"""Quick hands for tests with long forms.

Textual's pilot waits twice after every key until the whole process is idle, which takes 20 ms at
least, and a second where something goes on meanwhile. These wait until every message was handled.
"""

from __future__ import annotations

from textual.events import Key
from textual.widgets import Input
from tui_screen import Screen

ROUNDS = 4
"""A key's message leads to others: an action, a dialog, its widgets, their focus."""
NAMED = {"space": " ", "slash": "/"}


async def settled(screen: Screen) -> None:
    for _ in range(ROUNDS):
        await screen.pilot.pause(0)


async def press(screen: Screen, *keys: str) -> None:
    """Press keys, each once everything that the one before it led to is done, and draw."""
    for key in keys:
        event = Key(key, key if len(key) == 1 else NAMED.get(key))
        event.set_sender(screen.app)
        screen.app._driver.send_message(event)
        await settled(screen)
    screen.app.pulse()
    await settled(screen)


async def command(screen: Screen, text: str) -> None:
    """Type a line behind the colon."""
    await press(screen, "colon")
    screen.app.query_one("#command", Input).value = text
    await press(screen, "enter")
