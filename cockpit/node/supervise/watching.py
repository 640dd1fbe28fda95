"""How a supervisor waits: for its children, for signals, for a launcher process it adopted.

Used by the supervisor's keeper only; everything here belongs to the one main thread of that
process. Nothing here decides anything.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
from typing import Any, Protocol

from cockpit.node import journal, processes
from cockpit.node.supervise.folding import UNKNOWN_EXIT, Exit
from cockpit.protocol.records import ProcessId

_HARMLESS = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGTSTP)


class Launcher(Protocol):
    """The launcher process, whether this process started it or found it running."""

    @property
    def process(self) -> ProcessId:
        """Who it is."""

    @property
    def fds(self) -> list[int]:
        """Descriptors that become readable when it ends."""

    def ended(self) -> Exit | None:
        """None while it runs."""

    def terminate(self) -> None:
        """Send it one SIGTERM, if it still runs."""


class Child:
    """A launcher process that this supervisor started: its exit comes from `Bell.reap`."""

    def __init__(self, child: subprocess.Popen[bytes], process: ProcessId, bell: Bell) -> None:
        self._child = child
        self._bell = bell
        bell.awaited = process.pid
        self.process = process
        self.fds: list[int] = []

    def ended(self) -> Exit | None:
        status = self._bell.status
        if status is None:
            return None
        if self._child.returncode is None:
            # Popen must not wait for what has been reaped already.
            self._child.returncode = os.waitstatus_to_exitcode(status)
        if os.WIFSIGNALED(status):
            return Exit(None, os.WTERMSIG(status))
        return Exit(os.WEXITSTATUS(status), None)

    def terminate(self) -> None:
        if self.ended() is None:
            # Not reaped, so the number cannot have passed to another process.
            os.kill(self.process.pid, signal.SIGTERM)


class Found:
    """A launcher process that an earlier supervisor started. It is nobody's child here, so its
    exit code is known only if it wrote `launcher_exit` into `launcher_events`."""

    def __init__(self, process: ProcessId, launcher_events: str) -> None:
        self.process = process
        self._launcher_events = launcher_events
        self.fds: list[int] = []
        with contextlib.suppress(OSError, AttributeError):
            handle = os.pidfd_open(process.pid)
            # From here on the handle names one process; whether it is ours, its identity tells.
            if processes.is_alive(process):
                self.fds.append(handle)
            else:
                os.close(handle)

    def ended(self) -> Exit | None:
        if processes.is_alive(self.process):
            return None
        for event in reversed(journal.read(self._launcher_events)):
            if event["kind"] == "launcher_exit" and isinstance(event.get("code"), int):
                code = event["code"]
                return Exit(code, None) if code >= 0 else Exit(None, -code)
        return UNKNOWN_EXIT

    def terminate(self) -> None:
        processes.send_signal(self.process, signal.SIGTERM)


class Bell:
    """Wakes the main loop when a child ends, and keeps signals from ending the supervisor.

    A logout's SIGHUP, a stray SIGTERM or a terminal's Ctrl-C are taken and ignored: ending a
    supervisor would neither end nor save the training. The handlers are functions, not SIG_IGN,
    because that would be inherited by the launcher process.
    """

    def __init__(self) -> None:
        self.awaited = 0
        self.status: int | None = None
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        for number in (signal.SIGCHLD, *_HARMLESS):
            signal.signal(number, _take_note)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)

    def wait(self, seconds: float, fds: list[int]) -> None:
        """Return after `seconds`, or earlier when a signal came or one of `fds` is readable."""
        poll = select.poll()
        for fd in (self._read, *fds):
            poll.register(fd, select.POLLIN)
        ready = poll.poll(max(seconds, 0.0) * 1000)
        if any(fd == self._read for fd, _ in ready):
            os.read(self._read, 4096)

    def reap(self) -> None:
        """Take every child that has ended, orphans of the attempt included.

        The wait status of `awaited` is kept in `status`.
        """
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if pid == self.awaited and self.status is None:
                    self.status = status


def _take_note(number: int, frame: Any) -> None:
    """The wakeup descriptor has done what there was to do."""
