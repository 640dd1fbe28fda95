"""The Profiles view on real files: tree, values and their sources, forms, deleting, reloading."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from profile_world import FakeDesk, RealFiles
from textual.widgets import Button, Input
from tui_screen import Opener, Screen
from tui_world import healthy

from cockpit.errors import CockpitError
from cockpit.tui.dialogs import ConfirmDialog
from cockpit.tui.profile.desk import FoundKey
from cockpit.tui.profile.dialogs import KindDialog, TestDialog, TrustDialog
from cockpit.tui.profile.formdialog import FormDialog

PROJECT = """\
# the machines of the lab
[clusters.lab]
nodes = ["gpu[01-03].lab"]   # all of them
user = "ada"

[launchers.ddp]
max_restarts = 3

[jobs.llama]
cluster = "lab"
launcher = "ddp"
script = "train.py"
env = { API_TOKEN = "hush", MODE = "fast" }
"""
OWN = """\
[clusters.lab]
user = "bob"
port = 2222
"""


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RealFiles:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("COCKPIT_CONFIG", raising=False)
    (tmp_path / "config" / "cockpit").mkdir(parents=True)
    (tmp_path / "cockpit.toml").write_text(PROJECT)
    (tmp_path / "config" / "cockpit" / "cockpit.toml").write_text(OWN)
    return RealFiles(tmp_path)


async def at_profiles(screen: Screen, files: RealFiles) -> Any:
    """Put the desk in its place, go to the view, and have it read the files."""
    desk = files.put_into(screen.source)
    screen.frozen.passed += 1.0
    await screen.until(lambda: desk.files)
    await screen.press("5")
    return desk


def row(screen: Screen, word: str) -> str:
    """The first line of the screen with this word, without the tree."""
    lines = (line.split("│")[-1] for line in screen.text.splitlines())
    return next(line for line in lines if word in line)


async def test_the_tree_shows_all_that_is_configured_with_counts_and_links(
    opened: Opener, files: RealFiles
) -> None:
    async with opened(healthy()) as screen:
        await at_profiles(screen, files)
        assert "▾ clusters                2" in screen.text
        assert "● lab                   3" in screen.text
        assert "○ local" in screen.text
        for name in ("ddp", "torchrun", "llama", "screen", "notify", "keys"):
            assert name in screen.text
        assert "✔ valid" in screen.text
        await screen.press("enter")
        assert "▸ clusters                2" in screen.text
        assert "● lab" not in screen.text


async def test_each_value_says_which_line_set_it_and_what_it_overrides(
    opened: Opener, files: RealFiles
) -> None:
    async with opened(healthy(), size=(120, 36)) as screen:
        await at_profiles(screen, files)
        await screen.press("j")
        assert '["gpu[01-03].lab"]' in row(screen, "nodes")
        assert "./cockpit.toml:3" in row(screen, "nodes")
        assert '"ada"' in row(screen, "user")
        assert "./cockpit.toml:4 overrides" in row(screen, "user")
        assert "./config/cockpit/cockpit.toml:3" in row(screen, "port")
        assert "default" in row(screen, "connect_timeout")
        await screen.press("tab", "j", "j", "j")
        assert "./cockpit.toml:4 overrides ./config/cockpit/cockpit.toml:2" in screen.text
        assert "Login name; what the ssh_config says" in screen.text


async def test_no_secret_is_shown(opened: Opener, files: RealFiles) -> None:
    async with opened(healthy()) as screen:
        await at_profiles(screen, files)
        screen.app.keeper.go("llama")
        await screen.settle()
        assert "MODE" in screen.text
        assert "••••••" in row(screen, "API_TOKEN")
        await screen.press("i")
        assert "hush" not in screen.text


async def edit(screen: Screen, key: str, text: str) -> None:
    """Type a text into a field of the form."""
    dialog = screen.app.screen
    assert isinstance(dialog, FormDialog)
    box = dialog._rows[key].box
    box.focus()
    box.value = text
    await screen.settle()


async def test_an_edit_changes_its_key_only_and_comes_into_force(
    opened: Opener, files: RealFiles
) -> None:
    async with opened(healthy()) as screen:
        await at_profiles(screen, files)
        await screen.press("j", "enter")
        assert "writes ./cockpit.toml (project)" in screen.text
        await edit(screen, "user", "eve")
        await edit(screen, "env", "A=1 B='two words'")
        await screen.press("ctrl+s")
        await screen.until(lambda: not isinstance(screen.app.screen, FormDialog))
        text = PROJECT.replace('"ada"', '"eve"')
        lab, rest = text.split("\n\n", 1)
        env = '\nenv = {A = "1", B = "two words"}'
        assert files.project.read_text() == f"{lab}{env}\n\n{rest}"
        assert screen.source.config.clusters["lab"].user == "eve"
        assert '"eve"' in row(screen, "user")


async def test_what_is_wrong_is_said_at_the_field_and_nothing_typed_is_lost(
    opened: Opener, files: RealFiles
) -> None:
    async with opened(healthy()) as screen:
        await at_profiles(screen, files)
        await screen.press("j", "i")
        await edit(screen, "port", "70000")
        assert "✖ must be a whole number from 1 to 65535" in screen.text
        await edit(screen, "user", "eve")
        await screen.press("ctrl+s")
        assert isinstance(screen.app.screen, FormDialog)
        assert files.project.read_text() == PROJECT
        # Only the check of the whole finds this.
        await edit(screen, "port", "")
        await edit(screen, "nodes", "[]")
        await screen.press("ctrl+s")
        await screen.until(lambda: "the cluster has no nodes" in screen.text)
        assert files.project.read_text() == PROJECT
        assert screen.app.screen.texts["user"] == "eve"
        await screen.press("escape")
        assert "esc again leaves" in screen.text
        await screen.press("escape")
        assert not isinstance(screen.app.screen, FormDialog)


async def test_an_emptied_field_takes_the_key_out_of_the_file(
    opened: Opener, files: RealFiles
) -> None:
    async with opened(healthy()) as screen:
        await at_profiles(screen, files)
        await screen.press("j", "i")
        await edit(screen, "user", "")
        await screen.press("ctrl+s")
        await screen.until(lambda: not isinstance(screen.app.screen, FormDialog))
        assert files.project.read_text() == PROJECT.replace('user = "ada"\n', "")
        assert screen.source.config.clusters["lab"].user == "bob"


async def test_the_other_file_can_be_written_instead(opened: Opener, files: RealFiles) -> None:
    async with opened(healthy()) as screen:
        await at_profiles(screen, files)
        await screen.press("j", "i")
        await edit(screen, "proxy_jump", "gate")
        await screen.press("f2")
        assert "writes ./config/cockpit/cockpit.toml (yours)" in screen.text
        dialog = screen.app.screen
        assert isinstance(dialog, FormDialog)
        assert (dialog.texts["user"], dialog.texts["proxy_jump"]) == ("bob", "gate")
        await screen.press("ctrl+s")
        await screen.until(lambda: not isinstance(screen.app.screen, FormDialog))
        assert files.project.read_text() == PROJECT
        assert files.own.read_text() == OWN + 'proxy_jump = "gate"\n'


async def test_a_new_profile_is_made_in_a_form(opened: Opener, files: RealFiles) -> None:
    async with opened(healthy()) as screen:
        await at_profiles(screen, files)
        await screen.press("a")
        assert isinstance(screen.app.screen, KindDialog)
        await screen.press("j", "enter")
        await screen.press("ctrl+s")
        assert "✖ it needs a name" in screen.text
        await screen.press(*"ddp")
        assert "✖ there is a launcher of this name already" in screen.text
        await screen.press("2")
        await edit(screen, "kind", "ft")
        await screen.press("ctrl+s")
        await screen.until(lambda: "ddp2" in screen.source.config.launchers)
        assert files.project.read_text() == PROJECT + '\n[launchers.ddp2]\nkind = "ft"\n'
        await screen.until(lambda: "❯     ddp2" in screen.text)


async def test_a_duplicate_begins_with_what_the_files_say(opened: Opener, files: RealFiles) -> None:
    async with opened(healthy()) as screen:
        await at_profiles(screen, files)
        await screen.press("j", "c")
        dialog = screen.app.screen
        assert isinstance(dialog, FormDialog)
        assert dialog.texts["nodes"] == "gpu[01-03].lab"
        assert dialog.texts["port"] == "2222"
        assert dialog.texts["connect_timeout"] == ""
        await screen.press(*"copy")
        await screen.press("ctrl+s")
        await screen.until(lambda: "copy" in screen.source.config.clusters)
        copied = screen.source.config.clusters["copy"]
        assert (len(copied.nodes), copied.user, copied.port) == (3, "ada", 2222)


async def test_a_profile_is_deleted_after_a_yes_and_comments_stay(
    opened: Opener, files: RealFiles
) -> None:
    async with opened(healthy()) as screen:
        await at_profiles(screen, files)
        screen.app.keeper.go("llama")
        await screen.press("x")
        assert isinstance(screen.app.screen, ConfirmDialog)
        assert "the job llama is removed from ./cockpit.toml:9" in screen.text
        await screen.press("enter")
        assert files.project.read_text() == PROJECT, "the focus is on the safe button"
        await screen.press("x", "right", "enter")
        await screen.until(lambda: "llama" not in screen.source.config.jobs)
        assert "# the machines of the lab" in files.project.read_text()


async def test_a_profile_that_others_need_stays(opened: Opener, files: RealFiles) -> None:
    async with opened(healthy()) as screen:
        await at_profiles(screen, files)
        screen.app.keeper.go("ddp")
        await screen.press("x", "right", "enter")
        await screen.until(lambda: screen.said)
        assert "no launcher called 'ddp'" in screen.said[-1]
        assert files.project.read_text() == PROJECT


async def test_one_value_is_deleted_where_the_cursor_is_on_it(
    opened: Opener, files: RealFiles
) -> None:
    async with opened(healthy()) as screen:
        await at_profiles(screen, files)
        await screen.press("j", "tab", "j", "j", "j")
        await screen.press("x")
        assert "clusters.lab.user is removed from ./cockpit.toml:4" in screen.text
        assert "It is also in ./config/cockpit/cockpit.toml:2" in screen.text
        await screen.press("right", "enter")
        await screen.until(lambda: screen.source.config.clusters["lab"].user == "bob")


async def test_what_is_built_in_cannot_be_deleted(opened: Opener, files: RealFiles) -> None:
    async with opened(healthy()) as screen:
        await at_profiles(screen, files)
        screen.app.keeper.go("torchrun")
        await screen.press("x")
        assert "torchrun is in no file: it is built in" in screen.said[-1]


async def test_the_keys_of_an_action_are_changed_in_a_form(
    opened: Opener, files: RealFiles
) -> None:
    async with opened(healthy()) as screen:
        await at_profiles(screen, files)
        screen.app.keeper.go("keys")
        await screen.press("enter", "i")
        await edit(screen, "view.fleet", "nokey")
        await screen.press("ctrl+s")
        assert "'nokey' is no key" in screen.text
        await edit(screen, "view.fleet", "f5 f6")
        await screen.press("ctrl+s")
        await screen.until(lambda: screen.source.config.keys)
        assert screen.source.config.keys == {"view.fleet": ("f5", "f6")}
        assert files.project.read_text().endswith('\n[keys]\n"view.fleet" = ["f5", "f6"]\n')
        await screen.press("i")
        await edit(screen, "view.fleet", "none")
        await screen.press("ctrl+s")
        await screen.until(lambda: screen.source.config.keys["view.fleet"] == ())
        assert "none" not in files.project.read_text()


async def test_screen_and_notify_have_forms_too(opened: Opener, files: RealFiles) -> None:
    async with opened(healthy()) as screen:
        await at_profiles(screen, files)
        screen.app.keeper.go("notify")
        await screen.press("i")
        await edit(screen, "on", "end node")
        await edit(screen, "bell", "false")
        await screen.press("ctrl+s")
        await screen.until(lambda: not screen.source.config.notify.bell)
        assert screen.source.config.notify.on == ("end", "node")


async def test_a_file_that_somebody_else_wrote_comes_into_force(
    opened: Opener, files: RealFiles
) -> None:
    async with opened(healthy()) as screen:
        await at_profiles(screen, files)
        await asyncio.to_thread(files.project.write_text, PROJECT.replace("ada", "grace"))
        screen.frozen.passed += 1.0
        await screen.until(lambda: screen.source.config.clusters["lab"].user == "grace")
        await screen.until(lambda: screen.said)
        assert screen.said == ["cockpit.toml, cockpit.toml changed: reloaded"]


async def test_a_broken_file_is_told_with_its_line_and_the_old_profiles_stay(
    opened: Opener, files: RealFiles
) -> None:
    async with opened(healthy()) as screen:
        await at_profiles(screen, files)
        await asyncio.to_thread(files.project.write_text, PROJECT.replace("nodes =", "ndoes ="))
        screen.frozen.passed += 1.0
        await screen.until(lambda: "did you mean nodes?" in screen.text)
        assert "✖ ./cockpit.toml:3" in screen.text
        assert "problem" in screen.said[-1]
        assert "✖ 1 problem" in screen.text
        assert "● lab ✖1" in screen.text
        assert len(screen.source.config.clusters["lab"].nodes) == 3
        assert '"ada"' not in files.own.read_text()
        await asyncio.to_thread(files.project.write_text, PROJECT)
        await screen.press("ctrl+r")
        await screen.until(lambda: "✔ valid" in screen.text)


async def test_a_failure_to_look_at_the_files_is_said_once_until_it_is_over(
    opened: Opener, files: RealFiles
) -> None:
    async with opened(healthy()) as screen:
        desk = await at_profiles(screen, files)
        look, asked = desk.changed_on_disk, 0

        async def failing() -> bool:
            nonlocal asked
            asked += 1
            raise CockpitError("nobody can look [/there]")

        async def second() -> None:
            before = asked
            screen.frozen.passed += 1.0
            await screen.until(lambda: asked > before)

        desk.changed_on_disk = failing
        for _ in range(3):
            await second()
        assert screen.said == ["nobody can look [/there]"]
        desk.changed_on_disk = look
        screen.frozen.passed += 1.0
        await screen.until(lambda: not screen.app.keeper._failure)
        desk.changed_on_disk = failing
        await second()
        assert len(screen.said) == 2


async def test_forms_say_what_waits_for_the_next_start(opened: Opener, files: RealFiles) -> None:
    async with opened(healthy()) as screen:
        await at_profiles(screen, files)
        screen.app.keeper.go("screen")
        await screen.press("i")
        assert "In force at the next" in screen.text
        await screen.press("escape", "escape")
        screen.app.keeper.go("lab")
        await screen.press("i")
        assert "In force at the next" not in screen.text


async def test_commands_lead_to_a_profile(opened: Opener, files: RealFiles) -> None:
    async with opened(healthy()) as screen:
        files.put_into(screen.source)
        await screen.command("profiles ddp")
        await screen.until(lambda: "❯     ddp" in screen.text)
        await screen.press("1")
        await screen.command("profiles dpd")
        assert "did you mean ddp?" in screen.text
        await screen.press("escape")
        await screen.command("reload")
        await screen.until(lambda: any("read again" in text for text in screen.said))


async def test_the_view_fits_small_terminals(opened: Opener, files: RealFiles) -> None:
    for size in ((80, 24), (60, 15)):
        async with opened(healthy(), size=size) as screen:
            await at_profiles(screen, files)
            await screen.press("j")
            assert "● lab" in screen.text
            assert "executor" in screen.text
            await screen.press("i")
            assert "Cancel" in screen.text
            assert "Save" in screen.text
            assert "executor" in screen.text


async def test_without_a_desk_the_profiles_are_shown_and_cannot_be_changed(
    opened: Opener,
) -> None:
    async with opened(healthy()) as screen:
        await screen.press("5", "j")
        assert "executor" in screen.text
        await screen.press("i")
        assert screen.said[-1].endswith("this is a test")


# ------------------------------------------------------------------ test and trust


async def test_a_connect_test_tells_each_node_and_what_was_found(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        screen.source.profiles = FakeDesk(screen.source)
        await screen.press("5", "j", "D")
        assert isinstance(screen.app.screen, TestDialog)
        await screen.until(lambda: "1 warning" in screen.text)
        assert "disk: little room — tidy up" in screen.text
        assert "1 check passed" in screen.text
        await screen.press("escape")
        assert not isinstance(screen.app.screen, TestDialog)


async def test_a_connect_test_that_fails_says_why(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        screen.source.profiles = desk = FakeDesk(screen.source)
        desk.failure = CockpitError("no way [/x]", "try another one")
        await screen.command("test local")
        await screen.until(lambda: "no way [/x]" in screen.text)
        assert "try another one" in screen.text
        await screen.press("escape")
        await screen.command("test lcal")
        assert "there is no cluster 'lcal'" in screen.text


NEW = FoundKey("gpu01", "gpu01.lab", "ssh-ed25519", "SHA256:" + "a" * 43, "new")
CHANGED = FoundKey(
    "gpu02", "gpu02.lab", "ssh-ed25519", "SHA256:" + "b" * 43, "changed", known=("SHA256:old",)
)
AWAY = FoundKey("gpu03", "gpu03.lab", "", "", "unreachable", "no route")


async def test_new_host_keys_are_remembered_after_a_yes_and_changed_ones_never(
    opened: Opener,
) -> None:
    async with opened(healthy()) as screen:
        screen.source.profiles = desk = FakeDesk(screen.source)
        desk.keys = [NEW, CHANGED, AWAY]
        await screen.press("5", "j", "K")
        assert isinstance(screen.app.screen, TrustDialog)
        await screen.until(lambda: "Remember 1 key" in screen.text)
        assert NEW.fingerprint in screen.text
        assert "✖ changed" in screen.text
        assert "its host key CHANGED" in screen.text
        assert "no route" in screen.text
        focused = screen.app.focused
        assert isinstance(focused, Button)
        assert focused.id == "no"
        await screen.press("right", "enter")
        await screen.until(lambda: "1 key written to /known_hosts" in screen.text)
        assert desk.trusted == [NEW]
        assert screen.app.screen.query_one("#yes", Button).disabled
        await screen.press("escape")
        assert not isinstance(screen.app.screen, TrustDialog)


async def test_nothing_is_remembered_without_a_yes(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        screen.source.profiles = desk = FakeDesk(screen.source)
        desk.keys = [NEW]
        await screen.press("5", "j", "K")
        await screen.until(lambda: "Remember 1 key" in screen.text)
        await screen.press("enter")
        assert not isinstance(screen.app.screen, TrustDialog)
        assert desk.trusted == []


async def test_a_defect_while_writing_is_shown_and_the_form_stays(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        screen.source.profiles = desk = FakeDesk(screen.source)
        desk.failure = RuntimeError("[/oops]")
        await screen.press("5", "j", "i")
        await edit(screen, "user", "eve")
        await screen.press("ctrl+s")
        await screen.until(lambda: "RuntimeError: [/oops]" in screen.text)
        assert screen.app.screen.query(Input)


def test_the_home_of_the_tests_is_not_the_person_s(files: RealFiles) -> None:
    assert os.environ["XDG_CONFIG_HOME"] == str(files.own.parents[1])
