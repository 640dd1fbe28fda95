"""One run of the app on a real terminal: themes from disk, the app, the parting words."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import platformdirs

from cockpit.model.types import Job
from cockpit.text import clean, count_of
from cockpit.tui import themes
from cockpit.tui.app import CockpitApp
from cockpit.tui.source import Source


def user_themes() -> Path:
    """The folder of a person's own themes."""
    return Path(platformdirs.user_config_dir("cockpit")) / "themes"


async def show(source: Source, *, focus_job: str | None, theme: str | None) -> None:
    """Run the app until it is left. Does not close `source`."""
    loop = asyncio.get_running_loop()
    factory = loop.get_task_factory()
    no_color = os.environ.get("NO_COLOR")
    if no_color == "":
        # Empty means "not set" (no-color.org); Textual asks only whether it is there.
        del os.environ["NO_COLOR"]
    folders = [themes.shipped_folder(), user_themes()]
    loaded = await asyncio.to_thread(themes.load, folders)
    app = CockpitApp(source, focus_job=focus_job, theme=theme, loaded=loaded)
    try:
        await app.run_async()
    finally:
        app.close_feed()
        # Textual installs its own on Python 3.12 and later; the loop belongs to our caller.
        loop.set_task_factory(factory)
        if no_color == "":
            os.environ["NO_COLOR"] = no_color
    sys.stderr.write(parting_words(app.running_jobs()) + "\n")


def parting_words(running: list[Job]) -> str:
    """What is said on leaving: nothing was stopped, and how to come back."""
    if not running:
        return "cockpit closed; no job was running"
    named = ", ".join(clean(job.name) for job in running[:3])
    more = f" and {len(running) - 3} more" if len(running) > 3 else ""
    verb = "runs" if len(running) == 1 else "run"
    return (
        f"cockpit closed; {count_of(len(running), 'job')} {verb} on: {named}{more} "
        f"(`cockpit attach {clean(running[0].id)}` follows it)"
    )
