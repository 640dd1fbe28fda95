"""The registry of actions, and every action by each of its keys and by the palette."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from launch_world import FakePad
from profile_world import FakeDesk
from textual.command import CommandList, CommandPalette
from textual.widgets import Input
from tui_screen import Opener, Screen
from tui_world import FakeReplay, chatter, healthy, large, measured, troubled

from cockpit.model.types import Fleet
from cockpit.tui.actions import ACTIONS, BY_ID, View
from cockpit.tui.commands import names_of
from cockpit.tui.dialogs import ConfirmDialog, HelpDialog, HelpItem
from cockpit.tui.interpreter import AppInterpreter
from cockpit.tui.jobs.describe import DescribeDialog
from cockpit.tui.jobs.plotdialog import PlotDialog
from cockpit.tui.jobs.stacks import StacksDialog
from cockpit.tui.launch.form import LaunchForm
from cockpit.tui.logs.dialogs import ChoiceDialog
from cockpit.tui.logs.drawing import Times
from cockpit.tui.logs.level import Level
from cockpit.tui.logs.view import LogView
from cockpit.tui.palette import ActionProvider
from cockpit.tui.profile.dialogs import KindDialog, TestDialog, TrustDialog
from cockpit.tui.profile.formdialog import FormDialog
from cockpit.tui.widgets.grid import RowGrid

LLAMA = "llama-1a2b"
ROOT = Path(__file__).resolve().parents[2]


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


def _focus(screen: Screen) -> str | None:
    return None if screen.app.focused is None else screen.app.focused.id


def _said(text: str) -> Callable[[Screen], bool]:
    return lambda screen: any(text in said for said in screen.said)


def _replayed(order: str) -> Callable[[Screen], bool]:
    return lambda screen: order in screen.source.replay.orders


def _on(kind: type) -> Callable[[Screen], bool]:
    return lambda screen: isinstance(screen.app.screen, kind)


CASES = {
    "view.fleet": Case(("2",), _in(View.FLEET)),
    "view.jobs": Case((), _in(View.JOBS)),
    "view.job": Case((), _in(View.JOB)),
    "view.logs": Case((), _in(View.LOGS)),
    "view.profiles": Case((), _in(View.PROFILES)),
    "view.events": Case((), _in(View.EVENTS)),
    "view.debug": Case((), _in(View.DEBUG)),
    "view.last": Case(("2", "1"), _in(View.JOBS)),
    "view.previous": Case(("2",), _in(View.FLEET)),
    "view.forward": Case(("2", "left_square_bracket"), _in(View.JOBS)),
    "pane.previous": Case(("3",), lambda s: isinstance(s.app.focused, LogView)),
    "mark.toggle": Case(("2",), lambda s: s.app.marks.keys == {LLAMA}),
    "mark.range": Case(("2", "space"), lambda s: len(s.app.marks.keys) == 2),
    "mark.clear": Case(("2", "space"), lambda s: not s.app.marks.keys),
    "app.command": Case((), lambda s: s.app.query_one("#command-line").display),
    "list.open": Case(("2",), _in(View.JOB)),
    "job.logs": Case(("2",), _in(View.LOGS)),
    "list.filter": Case(("4",), lambda s: isinstance(s.app.focused, Input)),
    "log.follow": Case(("4", "k"), lambda s: _log(s).following),
    "log.find": Case(("4",), lambda s: isinstance(s.app.focused, Input)),
    "log.next": Case(
        ("4", "slash", *"step=29", "enter", "g"), lambda s: _log(s).window.cursor == 290
    ),
    "log.previous": Case(
        ("4", "slash", *"step=29", "enter", "g", "G"), lambda s: _log(s).window.cursor == 299
    ),
    "log.invert": Case(
        ("4", "slash", *"step=29", "enter"), lambda s: _log(s).pattern == "!step=29"
    ),
    "log.context": Case(("4",), lambda s: _log(s).window.rows.context == 1),
    "log.level": Case(("4",), lambda s: _log(s).level is Level.WARNING),
    "log.first_error": Case(("4",), _said("looks like an error")),
    "log.streams": Case(("4",), _on(ChoiceDialog)),
    "log.merged": Case(("4", "full_stop"), lambda s: not _log(s).choice.words),
    "log.rank_before": Case(("4",), lambda s: _log(s).choice.words == "r3"),
    "log.rank_next": Case(("4",), lambda s: _log(s).choice.words == "r0"),
    "log.time": Case(("4",), _on(ChoiceDialog)),
    "log.minute_back": Case(("4",), lambda s: _log(s).window.cursor == 0),
    "log.minute_on": Case(("4", "g"), lambda s: _log(s).window.cursor == 299),
    "log.mark": Case(("4",), lambda s: len(_log(s).window.marks) == 1),
    "log.next_mark": Case(("4", "m", "g"), lambda s: _log(s).window.cursor == 299),
    "log.previous_mark": Case(
        ("4", "g", "m", "G"), lambda s: not _log(s).following and _log(s).window.cursor == 0
    ),
    "log.select": Case(("4",), lambda s: _log(s).window.selection is not None),
    "log.copy": Case(("4",), _said("written to")),
    "log.save": Case(("4",), _said("saved")),
    "log.pager": Case(("4",), _said("cannot be handed")),
    "log.wrap": Case(("4",), lambda s: _log(s).wrap),
    "log.times": Case(("4",), lambda s: _log(s).times is Times.SINCE),
    "log.fold": Case(("4",), lambda s: not _log(s).fold),
    "log.left": Case(("4", "right", "right"), lambda s: _log(s)._left == 8),
    "log.right": Case(("4",), lambda s: _log(s)._left == 8),
    "log.start": Case(("4", "right", "right"), lambda s: _log(s)._left == 0),
    "job.cancel": Case(("2",), _on(ConfirmDialog)),
    "job.restart": Case(("2",), _on(ConfirmDialog)),
    "job.restart_ranks": Case(("2",), _on(ConfirmDialog)),
    "job.stacks": Case(("2",), _on(StacksDialog)),
    "job.describe": Case(("2",), _on(DescribeDialog)),
    "job.plot": Case(("2",), _on(PlotDialog), measured),
    "jobs.sort": Case(("2",), lambda s: "sort: newest" in s.text),
    "jobs.show": Case(("2",), lambda s: "only: not ended" in s.text),
    "jobs.invert": Case(("2", "slash", *"dpo", "enter"), lambda s: "filter: !dpo" in s.text),
    "job.problems": Case(("3",), lambda s: "problems only" in s.text),
    "job.fold": Case(("3",), lambda s: "▸ gpu01" in s.text),
    "job.attempt_before": Case(("2", "j", "3"), lambda s: "[0.0]" in s.text),
    "job.attempt_after": Case(("2", "j", "3", "comma"), lambda s: "[0.0]" not in s.text),
    "node.retry": Case((), lambda s: "gpu02" in s.source.retried, troubled),
    "node.doctor": Case(("enter",), lambda s: ("doctor", "gpu01") in s.source.asked),
    "view.node": Case((), _in(View.NODE)),
    "fleet.mode": Case((), lambda s: s.app.query_one("#fleet-wall").display),
    "fleet.metric": Case((), lambda s: "GPU memory used" in s.text),
    "fleet.sort": Case((), lambda s: "by name" in s.text),
    "fleet.problems": Case((), lambda s: "problems only" in s.text),
    "fleet.invert": Case(("slash", *"gpu01", "enter"), lambda s: "filter !gpu01" in s.text),
    "fleet.clusters": Case((), lambda s: _focus(s) == "command"),
    "fleet.left": Case(("right",), lambda s: s.app.node.name == "n000", large),
    "fleet.right": Case((), lambda s: s.app.node.name == "n026", large),
    "list.down": Case(("2",), lambda s: _cursor(s) == 1),
    "list.up": Case(("2", "G"), lambda s: _cursor(s) == 1),
    "list.page_down": Case(("v",), lambda s: 20 < _cursor(s) < 40, large),
    "list.page_up": Case(("v", "G"), lambda s: 80 < _cursor(s) < 110, large),
    "list.top": Case(("v", "G"), lambda s: _cursor(s) == 0, large),
    "list.bottom": Case(("v",), lambda s: _cursor(s) == 127, large),
    "pane.next": Case(("3",), lambda s: isinstance(s.app.focused, LogView)),
    "view.back": Case(("2",), _in(View.FLEET)),
    "launch.new": Case((), _on(LaunchForm)),
    "profile.new": Case(("5", "j"), _on(KindDialog)),
    "profile.edit": Case(("5", "j"), _on(FormDialog)),
    "profile.duplicate": Case(("5", "j"), _on(FormDialog)),
    "profile.delete": Case(("5", "j"), _on(ConfirmDialog)),
    "profile.editor": Case(("5",), lambda s: any("this terminal" in text for text in s.said)),
    "profile.test": Case(("5", "j"), _on(TestDialog)),
    "profile.trust": Case(("5", "j"), _on(TrustDialog)),
    "profile.reload": Case(("5",), lambda s: s.source.profiles.reloads == 1),
    "app.freeze": Case((), _replayed("pause")),
    "replay.slower": Case((), _replayed("slower")),
    "replay.faster": Case((), _replayed("faster")),
    "replay.next": Case((), _replayed("next_event")),
    "replay.again": Case((), _replayed("begin_again")),
    "launch.again": Case(("2",), _on(LaunchForm)),
    "app.palette": Case((), _on(CommandPalette)),
    "app.help": Case((), _on(HelpDialog)),
    "app.theme": Case((), lambda s: s.app.theme == "cockpit-light"),
    "app.attention": Case((), lambda s: not s.app.house.attention.on),
    "app.screenshot": Case((), lambda s: any("saved as" in said for said in s.said)),
    "node.shell": Case((), lambda s: any("no shell on gpu01" in said for said in s.said)),
    "app.redraw": Case((), lambda s: "gpu01" in s.text),
    "app.quit": Case((), lambda s: not s.app.is_running),
}


def test_every_action_has_a_case_here() -> None:
    assert set(CASES) == set(BY_ID)


def test_what_is_dangerous_also_counts_as_a_change() -> None:
    assert {action.id for action in ACTIONS if action.dangerous} >= {
        "job.cancel", "job.restart", "job.restart_ranks",
    }  # fmt: skip
    assert all(action.writes for action in ACTIONS if action.dangerous)


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
    screen.source.launchpad = FakePad(screen.source)
    screen.source.profiles = FakeDesk(screen.source)
    screen.source.replay = FakeReplay()
    await screen.press(*case.before)
    assert not case.check(screen) or case is CASES["app.redraw"], "it is so before anything is done"


@pytest.mark.parametrize("action_id", [action.id for action in ACTIONS if action.keys])
async def test_an_action_is_done_by_its_key(opened: Opener, action_id: str) -> None:
    case, action = CASES[action_id], BY_ID[action_id]
    async with opened(case.fleet()) as screen:
        await _start(screen, case)
        before = screen.app.screen
        await screen.hands.press(action.keys[0])
        if action_id != "app.quit":
            await screen.pulse()
        assert case.check(screen)
        if action.dangerous:
            assert screen.app.screen is not before, "it asks"
        assert screen.source.orders.given == []


async def test_every_further_key_of_an_action_does_the_same(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        bindings = screen.app._bindings.key_to_bindings
        for action in ACTIONS:
            for key in action.keys:
                found = [binding.action for binding in bindings[key]]
                assert f"do({action.id!r})" in found


async def test_the_palette_offers_every_action_of_the_view_and_does_it(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        for view in View:
            screen.app.course.enter(view)
            await screen.settle()
            provider = ActionProvider(screen.app.screen)
            here = [a for a in ACTIONS if a.applies(view) and a.id != "app.palette"]
            discovered = [hit async for hit in provider.discover()]
            assert [hit.text for hit in discovered] == [action.title for action in here]
            for action in here:
                hits = [hit async for hit in provider.search(action.title)]
                best = max(hits, key=lambda hit: hit.score)
                assert best.text == action.title
                command = best.command
                assert isinstance(command, partial)
                assert (command.func, command.args) == (screen.app.perform, (action.id,))


async def test_an_action_is_chosen_in_the_palette_by_typing(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        await screen.press("ctrl+p", *"Events: what")
        options = screen.app.screen.query_one(CommandList)
        await screen.until(lambda: options.option_count)
        await screen.press("enter")
        await screen.until(lambda: screen.app.view is View.EVENTS)


async def test_every_action_is_done_by_the_command_line(opened: Opener) -> None:
    """The same `run` as by the key, whatever it is called; what cannot be done says so."""
    async with opened(healthy()) as screen:
        done: list[str] = []
        recorded = [
            dataclasses.replace(
                action,
                run=lambda _, action_id=action.id: done.append(action_id),
                words=action.words and dataclasses.replace(action.words, run=None),
                enabled=lambda _: None,
            )
            for action in ACTIONS
        ]
        screen.app.keyboard.actions = tuple(recorded)
        interpreter = AppInterpreter(screen.app)
        for action in recorded:
            for name in names_of(action):
                interpreter.execute(f":{name}")
                assert done.pop() == action.id


async def test_in_read_only_mode_whatever_changes_something_is_refused(opened: Opener) -> None:
    async with opened(healthy(), read_only=True) as screen:
        await screen.press("2", "ctrl+d")
        assert screen.said == ["Cancel the job…: the cockpit is read-only"]
        assert not isinstance(screen.app.screen, ConfirmDialog)
        for action in ACTIONS:
            refused = screen.app.reason_against(action) == "the cockpit is read-only"
            assert refused is action.writes
        assert "read-only" in screen.text


async def test_a_cluster_can_be_read_only_by_itself(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        config = screen.source.config
        cluster = msgspec.structs.replace(config.clusters["local"], name="lab", read_only=True)
        screen.source.config = msgspec.structs.replace(
            config, clusters={**config.clusters, "lab": cluster}
        )
        await screen.press("2", "ctrl+d")
        assert screen.said == ["Cancel the job…: cluster lab is read-only"]


def test_the_page_of_keys_says_what_the_registry_says() -> None:
    page = importlib.util.spec_from_file_location("write_keys", ROOT / "scripts/write_keys.py")
    assert page is not None
    assert page.loader is not None
    module = importlib.util.module_from_spec(page)
    page.loader.exec_module(module)
    assert (ROOT / "docs/keys.md").read_text("utf-8") == module.text(), "run `make docs`"


async def test_an_action_that_cannot_be_done_says_why(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        await screen.press("r")
        assert screen.said == ["Try to reach the node again: gpu01 is online"]
        assert screen.source.orders.given == []
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
        assert "r retry" not in footer
        await screen.click("#footer", offset=(footer.index("open"), 0))
        assert screen.app.view is View.JOB


async def test_help_shows_all_keys_with_reasons_and_does_what_is_chosen(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        await screen.press("question_mark")
        assert "Try to reach the node again" in screen.text
        assert "gpu01 is online" in screen.text
        wanted = {action.title for action in ACTIONS if action.applies(View.FLEET)}
        at = ""
        for _ in range(2 * len(wanted)):
            wanted -= {title for title in wanted if title in screen.text}
            at = next((row for row in screen.text.splitlines() if "❯" in row), "")
            if not wanted and "❯ 2 " in at:
                break
            await screen.press("j" if wanted else "k")
        assert wanted == set(), "all of them come by"
        await screen.press("enter")
        assert screen.app.view is View.JOBS
        await screen.press("question_mark", "escape")
        assert screen.app.screen is screen.app.screen_stack[0]


async def test_keys_reach_no_view_behind_a_dialog(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        await screen.press("2", "ctrl+d", "1", "j")
        assert screen.app.view is View.JOBS
        assert isinstance(screen.app.screen, ConfirmDialog)
