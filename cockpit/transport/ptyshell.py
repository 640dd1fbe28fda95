"""A shell on a pseudo-terminal of this machine: for the local node, and for virtual ones."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Mapping, Sequence

from cockpit.errors import LinkError
from cockpit.transport.descriptor import Descriptor
from cockpit.transport.shell import SCRIPT, ShellRequest

_CLOSE_GRACE = 2.0
_LAST_WORDS = 0.5
"""Seconds after its end in which what it printed must have arrived."""

# A session has no terminal until it takes one, and no fork of ours may run Python code.
_TAKE_TERMINAL = (
    "import fcntl,os,sys,termios;"
    "fcntl.ioctl(0,termios.TIOCSCTTY,0);"
    "os.execvp(sys.argv[1],sys.argv[1:])"
)


def login_shell(directory: str) -> list[str]:
    """The argv of the person's own shell, in `directory`."""
    return ["/bin/sh", "-c", SCRIPT, directory]


class PtyShell:
    """Satisfies `cockpit.transport.shell.Shell`."""

    def __init__(self, process: subprocess.Popen[bytes], master: int, request: ShellRequest):
        self._process = process
        self._request = request
        self._loop = asyncio.get_running_loop()
        self._gone: asyncio.Future[None] = self._loop.create_future()
        self._silent: asyncio.Future[None] = self._loop.create_future()
        self._terminal = Descriptor(master, self._received)
        self._master = master
        threading.Thread(target=self._wait, name="end of a shell", daemon=True).start()

    @classmethod
    async def start(
        cls, argv: Sequence[str], env: Mapping[str, str], cwd: str, request: ShellRequest
    ) -> PtyShell:
        """Run `argv` on a terminal of its own. Raises LinkError when it cannot be started."""
        master, slave = os.openpty()
        os.set_blocking(master, False)
        _set_size(slave, request.columns, request.rows)
        birth = _Birth()
        environ = {**env, "TERM": request.term}
        try:
            process = await asyncio.to_thread(birth.spawn, argv, environ, cwd, os.dup(slave))
        except BaseException as error:
            os.close(master)
            birth.abandon()
            if isinstance(error, OSError):
                raise LinkError(
                    f"{argv[0]} cannot be started: {error.strerror or error}"
                ) from error
            raise
        finally:
            os.close(slave)
        return cls(process, master, request)

    def _wait(self) -> None:
        self._process.wait()
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(_settle, self._gone)

    def _received(self, data: bytes) -> None:
        if data:
            self._request.received(data)
        else:
            _settle(self._silent)

    def write(self, data: bytes) -> None:
        self._terminal.write(data)

    def resize(self, columns: int, rows: int) -> None:
        if not self._gone.done():
            _set_size(self._master, columns, rows)

    def pause(self) -> None:
        self._terminal.pause()

    def resume(self) -> None:
        if not self._silent.done():
            self._terminal.resume()

    async def ended(self) -> int:
        await asyncio.wait({self._gone})
        # A job that it left in the background may keep the terminal open for ever.
        await asyncio.wait({self._silent}, timeout=_LAST_WORDS)
        code = self._process.returncode
        return 128 - code if code < 0 else code

    async def close(self) -> None:
        self._terminal.close()  # which hangs up on all that runs there
        await asyncio.wait({self._gone}, timeout=_CLOSE_GRACE)
        if not self._gone.done():
            self._process.kill()
            await asyncio.wait({self._gone}, timeout=_CLOSE_GRACE)


class _Birth:
    """A shell that a thread starts, and whose owner may go away before it has."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._abandoned = False
        self._process: subprocess.Popen[bytes] | None = None

    def spawn(
        self, argv: Sequence[str], env: Mapping[str, str], cwd: str, slave: int
    ) -> subprocess.Popen[bytes]:
        process = _spawn(argv, env, cwd, slave)
        with self._lock:
            self._process = process
            if self._abandoned:
                _reap(process)
        return process

    def abandon(self) -> None:
        """Nobody waits for it any more: it ends, now or once it is there, and leaves no zombie."""
        with self._lock:
            self._abandoned = True
            if self._process is not None:
                _reap(self._process)


def _reap(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    threading.Thread(target=process.wait, name="end of a shell", daemon=True).start()


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _spawn(
    argv: Sequence[str], env: Mapping[str, str], cwd: str, slave: int
) -> subprocess.Popen[bytes]:
    """`slave` is ours to close: whoever asked may have gone away meanwhile."""
    python = sys.executable or "python3"
    try:
        return subprocess.Popen(
            [python, "-I", "-S", "-c", _TAKE_TERMINAL, *argv],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=dict(env),
            cwd=cwd,
            start_new_session=True,
        )
    finally:
        os.close(slave)


def _set_size(fd: int, columns: int, rows: int) -> None:
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
