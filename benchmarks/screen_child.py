"""The program under measurement of bench_screen: the screen, with gauges that cost next to nothing.

python benchmarks/screen_child.py MODE RESULT [ARGUMENT...]

MODE is "empty" (a Textual app without anything), "first" (the cockpit's own way in), "simulated",
or "live". On SIGUSR1 the gauges begin anew; at the end they are written to RESULT as JSON. Time
stamps are on the monotonic clock, which all processes share.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

LAG_EVERY = 0.01


class Gauges:
    """When keys were obeyed and drawn, and how late the loop was."""

    def __init__(self, result: Path) -> None:
        self._result = result
        self._pending: list[int] = []
        self._drawn: set[int] = set()
        self.keys: list[float | None] = []
        """For each key in order: when the frame with its effect was written."""
        self.views: list[tuple[float, float]] = []
        self.lags: list[float] = []
        self.frames = 0
        self.samples = 0
        """Telemetry samples that arrived, of all nodes together."""
        self._app: Any = None
        self._began = (time.monotonic(), 0)
        self._newest = (time.monotonic(), 0)
        """When the lines of the log were last counted, and how many there were."""

    def begin(self) -> None:
        self._pending, self._drawn = [], set()
        self.keys, self.lags, self.frames, self.samples = [], [], 0, 0
        self._count()
        self._began = self._newest

    def _count(self) -> None:
        """Count the lines in the log on the screen, if there is one."""
        feed = None if self._app is None else self._app.following.feed
        if feed is not None and feed.document is not None:
            self._newest = (time.monotonic(), int(feed.document.end))

    def install(self) -> None:
        """Watch the app from outside."""
        from cockpit.tui import FRAMES

        os.environ.setdefault("TEXTUAL_FPS", FRAMES)  # as `run_async` does, before the import
        from textual.app import App
        from textual.widget import Widget

        from cockpit.model.fleet import FleetModel
        from cockpit.tui.app import CockpitApp
        from cockpit.tui.widgets.lines import LineWidget

        sample = FleetModel.sample
        perform, display = CockpitApp.perform, App._display
        gauges = self

        def watched_perform(app: Any, action_id: str) -> None:
            perform(app, action_id)
            gauges._pending.append(len(gauges.keys))
            gauges.keys.append(None)

        def watched(render: Any) -> Any:
            def watched_render(widget: Any, crop: Any) -> Any:
                if gauges._pending:
                    gauges._drawn.update(gauges._pending)
                return render(widget, crop)

            return watched_render

        def watched_display(app: Any, screen: Any, renderable: Any) -> None:
            display(app, screen, renderable)
            gauges.frames += 1
            gauges._app = app
            if gauges._drawn:
                now = time.monotonic()
                for number in gauges._drawn:
                    gauges.keys[number] = now
                gauges._pending = [n for n in gauges._pending if n not in gauges._drawn]
                gauges._drawn = set()

        def watched_sample(model: Any, *arguments: Any) -> None:
            gauges.samples += 1
            sample(model, *arguments)

        FleetModel.sample = watched_sample  # type: ignore[method-assign]
        CockpitApp.perform = watched_perform  # type: ignore[method-assign]
        App._display = watched_display  # type: ignore[method-assign]
        for kind in (Widget, LineWidget):
            kind.render_lines = watched(kind.render_lines)  # type: ignore[method-assign]

    async def run(self) -> None:
        """Measure the loop until it ends."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, self.begin)
        due = loop.time() + LAG_EVERY
        while True:
            await asyncio.sleep(max(due - loop.time(), 0.0))
            now = loop.time()
            self.lags.append(max(now - due, 0.0))
            due = now + LAG_EVERY
            self._count()

    def write(self) -> None:
        (began, before), (ended, lines) = self._began, self._newest
        found = {
            "samples": self.samples / (time.monotonic() - began),
            "lines": (lines - before) / max(ended - began, 1e-3),
            "keys": self.keys,
            "lags": self.lags,
            "frames": self.frames,
        }
        self._result.write_text(json.dumps(found))


def empty() -> None:
    from textual.app import App, ComposeResult
    from textual.widgets import Static

    class Empty(App[None]):
        def compose(self) -> ComposeResult:
            yield Static("EMPTY-APP")

    Empty().run()


def first(config: Path) -> None:
    from cockpit.cli.screen import open_screen

    open_screen(config, None)


async def simulated(gauges: Gauges, rate: float) -> None:
    from cockpit import tui
    from cockpit.tui.simulated import SimulatedSource

    gauges.install()
    await tui.run_async(SimulatedSource(128, 8, rate=rate))


async def live(gauges: Gauges, config: Path, state: Path) -> None:
    from cockpit import profiles, tui
    from cockpit.controller import Controller
    from cockpit.tui.live import LiveSource

    gauges.install()
    async with Controller(
        profiles.load(config), state_root=state, telemetry=True, telemetry_interval=0.1
    ) as controller:
        controller.open(["bench"])
        await tui.run_async(LiveSource(controller))


async def measured(gauges: Gauges, work: Any) -> None:
    measuring = asyncio.create_task(gauges.run())
    try:
        await work
    finally:
        measuring.cancel()
        gauges.write()


def main(mode: str, result: str, *arguments: str) -> None:
    if mode == "empty":
        empty()
    elif mode == "first":
        first(Path(arguments[0]))
    else:
        gauges = Gauges(Path(result))
        work = (
            simulated(gauges, float(arguments[0]))
            if mode == "simulated"
            else live(gauges, Path(arguments[0]), Path(arguments[1]))
        )
        asyncio.run(measured(gauges, work))


if __name__ == "__main__":
    main(*sys.argv[1:])
