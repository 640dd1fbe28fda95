"""Background work with an owner: what closing does to it."""

from __future__ import annotations

import asyncio

from cockpit.tasks import Tasks


async def test_work_that_loses_a_cancellation_is_cancelled_again() -> None:
    lost = 0

    async def stubborn() -> None:
        nonlocal lost
        while lost < 2:
            try:
                await asyncio.sleep(60.0)
            except asyncio.CancelledError:
                lost += 1
        await asyncio.sleep(60.0)

    tasks = Tasks(cancel_again=0.01)
    task = tasks.start(stubborn(), "stubborn")
    await asyncio.sleep(0)
    await tasks.close()
    assert task.cancelled()
    assert lost == 2


async def test_work_may_close_its_own_owner() -> None:
    tasks = Tasks()
    other = tasks.start(asyncio.sleep(60.0), "other")
    await tasks.start(tasks.close(), "closing")
    assert other.cancelled()
