"""Waiting for a future with a time limit, without `asyncio.wait_for`.

Before Python 3.12 `wait_for` swallows a cancellation that meets a result; a link that is being
closed would then wait for its next period.
"""

from __future__ import annotations

import asyncio
from typing import TypeVar

T = TypeVar("T")


async def within(future: asyncio.Future[T], timeout: float) -> T:
    """The result of `future`. Raises asyncio.TimeoutError after `timeout` seconds.

    The future is left alone on a time-out and on cancellation.
    """
    done, _ = await asyncio.wait({future}, timeout=timeout)
    if not done:
        raise asyncio.TimeoutError
    return future.result()
