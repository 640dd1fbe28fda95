"""The desk on real files, a real controller and real servers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from tui_pty import HERE, Terminal

from cockpit import profiles
from cockpit.controller import Controller
from cockpit.errors import ConfigError, UsageError
from cockpit.tui.live.profiles import LiveProfileDesk
from tests.harness import sshd as harness
from tests.harness.sshd import Sshd

WAIT = 30.0
make_sshd = harness.make_sshd


class Place:
    """A project folder, a home for the configuration, and a controller on what they say."""

    def __init__(self, folder: Path, text: str) -> None:
        self.folder = folder
        self.file = folder / "cockpit.toml"
        self.own = folder / "config" / "cockpit" / "cockpit.toml"
        self.file.write_text(text)
        self.controller = Controller(profiles.load(), state_root=folder / "controller")


def node(folder: Path, name: str) -> str:
    return f'[clusters.{name}]\nexecutor = "local"\nstate_dir = "{folder}/{name}"\n'


@pytest.fixture
def make_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Place]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("COCKPIT_CONFIG", raising=False)
    return lambda text: Place(tmp_path, text)


@pytest.fixture
def place(make_place: Callable[[str], Place], tmp_path: Path) -> Place:
    return make_place(f'[clusters.local]\nstate_dir = "{tmp_path}/local"\n' + node(tmp_path, "one"))


async def test_what_is_written_is_in_force_on_the_nodes(place: Place) -> None:
    async with place.controller as controller:
        controller.open()
        desk = LiveProfileDesk(controller)
        assert await desk.reload() == ()
        assert [choice.what for choice in desk.files] == ["project", "yours"]
        assert desk.target == place.file
        key = ("clusters", "two")
        values = {"executor": "local", "state_dir": str(place.folder / "two")}
        await desk.change(place.own, {(*key, name): value for name, value in values.items()})
        assert set(desk.config.clusters) == {"local", "one", "two"}
        assert not await controller.settle(WAIT)
        assert {each.cluster for each in controller.snapshot().nodes} == {"local", "one", "two"}
        await desk.change(place.file, {}, [("clusters", "one")])
        assert {each.cluster for each in controller.snapshot().nodes} == {"local", "two"}
        assert not await desk.changed_on_disk()
        report = await desk.test("two")
        assert {patient.node for patient in report.patients} == {"local"}


async def test_a_file_with_errors_leaves_the_profiles_as_they_were(place: Place) -> None:
    async with place.controller as controller:
        desk = LiveProfileDesk(controller)
        await desk.reload()
        before = controller.config
        await asyncio.to_thread(place.file.write_text, "[clusters.one]\nexecutr = 3\n")
        assert await desk.changed_on_disk()
        problems = await desk.reload()
        assert (problems[0].line, problems[0].hint) == (2, "did you mean executor?")
        assert desk.config is before
        with pytest.raises(ConfigError):
            await desk.change(place.file, {("clusters", "local", "user"): "x"})
        with pytest.raises(UsageError, match="this machine"):
            await desk.host_keys("one")
        with pytest.raises(UsageError, match="no cluster"):
            await desk.test("none")


@pytest.mark.sshd
async def test_a_host_key_is_shown_trusted_and_then_known(
    make_sshd: Callable[..., Sshd], make_place: Callable[[str], Place], tmp_path: Path
) -> None:
    sshd = make_sshd("node0")
    known_hosts = tmp_path / "known_hosts"
    place = await asyncio.to_thread(
        make_place,
        f"""[clusters.lab]
nodes = [{{ name = "node0", host = "{sshd.address}", port = {sshd.port} }}]
user = "{sshd.user}"
identity_file = "{sshd.client_key}"
ssh_config = []
known_hosts = "{known_hosts}"
""",
    )
    async with place.controller as controller:
        controller.open(["lab"])
        desk = LiveProfileDesk(controller)
        (key,) = await desk.host_keys("lab")
        assert (key.node, key.state, key.file) == ("node0", "new", str(known_hosts))
        assert key.fingerprint.startswith("SHA256:")
        assert await controller.settle(5.0), "nobody has said yes yet"
        assert await desk.trust("lab", [key]) == [f"1 key written to {known_hosts}"]
        assert not await controller.settle(WAIT)
        (again,) = await desk.host_keys("lab")
        assert again.state == "known"


def test_the_editor_gets_the_line_and_what_it_wrote_comes_into_force(tmp_path: Path) -> None:
    file = tmp_path / "cockpit.toml"
    file.write_text(f'[clusters.local]\nstate_dir = "{tmp_path}/state"\n\n[launchers.ddp]\n')
    editor = tmp_path / "vi"
    editor.write_text(
        f'#!/bin/sh\necho "$@" > {tmp_path}/asked\necho max_restarts = 7 >> "$2"\n'
        "echo the editor was here\n"
    )
    editor.chmod(0o755)
    terminal = Terminal(
        HERE / "project_screen.py",
        str(tmp_path),
        VISUAL=str(editor),
        XDG_CONFIG_HOME=str(tmp_path / "config"),
        COCKPIT_CONTROLLER_DIR=str(tmp_path / "controller"),
    )
    try:
        terminal.read_until(b"1/1 online")
        terminal.press(b"5")
        terminal.read_until(b"enter folds")
        terminal.press(b"jjj")
        terminal.read_until(b"max_stall_restarts")
        terminal.press(b"e")
        terminal.read_until(b"the editor was here")
        terminal.read_until(b"cockpit.toml edited")
        terminal.read_until(b"7")
        assert (tmp_path / "asked").read_text() == f"+4 {file}\n"
        assert terminal.leave() == 0
    finally:
        terminal.close()


async def test_a_folder_that_was_deleted_is_a_problem_and_the_profiles_stay(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = LiveProfileDesk(place.controller)
    await desk.reload()
    before = desk.config
    assert not await desk.changed_on_disk()
    gone = tmp_path / "gone"
    await asyncio.to_thread(gone.mkdir)
    monkeypatch.chdir(gone)
    await asyncio.to_thread(gone.rmdir)
    assert await desk.changed_on_disk()
    [problem] = await desk.reload()
    assert "the current folder cannot be read" in problem.message
    assert desk.config is before
    assert desk.target == place.file
    assert not await desk.changed_on_disk(), "it is said once"
    with pytest.raises(ConfigError, match="the current folder cannot be read"):
        await asyncio.to_thread(profiles.load)
    fresh = LiveProfileDesk(place.controller)
    assert await asyncio.to_thread(lambda: fresh.target) == place.own
