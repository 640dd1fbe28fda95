"""The full-screen face. `run` is for callers without an event loop, `run_async` for those in one.

Textual is imported only when one of them is called.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, TextIO

from cockpit.errors import UsageError

if TYPE_CHECKING:
    from cockpit.tui.source import Source

__all__ = ["run", "run_async"]


def run(source: Source, *, focus_job: str | None = None, theme: str | None = None) -> None:
    """Show the screen until the person quits; see `run_async`."""
    asyncio.run(run_async(source, focus_job=focus_job, theme=theme))


async def run_async(
    source: Source, *, focus_job: str | None = None, theme: str | None = None
) -> None:
    """Show the screen until the person quits; jobs are never touched by that.

    `focus_job` is the id of a job to begin with, `theme` the name of a theme. `source` is closed
    at the end. Raises UsageError (64) without a terminal, or when there is no such theme.
    """
    from cockpit.tui.session import show

    try:
        if not all(stream is not None and stream.isatty() for stream in _streams()):
            raise UsageError(
                "the screen needs a terminal on stdin, stdout and stderr",
                "use `cockpit ps`, `cockpit status JOB` or `cockpit logs JOB` instead",
            )
        await show(source, focus_job=focus_job, theme=theme)
    finally:
        await source.close()


def _streams() -> tuple[TextIO | None, ...]:
    return (sys.__stdin__, sys.__stdout__, sys.__stderr__)
