"""A screen on a made-up world, with frozen clocks and UTC as the time zone."""

from __future__ import annotations

import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from textual.cache import LRUCache
from textual.css.stylesheet import Stylesheet
from tui_hands import running
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


@pytest.fixture(scope="session", autouse=True)
def parsed_once() -> Iterator[None]:
    """Style sheets are parsed once for each theme, not once for each app."""
    kept: dict[frozenset[tuple[str, str]], LRUCache[Any, Any]] = {}
    usual = Stylesheet.set_variables

    def set_variables(sheet: Stylesheet, variables: dict[str, str]) -> None:
        sheet._parse_cache = LRUCache(1)  # the usual way empties the one it finds
        usual(sheet, variables)
        sheet._parse_cache = kept.setdefault(frozenset(variables.items()), LRUCache(1024))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stylesheet, "set_variables", set_variables)
        yield


@pytest.fixture(scope="session")
def outbox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the screen writes what it is told to save or to copy."""
    return tmp_path_factory.mktemp("outbox")


@pytest.fixture(autouse=True)
def written_aside(outbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(outbox)
    monkeypatch.setattr(tempfile, "tempdir", str(outbox))


@pytest.fixture
def opened() -> Opener:
    """Opens a screen: `async with opened(fleet, size=(80, 24)) as screen`."""

    @asynccontextmanager
    async def open_screen(
        fleet: Fleet, size: tuple[int, int] = (120, 36), **options: Any
    ) -> AsyncIterator[Screen]:
        screen = make(fleet, **options)
        async with running(screen.app, size):
            yield screen

    return open_screen
