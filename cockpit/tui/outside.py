"""Other programs on this terminal: the pager, the editor, a shell; the screen waits meanwhile.

The event loop goes on while they run, so connections stay alive and data still comes in.
"""

from __future__ import annotations

import asyncio
import os
import shlex
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from textual.app import App, SuspendNotSupported

from cockpit.errors import UsageError

T = TypeVar("T")


async def suspended(app: App[Any], work: Callable[[], Awaitable[T]]) -> T:
    """Do `work` while the terminal is not the app's. Call it in a worker.

    Raises UsageError where the terminal cannot be handed over, and what `work` raises.
    """
    failure: BaseException | None = None
    try:
        with app.suspend():
            # No exception may pass through `suspend`, not even that of being cancelled: the screen
            # would never come back.
            try:
                result = await work()
            except BaseException as error:  # noqa: BLE001 - it is raised again, below
                failure = error
    except SuspendNotSupported as error:
        raise UsageError(
            "this terminal cannot be handed to another program",
            "run the cockpit in a terminal of its own, not in a browser",
        ) from error
    if failure is not None:
        raise failure
    return result


async def outside(app: App[Any], argv: Sequence[str], *, cwd: str | None = None) -> int:
    """Run a program on the terminal until it ends; its exit code. Call it in a worker.

    Raises UsageError when it cannot be started or the terminal cannot be handed over.
    """

    async def run() -> int:
        process = await asyncio.create_subprocess_exec(*argv, cwd=cwd)
        return await process.wait()

    try:
        return await suspended(app, run)
    except OSError as error:
        raise UsageError(
            f"{argv[0]} cannot be started: {error.strerror or error}", "is it installed?"
        ) from error


def chosen(variables: Sequence[str], fallback: str, environ: Mapping[str, str]) -> list[str]:
    """The program that a person set in the first of these variables that is not empty, as argv.

    Raises UsageError where it is no command line.
    """
    for name in variables:
        value = environ.get(name, "").strip()
        if value:
            try:
                return shlex.split(value)
            except ValueError as error:
                raise UsageError(f"{name}={value!r} is no command line: {error}") from error
    return [fallback]


def pager() -> list[str]:
    """$PAGER, else less."""
    return chosen(("PAGER",), "less", os.environ)


def editor() -> list[str]:
    """$VISUAL or $EDITOR, else vi."""
    return chosen(("VISUAL", "EDITOR"), "vi", os.environ)
