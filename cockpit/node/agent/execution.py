"""The operation `exec`: one command, its output as it comes, its end; gone when the stream closes.

The command is a list for execve, runs in a session of its own with /dev/null as its input, and
its whole process group is killed when the controller closes the stream, is gone, or time is up.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from typing import IO

from cockpit.node import openfiles
from cockpit.node.agent.streams import Services, Stream
from cockpit.node.arguments import Arguments
from cockpit.node.failures import RequestFailedError
from cockpit.protocol.frames import INITIAL_CREDIT

STDOUT, STDERR = 0, 1
"""The "offset" of a DATA frame tells which of the two it is."""
READ_SIZE = 64 * 1024
_FIRST_LOOK = 0.002
_LAST_LOOK = 0.1
"""Seconds between looks whether the command has ended, growing from first to last."""


class _Pipe:
    """One output of the command: read only when the connection has room for it."""

    def __init__(self, execution: Execution, which: int, file: IO[bytes]) -> None:
        self._execution = execution
        self._which = which
        self._file = file
        self._loop = execution.services.loop
        self.open = True
        self.last_call = False
        """The command has ended; what is not there now is not its own."""
        os.set_blocking(file.fileno(), False)
        self._watch()

    def produce(self) -> bool:
        length = min(READ_SIZE, self._execution.credit_left)
        if not self.open or length <= 0:
            return False  # credit wakes it
        try:
            data = os.read(self._file.fileno(), length)
        except BlockingIOError:
            if self.last_call:
                self._execution.pipe_closed(self)
            else:
                self._watch()
            return False
        except OSError as error:
            self._execution.fail(error)
            return False
        if not data:
            self._execution.pipe_closed(self)
            return False
        self._execution.credit_left -= len(data)
        self._execution.send_data(self._which, data)
        return True

    def close(self) -> None:
        if self.open:
            self.open = False
            self._loop.unwatch(self._file.fileno())
            self._file.close()

    def wake(self) -> None:
        if self.open:
            self._loop.unwatch(self._file.fileno())
            self._execution.services.connection.schedule(self)

    def _watch(self) -> None:
        self._loop.watch(self._file.fileno(), self.wake)


class Execution(Stream):
    def __init__(self, services: Services, number: int, arguments: Arguments) -> None:
        super().__init__(services, number)
        self._argv = arguments.texts("argv")
        self._env = {**os.environ, **arguments.text_mapping("env")}
        self._cwd = os.path.expanduser(arguments.text("cwd", "~"))
        self._timeout = arguments.optional_seconds("timeout")
        if not self._argv:
            raise arguments.wrong("argv", "a list with at least the program")
        if any("\0" in part for part in [*self._argv, *self._env, *self._env.values(), self._cwd]):
            raise RequestFailedError("bad_request", "`exec` takes no NUL characters")
        self.credit_left = INITIAL_CREDIT
        """Bytes of output, of both kinds together, that may be sent."""
        self._process: subprocess.Popen[bytes] | None = None
        self._pipes: list[_Pipe] = []
        self._kill_wanted = False
        self._timed_out = False
        self._ended_by: tuple[int | None, int | None] | None = None
        self._delay = _FIRST_LOOK

    def start(self) -> None:
        # Vital: a command that starts while the controller goes must still be found and killed.
        self.services.workers.submit(self._spawn, self._spawned, vital=True)

    def _spawn(self) -> subprocess.Popen[bytes]:
        try:
            process = subprocess.Popen(
                self._argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=self._cwd,
                env=self._env,
                start_new_session=True,
            )
        except OSError as error:
            subject = error.filename if error.filename is not None else self._argv[0]
            raise RequestFailedError(
                "not_executed",
                f"cannot run {self._argv[0]!r} on {self.services.node.host}: "
                f"{os.fsdecode(subject)}: {error.strerror}",
            ) from error
        openfiles.restore_for(process.pid)
        return process

    def _spawned(self, process: subprocess.Popen[bytes], error: Exception | None) -> None:
        if error is not None:
            self.fail(error)
            return
        self._process = process
        if self.ended:
            self.release()
            return
        assert process.stdout is not None
        assert process.stderr is not None
        self.reply({"pid": process.pid})
        self._pipes = [
            _Pipe(self, STDOUT, process.stdout),
            _Pipe(self, STDERR, process.stderr),
        ]
        if self._timeout is not None:
            self.later(self._timeout, self._time_is_up)
        if self._kill_wanted:
            self.close()
        self._look_later()

    def _look_later(self) -> None:
        self.later(self._delay, self._look)
        self._delay = min(self._delay * 2, _LAST_LOOK)

    def _look(self) -> None:
        """Whether the command has ended; its background children may hold the pipes open."""
        assert self._process is not None
        code = self._process.poll()
        if code is None:
            self._look_later()
            return
        self._ended_by = (code, None) if code >= 0 else (None, -code)
        for pipe in self._pipes:
            pipe.last_call = True
            pipe.wake()
        self._conclude()

    def credit(self, amount: int) -> None:
        self.credit_left += amount
        for pipe in self._pipes:
            pipe.wake()

    def pipe_closed(self, pipe: _Pipe) -> None:
        pipe.close()
        self._delay = _FIRST_LOOK  # its end is near
        self._conclude()

    def _conclude(self) -> None:
        if self._ended_by is not None and not any(pipe.open for pipe in self._pipes):
            code, number = self._ended_by
            self.end({"code": code, "signal": number, "timed_out": self._timed_out})

    def _time_is_up(self) -> None:
        self._timed_out = True
        self._kill()

    def close(self) -> None:
        """Nobody wants the output any more; END comes when the command is gone."""
        self._kill_wanted = True
        self._kill()
        for pipe in self._pipes:
            pipe.close()

    def _kill(self) -> None:
        # Until it is reaped, its number cannot mean another group.
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def release(self) -> None:
        self._kill()
        for pipe in self._pipes:
            pipe.close()
