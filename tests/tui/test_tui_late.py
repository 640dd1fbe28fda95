"""The source of the first moments: nodes are shown at once, the rest comes when it is there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from textual.events import Key
from tui_hands import running
from tui_screen import LOADED, Screen
from tui_world import FakeSource, FrozenClock, healthy

from cockpit import profiles
from cockpit.errors import CockpitError
from cockpit.profiles.types import Cluster, NodeSpec
from cockpit.tui.actions import View
from cockpit.tui.app import CockpitApp
from cockpit.tui.late import LateSource
from cockpit.tui.opening import Opening
from cockpit.tui.settings import Settings

ROOT = Path(__file__).parents[2]


def late() -> LateSource:
    nodes = (NodeSpec(name="gpu01", host="gpu01.lab"), NodeSpec(name="gpu02", host="gpu02.lab"))
    cluster = Cluster(name="lab", nodes=nodes)
    return LateSource(profiles.with_cluster(profiles.builtin(), cluster))


async def test_configured_nodes_are_drawn_before_there_is_a_source_and_the_source_after() -> None:
    source, frozen = late(), FrozenClock()
    drawn: list[bool] = []
    app = CockpitApp(
        source,
        Settings(loaded=LOADED),
        clock=frozen.clock,
        pulsing=False,
        opened=lambda: drawn.append(True),
    )
    async with running(app, (120, 36)):
        screen = Screen(app, source, frozen)  # type: ignore[arg-type]
        assert drawn == [True]
        assert "gpu02" in screen.text
        assert "gpu03" not in screen.text
        assert app.missing("orders") == "the cockpit is still starting"
        source.arrive(FakeSource(healthy()))
        await screen.pulse()
        assert "gpu03" in screen.text
        assert app.missing("orders") == ""


async def test_a_source_that_never_comes_says_why() -> None:
    source = late()
    source.fail(CockpitError("the state folder cannot be written"))
    assert source.banner == source.absent == "the state folder cannot be written"
    with pytest.raises(CockpitError, match="state folder"):
        source.log("x")
    assert source.calls() == ()
    await source.close()


async def test_what_is_typed_before_the_view_is_there_is_for_the_view() -> None:
    source, frozen = late(), FrozenClock()
    shown: list[str] = []
    app = CockpitApp(
        source, Settings(loaded=LOADED), clock=frozen.clock, pulsing=False, opened=lambda: None
    )
    complete = app._complete

    def completing() -> None:
        shown.append(Screen(app, source, frozen).text)  # type: ignore[arg-type]
        for key in ("j", "v", "2"):
            app.post_message(Key(key, key))
        app.call_next(complete)

    app._complete = completing  # type: ignore[method-assign]
    async with running(app, (120, 36)):
        assert "connecting to 3 nodes" in shown[0]
        assert "0/3 online" in shown[0]
        assert app.view is View.JOBS
        assert app.course.views[View.FLEET].memory()["mode"] == "heat"
        assert not app.query(Opening)


def test_the_first_frame_waits_for_no_view_no_dialog_no_log_and_no_order() -> None:
    program = (
        "import sys; import cockpit.cli.screen, cockpit.profiles.loading, cockpit.tui.late; "
        "import cockpit.tui.session; "
        "heavy = [name for name in sys.modules if name in ('asyncssh', 'tomlkit', 'click') or "
        "name.startswith(('cockpit.controller', 'cockpit.tui.logs', 'cockpit.tui.orders', "
        "'cockpit.tui.launch', 'cockpit.tui.profile', 'cockpit.tui.jobs.job', "
        "'cockpit.tui.fleet.view', 'cockpit.tui.dialogs', 'cockpit.tui.house.attention', "
        "'cockpit.profiles.asking', 'cockpit.profiles.edit', 'cockpit.model.merged'))]; "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT, timeout=60)
