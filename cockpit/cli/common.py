"""What the commands share: configuration, an event loop with a controller, and narration."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from cockpit.text import clean

if TYPE_CHECKING:
    from cockpit.controller import Controller
    from cockpit.profiles import Config

_T = TypeVar("_T")


def narrate(text: str) -> None:
    """Tell the person what is going on, on stderr, cleaned."""
    click.echo(f"cockpit: {clean(text)}", err=True)


def silent(text: str) -> None:
    """Narration that nobody asked for."""


def print_json(document: dict[str, Any]) -> None:
    """One JSON document on stdout, for programs: stable keys, readable indentation."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


def load_config(ctx: click.Context) -> Config:
    """The profiles in force. Raises ConfigError with every problem."""
    from cockpit import profiles

    path: Path | None = ctx.find_root().obj["config"]
    return profiles.load(path)


def run_async(main: Coroutine[Any, Any, _T]) -> _T:
    """Run one command's coroutine; SIGTERM ends it as Ctrl-C does unless it handles that."""

    async def entry() -> _T:
        task = asyncio.current_task()
        assert task is not None
        with on_signals(task.cancel, signal.SIGTERM):
            return await main

    try:
        return asyncio.run(entry())
    except asyncio.CancelledError:
        raise click.Abort from None
    except KeyboardInterrupt:
        raise click.Abort from None


_handlers: dict[signal.Signals, list[Callable[[], object]]] = {}
"""What `on_signals` has installed, innermost last."""


@contextlib.contextmanager
def on_signals(handler: Callable[[], object], *numbers: signal.Signals) -> Iterator[None]:
    """Call `handler` on the running loop when one of these signals arrives.

    Whatever handled them before does so again afterwards.
    """
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in numbers}
    for number in numbers:
        _handlers.setdefault(number, []).append(handler)
        loop.add_signal_handler(number, handler)
    try:
        yield
    finally:
        for number in numbers:
            _handlers[number].pop()
            if _handlers[number]:
                loop.add_signal_handler(number, _handlers[number][-1])
            else:
                loop.remove_signal_handler(number)
                signal.signal(number, before[number])


def with_controller(
    ctx: click.Context, work: Callable[[Controller], Awaitable[_T]], **options: Any
) -> _T:
    """Open a controller on the configuration in force, run `work`, close it again."""
    from cockpit.controller import Controller

    config = load_config(ctx)

    async def main() -> _T:
        async with Controller(config, **options) as controller:
            return await work(controller)

    return run_async(main())
