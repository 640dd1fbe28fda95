"""What waits for a terminal that stands still, and what it gets once it goes on."""

from __future__ import annotations

import signal
import threading
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from textual.drivers._writer_thread import WriterThread
from tui_quiet import until

from cockpit.tui import terminal
from cockpit.tui.terminal import SYNC_START, MeteredDriver, send

FRAME = "\x1b[1;1Hfigures\x1b[1;1H"
SYNC_END = "\x1b[?2026l"
BELL = "\x07"


class Terminal:
    """A file that takes nothing before it is told to `go`."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.taken: list[str] = []

    def write(self, text: str) -> int:
        self.go.wait()
        self.taken.append(text)
        return len(text)

    def flush(self) -> None:
        pass


class World:
    """A driver on such a terminal, for an app that remembers how often it was drawn anew."""

    def __init__(self) -> None:
        self.drawn = 0
        self.app: Any = SimpleNamespace(refresh=self._refresh)
        self.driver = MeteredDriver(self.app)
        self.app._driver = self.driver
        self.terminal = Terminal()
        self.driver.meter._file = self.terminal  # type: ignore[assignment]
        self.thread = WriterThread(self.driver.meter)  # type: ignore[arg-type]
        self.thread.start()
        self.driver._writer_thread = self.thread
        self.driver._ordered = False

    def _refresh(self) -> None:
        self.drawn += 1


@pytest.fixture
async def world() -> AsyncIterator[World]:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTSTP, signal.SIGCONT)}
    world = World()
    # A write that blocks would hold this very thread: let it go on then, and fail.
    rescue = threading.Timer(60.0, world.terminal.go.set)
    rescue.start()
    try:
        yield world
    finally:
        rescue.cancel()
        world.terminal.go.set()
        world.thread.stop()
        for number, handler in handlers.items():
            signal.signal(number, handler)


async def test_frames_for_a_terminal_that_stands_still_are_left_out_and_never_waited_for(
    world: World,
) -> None:
    for _ in range(500):
        for data in (SYNC_START, FRAME, SYNC_END):
            world.driver.write(data)
    assert not world.terminal.go.is_set()
    assert world.driver.meter.pending <= terminal.ROOM
    world.terminal.go.set()
    await until(lambda: world.drawn == 1)
    await until(lambda: world.terminal.taken[-1:] == [SYNC_END])
    assert world.terminal.taken.count(FRAME) <= terminal.ROOM


async def test_escapes_that_draw_nothing_wait_in_their_order_and_no_more_than_so_many(
    world: World,
) -> None:
    for _ in range(terminal.ROOM):
        world.driver.write(FRAME)
    for number in range(terminal.MOST_HELD * 2):
        send(world.app, BELL)
        send(world.app, f"\x1b]2;{number}\x07")
    assert not world.terminal.go.is_set()
    world.terminal.go.set()
    titles = "".join(f"\x1b]2;{number}\x07" for number in range(terminal.MOST_HELD - 1))
    await until(lambda: world.terminal.taken[-1:] == [BELL + titles])
    world.driver.write(FRAME)
    await until(lambda: world.terminal.taken[-1:] == [FRAME])


async def test_a_terminal_that_keeps_up_gets_everything_as_it_comes(world: World) -> None:
    world.terminal.go.set()
    sent = [SYNC_START, FRAME, SYNC_END, BELL]
    for data in sent:
        world.driver.write(data)
    await until(lambda: world.terminal.taken == sent)
    assert world.drawn == 0
