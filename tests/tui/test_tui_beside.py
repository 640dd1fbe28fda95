"""What goes wrong beside the screen does not end what goes on beside it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tui_quiet import until
from tui_screen import Opener
from tui_world import healthy

from cockpit.tui.draw import themes
from cockpit.tui.house import themewatch
from cockpit.tui.profile import view as profiles


async def test_theme_files_are_looked_at_after_a_defect_too(
    opened: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(themewatch, "PERIOD", 0.01)
    file = tmp_path / "mine.toml"
    file.write_text('primary = "#010203"')
    loaded = await asyncio.to_thread(themes.load, [tmp_path])
    looks = []

    def broken(folders: object) -> None:
        looks.append(folders)
        raise RuntimeError("[boom]")

    async with opened(healthy(), loaded=loaded, theme_folders=[tmp_path], theme="mine") as screen:
        with monkeypatch.context() as defect:
            defect.setattr(themewatch, "stamps", broken)
            await until(lambda: len(looks) > 3)
        assert sum("RuntimeError: [boom]" in said for said in screen.said) == 1
        file.write_text('primary = "#a0b0c0"')
        await until(lambda: screen.app.theme_variables["tone-title"] == "#a0b0c0")


async def test_profiles_are_shown_without_their_explanations_if_those_cannot_be_read(
    opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise RuntimeError("[boom]")

    monkeypatch.setattr(profiles, "read_docs", broken)
    async with opened(healthy()) as screen:
        await screen.press("5")
        assert screen.app.is_running
        assert screen.app._exception is None
        assert "launchers" in screen.text
        assert any(
            "what the keys mean failed: RuntimeError: [boom]" in said for said in screen.said
        )
