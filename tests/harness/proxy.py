"""A TCP proxy that does to a connection what networks do: late, slow, cut, reset, or silent.

Runs in a thread of its own, so tests of any kind can use it. Traffic only on loopback.

    with Proxy("127.0.0.1", sshd.port) as proxy:
        ...connect to 127.0.0.1, proxy.port...
        proxy.half_open()
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any

_CHUNK = 64 * 1024
_LIMIT = 30.0


class Proxy:
    """Forwards to `host`:`port`. The verbs hold for open and for new connections until `heal`."""

    def __init__(self, host: str, port: int, address: str = "127.0.0.1") -> None:
        self._host = host
        self._target = port
        self.address = address
        self.port = 0
        self.connections = 0
        """Connections that were ever accepted."""
        self._delay = 0.0
        self._rate = 0.0
        self._swallow = False
        self._refuse = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Proxy:
        self._thread.start()
        self._run(self._listen())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_LIMIT)
        self._loop.close()

    # Verbs

    def delay(self, seconds: float) -> None:
        """Everything arrives that much later, in both directions."""
        self._delay = seconds

    def throttle(self, bytes_per_second: float) -> None:
        """Forward no more than that in each direction of each connection; 0 is no limit."""
        self._rate = bytes_per_second

    def half_open(self) -> None:
        """Swallow everything, tell nobody: the other side seems to be powered off."""
        self._swallow = True

    def heal(self) -> None:
        """Undo `delay`, `throttle`, `half_open` and `refuse`; what was swallowed stays lost."""
        self._delay, self._rate, self._swallow, self._refuse = 0.0, 0.0, False, False

    def refuse(self) -> None:
        """Close every new connection at once, as an overloaded sshd does."""
        self._refuse = True

    def drop(self) -> None:
        """Close every connection in an orderly way (FIN)."""
        self._run(self._end(reset=False))

    def reset(self) -> None:
        """Reset every connection (RST)."""
        self._run(self._end(reset=True))

    # Inside

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(_LIMIT)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accepted, self.address, 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        self._server.close()
        await self._end(reset=False)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _end(self, *, reset: bool) -> None:
        for writer in list(self._writers):
            if reset:
                sock = writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
            else:
                writer.close()

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self._refuse:
            writer.close()
            return
        try:
            there = await asyncio.open_connection(self._host, self._target)
        except OSError:
            writer.close()
            return
        self._writers |= {writer, there[1]}
        pipes = [
            self._loop.create_task(self._pipe(reader, there[1])),
            self._loop.create_task(self._pipe(there[0], writer)),
        ]
        self._tasks |= set(pipes)
        await asyncio.wait(pipes, return_when=asyncio.FIRST_COMPLETED)
        for end in (writer, there[1]):
            end.close()
            self._writers.discard(end)
        await asyncio.gather(*pipes, return_exceptions=True)
        self._tasks -= set(pipes)

    async def _pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(maxsize=1024)
        sender = self._loop.create_task(self._send(queue, writer))
        try:
            with contextlib.suppress(OSError):
                while data := await reader.read(_CHUNK):
                    if not self._swallow:
                        await queue.put((self._loop.time() + self._delay, data))
            if self._swallow:
                await asyncio.sleep(3600)  # a machine without power sends no FIN
            await queue.put((self._loop.time() + self._delay, b""))
            await sender
        finally:
            sender.cancel()

    async def _send(
        self, queue: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter
    ) -> None:
        while True:
            due, data = await queue.get()
            if (late := due - self._loop.time()) > 0:
                await asyncio.sleep(late)
            if not data:
                return
            if self._swallow:
                continue
            with contextlib.suppress(OSError):
                writer.write(data)
                await writer.drain()
            if self._rate:
                await asyncio.sleep(len(data) / self._rate)
