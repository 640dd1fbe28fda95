"""What the screen does about itself: happenings, attention, themes, shells, screenshots.

The app holds one and tells it of every new frame, and of every second. Nothing here waits in a
key handler.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs
from textual.filter import LineFilter

from cockpit.errors import CockpitError, UsageError
from cockpit.model.types import LinkState
from cockpit.text import clean
from cockpit.tui.actions.base import View
from cockpit.tui.draw.ascii_only import AsciiFilter, to_ascii
from cockpit.tui.errands import start
from cockpit.tui.frame import Frame
from cockpit.tui.house.themewatch import ThemeWatch
from cockpit.tui.house.vitals import Vitals
from cockpit.tui.outside import suspended
from cockpit.tui.terminal import MeteredDriver, send

if TYPE_CHECKING:
    from cockpit.tui.app import CockpitApp
    from cockpit.tui.house.attention import Attention
    from cockpit.tui.house.happenings import Chronicle

GROUP = "house"
"""Workers that carry out what the house was asked for."""


class House:
    def __init__(self, app: CockpitApp) -> None:
        self._app = app
        self.vitals = Vitals()
        self.themes = ThemeWatch(app.settings.theme_folders, app.settings.loaded)
        self._frame: Frame | None = None
        self._in_shell = False
        self._defects: set[str] = set()
        self.filters: tuple[LineFilter, ...] = (AsciiFilter(),) if app.settings.ascii else ()
        """What every line that is drawn goes through."""

    # Both are imported after the first frame, which has no news to tell.

    @cached_property
    def chronicle(self) -> Chronicle:
        from cockpit.tui.house.happenings import Chronicle

        return Chronicle()

    @cached_property
    def attention(self) -> Attention:
        from cockpit.tui.house.attention import Attention

        return Attention(self._app.settings.notify, self._write, self._app.say)

    # ------------------------------------------------------------ what the app tells

    def opened(self) -> None:
        """The screen is there."""
        if self._app.settings.theme_folders:
            watching = self.themes.watch(self._app)
            start(self._app, watching, "watching theme files", group=GROUP)
        self._app.app_resume_signal.subscribe(self._app, lambda _: self.attention.again())

    def observe(self, frame: Frame) -> Frame:
        """Complete a new frame with what happened since the one before."""
        old = self._frame.fleet if self._frame is not None else None
        news = self.chronicle.observe(old, frame.fleet, frame.wall)
        self._frame = frame
        if news:
            self.attention.tell(news, frame)
        return dataclasses.replace(frame, happenings=self.chronicle.kept)

    def tick(self, frame: Frame) -> None:
        """Called once a second."""
        self.attention.show_title(frame)

    def acted(self) -> None:
        """The person did something: what asked for attention has it."""
        self.attention.seen()

    def close(self) -> None:
        """The screen is gone, or about to go."""
        self.attention.close()

    def _write(self, escapes: str) -> None:
        driver = self._app.driver
        if driver is not None and not self._app.is_headless:
            send(self._app, to_ascii(escapes) if self._app.settings.ascii else escapes)
            if isinstance(driver, MeteredDriver) and self._app.settings.notify.title:
                from cockpit.tui.house.attention import RESTORE_TITLE

                driver.parting = RESTORE_TITLE

    def defect(self, text: str) -> None:
        """Something failed that should not: said once, however often it does."""
        if text not in self._defects:
            self._defects.add(text)
            self.note(self._app.frame.wall, "bad", text)
            self._app.say(text, severity="error")

    def note(self, at: float, tone: str, text: str) -> None:
        """Keep among the events what the screen has to say of itself."""
        from cockpit.tui.house.happenings import Happening

        self.chronicle.note(Happening(at, "note", tone, clean(text)))

    # --------------------------------------------------------------- what actions ask

    def retry(self) -> None:
        app = self._app
        nodes = app.marked_nodes or ((app.node,) if app.node is not None else ())
        for node in nodes:
            if node.link.state is not LinkState.ONLINE:
                app.source.retry(node.cluster, node.name)
                app.say(f"trying {node.name} again")

    def next_theme(self) -> None:
        self.set_theme(self.themes.after(self._app.theme))

    def set_theme(self, name: str) -> None:
        """Change to a theme. Raises UsageError when there is none of that name."""
        if name not in self._app.available_themes:
            raise UsageError(
                f"there is no theme {name!r}", f"there are: {', '.join(self.theme_names())}"
            )
        self._app.theme = name
        self._app.say(f"theme {name}")

    def theme_names(self) -> list[str]:
        """Those from files first."""
        others = sorted(set(self._app.available_themes) - set(self.themes.names))
        return [*self.themes.names, *others]

    def set_attention(self, on: bool | None) -> None:
        """Ask for attention or not, for this session; None changes it."""
        self.attention.on = not self.attention.on if on is None else on
        said = "on" if self.attention.on else "off until the cockpit is closed"
        self._app.say(f"bell, title and notifications: {said}")

    def redraw(self) -> None:
        self._app.refresh(layout=True)
        self._app.pulse(force=True)

    def screenshot(self) -> None:
        """Save what is on the screen as an SVG file and say where."""
        app = self._app
        drawing = app.export_screenshot()
        stamp = time.strftime("%Y-%m-%d-%H%M%S", time.localtime(app.frame.wall))

        async def save() -> None:
            try:
                path = await asyncio.to_thread(_save, drawing, stamp)
            except OSError as error:
                app.say(f"the screenshot was not saved: {error}", severity="error")
            else:
                app.say(f"saved as {path}")

        start(app, save(), "screenshot", group=GROUP)

    def shell(self) -> None:
        """Open a shell on the node at hand, in the job's folder where one is selected."""
        app = self._app
        shells, node = app.source.shells, app.node
        if shells is None or node is None or self._in_shell:
            return
        job = app.job if app.view is View.JOB else None
        directory = shells.directory(job.id, node.name) if job is not None else ""

        async def run() -> None:
            self._in_shell = True
            try:
                code = await suspended(
                    app, lambda: shells.shell(node.cluster, node.name, directory)
                )
            except CockpitError as error:
                app.say(f"no shell on {node.name}: {error.message}", severity="error")
            except OSError as error:
                why = error.strerror or error
                app.say(f"no shell on {node.name}: {why}", severity="error")
            else:
                app.say(f"the shell on {node.name} ended with exit code {code}")
            finally:
                self._in_shell = False
                self.redraw()

        start(app, run(), f"shell on {node.name}", group=GROUP)


def screenshots() -> Path:
    """The folder of screenshots: the person's own for pictures, else the home folder."""
    pictures = platformdirs.user_pictures_path()
    return pictures if pictures.is_dir() else Path.home()


def _save(drawing: str, stamp: str) -> Path:
    folder = screenshots()
    for number in range(1, 100):
        more = "" if number == 1 else f"-{number}"
        path = folder / f"cockpit-{stamp}{more}.svg"
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(drawing)
        except FileExistsError:
            continue
        return path
    raise FileExistsError(f"{folder} holds too many of this second")
