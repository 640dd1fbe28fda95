"""The ranks of several marked jobs are restarted after one question."""

from __future__ import annotations

import msgspec
from tui_screen import Opener
from tui_world import healthy, job

from cockpit.model.types import Fleet

LLAMA = "llama-1a2b"


def two_running() -> Fleet:
    other = job("mixtral-3c4d", "mixtral")
    return msgspec.structs.replace(healthy(), jobs=(job(), other))


async def test_the_ranks_of_all_marked_jobs_are_restarted_after_one_question(
    opened: Opener,
) -> None:
    async with opened(two_running()) as screen:
        await screen.press("2", "g", "space", "G", "space", "ctrl+r")
        assert "Restart the ranks of 2 jobs?" in screen.text
        for name in ("llama (llama-1a2b)", "mixtral (mixtral-3c4d)"):
            assert f"{name}: 4 ranks on 2 nodes" in screen.text
        await screen.press("enter")
        assert screen.source.orders.given == [], "the number has to be typed"
        await screen.press("ctrl+r", *"2 jobs", "enter")
        screen.source.orders.release.set()
        await screen.pulse()
        given = screen.source.orders.given
        assert sorted(given) == [("restart_ranks", LLAMA), ("restart_ranks", "mixtral-3c4d")]


async def test_the_one_marked_job_is_meant_and_not_the_one_at_the_cursor(opened: Opener) -> None:
    async with opened(two_running()) as screen:
        await screen.press("2", "g", "space", "ctrl+r")
        assert "Restart the ranks of llama?" in screen.text


async def test_a_marked_job_that_does_not_run_is_the_reason_why_none_is_restarted(
    opened: Opener,
) -> None:
    async with opened(healthy()) as screen:
        await screen.press("2", "g", "space", "G", "space", "ctrl+r")
        assert len(screen.app.screen_stack) == 1
        assert screen.said == ["Restart the ranks in place…: dpo does not run"]
