"""The registry of actions, and every action by each of its keys and by the palette."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import pytest
from textual.command import CommandPalette
from textual.widgets import Input
from tui_screen import Opener, Screen
from tui_world import chatter, healthy, large, troubled

from cockpit.model.types import Fleet
from cockpit.tui.actions import ACTIONS, BY_ID, Action, View
from cockpit.tui.dialogs import ConfirmDialog, HelpDialog, HelpItem
from cockpit.tui.stacks import StacksDialog
from cockpit.tui.widgets.grid import RowGrid
from cockpit.tui.widgets.logview import LogView

LLAMA = "llama-1a2b"


class Case(NamedTuple):
    """`before`: the keys that lead to the place; `check`: whether the action had its effect."""

    before: tuple[str, ...]
    check: Callable[[Screen], bool]
    fleet: Callable[[], Fleet] = healthy


def _in(view: View) -> Callable[[Screen], bool]:
    return lambda screen: screen.app.view is view


def _log(screen: Screen) -> LogView:
    return screen.app.query_one("#logs-log LogView", LogView)


def _cursor(screen: Screen) -> int:
    pane = screen.app.pane
    assert isinstance(pane, RowGrid)
    return pane.cursor


def _on(kind: type) -> Callable[[Screen], bool]:
    return lambda screen: isinstance(screen.app.screen, kind)


CASES = {
    "view.fleet": Case(("2",), _in(View.FLEET)),
    "view.jobs": Case((), _in(View.JOBS)),
    "view.job": Case((), _in(View.JOB)),
    "view.logs": Case((), _in(View.LOGS)),
    "list.open": Case(("2",), _in(View.JOB)),
    "job.logs": Case(("2",), _in(View.LOGS)),
    "log.filter": Case(("4",), lambda s: isinstance(s.app.focused, Input)),
    "log.follow": Case(("4", "k"), lambda s: _log(s).following),
    "log.left": Case(("4", "right", "right"), lambda s: _log(s)._left == 8),
    "log.right": Case(("4",), lambda s: _log(s)._left == 8),
    "log.start": Case(("4", "right", "right"), lambda s: _log(s)._left == 0),
    "log.times": Case(("4",), lambda s: not _log(s).times),
    "job.cancel": Case(("2",), _on(ConfirmDialog)),
    "job.restart": Case(("2",), _on(ConfirmDialog)),
    "job.restart_ranks": Case(("2",), _on(ConfirmDialog)),
    "job.stacks": Case(("2",), _on(StacksDialog)),
    "node.retry": Case(("j",), lambda s: ("retry", "gpu02") in s.source.orders, troubled),
    "list.down": Case(("2",), lambda s: _cursor(s) == 1),
    "list.up": Case(("2", "G"), lambda s: _cursor(s) == 1),
    "list.page_down": Case((), lambda s: 20 < _cursor(s) < 40, large),
    "list.page_up": Case(("G",), lambda s: 80 < _cursor(s) < 110, large),
    "list.top": Case(("G",), lambda s: _cursor(s) == 0, large),
    "list.bottom": Case((), lambda s: _cursor(s) == 127, large),
    "pane.next": Case(("3",), lambda s: isinstance(s.app.focused, LogView)),
    "view.back": Case(("2",), _in(View.FLEET)),
    "app.palette": Case((), _on(CommandPalette)),
    "app.help": Case((), _on(HelpDialog)),
    "app.theme": Case((), lambda s: s.app.theme == "cockpit-light"),
    "app.redraw": Case((), lambda s: "gpu01" in s.text),
    "app.quit": Case((), lambda s: not s.app.is_running),
}


def test_every_action_has_a_case_here() -> None:
    assert set(CASES) == set(BY_ID)


def clashes(actions: Iterable[Action]) -> list[str]:
    """Two actions with the same key in the same view, in words; empty when all is well."""
    found = []
    seen: dict[tuple[View, str], Action] = {}
    for action in actions:
        for view in View:
            if not action.applies(view):
                continue
            for key in action.keys:
                other = seen.setdefault((view, key), action)
                if other is not action:
                    found.append(f"{key} in {view.value}: {other.id} and {action.id}")
    return found


def test_no_key_means_two_things_in_one_view() -> None:
    assert clashes(ACTIONS) == []


def test_a_clash_of_keys_is_found() -> None:
    twin = Action("x.y", "Twin", ("j",), lambda _: None, views=frozenset((View.JOBS,)))
    assert clashes([*ACTIONS, twin]) == ["j in jobs: list.down and x.y"]


def test_what_changes_nodes_is_marked_dangerous() -> None:
    assert {action.id for action in ACTIONS if action.dangerous} == {
        "job.cancel", "job.restart", "job.restart_ranks",
    }  # fmt: skip


@pytest.mark.parametrize("action_id", BY_ID)
async def test_what_is_dangerous_asks_before_anything_is_ordered_and_nothing_else_asks(
    opened: Opener, action_id: str
) -> None:
    action, case = BY_ID[action_id], CASES[action_id]
    async with opened(case.fleet()) as screen:
        await _start(screen, case)
        await screen.pilot.press(action.keys[0])
        asked = isinstance(screen.app.screen, ConfirmDialog)
        assert asked is action.dangerous
        if asked:
            assert screen.source.orders == []


async def test_help_marks_what_is_dangerous(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        await screen.press("2", "question_mark")
        dialog = screen.app.screen
        assert isinstance(dialog, HelpDialog)
        for action in ACTIONS:
            if action.applies(View.JOBS) and action.enabled(screen.app) is None:
                keys, title, _ = dialog._row(HelpItem(action, "")).cells
                tones = {span.tone for each in (keys, title) for span in each.spans}
                assert ("warn" in tones) is action.dangerous


async def _start(screen: Screen, case: Case) -> None:
    screen.source.write(LLAMA, *chatter(300))
    await screen.press(*case.before)
    assert not case.check(screen) or case is CASES["app.redraw"]


@pytest.mark.parametrize(
    ("action_id", "key"), [(action.id, key) for action in ACTIONS for key in action.keys]
)
async def test_an_action_is_done_by_each_of_its_keys(
    opened: Opener, action_id: str, key: str
) -> None:
    case = CASES[action_id]
    async with opened(case.fleet()) as screen:
        await _start(screen, case)
        await screen.pilot.press(key)
        if action_id != "app.quit":
            await screen.pulse()
        assert case.check(screen)


@pytest.mark.parametrize("action_id", [a.id for a in ACTIONS if a.id != "app.palette"])
async def test_an_action_is_done_by_the_palette(opened: Opener, action_id: str) -> None:
    case = CASES[action_id]
    async with opened(case.fleet()) as screen:
        await _start(screen, case)
        await screen.pilot.press("ctrl+p")
        box = screen.app.screen.query_one(Input)
        box.value = BY_ID[action_id].title
        for _ in range(100):
            await screen.pilot.pause(0.02)
            options = screen.app.screen.query("CommandList").first()
            if options.option_count and BY_ID[action_id].title in str(
                options.get_option_at_index(0).prompt
            ):
                break
        await screen.pilot.press("enter")
        for _ in range(200):
            if action_id == "app.quit" and not screen.app.is_running:
                break
            await screen.pilot.pause(0.02)
            if case.check(screen) and not isinstance(screen.app.screen, CommandPalette):
                break
        assert case.check(screen)


async def test_an_action_that_cannot_be_done_says_why(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        await screen.press("r")
        assert screen.said == ["Try to reach the node again: gpu01 is online"]
        assert screen.source.orders == []
        await screen.press("2", "G", "ctrl+d")
        assert "dpo has ended already" in screen.said[-1]
        assert screen.app.screen is screen.app.screen_stack[0]


async def test_the_footer_shows_the_keys_of_the_view_and_a_click_does_them(
    opened: Opener,
) -> None:
    async with opened(healthy(), size=(80, 24)) as screen:
        await screen.press("2")
        footer = screen.text.splitlines()[-1]
        assert "enter open" in footer
        assert "^d cancel…" in footer
        assert "/ filter" not in footer
        await screen.pilot.click("#footer", offset=(footer.index("open"), 0))
        assert screen.app.view is View.JOB


async def test_help_shows_all_keys_with_reasons_and_does_what_is_chosen(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        await screen.press("question_mark")
        assert "Try to reach the node again" in screen.text
        assert "gpu01 is online" in screen.text
        shown = [action for action in ACTIONS if action.applies(View.FLEET)]
        assert all(action.title in screen.text for action in shown)
        for _ in shown:
            if "❯ 2 " in screen.text:
                break
            await screen.press("j")
        await screen.press("enter")
        assert screen.app.view is View.JOBS
        await screen.press("question_mark", "escape")
        assert screen.app.screen is screen.app.screen_stack[0]


async def test_keys_reach_no_view_behind_a_dialog(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        await screen.press("2", "ctrl+d", "1", "j")
        assert screen.app.view is View.JOBS
        assert isinstance(screen.app.screen, ConfirmDialog)
