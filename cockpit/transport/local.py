"""This machine as a node: the agent as a child process over pipes.

The same bootstrap as over SSH, so the runtime lies in the state folder and a job outlives an
upgrade of cockpit. The agent has a session of its own: Ctrl-C in a terminal is not for it. It
ends when its stdin closes and is never killed: work on the node's state may have to be finished,
and the agent outlives this process if need be.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import IO

from cockpit.errors import BootstrapError
from cockpit.protocol.layout import DEFAULT_STATE_DIR
from cockpit.transport.base import Channel, ChannelEvents
from cockpit.transport.bootstrap import INTERPRETERS, AgentStream, arguments, start_agent
from cockpit.transport.ptyshell import PtyShell, login_shell
from cockpit.transport.runtime import node_runtime
from cockpit.transport.shell import Shell, ShellRequest

_CLOSE_GRACE = 2.0
"""Seconds that `close` waits for the agent's end. What takes longer is let go."""
_LAST_WORDS = 1.0
"""Seconds after the agent's end in which what it wrote must have arrived."""
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

    async def shell(self, request: ShellRequest) -> Shell:
        home = os.environ.get("HOME") or "/"
        env = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
        return await PtyShell.start(login_shell(request.directory or home), env, home, request)

    async def _launch(self, python: str, stream: AgentStream) -> Channel:
        starting = asyncio.ensure_future(asyncio.to_thread(_start, arguments(python)))
        try:
            process = await asyncio.shield(starting)
        except OSError as error:
            raise BootstrapError(
                f"{self._node}: {python} cannot be started: {error.strerror or error}",
                "check the Python that runs cockpit",
            ) from error
        except asyncio.CancelledError:
            starting.add_done_callback(_abandon)
            raise
        agent = _Agent(process, stream)
        try:
            await agent.connect()
        except BaseException:
            await agent.close()
            raise
        return agent


def _start(argv: list[str]) -> subprocess.Popen[bytes]:
    pipe = subprocess.PIPE
    return subprocess.Popen(
        argv, bufsize=0, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True, cwd="/"
    )


def _abandon(starting: asyncio.Future[subprocess.Popen[bytes]]) -> None:
    """End a process that nobody waits for any more."""
    if starting.cancelled() or starting.exception() is not None:
        return
    process = starting.result()
    process.kill()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
    _when_gone(process, lambda: None)


def _when_gone(process: subprocess.Popen[bytes], callback: Callable[[], None]) -> None:
    """Call `callback` on the event loop at the end of `process`, if there is a loop then.

    A daemon thread waits, so there is no zombie while this process lives, and a process that
    outlives it is init's.
    """
    loop = asyncio.get_running_loop()

    def wait() -> None:
        process.wait()
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(callback)

    threading.Thread(target=wait, name="end of the local agent", daemon=True).start()


class _Agent:
    """One agent process; the Channel to it.

    No subprocess of asyncio's: that would be killed when its transport is thrown away.
    """

    def __init__(self, process: subprocess.Popen[bytes], stream: AgentStream) -> None:
        self._process = process
        self._stream = stream
        self._input = _Input()
        self._stdin: asyncio.WriteTransport | None = None
        self._outputs: list[asyncio.ReadTransport] = []
        self._speaking = 2
        """Outputs that have not ended."""
        self._closing = False
        self._told = False
        self._gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        _when_gone(process, self._ended)

    async def connect(self) -> None:
        """Connect the pipes, once, before anything else."""
        loop = asyncio.get_running_loop()
        self._stdin, _ = await loop.connect_write_pipe(lambda: self._input, self._process.stdin)
        self._stdin.set_write_buffer_limits(high=_HIGH_WATER)
        await self._listen(self._process.stdout, self._stream.stdout)
        await self._listen(self._process.stderr, self._stream.stderr)

    async def _listen(self, pipe: IO[bytes] | None, received: Callable[[bytes], None]) -> None:
        output = _Output(received, self._output_ended)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: output, pipe)
        self._outputs.append(transport)

    # What happens to the process

    def _output_ended(self) -> None:
        self._speaking -= 1
        if not self._speaking and self._gone.done():
            self._tell()

    def _ended(self) -> None:
        self._gone.set_result(None)
        if not self._speaking:
            self._tell()
        else:  # its last words are on their way, unless a child of its own keeps the pipe open
            asyncio.get_running_loop().call_later(_LAST_WORDS, self._tell)

    def _tell(self) -> None:
        """Let the owner know, once, that nothing more comes."""
        if self._told:
            return
        self._told = True
        self._input.writable.set()
        if self._closing:
            self._stream.closed_by_us()
        else:
            self._stream.ended(None, _status(self._process.returncode))

    # What the owner calls

    def write(self, data: bytes) -> None:
        if self._stdin is not None and not self._stdin.is_closing():
            self._stdin.write(data)

    async def drained(self) -> None:
        await self._input.writable.wait()

    async def close(self) -> None:
        self._closing = True
        if self._stdin is not None:
            self._stdin.close()
        if not self._stream.connected:
            self._process.kill()  # no agent yet, so nothing that it would have to finish
        await asyncio.wait({self._gone}, timeout=_CLOSE_GRACE)
        if self._stdin is not None and self._stdin.get_write_buffer_size():
            self._stdin.abort()
        for output in self._outputs:
            output.close()
        await asyncio.sleep(0)  # the pipes are closed in the next turn of the loop
        self._tell()


class _Input(asyncio.BaseProtocol):
    """Flow control of the agent's stdin."""

    def __init__(self) -> None:
        self.writable = asyncio.Event()
        self.writable.set()

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self.writable.set()


class _Output(asyncio.Protocol):
    """One output of the agent."""

    def __init__(self, received: Callable[[bytes], None], ended: Callable[[], None]) -> None:
        self._received = received
        self._ended = ended

    def data_received(self, data: bytes) -> None:
        self._received(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._ended()


def _status(returncode: int | None) -> str:
    if returncode is None:
        return "its streams were closed"
    if returncode < 0:
        try:
            return f"killed by {signal.Signals(-returncode).name}"
        except ValueError:
            return f"killed by signal {-returncode}"
    return f"exit code {returncode}"
