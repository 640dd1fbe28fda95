"""Work beside the screen that fails in a way nobody thought of."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from tui_screen import Opener
from tui_world import FakeLine, healthy

from cockpit.tui.errands import start
from cockpit.tui.house import debug


async def _broken() -> None:
    raise ValueError("[/x] boom")


async def test_a_defect_is_said_once_and_stands_among_the_events(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        told: list[str] = []
        for _ in range(3):
            await start(screen.app, _broken(), "the errand", failed=told.append).wait()
        text = "the errand failed: ValueError: [/x] boom (a defect of cockpit)"
        assert screen.said == [text]
        assert told == [text] * 3
        await screen.press("colon", *"events", "enter")
        screen.app.pulse(force=True)
        await screen.settle()
        assert "the errand failed: ValueError: [/x] boom" in screen.text


async def test_theme_files_that_cannot_be_watched_are_said(
    opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(healthy()) as screen:
        monkeypatch.setattr(screen.app.house.themes, "watch", lambda _: _broken())
        settings = dataclasses.replace(screen.app.settings, theme_folders=(Path("themes"),))
        monkeypatch.setattr(screen.app, "settings", settings)
        screen.app.house.opened()
        await screen.says("watching theme files failed: ValueError")


async def test_a_debug_page_that_cannot_look_says_so_once(
    opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> int:
        raise ValueError("boom")

    monkeypatch.setattr(debug, "resident", broken)
    async with opened(healthy()) as screen:
        await screen.press("tilde")
        await screen.says("memory failed: ValueError: boom")
        screen.frozen.passed += 2 * debug.PERIOD
        await screen.pulse()
        assert sum(each.startswith("memory failed") for each in screen.said) == 1


async def test_a_log_errand_that_breaks_is_said(
    opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ValueError("boom")

    monkeypatch.setattr("cockpit.tui.logs.clipboard.keep", broken)
    async with opened(healthy()) as screen:
        screen.source.write("llama-1a2b", *(FakeLine(data=b"step") for _ in range(9)))
        await screen.press("4", "y")
        await screen.says("copy failed: ValueError: boom")
