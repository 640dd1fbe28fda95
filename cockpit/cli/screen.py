"""`cockpit` without a command: opens the full-screen face on a controller."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cockpit.errors import UsageError

if TYPE_CHECKING:
    from cockpit.controller import Controller


def check_terminal() -> None:
    """Raise UsageError where there is no terminal to draw on."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError(
            "the full-screen cockpit needs a terminal",
            "use `cockpit ps`, `cockpit status JOB` or `cockpit run` here",
        )


async def show(controller: Controller, theme: str | None, focus_job: str | None = None) -> None:
    """Run the screen on an open controller until the person quits."""
    from cockpit import tui
    from cockpit.cli.source import ControllerSource

    await tui.run_async(ControllerSource(controller), focus_job=focus_job, theme=theme)


def open_screen(config_file: Path | None, theme: str | None) -> None:
    """The cockpit on all configured clusters."""
    check_terminal()
    from cockpit import profiles
    from cockpit.controller import Controller

    config = profiles.load(config_file)

    async def main() -> None:
        async with Controller(config, telemetry=True) as controller:
            controller.open()
            await show(controller, theme)

    asyncio.run(main())
