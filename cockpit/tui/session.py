"""One run of the app on a real terminal: themes from disk, the app, the parting words."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import platformdirs

from cockpit.errors import CockpitError
from cockpit.model.types import Job
from cockpit.text import clean, count_of
from cockpit.tui import garbage
from cockpit.tui.app import CockpitApp
from cockpit.tui.draw import ascii_only, themes
from cockpit.tui.frame import Clock
from cockpit.tui.settings import Settings
from cockpit.tui.source import Source
from cockpit.tui.state import Memory

_ENDING = (signal.SIGTERM, signal.SIGHUP)
"""Signals at which the screen is left as by `q`: jobs run on."""


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
    remember: bool = True,
) -> None:
    """Run the app until it is left. Does not close `source`.

    `opened` is called when the first frame was drawn. Without `remember` nothing is kept for the
    next day, and of the last one only the theme holds.
    """
    loop = asyncio.get_running_loop()
    factory = loop.get_task_factory()
    no_color = os.environ.get("NO_COLOR")
    if no_color == "":
        # Empty means "not set" (no-color.org); Textual asks only whether it is there.
        del os.environ["NO_COLOR"]
    folders = [themes.shipped_folder(), user_themes()]
    screen = source.config.screen
    state_file = Path(platformdirs.user_state_dir("cockpit")) / "screen.json"
    known = Memory(state_file)
    memory = known if remember else Memory()

    def load() -> themes.ThemeLoadResult:
        known.load()
        if not remember and (kept := known.text("theme")):
            memory.values["theme"] = kept
        wanted = theme or screen.theme or memory.text("theme") or None
        return themes.load_first(folders, wanted, os.environ)

    loaded = await asyncio.to_thread(load)
    asked = theme or screen.theme
    if theme is None and not themes.known(screen.theme, loaded.loaded):
        # Only an option that was typed stops the start; a profile's theme may be of another day.
        missing = themes.ThemeFailure("[screen]", f"there is no theme {screen.theme!r}")
        asked, loaded = None, dataclasses.replace(loaded, failed=(*loaded.failed, missing))
    settings = Settings(
        theme=asked,
        loaded=loaded,
        theme_folders=folders,
        keys=source.config.keys,
        read_only=read_only or screen.read_only,
        ascii=ascii_only.suits(os.environ) if screen.ascii is None else screen.ascii,
        notify=source.config.notify,
        state_file=state_file if remember else None,
        clusters=screen.clusters,
    )

    def drawn() -> None:
        garbage.settled()
        if opened is not None:
            opened()

    app = CockpitApp(
        source, settings, memory=memory, focus_job=focus_job, clock=clock, opened=drawn
    )
    signals = [number for number in _ENDING if signal.getsignal(number) is signal.SIG_DFL]
    for number in signals:
        # Else the shell would be left with our colours, its mouse and no cursor.
        loop.add_signal_handler(number, app.exit)
    try:
        with garbage.seldom():
            await app.run_async()
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
        app.following.close()
        app.house.close()
        memory.freeze()
        await asyncio.to_thread(memory.save)
        # Textual installs its own on Python 3.12 and later; the loop belongs to our caller.
        loop.set_task_factory(factory)
        if no_color == "":
            os.environ["NO_COLOR"] = no_color
    if app.return_code:
        raise CockpitError("the screen broke down; this is a defect of cockpit", "jobs run on")
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
