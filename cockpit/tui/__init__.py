"""The full-screen face. `run` is for callers without an event loop, `run_async` for those in one.

Textual is imported only when one of them is called.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

from cockpit.errors import UsageError

if TYPE_CHECKING:
    from cockpit.tui.frame import Clock
    from cockpit.tui.source import Source

__all__ = ["run", "run_async"]

FRAMES = "240"
"""Frames a second that a key's effect may be drawn in."""


def run(
    source: Source,
    *,
    focus_job: str | None = None,
    theme: str | None = None,
    read_only: bool = False,
    clock: Clock | None = None,
    remember: bool = True,
) -> None:
    """Show the screen until the person quits; see `run_async`."""
    asyncio.run(
        run_async(
            source,
            focus_job=focus_job,
            theme=theme,
            read_only=read_only,
            clock=clock,
            remember=remember,
        )
    )


async def run_async(
    source: Source,
    *,
    focus_job: str | None = None,
    theme: str | None = None,
    read_only: bool = False,
    clock: Clock | None = None,
    opened: Callable[[], None] | None = None,
    remember: bool = True,
) -> None:
    """Show the screen until the person quits; jobs are never touched by that.

    `focus_job` is the id of a job to begin with, `theme` the name of a theme;
    with `read_only` nothing can be changed. `clock` is the one that the source lives by, where that
    is another than the world's. `opened` is called when the first frame was drawn. Without
    `remember` the views, sorts and filters of this session are not those of the next. `source` is
    closed at the end. Raises UsageError (64) without a terminal, or when there is no such theme.
    """
    # Textual reads it when it is imported. A repaint then waits 4 ms for the next frame instead of
    # 17; frames are drawn only where something changed, so it costs nothing else.
    os.environ.setdefault("TEXTUAL_FPS", FRAMES)
    from cockpit.tui.session import show

    try:
        if not all(stream is not None and stream.isatty() for stream in _streams()):
            raise UsageError(
                "the screen needs a terminal on stdin, stdout and stderr",
                "use `cockpit ps`, `cockpit status JOB` or `cockpit logs JOB` instead",
            )
        await show(
            source,
            focus_job=focus_job,
            theme=theme,
            read_only=read_only,
            clock=clock,
            opened=opened,
            remember=remember,
        )
    finally:
        await source.close()


def _streams() -> tuple[TextIO | None, ...]:
    return (sys.__stdin__, sys.__stdout__, sys.__stderr__)
