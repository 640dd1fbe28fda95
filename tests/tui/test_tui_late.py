"""The source of the first moments: nodes are shown at once, the rest comes when it is there."""

from __future__ import annotations

import pytest
from tui_screen import LOADED, Screen
from tui_world import FakeSource, FrozenClock, healthy

from cockpit import profiles
from cockpit.errors import CockpitError
from cockpit.profiles.types import Cluster, NodeSpec
from cockpit.tui.app import CockpitApp
from cockpit.tui.late import LateSource
from cockpit.tui.settings import Settings


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
    async with app.run_test(size=(120, 36)) as pilot:
        screen = Screen(app, source, frozen)  # type: ignore[arg-type]
        screen.pilot = pilot
        await pilot.pause()
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
