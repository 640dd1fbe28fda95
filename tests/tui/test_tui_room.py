"""A terminal that is too small: the panel is in front of whatever is open, and goes again."""

from __future__ import annotations

import pytest
from launch_world import FakePad, config
from textual.widgets import Input
from tui_screen import Opener, Screen
from tui_world import healthy

from cockpit.tui.actions import View
from cockpit.tui.launch.form import LaunchForm
from cockpit.tui.launch.picks import NameDialog

PANEL = "The cockpit needs 60×15 cells."


async def filled_form(screen: Screen) -> LaunchForm:
    """The launch form, with a number of nodes typed in."""
    screen.source.config = config()
    screen.source.launchpad = FakePad(screen.source)
    await screen.press("n", "tab", "tab", "tab", "7")
    form = screen.app.screen
    assert isinstance(form, LaunchForm)
    return form


async def test_a_form_yields_to_the_panel_and_comes_back_with_all_that_was_typed(
    opened: Opener,
) -> None:
    async with opened(healthy()) as screen:
        form = await filled_form(screen)
        await screen.resize(58, 14)
        assert PANEL in screen.text
        assert "This terminal has 58×14" in screen.text
        assert "Launch" not in screen.text
        await screen.press("8", "tab", "9", "escape", "ctrl+s")
        assert screen.app.screen is form
        await screen.resize(120, 36)
        assert PANEL not in screen.text
        await screen.press("1")
        assert form._rows["nodes"].value == "71", "it kept the focus, and got no key meanwhile"


async def test_every_dialog_above_another_yields(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        await filled_form(screen)
        await screen.press("ctrl+s", *"mine")
        assert isinstance(screen.app.screen, NameDialog)
        await screen.resize(58, 14)
        assert PANEL in screen.text
        assert "mine" not in screen.text
        await screen.resize(60, 15)
        assert screen.app.screen.query_one(Input).value == "mine"
        assert "mine" in screen.text
        await screen.press("escape")
        assert "Launch" in screen.text
        assert PANEL not in screen.text


async def test_a_dialog_that_opens_where_there_is_no_room_waits_behind_the_panel(
    opened: Opener,
) -> None:
    async with opened(healthy(), size=(58, 14)) as screen:
        screen.app.push_screen(NameDialog("mine", "cockpit.toml", {}))
        await screen.settle()
        assert PANEL in screen.text
        assert "mine" not in screen.text
        await screen.resize(80, 24)
        assert "mine" in screen.text
        await screen.resize(58, 14)
        screen.app.pop_screen()
        await screen.settle()
        assert PANEL in screen.text
        await screen.resize(80, 24)
        assert "gpu01" in screen.text


async def test_a_line_that_is_being_typed_is_there_again(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        await screen.press("slash", *"gp")
        await screen.resize(30, 5)
        await screen.press("x", "enter")
        await screen.resize(80, 24)
        await screen.press(*"u01")
        assert screen.app.query_one("#fleet-filter", Input).value == "gpu01"


@pytest.mark.parametrize("key", ["q", "ctrl+q"])
async def test_the_panel_can_be_left_from_anywhere(opened: Opener, key: str) -> None:
    async with opened(healthy()) as screen:
        await filled_form(screen)
        await screen.resize(58, 14)
        await screen.press(key)
        assert screen.app._exit


@pytest.mark.parametrize("view", View)
async def test_no_view_minds_how_small_it_is_behind_the_panel(opened: Opener, view: View) -> None:
    async with opened(healthy()) as screen:
        await screen.press("2", "enter")
        screen.app.show_node("lab/gpu01")
        await screen.settle()
        screen.app.show(view)
        await screen.settle()
        assert screen.app.view is view
        for size in ((59, 14), (20, 6), (3, 2), (1, 1), (200, 3), (4, 60)):
            await screen.resize(*size)
            screen.app.pulse(force=True)
            await screen.settle()
        await screen.resize(120, 36)
        assert PANEL not in screen.text
