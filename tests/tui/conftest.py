"""A screen on a made-up world, with frozen clocks and UTC as the time zone."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tui_screen import Opener, Screen, make

from cockpit.model.types import Fleet


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.delenv("NO_COLOR", raising=False)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def opened() -> Opener:
    """Opens a screen: `async with opened(fleet, size=(80, 24)) as screen`."""

    @asynccontextmanager
    async def open_screen(
        fleet: Fleet, size: tuple[int, int] = (120, 36), **options: Any
    ) -> AsyncIterator[Screen]:
        screen = make(fleet, **options)
        async with screen.app.run_test(size=size) as pilot:
            screen.pilot = pilot
            await pilot.pause()
            yield screen

    return open_screen
