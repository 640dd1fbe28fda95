"""Keys that a person changes in `[keys]`: by name or character, taken from others, never two."""

from __future__ import annotations

import pytest
from textual.keys import _character_to_key
from tui_screen import Opener
from tui_world import healthy

from cockpit.tui.actions import ACTIONS, View
from cockpit.tui.keymap import build, clashes, key_id


def test_no_key_means_two_things_in_one_view() -> None:
    assert clashes(ACTIONS) == []


def test_every_usual_key_is_one_that_could_be_written_in_a_profile() -> None:
    for action in ACTIONS:
        for key in action.keys:
            assert key_id(key) == key


@pytest.mark.parametrize("code", range(33, 127))
def test_a_character_is_called_as_textual_calls_it(code: int) -> None:
    assert key_id(chr(code)) == _character_to_key(chr(code))


@pytest.mark.parametrize(
    ("written", "named"),
    [
        ("ctrl+x", "ctrl+x"),
        ("Ctrl+X", "ctrl+x"),
        ("^x", "ctrl+x"),
        ("F9", "f9"),
        ("esc", "escape"),
        ("PgDn", "pagedown"),
        ("shift+tab", "shift+tab"),
        ("alt+/", "alt+slash"),
        ("space", "space"),
        ("+", "plus"),
        ("ctrl++", "ctrl+plus"),
    ],
)
def test_keys_are_written_as_people_write_them(written: str, named: str) -> None:
    assert key_id(written) == named


@pytest.mark.parametrize("text", ["", "ctrl+", "spcae", "hyperspace", "strg+x", "\x1b"])
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"no key|no modifier"):
        key_id(text)


def test_a_key_that_is_given_away_is_taken_from_its_owner_and_said() -> None:
    made = build(ACTIONS, {"job.restart": ["b"]})
    for view in (View.JOBS, View.JOB, View.LOGS):
        here = {action.id: action.keys for action in made.in_view(view)}
        assert (here["job.restart"], here["job.stacks"]) == (("b",), ())
        assert clashes(made.in_view(view)) == []
    for trouble in made.troubles:
        assert (trouble.action, "job.stacks" in trouble.message) == ("job.restart", True)


def test_a_key_is_lost_only_where_somebody_else_has_it() -> None:
    made = build(ACTIONS, {"fleet.mode": ["n"]})
    keys = {v: {a.id: a.keys for a in made.in_view(v)} for v in (View.FLEET, View.PROFILES)}
    assert (keys[View.FLEET]["fleet.mode"], keys[View.FLEET]["launch.new"]) == (("n",), ())
    assert keys[View.PROFILES]["launch.new"] == ("n",)


def test_an_action_can_lose_all_its_keys() -> None:
    made = build(ACTIONS, {"job.cancel": []})
    assert next(a for a in made.actions if a.id == "job.cancel").keys == ()
    assert made.troubles == ()


def test_what_is_wrong_in_the_keys_is_said_with_the_nearest_name() -> None:
    made = build(ACTIONS, {"job.cancle": ["x"], "job.restart": ["hoome"]})
    unknown, bad = made.troubles
    assert (unknown.action, unknown.hint) == ("job.cancle", "did you mean job.cancel?")
    assert bad.message == "'hoome' is no key, did you mean home?"
    assert made.actions == ACTIONS


async def test_the_keys_of_the_profile_are_in_force_in_footer_and_help(opened: Opener) -> None:
    keys = {"view.jobs": ["f9", "J"], "view.fleet": [], "nothing.such": ["x"]}
    async with opened(healthy(), keys=keys, size=(120, 36)) as screen:
        assert "nothing.such: there is no such action" in screen.said[0]
        await screen.press("2")
        assert screen.app.view is View.FLEET
        await screen.press("J")
        assert screen.app.view is View.JOBS
        await screen.press("1")
        assert screen.app.view is View.JOBS, "the key of view.fleet was taken away"
        await screen.press("question_mark")
        assert "f9 J" in screen.text
