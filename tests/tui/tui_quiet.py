"""The one way to wait in tests of the screen.

`quiet` waits until nothing is left that could run: no callback stands in the event loop, so that
every message was handled and every task waits for something from outside; nothing is in a thread;
and the screens have laid out, moved, drawn and called back all that they had put off. What still
comes after that, comes from time, a file, a process or what the test itself holds back: `until`
waits for that.
"""

from __future__ import annotations

import asyncio
import functools
import time
import weakref
from collections.abc import Callable
from typing import Any

from textual.app import App
from textual.screen import Screen

LIMIT = 60.0
"""Seconds; generous, since only what never comes to rest takes them."""
BRIEF = 0.005
"""Seconds between two looks at what comes from outside."""

_in_threads: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, set[asyncio.Future[Any]]] = (
    weakref.WeakKeyDictionary()
)


def watch_threads() -> set[asyncio.Future[Any]]:
    """What the running loop has in threads, from the first call on."""
    loop: Any = asyncio.get_running_loop()
    if loop not in _in_threads:
        _in_threads[loop] = waited = set()
        hand_over = loop.run_in_executor

        @functools.wraps(hand_over)
        def handed_over(*call: Any) -> asyncio.Future[Any]:
            future: asyncio.Future[Any] = hand_over(*call)
            waited.add(future)
            # By the loop, and before it wakes whoever awaits it: there is no moment at which it
            # is neither here nor among the loop's callbacks.
            future.add_done_callback(waited.discard)
            return future

        loop.run_in_executor = handed_over
    return _in_threads[loop]


async def until(
    done: Callable[[], object],
    *,
    meanwhile: Callable[[], object] = lambda: None,
    seen: Callable[[], object] = lambda: "",
    limit: float = LIMIT,
) -> None:
    """Wait for what comes from outside. `meanwhile` is called before each look.

    Raises AssertionError with what is `seen` if it has not come after `limit` seconds.
    """
    deadline = time.monotonic() + limit
    while True:
        meanwhile()
        if done():
            return
        if time.monotonic() > deadline:
            raise AssertionError(f"it has not come after {limit:g} s:\n{seen()}")
        await asyncio.sleep(BRIEF)


async def quiet(app: App[Any], limit: float = LIMIT) -> None:
    """Wait until nothing is left to run, to lay out or to draw.

    Raises AssertionError that tells what still goes on after `limit` seconds.
    """
    deadline = time.monotonic() + limit
    while (rest := await _go_on(app)) is not None:
        if time.monotonic() > deadline:
            raise AssertionError(f"no rest after {limit:g} s: {rest()}")


async def _go_on(app: App[Any]) -> Callable[[], str] | None:
    """Let go on what can; what there was, or None if there was nothing."""
    ready = asyncio.get_running_loop()._ready  # type: ignore[attr-defined]
    # Each turn of the loop first collects what clocks, files and threads have brought, and runs
    # it after this task, which has waited for longer.
    await asyncio.sleep(0)
    if ready:
        return lambda: f"callbacks of the loop: {list(ready)[:9]}"
    if app._exception is not None or not app.is_running:
        return None
    if waited := [each for each in watch_threads() if not each.done()]:
        await asyncio.wait(waited, timeout=1.0, return_when=asyncio.FIRST_COMPLETED)
        return lambda: f"threads: {waited}"
    if app._batch_count or app._resize_event is not None:
        await asyncio.sleep(BRIEF)
        return lambda: "a batch of changes, or a new size"
    if _move(app):
        if app._animator._animations or app._animator._scheduled:
            await asyncio.sleep(BRIEF)
        return lambda: "something that moves"
    behind = [screen for screen in app.screen_stack if _is_behind(screen)]
    for screen in behind:
        # What it would do by itself within a sixtieth of a second.
        screen._on_timer_update()
    return (lambda: f"to be drawn: {behind}") if behind else None


def _move(app: App[Any]) -> bool:
    """Let what moves on the screen go to where it is by now; whether there was anything."""
    if not (app._animator._animations or app._animator._scheduled):
        return False
    app._animator()
    return True


def _is_behind(screen: Screen[Any]) -> bool:
    """It has put something off to its next update, whose timer rests otherwise."""
    return screen.is_running and screen._update_timer._active.is_set()
