"""Dialogs before an order on a small terminal: every row is used, and what is hidden is said."""

from __future__ import annotations

import pytest
from textual.containers import VerticalScroll
from tui_screen import Opener, Screen
from tui_world import AWAY, job, job_node

from cockpit.model.types import Fleet


def _large() -> Fleet:
    nodes = tuple(job_node(n, count=8, link=AWAY if n == 1 else job_node(0).link) for n in range(6))
    return Fleet(revision=1, jobs=(job(nodes=nodes),))


def _what(screen: Screen) -> VerticalScroll:
    return screen.app.screen.query_one("#what", VerticalScroll)


def _blank_rows(screen: Screen) -> int:
    """Rows of the terminal that the dialog leaves unused."""
    return screen.app.screen.size.height - screen.app.screen.query_one(".dialog").outer_size.height


@pytest.mark.parametrize("key", ["ctrl+d", "R"])
async def test_what_does_not_fit_is_announced_and_can_be_read(opened: Opener, key: str) -> None:
    async with opened(_large(), size=(60, 15)) as screen:
        await screen.press("2", key)
        assert "gpu01: 8 ranks" in screen.text
        assert "more lines: pgdn" in screen.text
        assert _blank_rows(screen) <= 1
        assert "Do nothing" in screen.text
        seen = screen.text
        while "that is all" not in screen.text:
            await screen.press("pagedown")
            seen += screen.text
        for part in ("and 2 more nodes", "gpu04: 8 ranks"):
            assert part in seen
        last = "Then every node is searched" if key == "ctrl+d" else "same code and plan"
        assert last in " ".join(seen.replace("│", " ").split())


async def test_what_fits_is_shown_whole_with_no_word_of_more(opened: Opener) -> None:
    async with opened(Fleet(revision=1, jobs=(job(nodes=(job_node(0),)),)), (60, 15)) as screen:
        await screen.press("2", "ctrl+d")
        assert "One SIGTERM" in screen.text
        assert "nothing is left" in screen.text
        assert "pgdn" not in screen.text
        assert _what(screen).max_scroll_y == 0


async def test_another_size_is_another_room(opened: Opener) -> None:
    async with opened(_large(), size=(80, 24)) as screen:
        await screen.press("2", "ctrl+d")
        assert "pgdn" not in screen.text
        await screen.resize(60, 15)
        assert "more lines: pgdn" in screen.text
        await screen.resize(80, 24)
        assert "pgdn" not in screen.text
        assert "nothing is left" in screen.text
