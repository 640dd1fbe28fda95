"""One run of the app on a real terminal: themes from disk, the app, the parting words."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path

import platformdirs

from cockpit.model.types import Job
from cockpit.text import clean, count_of
from cockpit.tui import garbage
from cockpit.tui.app import CockpitApp
from cockpit.tui.draw import ascii_only, themes
from cockpit.tui.frame import Clock
from cockpit.tui.settings import Settings
from cockpit.tui.source import Source
from cockpit.tui.state import Memory


def user_themes() -> Path:
    """The folder of a person's own themes."""
    return Path(platformdirs.user_config_dir("cockpit")) / "themes"


async def show(
    source: Source,
    *,
    focus_job: str | None,
    theme: str | None,
    read_only: bool,
    clock: Clock | None = None,
    opened: Callable[[], None] | None = None,
) -> None:
    """Run the app until it is left. Does not close `source`.

    `opened` is called when the first frame was drawn.
    """
    loop = asyncio.get_running_loop()
    factory = loop.get_task_factory()
    no_color = os.environ.get("NO_COLOR")
    if no_color == "":
        # Empty means "not set" (no-color.org); Textual asks only whether it is there.
        del os.environ["NO_COLOR"]
    folders = [themes.shipped_folder(), user_themes()]
    loaded = await asyncio.to_thread(themes.load, folders)
    screen = source.config.screen
    settings = Settings(
        theme=theme or screen.theme,
        loaded=loaded,
        theme_folders=folders,
        keys=source.config.keys,
        read_only=read_only or screen.read_only,
        ascii=ascii_only.suits(os.environ) if screen.ascii is None else screen.ascii,
        notify=source.config.notify,
        state_file=Path(platformdirs.user_state_dir("cockpit")) / "screen.json",
        clusters=screen.clusters,
    )
    memory = Memory(settings.state_file)
    await asyncio.to_thread(memory.load)

    def drawn() -> None:
        garbage.settled()
        if opened is not None:
            opened()

    app = CockpitApp(
        source, settings, memory=memory, focus_job=focus_job, clock=clock, opened=drawn
    )
    try:
        with garbage.seldom():
            await app.run_async()
    finally:
        app.close_feed()
        app.house.close()
        await asyncio.to_thread(memory.save)
        # Textual installs its own on Python 3.12 and later; the loop belongs to our caller.
        loop.set_task_factory(factory)
        if no_color == "":
            os.environ["NO_COLOR"] = no_color
    made_up = bool(source.banner)
    said = f"cockpit closed; {source.absent}" if made_up else parting_words(app.running_jobs())
    sys.stderr.write(said + "\n")


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
