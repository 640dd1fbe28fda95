"""The supervisor's end of the search for figures in logs: starts it, listens, gives up on it.

The search itself is `logmetrics`, in a process that may hang or die without any harm: it is started
again a few times after a death, and not at all after a regular expression that does not come to
an end. Nothing here waits, but for a moment at the end.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cockpit.node import processes
from cockpit.protocol.records import ProcessId

BOOT = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from cockpit.node.supervise.logmetrics import main; main(sys.argv[1:])"
)
"""What `python -c` runs. The runtime's folder is the first argument."""

HANG = 10.0
"""Seconds without a sign of life, while there is something to read, after which it hangs."""
MOST_UNSENT = 1 << 20
"""Bytes of orders that a search may leave untaken."""
STARTS = 4
LAST_WORDS = 1.0
"""Seconds that the end waits for what was written last."""
_PAUSE = 5.0
"""Seconds between two ticks after which this process, too, must have stood still."""


class MetricFeed:
    """`patterns`: name -> regular expression. `marker`: of the attempt, `runtime`: its folder."""

    def __init__(
        self,
        patterns: Mapping[str, str],
        marker: str,
        runtime: str,
        complain: Callable[[str], None],
    ) -> None:
        self._patterns = dict(patterns)
        self._marker = marker
        self._runtime = runtime
        self._complain = complain
        self._child: subprocess.Popen[bytes] | None = None
        self._starts = 0
        self._order: dict[str, Any] | None = None
        self._rest = b""
        self._unsent = b""
        self._read = 0
        self._heard = 0.0
        self._ticked = 0.0
        self.values: dict[int, dict[str, float]] = {}
        """Local rank -> name -> the last value in the logs that are followed."""

    def follow(self, files: Sequence[tuple[int, str]]) -> None:
        """Search these logs, (local rank, absolute path), instead of what was followed before."""
        number = self._order["follow"] + 1 if self._order is not None else 0
        self._order = {"follow": number, "files": [list(file) for file in files]}
        self.values = {}
        self._read = 0
        if self._child is not None:
            self._give(self._order)
        elif self._patterns and self._starts < STARTS:
            self._start()

    def tick(self, now: float) -> None:
        """Take what was found, and see that the search goes on. `now` is monotonic seconds."""
        paused = now - self._ticked > _PAUSE
        self._ticked = now
        if self._child is None:
            return
        self._send()
        if not self._listen():
            self._end_child()
            if self._starts < STARTS:
                self._start()
            else:
                self._complain("metrics from logs: the search died again and again; it is over")
        elif paused:
            self._heard = now
        elif now - self._heard > HANG and self._is_behind():
            self._give_up(f"a regular expression did not come to an end within {HANG:g} s")

    def finish(self) -> None:
        """Take what was written last, and end the search."""
        child = self._child
        if child is None or child.stdin is None or child.stdout is None:
            return
        self._send()
        with contextlib.suppress(OSError):
            child.stdin.close()
        deadline = time.monotonic() + LAST_WORDS
        while (left := deadline - time.monotonic()) > 0:
            ready, _, _ = select.select([child.stdout], [], [], left)
            if ready and not self._listen():
                break
        self._end_child()

    def _start(self) -> None:
        self._starts += 1
        env = {name: value for name, value in os.environ.items() if not name.startswith("COCKPIT_")}
        # It counts as a part of the supervisor, not of the attempt.
        env[processes.SUPERVISOR_ENV] = self._marker
        argv = [sys.executable, "-I", "-S", "-X", "utf8", "-c", BOOT]
        try:
            self._child = subprocess.Popen(
                [*argv, self._runtime, str(os.getpid())],
                env=env,
                cwd="/",
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
            )
        except OSError as error:
            self._complain(f"metrics from logs: the search cannot be started: {error}")
            return
        for pipe in (self._child.stdin, self._child.stdout):
            assert pipe is not None
            os.set_blocking(pipe.fileno(), False)
        self._rest = self._unsent = b""
        self._heard = time.monotonic()
        self._give({"patterns": self._patterns, **(self._order or {})})

    def _give(self, order: dict[str, Any]) -> None:
        self._unsent += json.dumps(order).encode() + b"\n"
        self._send()
        if len(self._unsent) > MOST_UNSENT:
            self._give_up("the search does not take its orders")

    def _send(self) -> None:
        """As much as the search takes now; what it does not take is tried again at each tick."""
        assert self._child is not None and self._child.stdin is not None
        # A search that has died is noticed when it is listened to.
        with contextlib.suppress(OSError):
            while self._unsent:
                self._unsent = self._unsent[os.write(self._child.stdin.fileno(), self._unsent) :]

    def _give_up(self, why: str) -> None:
        self._starts = STARTS
        self._end_child()
        self._complain(f"metrics from logs: {why}; logs are not searched any more")

    def _listen(self) -> bool:
        """Read all answers that are there; False at their end."""
        assert self._child is not None and self._child.stdout is not None
        while True:
            try:
                data = os.read(self._child.stdout.fileno(), 65536)
            except BlockingIOError:
                return True
            except OSError:
                return False
            if not data:
                return False
            self._heard = time.monotonic()
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                self._take(json.loads(line))

    def _take(self, answer: dict[str, Any]) -> None:
        if "refused" in answer:
            name, why = answer["refused"]
            self._complain(f"metrics from logs: {name!r} cannot be searched for: {why}")
        elif self._order is not None and answer["follow"] == self._order["follow"]:
            self._read = answer["read"]
            for local_rank, name, value in answer["values"]:
                self.values.setdefault(local_rank, {})[name] = value

    def _is_behind(self) -> bool:
        size = 0
        for _, path in (self._order or {"files": []})["files"]:
            with contextlib.suppress(OSError):
                size += os.stat(path).st_size
        return size > self._read

    def _end_child(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        # The supervisor's loop may have reaped it, so its pid alone says nothing.
        entry = processes.stat(child.pid)
        if entry is not None and entry.ppid == os.getpid():
            identity = ProcessId(child.pid, entry.start_ticks, processes.boot_id())
            processes.send_signal(identity, signal.SIGKILL)
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(1.0)
