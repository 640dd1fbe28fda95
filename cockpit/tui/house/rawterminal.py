"""This process's own terminal, handed to a shell: raw, on the event loop, and given back.

The screen must be suspended. Nothing blocks: keys are read as they come, output waits in a buffer,
and the shell is paused while a slow terminal has not taken it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import termios
import tty
from types import TracebackType
from typing import Any

from cockpit.transport.descriptor import Descriptor
from cockpit.transport.shell import Shell

LEFT = 129
"""The exit code of a shell that was left with `~.`: it was hung up."""

_HIGH = 256 * 1024
_DRAIN = 1.0
"""Seconds that the last output has to be taken."""

# What a program on the node may have left behind when it was cut off: other screen, mouse,
# bracketed paste, hidden cursor, colours, keypad.
_RESET = (
    b"\x1b[?1049l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?2004l\x1b[?1l\x1b>"
    b"\x1b[?25h\x1b[0m\r\n"
)


class Escape:
    """`~.` at the beginning of a line leaves, `~~` is a tilde: as in ssh. Pure."""

    def __init__(self) -> None:
        self._fresh = True
        self._held = False

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """What goes on to the shell, and whether the person wants to leave."""
        passed = bytearray()
        for code in data:
            byte = bytes((code,))
            if self._held:
                self._held = False
                if byte == b".":
                    return bytes(passed), True
                if byte != b"~":
                    passed += b"~"
                passed += byte
                self._fresh = byte in b"\r\n"
            elif self._fresh and byte == b"~":
                self._held = True
            else:
                passed += byte
                self._fresh = byte in b"\r\n"
        return bytes(passed), False


class RawTerminal:
    """`with RawTerminal(fd) as terminal:`, on the event loop; `fd` is the terminal."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._escape = Escape()
        self._shell: Shell | None = None
        self._paused = False
        self._early = bytearray()
        self._emptied: asyncio.Future[None] | None = None
        self.left: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the person wants to leave."""

    def __enter__(self) -> RawTerminal:
        self._before = termios.tcgetattr(self._fd)
        # Opened anew: that it does not block is then nobody else's business.
        own = os.open(os.ttyname(self._fd), os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        self._descriptor = Descriptor(own, self._typed, self._drained)
        tty.setraw(self._fd, termios.TCSANOW)
        asyncio.get_running_loop().add_signal_handler(signal.SIGWINCH, self._resized)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGWINCH)
        self._descriptor.write(_RESET)
        self._descriptor.close()
        termios.tcsetattr(self._fd, termios.TCSANOW, self._before)

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows."""
        size = os.get_terminal_size(self._fd)
        return size.columns, size.lines

    def show(self, data: bytes) -> None:
        """Output of the shell."""
        self._descriptor.write(data)
        if self._descriptor.backlog > _HIGH and self._shell is not None and not self._paused:
            self._paused = True
            self._shell.pause()

    async def serve(self, shell: Shell) -> int:
        """Connect person and shell until one of them leaves; the exit code. Raises LinkError."""
        self._shell = shell
        if self._early:
            shell.write(bytes(self._early))
        ending = asyncio.ensure_future(shell.ended())
        try:
            both: set[asyncio.Future[Any]] = {ending, self.left}
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if not ending.done():
                return LEFT
            await self._taken()
            return ending.result()
        finally:
            ending.cancel()

    async def _taken(self) -> None:
        if self._descriptor.backlog:
            self._emptied = asyncio.get_running_loop().create_future()
            await asyncio.wait({self._emptied}, timeout=_DRAIN)

    def _typed(self, data: bytes) -> None:
        passed, leave = self._escape.feed(data)
        if self._shell is None:
            self._early += passed
        else:
            self._shell.write(passed)
        if (leave or not data) and not self.left.done():
            self.left.set_result(None)

    def _drained(self) -> None:
        if self._emptied is not None and not self._emptied.done():
            self._emptied.set_result(None)
        if self._paused and self._shell is not None:
            self._paused = False
            self._shell.resume()

    def _resized(self) -> None:
        if self._shell is not None:
            self._shell.resize(*self.size)
