"""One look at the stacks of one process: by its own signal handler, else by py-spy.

Called by `stacks`, which drives many looks at once: `begin`, then `poll` until it is over or time
is up, then `answer`; `close` in any case. Nothing here waits. A signal is sent only to a process
that catches it and that has opened a stack file before: anything else would die of it.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import Any, NamedTuple

from cockpit.node import linux, processes
from cockpit.node.probing import dumps, pyspy
from cockpit.protocol import layout
from cockpit.protocol.records import ProcessId

KEEP = 1024 * 1024
"""Bytes of a stack file, which grows by each dump, after which old dumps are dropped from it."""
_SETTLED = 0.05
"""Seconds without growth after which a dump that ends like a whole one is taken as one."""
_QUIET = 0.25
"""The same for any other end: a busy machine may pause a process in the middle of its dump."""
_PATIENCE = 0.5
"""Part of the time after which py-spy is tried on a process that does not answer the signal."""

GONE = "it has ended"
INSTALL = "`pip install py-spy` into its environment on the node, and it is read from outside"


class Subject(NamedTuple):
    """Whose stacks are wanted. `rank` is None for a process that has none.

    `marker` is that of its attempt. `file`: where it writes its stacks when asked by signal, ""
    for nowhere.
    """

    rank: int | None
    local_rank: int
    process: ProcessId
    marker: str
    file: str = ""


class Status(NamedTuple):
    """From /proc/<pid>/status. `caught` and `blocked` are signal masks, of the main thread."""

    state: str
    caught: int
    blocked: int


def status(pid: int) -> Status | None:
    """None when there is no such process."""
    fields = {}
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            for line in file:
                name, _, value = line.partition(":")
                fields[name] = value.strip()
        return Status(fields["State"][:1], int(fields["SigCgt"], 16), int(fields["SigBlk"], 16))
    except (OSError, KeyError, ValueError):
        return None


class Look:
    """`timeout` seconds from now on."""

    def __init__(self, subject: Subject, timeout: float) -> None:
        self._subject = subject
        self._pid = subject.process.pid
        self._started = time.monotonic()
        self._timeout = timeout
        self._over = False
        self._threads: list[dict[str, Any]] = []
        self._how = ""
        self._error = ""
        self._file = -1
        self._offset = 0
        self._size = 0
        self._grew = 0.0
        self._spy: pyspy.Dump | None = None
        self._no_spy = False

    def begin(self) -> None:
        """Ask the process, or say why it cannot be asked."""
        now = status(self._pid)
        if now is None or not processes.is_alive(self._subject.process):
            self._fail(GONE)
        elif now.state == "T":
            self._fail(f"it is stopped (SIGSTOP); `kill -CONT {self._pid}` on the node resumes it")
        elif now.state == "t":
            self._fail("a debugger holds it")
        elif not self._ask(now):
            self._spy_on(_python(self._subject))
            if self._spy is None:
                self._fail(f"it has no handler for stacks, and no py-spy was found: {INSTALL}")

    def poll(self) -> bool:
        """True when it is over."""
        if self._over:
            return True
        if not processes.is_alive(self._subject.process):
            self._fail(GONE)
        elif self._spy is not None:
            if self._spy.poll():
                self._take(self._spy.threads, "py-spy")
                self._error = self._spy.error
        else:
            self._read(time.monotonic())
        return self._over

    def fail(self, error: OSError) -> None:
        self._fail(f"its stacks cannot be taken: {error.strerror or error}")

    def answer(self) -> dict[str, Any]:
        """STACKS of `cockpit.protocol.messages`; a look that is not over has failed."""
        if not self._over:
            self._fail(self._late())
        return {
            "rank": self._subject.rank,
            "local_rank": self._subject.local_rank,
            "pid": self._pid,
            "how": self._how,
            "error": self._error,
            "threads": self._threads,
        }

    def close(self) -> None:
        if self._spy is not None:
            self._spy.close()
        if self._file >= 0:
            os.close(self._file)
        self._spy, self._file = None, -1

    # By signal

    def _ask(self, now: Status) -> bool:
        """Send the signal if that is safe."""
        bit = 1 << (layout.STACK_SIGNAL - 1)
        if not self._subject.file or not now.caught & bit:
            return False
        try:
            flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
            self._file = os.open(self._subject.file, flags)
        except OSError:
            return False  # a handler of the user's own, or a disk that is gone
        self._offset = self._size = os.fstat(self._file).st_size
        self._grew = time.monotonic()
        # To the main thread: its stack is the one that is marked then.
        to_main = not now.blocked & bit and linux.signal_thread(
            self._pid, self._pid, layout.STACK_SIGNAL
        )
        return to_main or processes.send_signal(self._subject.process, layout.STACK_SIGNAL)

    def _read(self, now: float) -> None:
        size = os.fstat(self._file).st_size
        if size != self._size:
            self._size, self._grew = size, now
        elif size > self._offset and now - self._grew > _SETTLED:
            text = os.pread(self._file, size - self._offset, self._offset).decode(
                "utf-8", "replace"
            )
            whole = text.endswith((" in <module>\n", "  ...\n")) or now - self._grew > _QUIET
            threads = dumps.faulthandler(text) if whole and text.endswith("\n") else []
            if threads:
                self._take(threads, "signal")
                self._tidy()
        waited = now - self._started
        if not self._over and not self._no_spy and waited > _PATIENCE * self._timeout:
            self._spy_on(self._pid)

    def _tidy(self) -> None:
        """Give old dumps back to the disk; sizes and offsets stay, for others may look as well."""
        if self._offset > KEEP:
            with contextlib.suppress(OSError):  # a file that grows harms nobody soon
                linux.punch_hole(self._file, 0, self._offset - linux.BLOCK)

    # From outside

    def _spy_on(self, pid: int) -> None:
        program = pyspy.find(pid)
        if program:
            self._spy = pyspy.Dump(program, pid)
        self._no_spy = not program

    # The end

    def _take(self, threads: list[dict[str, Any]], how: str) -> None:
        self._threads, self._how, self._over = threads, how if threads else "", True

    def _fail(self, why: str) -> None:
        self._threads, self._how, self._error, self._over = [], "", why, True

    def _late(self) -> str:
        now = status(self._pid)
        if now is None:
            return GONE
        if now.state == "D":
            return (
                "it does not answer: it is in uninterruptible sleep (state D), waiting for a disk,"
                " a file system or a driver"
            )
        within = f"within {self._timeout:g} s"
        if self._spy is not None:
            return f"py-spy did not answer {within}" + (self._spy.error and f": {self._spy.error}")
        return f"it did not answer the signal for stacks {within}: {INSTALL}"


def is_python(pid: int) -> bool:
    """Whether the process runs a Python interpreter, whatever its program is called."""
    try:
        if os.path.basename(os.readlink(f"/proc/{pid}/exe")).startswith("python"):
            return True
        with open(f"/proc/{pid}/maps", "rb") as file:
            return b"/libpython" in file.read()
    except OSError:
        return False


def _python(subject: Subject) -> int:
    """The process itself, or the oldest Python process that a program around it has started."""
    pid = subject.process.pid
    if is_python(pid):
        return pid
    below = processes.descendants(pid, subject.marker)
    return next((p["pid"] for p in below if is_python(p["pid"])), pid)
