"""This machine as a node: the agent as a child process over pipes.

The same bootstrap as over SSH, so the runtime lies in the state folder and a job outlives an
upgrade of cockpit. The agent has a session of its own: Ctrl-C in a terminal is not for it. It
ends when its stdin closes.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Callable
from typing import cast

from cockpit.errors import BootstrapError
from cockpit.protocol.layout import DEFAULT_STATE_DIR
from cockpit.transport.base import Channel, ChannelEvents
from cockpit.transport.bootstrap import INTERPRETERS, AgentStream, arguments, start_agent
from cockpit.transport.runtime import node_runtime

_CLOSE_GRACE = 5.0
"""Seconds that an agent has to end after its stdin closed."""
_HIGH_WATER = 1024 * 1024


class LocalTransport:
    """Starts agents on this machine, with cockpit's own interpreter."""

    def __init__(self, node: str = "local", state_dir: str = DEFAULT_STATE_DIR) -> None:
        self._node = node
        self._state_dir = state_dir

    @property
    def description(self) -> str:
        return "this machine"

    async def open(self, events: Callable[[], ChannelEvents]) -> Channel:
        runtime = await asyncio.to_thread(node_runtime)
        interpreters = (sys.executable,) if sys.executable else INTERPRETERS
        channel, _ = await start_agent(
            self._node,
            interpreters,
            self._launch,
            lambda: AgentStream(self._node, runtime, self._state_dir, events),
        )
        return channel

    async def _launch(self, python: str, stream: AgentStream) -> Channel:
        loop = asyncio.get_running_loop()
        try:
            _, protocol = await loop.subprocess_exec(
                lambda: _Agent(stream), *arguments(python), start_new_session=True, cwd="/"
            )
        except OSError as error:
            raise BootstrapError(
                f"{self._node}: {python} cannot be started: {error.strerror or error}",
                "check the Python that runs cockpit",
            ) from error
        return protocol


class _Agent(asyncio.SubprocessProtocol):
    """One agent process; the Channel to it."""

    def __init__(self, stream: AgentStream) -> None:
        self._stream = stream
        self._closing = False
        self._writable = asyncio.Event()
        self._writable.set()
        self._gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._process = cast(asyncio.SubprocessTransport, transport)
        self._stdin = cast(asyncio.WriteTransport, self._process.get_pipe_transport(0))
        self._stdin.set_write_buffer_limits(high=_HIGH_WATER)
        self._stdout = cast(asyncio.ReadTransport, self._process.get_pipe_transport(1))

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == 1:
            self._stream.stdout(data)
        else:
            self._stream.stderr(data)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._writable.set()
        if self._closing:
            self._stream.closed_by_us()
        else:
            self._stream.ended(None, _status(self._process.get_returncode()))
        if not self._gone.done():
            self._gone.set_result(None)

    # What the owner calls

    def write(self, data: bytes) -> None:
        if not self._stdin.is_closing():
            self._stdin.write(data)

    async def drained(self) -> None:
        await self._writable.wait()

    def pause(self) -> None:
        with contextlib.suppress(RuntimeError):
            self._stdout.pause_reading()

    def resume(self) -> None:
        with contextlib.suppress(RuntimeError):
            self._stdout.resume_reading()

    async def close(self) -> None:
        self._closing = True
        self.resume()
        self._stdin.close()
        done, _ = await asyncio.wait({self._gone}, timeout=_CLOSE_GRACE)
        if not done:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await asyncio.wait({self._gone}, timeout=_CLOSE_GRACE)
        self._process.close()


def _status(returncode: int | None) -> str:
    if returncode is None:
        return "its streams were closed"
    if returncode < 0:
        try:
            return f"killed by {signal.Signals(-returncode).name}"
        except ValueError:
            return f"killed by signal {-returncode}"
    return f"exit code {returncode}"
