"""What says where one is and which key goes on: prompt, keys of forms, places, themes by name."""

from __future__ import annotations

from pathlib import Path

import pytest
from profile_world import RealFiles
from textual.command import CommandList, CommandPalette
from tui_screen import Opener, Screen
from tui_world import healthy

from cockpit.tui.palette import ThemeProvider
from cockpit.tui.profile.formdialog import FormDialog
from cockpit.tui.profile.view import ProfilesView

PROJECT = """\
[clusters.lab]
nodes = ["gpu[01-03].lab"]
user = "ada"
"""


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RealFiles:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("COCKPIT_CONFIG", raising=False)
    (tmp_path / "cockpit.toml").write_text(PROJECT)
    return RealFiles(tmp_path)


async def enter(screen: Screen, files: RealFiles) -> ProfilesView:
    """The profiles, with the first value selected."""
    files.put_into(screen.source)
    await screen.press("5")
    view = screen.app.query_one(ProfilesView)
    await screen.until(lambda: len(view._tree.items) > 1 and view._docs)
    view._tree.select("clusters.lab")
    view._show_values()
    view._values.focus()
    await screen.pulse()
    return view


async def test_a_small_terminal_says_where_the_selected_value_was_set(
    opened: Opener, files: RealFiles, tmp_path: Path
) -> None:
    async with opened(healthy(), size=(60, 15)) as screen:
        await enter(screen, files)
        await screen.press("down", "down", "down")
        assert f"user {str(tmp_path)[:12]}" in screen.text


@pytest.mark.parametrize("key", ["i", "c"])
async def test_the_forms_of_profiles_name_their_keys(
    opened: Opener, files: RealFiles, key: str
) -> None:
    async with opened(healthy()) as screen:
        view = await enter(screen, files)
        view._tree.focus()
        await screen.press(key)
        await screen.until(lambda: isinstance(screen.app.screen, FormDialog))
        assert "Save ^s" in screen.text
        assert "Cancel esc" in screen.text


async def test_the_command_line_begins_with_its_sign(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        await screen.press("colon", *"help")
        assert any(row.startswith(":help") for row in screen.text.splitlines())


async def test_the_palette_offers_the_themes_by_name(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        app = screen.app
        provider = ThemeProvider(app.screen)
        offered = [hit.text async for hit in provider.discover()]
        assert offered == [f"Theme: {name}" for name in app.house.theme_names()]
        await screen.press("ctrl+p", *"cockpit-light")
        assert isinstance(app.screen, CommandPalette)
        options = app.screen.query_one(CommandList)
        await screen.until(lambda: options.option_count)
        await screen.press("enter")
        await screen.until(lambda: app.theme == "cockpit-light")


async def test_a_theme_that_is_gone_meanwhile_is_said_and_breaks_nothing(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        ThemeProvider(screen.app.screen)._take("theme gone")
        await screen.pulse()
        assert any("gone" in text for text in screen.said)
