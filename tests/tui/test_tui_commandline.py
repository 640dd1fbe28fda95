"""The `:` line: names, completion, arguments, errors that keep what was typed, history."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path

import pytest
from textual.events import Key
from textual.widgets import Input
from tui_screen import Opener, Screen
from tui_world import healthy

from cockpit.errors import UsageError
from cockpit.tui.actions import ACTIONS, View
from cockpit.tui.commands import names_of, parse, usage
from cockpit.tui.dialogs import ConfirmDialog
from cockpit.tui.state import Memory


def _line(screen: Screen) -> Input:
    return screen.app.query_one("#command", Input)


async def _type(screen: Screen, text: str) -> None:
    await screen.press("colon")
    _line(screen).value = text
    await screen.press("enter")


def test_every_action_can_be_called_by_each_of_its_names() -> None:
    for action in ACTIONS:
        for name in names_of(action):
            assert parse(f":{name}", ACTIONS).action is action


def test_no_name_means_two_actions() -> None:
    names = [name for action in ACTIONS for name in names_of(action)]
    assert len(names) == len(set(names))


def test_every_command_says_what_it_does() -> None:
    for action in ACTIONS:
        assert action.title in usage(names_of(action)[0], ACTIONS)


def test_an_unknown_command_names_the_nearest() -> None:
    with pytest.raises(UsageError) as caught:
        parse("profils", ACTIONS)
    assert caught.value.hint == "did you mean :profiles?"


def test_a_short_name_that_could_be_several_names_them() -> None:
    with pytest.raises(UsageError, match=r"could be .*view"):
        parse("view", ACTIONS)


def test_an_argument_that_nothing_takes_is_refused() -> None:
    with pytest.raises(UsageError, match="takes no argument"):
        parse("events now", ACTIONS)


async def test_a_command_goes_to_a_view(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        await _type(screen, "jobs")
        assert screen.app.view is View.JOBS
        assert not screen.app.query_one("#command-line").display
        await _type(screen, "quit")
        assert not screen.app.is_running


async def test_a_line_that_is_wrong_stays_with_the_reason_until_escape(opened: Opener) -> None:
    async with opened(healthy(), size=(120, 36)) as screen:
        await _type(screen, "proflies")
        assert "there is no command :proflies — did you mean :profiles?" in screen.text
        assert _line(screen).value == "proflies"
        assert _line(screen).has_focus
        await screen.press("escape")
        assert not screen.app.query_one("#command-line").display
        await screen.press("2")
        assert screen.app.view is View.JOBS


async def test_what_cannot_be_done_says_why_here_too(opened: Opener) -> None:
    async with opened(healthy(), size=(120, 36)) as screen:
        await screen.press("2", "G")
        await _type(screen, "job.cancel")
        assert "dpo has ended already" in screen.text
        assert not isinstance(screen.app.screen, ConfirmDialog)


async def test_tab_completes_and_letters_are_typed_not_done(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        await screen.press("colon", "p", "r", "o", "f", "tab")
        assert _line(screen).value == "profiles"
        assert screen.app.view is View.FLEET
        await screen.press("enter")
        assert screen.app.view is View.PROFILES


async def test_keys_that_come_with_the_colon_are_typed(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        for key, character in (("colon", ":"), ("2", "2"), ("q", "q")):
            screen.app.post_message(Key(key, character))
        await screen.settle()
        assert _line(screen).value == "2q"
        assert screen.app.view is View.FLEET


async def test_commands_are_remembered_over_sessions(opened: Opener, tmp_path: Path) -> None:
    memory = Memory(tmp_path / "state" / "screen.json")
    async with opened(healthy(), memory=memory) as screen:
        await _type(screen, "jobs")
        await _type(screen, "events")
        await screen.press("colon", "up", "up")
        assert _line(screen).value == "jobs"
        await screen.press("down")
        assert _line(screen).value == "events"
        await screen.press("down")
        assert _line(screen).value == ""
        screen.app.gather_memory()
    memory.freeze()
    await asyncio.to_thread(memory.save)
    again = Memory(tmp_path / "state" / "screen.json")
    await asyncio.to_thread(again.load)
    assert again.commands == ["jobs", "events"]


async def test_the_view_that_was_left_is_shown_again(opened: Opener, tmp_path: Path) -> None:
    path = tmp_path / "screen.json"
    memory = Memory(path)
    async with opened(healthy(), memory=memory) as screen:
        await screen.press("2", "ctrl+t", "q")
    memory.freeze()
    await asyncio.to_thread(memory.save)
    left = json.loads(await asyncio.to_thread(path.read_text))
    assert (left["view"], left["theme"]) == ("jobs", screen.app.theme)
    again = Memory(path)
    await asyncio.to_thread(again.load)
    async with opened(healthy(), memory=again) as screen:
        assert screen.app.view is View.JOBS
        assert screen.app.theme == left["theme"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"view": 7, "views": [], "commands": {}}'])
async def test_a_state_file_that_makes_no_sense_costs_the_memory_only(
    opened: Opener, tmp_path: Path, text: str
) -> None:
    path = tmp_path / "screen.json"
    memory = Memory(path)
    await asyncio.to_thread(path.write_text, text)
    await asyncio.to_thread(memory.load)
    async with opened(healthy(), memory=memory) as screen:
        await _type(screen, "jobs")
        assert screen.app.view is View.JOBS
    memory.freeze()
    await asyncio.to_thread(memory.save)
    assert json.loads(await asyncio.to_thread(path.read_text))["commands"] == ["jobs"]


def test_what_is_saved_is_what_was_frozen_and_an_older_save_never_lands_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "screen.json"
    memory = Memory(path)
    begun, go_on = threading.Event(), threading.Event()
    written: list[bytes] = []

    def slow(target: Path, data: bytes) -> None:
        written.append(data)
        if len(written) == 1:
            begun.set()
            assert go_on.wait(10.0)
        target.write_bytes(data)

    monkeypatch.setattr("cockpit.tui.state.write_atomic", slow)
    memory.add_command("first")
    assert memory.freeze()
    early = threading.Thread(target=memory.save)
    early.start()
    assert begun.wait(10.0)
    memory.add_command("second")
    assert memory.freeze()
    late = threading.Thread(target=memory.save)
    late.start()
    memory.add_command("third, which nobody froze")
    go_on.set()
    early.join()
    late.join()
    assert json.loads(path.read_text())["commands"] == ["first", "second"]
    memory.freeze()
    memory.save()
    assert not memory.freeze()
    assert len(written) == 3


def test_a_state_file_that_cannot_be_written_raises_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    memory = Memory(tmp_path / "file" / "screen.json")
    memory.add_command("jobs")
    memory.save()
    assert memory.changed
