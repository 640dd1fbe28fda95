"""Background work with an owner, and waiting with a limit: what asyncio does not bring along.

Every task started by `Tasks` is awaited or cancelled by its `close`; Python 3.10 has no TaskGroup,
and this is the small part of it that is needed. An exception that nobody awaits is reported once
through the loop's exception handler. `within` waits for a future: `asyncio.wait_for` of Pythons
before 3.12 swallows a cancellation that meets a result, and an object that is being closed would
then wait for its next period.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

CANCEL_AGAIN = 5.0
"""Seconds after which `Tasks.close` cancels again what has not ended."""


async def within(future: asyncio.Future[T], timeout: float) -> T:
    """The result of `future`. Raises asyncio.TimeoutError after `timeout` seconds.

    The future is left alone on a time-out and on cancellation.
    """
    done, _ = await asyncio.wait({future}, timeout=timeout)
    if not done:
        raise asyncio.TimeoutError
    return future.result()


class Tasks:
    """The tasks of one object. Not reusable after `close`."""

    def __init__(self, cancel_again: float = CANCEL_AGAIN) -> None:
        self._cancel_again = cancel_again
        self._running: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Run `work` until it ends or `close` is called."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            task.get_loop().call_exception_handler(
                {"message": f"background task {task.get_name()} failed", "exception": error}
            )

    async def close(self) -> None:
        """Cancel what still runs and wait for it.

        A library may swallow a cancellation, as `asyncio.wait_for` does before Python 3.12 when
        one meets an error: what goes on regardless is cancelled again.
        """
        current = asyncio.current_task()
        running = {task for task in self._running if task is not current}
        while running:
            for task in running:
                task.cancel()
            _, running = await asyncio.wait(running, timeout=self._cancel_again)
