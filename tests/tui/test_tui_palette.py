"""The command palette with names that look like markup."""

from __future__ import annotations

from msgspec.structs import replace
from tui_screen import Opener
from tui_world import failed_job, healthy


async def test_the_palette_takes_the_name_of_a_job_as_it_is(opened: Opener) -> None:
    fleet = replace(healthy(), jobs=(replace(failed_job(), name="x[/data/x]"),))
    async with opened(fleet) as screen:
        await screen.press("2", "ctrl+p", *"cancel")
        await screen.shows("x[/data/x]")
