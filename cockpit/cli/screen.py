"""`cockpit` without a command: opens the full-screen face on a controller."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cockpit.errors import CockpitError, UsageError

if TYPE_CHECKING:
    from cockpit.controller import Controller
    from cockpit.profiles import Config
    from cockpit.tui.late import LateSource


def check_terminal() -> None:
    """Raise UsageError where there is no terminal to draw on."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError(
            "the full-screen cockpit needs a terminal",
            "use `cockpit ps`, `cockpit status JOB` or `cockpit run` here",
        )


async def show(
    controller: Controller,
    theme: str | None,
    focus_job: str | None = None,
    *,
    read_only: bool = False,
    remember: bool = True,
) -> None:
    """Run the screen on an open controller until the person quits; `remember` as in `tui.run`."""
    from cockpit import tui
    from cockpit.tui.live import LiveSource

    source = LiveSource(controller)
    await tui.run_async(
        source, focus_job=focus_job, theme=theme, read_only=read_only, remember=remember
    )


def open_screen(
    config_file: Path | None,
    theme: str | None,
    *,
    read_only: bool = False,
    interval: float | None = None,
) -> None:
    """The cockpit on all configured clusters; each node samples every `interval` seconds."""
    check_terminal()
    from cockpit.profiles.loading import load

    config = load(config_file)
    asyncio.run(_open(config, config_file, theme, read_only=read_only, interval=interval))


async def _open(
    config: Config,
    config_file: Path | None,
    theme: str | None,
    *,
    read_only: bool,
    interval: float | None,
) -> None:
    """Draw first; whatever is heavy, and every connection, comes after that."""
    from cockpit import tui
    from cockpit.tui.late import LateSource

    late = LateSource(config)
    connecting: list[asyncio.Task[None]] = []
    async with contextlib.AsyncExitStack() as stack:

        async def connect() -> None:
            try:
                await _connect(late, config, config_file, interval, stack)
            except CockpitError as error:
                late.fail(error)
            except Exception as error:
                late.fail(CockpitError(f"cannot start: {type(error).__name__}: {error}"))
                raise

        def drawn() -> None:
            connecting.append(asyncio.create_task(connect()))

        try:
            await tui.run_async(late, theme=theme, read_only=read_only, opened=drawn)
        finally:
            for task in connecting:
                task.cancel()
            await asyncio.gather(*connecting, return_exceptions=True)
    for task in connecting:
        if not task.cancelled():
            task.result()


async def _connect(
    late: LateSource,
    config: Config,
    config_file: Path | None,
    interval: float | None,
    stack: contextlib.AsyncExitStack,
) -> None:
    # In a thread: it takes as long as a second on a slow disk.
    await asyncio.to_thread(_import_all)
    from cockpit.controller import Controller
    from cockpit.controller.sessions import TELEMETRY_INTERVAL
    from cockpit.tui.live import LiveSource
    from cockpit.tui.live.profiles import LiveProfileDesk

    controller = await stack.enter_async_context(
        Controller(config, telemetry=True, telemetry_interval=interval or TELEMETRY_INTERVAL)
    )
    controller.open()
    late.arrive(LiveSource(controller, LiveProfileDesk(controller, config_file)))


def _import_all() -> None:
    import cockpit.transport.ssh  # so that asyncssh is there when the first link wants it
    import cockpit.tui.live  # noqa: F401
