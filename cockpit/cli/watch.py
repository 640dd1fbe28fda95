"""Output that is drawn again and again: in place on a terminal, one after the other elsewhere.

Used by `cockpit nodes --watch`. On the way out, whatever it is, the terminal is as it was before.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager

from cockpit.cli.common import on_signals
from cockpit.cli.spans import Line, Span, render

_ENTER = "\x1b[?1049h\x1b[?25l"
"""The alternate screen, without a cursor."""
_LEAVE = "\x1b[?25h\x1b[?1049l"


def wants_colour() -> bool:
    """On a terminal, unless NO_COLOR is set (no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def draws_plainly() -> bool:
    """Whether stdout takes ASCII only."""
    try:
        "█░✖".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return True
    return False


def text_of(lines: Sequence[Line]) -> str:
    """Lines for stdout as it is: cut and coloured for a terminal, whole and plain elsewhere."""
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    colour = wants_colour()
    return "\n".join(render(line, columns, colour=colour) for line in lines)


async def repeat(
    show: Callable[[], None], period: float, settled: Callable[[], bool] | None = None
) -> None:
    """Call `show` every `period` seconds, and when the terminal changes its size, until a signal.

    More often until `settled`, so that what comes in at the start is seen. SIGINT, SIGTERM and
    SIGHUP are the way out, and so is the key q on a terminal.
    """
    leave, wake = asyncio.Event(), asyncio.Event()

    def stop() -> None:
        leave.set()
        wake.set()

    with (
        on_signals(stop, signal.SIGINT, signal.SIGTERM, signal.SIGHUP),
        on_signals(wake.set, signal.SIGWINCH),
        _keys(stop),
    ):
        while not leave.is_set():
            show()
            waiting = period if settled is None or settled() else min(period, 0.3)
            await _pause(wake.wait(), waiting)
            wake.clear()


async def _pause(event: Awaitable[object], seconds: float) -> None:
    task = asyncio.ensure_future(event)
    try:
        await asyncio.wait({task}, timeout=seconds)
    finally:
        task.cancel()


@contextmanager
def full_screen() -> Iterator[Callable[[Sequence[Line]], None]]:
    """The terminal's alternate screen; gives the function that draws on it."""
    _write(_ENTER)
    try:
        yield _draw
    finally:
        _write(_LEAVE)


def _draw(lines: Sequence[Line]) -> None:
    """Draw from the top; what does not fit below is counted."""
    columns, rows = shutil.get_terminal_size()
    if len(lines) > rows:
        more = len(lines) - rows + 1
        lines = [*lines[: rows - 1], (Span(f"… {more} more lines; --node shows fewer", "warn"),)]
    colour = wants_colour()
    text = "\x1b[K\r\n".join(render(line, columns, colour=colour) for line in lines)
    _write(f"\x1b[H{text}\x1b[K\x1b[J")


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


@contextmanager
def _keys(leave: Callable[[], None]) -> Iterator[None]:
    """Without echo while it lasts; q leaves. Nothing where stdin or stdout is no terminal."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        yield
        return
    import termios

    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    quiet = termios.tcgetattr(fd)
    quiet[3] &= ~(termios.ECHO | termios.ICANON)
    loop = asyncio.get_running_loop()

    def pressed() -> None:
        data = os.read(fd, 64)
        if not data or b"q" in data.lower():
            leave()

    termios.tcsetattr(fd, termios.TCSADRAIN, quiet)
    loop.add_reader(fd, pressed)
    try:
        yield
    finally:
        loop.remove_reader(fd)
        termios.tcsetattr(fd, termios.TCSADRAIN, before)
