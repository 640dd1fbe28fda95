"""Every view in every state that matters, at the three sizes it is made for, with and without
colours: as text that a person can read in the golden file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from tui_screen import Opener, Screen
from tui_world import AWAY, chatter, failed_job, healthy, job, job_node, large, node, stalled_job

from cockpit.model.types import Fleet

SIZES = ((120, 36), (80, 24), (60, 15))
VIEWS = {"fleet": "1", "jobs": "2", "job": "3", "logs": "4", "profiles": "5", "events": "E"}


def empty() -> Fleet:
    return Fleet(revision=1)


def stale() -> Fleet:
    nodes = (node("gpu01"), node("gpu02", age=41.0), node("gpu03"))
    return msgspec.structs.replace(healthy(), nodes=nodes)


def unreachable() -> Fleet:
    nodes = (node("gpu01"), node("gpu02", link=AWAY, age=None))
    return Fleet(revision=1, nodes=nodes, jobs=(job(nodes=(job_node(0), job_node(1, link=AWAY))),))


def stalled() -> Fleet:
    return Fleet(revision=1, nodes=(node("gpu01"), node("gpu02")), jobs=(stalled_job(),))


def failed() -> Fleet:
    return Fleet(revision=1, nodes=(node("gpu01"), node("gpu02")), jobs=(failed_job(),))


STATES: dict[str, Callable[[], Fleet]] = {
    "empty": empty,
    "healthy": healthy,
    "one node stale": stale,
    "one node unreachable": unreachable,
    "a stalled job": stalled,
    "a failed job": failed,
    "128 nodes": large,
}


async def _pictures(screen: Screen) -> dict[str, str]:
    for each in screen.source.fleet.jobs:
        screen.source.write(each.id, *chatter(60))
    found = {}
    for width, height in SIZES:
        await screen.resize(width, height)
        for name, key in VIEWS.items():
            await screen.press(key)
            screen.app.clear_notifications()
            await screen.pulse()
            text = "\n".join(row.rstrip() for row in screen.text.splitlines())
            assert max(map(len, text.splitlines())) <= width
            found[f"{name} {width}x{height}"] = text
    return found


@pytest.mark.parametrize("state", STATES)
async def test_every_view_shows_the_state_and_the_same_without_colours(
    opened: Opener, snapshot: Any, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(STATES[state]()) as screen:
        dark = await _pictures(screen)
    for name, text in dark.items():
        assert text == snapshot(name=name)
    monkeypatch.setenv("NO_COLOR", "1")
    async with opened(STATES[state]()) as screen:
        assert await _pictures(screen) == dark, "in shapes and words"
        colours = {
            segment.style.color.name
            for strip in screen.app.screen._compositor.render_strips()
            for segment in strip
            if segment.style is not None and segment.style.color is not None
        }
        assert colours <= {"default"}
