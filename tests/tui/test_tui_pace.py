"""How often the screen looks at the world, and what it leaves alone meanwhile."""

from __future__ import annotations

import gc

from tui_screen import Opener
from tui_world import large, origin

from cockpit.tui import garbage
from cockpit.tui.logs.feed import FAST, FAST_EVERY, LogFeed
from cockpit.tui.logs.memorylog import MemoryDocument


async def test_between_two_looks_figures_wait_but_no_longer_than_a_second(opened: Opener) -> None:
    async with opened(large()) as screen:
        screen.source.change()
        screen.app.pulse(look=False)
        assert screen.app.frame.fleet is not screen.source.fleet
        screen.app.pulse()
        assert screen.app.frame.fleet is screen.source.fleet
        screen.source.change()
        screen.frozen.passed += 1.0
        screen.app.pulse(look=False)
        assert screen.app.frame.fleet is screen.source.fleet


def test_a_flood_of_lines_is_taken_in_less_often_and_never_forgotten() -> None:
    now = [0.0]
    document = MemoryDocument()
    feed = LogFeed("job", document, clock=lambda: now[0])

    def come(lines: int) -> None:
        for _ in range(lines):
            document.append(origin(), None, b"step")

    come(1)
    assert feed.poll(), "a few lines are drawn at once"
    come(2 * FAST)
    now[0] = 1.0
    assert feed.poll()
    come(1)
    now[0] += FAST_EVERY / 2
    assert not feed.poll()
    now[0] += FAST_EVERY
    assert feed.poll()
    assert document.end == 2 * FAST + 2


def test_the_collector_is_as_before_when_the_screen_is_gone() -> None:
    before = gc.get_threshold()
    with garbage.seldom():
        garbage.settled()
        assert gc.get_threshold() == garbage.THRESHOLDS
        assert gc.get_freeze_count() > 0
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0
