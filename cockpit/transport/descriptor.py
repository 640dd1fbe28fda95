"""A terminal's file descriptor on the event loop: read as it comes, written as it is taken."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable

_CHUNK = 64 * 1024


class Descriptor:
    """Owns `fd`, which must be non-blocking. `received` gets what comes; b"" is its end."""

    def __init__(
        self,
        fd: int,
        received: Callable[[bytes], None],
        drained: Callable[[], None] = lambda: None,
    ) -> None:
        self._fd = fd
        self._received = received
        self._drained = drained
        self._loop = asyncio.get_running_loop()
        self._waiting = bytearray()
        self._closed = False
        self._loop.add_reader(fd, self._readable)

    @property
    def backlog(self) -> int:
        """Bytes that were not taken yet."""
        return len(self._waiting)

    def write(self, data: bytes) -> None:
        """Write now, or as soon as there is room. Never blocks."""
        if self._closed or not data:
            return
        if self._waiting:
            self._waiting += data
            return
        self._waiting += data
        self._writable()
        if self._waiting and not self._closed:
            self._loop.add_writer(self._fd, self._writable)

    def pause(self) -> None:
        """Read no more for now."""
        self._loop.remove_reader(self._fd)

    def resume(self) -> None:
        if not self._closed:
            self._loop.add_reader(self._fd, self._readable)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._loop.remove_reader(self._fd)
            self._loop.remove_writer(self._fd)
            os.close(self._fd)

    def _readable(self) -> None:
        try:
            data = os.read(self._fd, _CHUNK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""  # a pseudo-terminal without its other end
        if not data:
            self._loop.remove_reader(self._fd)
        self._received(data)

    def _writable(self) -> None:
        with contextlib.suppress(BlockingIOError, InterruptedError):
            try:
                written = os.write(self._fd, self._waiting[:_CHUNK])
            except (BlockingIOError, InterruptedError):
                raise
            except OSError:
                written = len(self._waiting)  # nobody is there any more
            del self._waiting[:written]
        if not self._waiting:
            self._loop.remove_writer(self._fd)
            self._drained()
