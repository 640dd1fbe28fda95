"""The folder changes between the plan and the launch: what was shown is sent, or nothing is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from launch_world import FakePad, config
from textual.widgets import Button
from tui_screen import Opener, Screen
from tui_world import healthy, node

from cockpit import profiles
from cockpit.controller import Controller
from cockpit.launchers.plan import Request
from cockpit.model.choosing import SILENT_AFTER
from cockpit.model.doctor import Report
from cockpit.model.types import Fleet
from cockpit.packaging import Package, pack
from cockpit.profiles import Cluster, Launcher, NodeSpec
from cockpit.tui.actions import View
from cockpit.tui.draw.words import STALE_AFTER
from cockpit.tui.launch import form as launchform
from cockpit.tui.launch.pad import Draft, FolderChanged
from cockpit.tui.launch.progress import LaunchProgress
from cockpit.tui.live.drift import Drift, drift
from cockpit.tui.live.launching import LiveLaunchPad

WAIT = 20.0


@pytest.fixture
def code(tmp_path: Path) -> Path:
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "train.py").write_text("print(1)\n")
    (folder / "events.log").write_text("step 1\n")
    return folder


def between(folder: Path, write: Callable[[], object]) -> Drift:
    shown = pack(folder)
    write()
    return drift(shown, pack(folder))


def test_a_file_that_grew_and_a_new_one_came_later(code: Path) -> None:
    def write() -> None:
        (code / "events.log").write_text("step 1\nstep 2\n")
        (code / "new.log").write_text("x")

    assert between(code, write) == Drift(later=("events.log", "new.log"), lost=())


@pytest.mark.parametrize("text", ["print(2)\n", "pr", None])
def test_a_file_that_was_written_anew_cut_off_or_taken_away_is_lost(
    code: Path, text: str | None
) -> None:
    def write() -> None:
        if text is None:
            (code / "train.py").unlink()
        else:
            (code / "train.py").write_text(text)

    assert between(code, write) == Drift(later=(), lost=("train.py",))


@pytest.fixture
def here(tmp_path: Path) -> Controller:
    """Of one node, which is a folder of this machine."""
    only = NodeSpec(name="a", host="localhost", addr="127.0.0.1", state_dir=str(tmp_path / "a"))
    base = profiles.builtin()
    made = msgspec.structs.replace(
        base,
        clusters={"here": Cluster(name="here", executor="local", nodes=(only,))},
        launchers={**base.launchers, "plain": Launcher(name="plain", kind="command", grace=0.2)},
    )
    return Controller(made, state_root=tmp_path / "controller")


async def _reloaded() -> None:
    """Nothing is saved here."""


def sent(folder: Path) -> set[str]:
    """What the node has of the log."""
    return {path.read_text() for path in (folder / "a").rglob("events.log")}


async def test_what_was_shown_is_sent_while_a_log_grows_and_nothing_when_code_was_written(
    tmp_path: Path, code: Path, here: Controller
) -> None:
    draft = Draft(
        cluster="here", launcher="plain", kind="command", target="sleep", args="60",
        working_dir=str(code),
    )  # fmt: skip
    said: list[str] = []
    async with here as controller:
        controller.open()
        assert not await controller.settle(WAIT)
        pad = LiveLaunchPad(controller, lambda: tmp_path / "cockpit.toml", _reloaded)
        preview = await pad.preview(await pad.check(draft), said.append)

        await asyncio.to_thread((code / "train.py").write_text, "print(2)\n")
        with pytest.raises(FolderChanged, match=r"train\.py"):
            await pad.launch(preview, said.append, asyncio.Event(), in_spite=False)
        assert controller.snapshot().jobs == ()

        preview = await pad.renew(preview, said.append)
        await asyncio.to_thread((code / "events.log").write_text, "step 1\nstep 2\n")
        job = await pad.launch(preview, said.append, asyncio.Event(), in_spite=False)
        record = controller.record(job)
        assert record.code is not None
        assert record.code.digest == preview.digest
        assert "sent as the plan shows it, without what came later: events.log" in said
        assert await asyncio.to_thread(sent, tmp_path) == {"step 1\n"}
        await controller.cancel(job)


# ------------------------------------------------------------------------------ the form


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launchform, "DELAY", 0.01)
    monkeypatch.setattr(launchform, "PREFLIGHT_DELAY", 0.01)


async def test_a_launch_that_met_another_folder_goes_on_with_what_is_there_now(
    opened: Opener,
) -> None:
    async with opened(healthy()) as screen:
        screen.source.config = config()
        screen.source.launchpad = pad = FakePad(screen.source)
        pad.failure = FolderChanged("changed in /data/llama since this plan was made: cfg.yaml")
        await screen.press("n", "right")
        await screen.until(lambda: "^j starts" in screen.text)
        await screen.press("ctrl+j")
        await screen.until(lambda: "cfg.yaml" in screen.text)
        dialog = screen.app.screen
        assert isinstance(dialog, LaunchProgress)
        assert dialog.query_one("#renew", Button).display
        await screen.press("n")
        await screen.until(lambda: screen.app.view is View.JOB)
        (shown, _), (again, _) = pad.launched
        assert again.request == shown.request
        assert again.digest != shown.digest


async def test_a_node_that_fell_silent_is_not_called_free(opened: Opener) -> None:
    nodes = (node("gpu01", age=11.0), node("gpu02", age=0.5))
    async with opened(Fleet(revision=1, nodes=nodes)) as screen:
        screen.source.config = config()
        screen.source.launchpad = FakePad(screen.source)
        await screen.press("n", "right")
        await screen.until(lambda: "^j starts" in screen.text)
        assert "? 2 unknown" in screen.text
        assert "? gpu01: silent for 11 s" in screen.text


def test_the_form_and_the_fleet_mean_the_same_by_silence() -> None:
    assert SILENT_AFTER == STALE_AFTER


async def test_other_failures_offer_no_such_thing(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        dialog = LaunchProgress("Starting llama", lambda: None)
        screen.app.push_screen(dialog)
        await screen.settle()
        dialog.fail([])
        assert not dialog.query_one("#renew", Button).display
        await screen.press("n")
        assert screen.app.screen is dialog


class SlowPad(FakePad):
    """Asks the nodes for as long as it is told to."""

    def __init__(self, screen: Screen) -> None:
        super().__init__(screen.source)
        self.answer = asyncio.Event()

    async def preflight(self, request: Request) -> Report:
        await super().preflight(request)
        await self.answer.wait()
        return self.report


async def test_a_check_that_is_asked_for_again_while_it_runs_is_not_lost(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        screen.source.config = config()
        screen.source.launchpad = pad = SlowPad(screen)
        await screen.press("n", "right")
        await screen.until(lambda: pad.asked)
        await screen.press("ctrl+t")
        await screen.press("ctrl+t")
        assert "the nodes are being asked already" in screen.said
        assert "asking 2 nodes…" in screen.text
        assert len(pad.asked) == 1
        pad.answer.set()
        await screen.until(lambda: "✔ link" in screen.text)


def test_the_package_is_the_one_that_was_shown(code: Path) -> None:
    shown = pack(code)
    assert isinstance(shown, Package)
    with (code / "events.log").open("a") as log:
        log.write("step 2\n")
    assert b"step 2" not in b"".join(shown.chunks())
