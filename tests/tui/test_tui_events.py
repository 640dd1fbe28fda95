"""The event list: the newest first, filtered, and each entry leads to what it is about."""

from __future__ import annotations

from tui_screen import Opener, Screen
from tui_world import AWAY, BOOM, healthy, job, node

from cockpit.model.types import JobState
from cockpit.tui.actions import View
from cockpit.tui.house.happenings import SETTLED, Happening

MARKUP = "[/data/x] [rank0]"


async def happen(screen: Screen) -> None:
    """A job fails, then a node is lost; the events are on the screen."""
    screen.frozen.passed += SETTLED + 1
    screen.source.change(job(state=JobState.FAILED, cause=BOOM))
    await screen.pulse()
    screen.source.change(nodes=(*healthy().nodes[:2], node("gpu03", link=AWAY)))
    await screen.press("E")


async def test_events_are_listed_newest_first_with_a_shape_for_each_kind(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        await screen.press("E")
        assert "nothing has happened yet" in screen.text
        await happen(screen)
        rows = [line for line in screen.text.splitlines() if "gpu03 lost" in line or "fail" in line]
        assert "▲ node" in rows[0]
        assert "✖ failure" in rows[1]
        await screen.press("j")
        assert "boom in [rank3] [/data/x]" in screen.text
        assert "[2]" in screen.text


async def test_enter_opens_the_job_or_the_node_of_an_event(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        await happen(screen)
        await screen.press("enter")
        assert screen.app.view is View.NODE
        assert screen.app.node is not None
        assert screen.app.node.name == "gpu03"
        await screen.press("E", "j", "enter")
        assert screen.app.view is View.JOB
        assert screen.app.shown_job is not None
        assert screen.app.shown_job.id == "llama-1a2b"


async def test_events_are_filtered_and_the_filter_is_cleared_before_one_goes_back(
    opened: Opener,
) -> None:
    async with opened(healthy()) as screen:
        await happen(screen)
        await screen.press("slash", *"lost", "enter")
        assert "llama failed" not in screen.text
        assert "[1/2]" in screen.text
        await screen.press("escape")
        assert "llama failed" in screen.text
        assert screen.app.view is View.EVENTS
        await screen.press("escape")
        assert screen.app.view is View.FLEET


async def test_what_an_event_was_about_may_be_gone(opened: Opener) -> None:
    async with opened(healthy(), size=(60, 15)) as screen:
        note = Happening(1.0, "note", "", MARKUP)
        screen.app.house.chronicle.note(note)
        screen.app.pulse(force=True)
        await screen.press("E", "enter")
        assert MARKUP in screen.text
        assert screen.app.view is View.EVENTS
        assert "not known any more" in screen.said[-1]
