"""A real pseudo-terminal for the screen's benchmarks: a program on it, keys in, frames out."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Mapping, Sequence

import common

COLUMNS, ROWS = 120, 36
PATIENCE = 60.0


class Terminal:
    """Runs `argv` on a terminal of its own; a thread reads all that it draws."""

    def __init__(
        self,
        argv: Sequence[str],
        env: Mapping[str, str] | None = None,
        size: tuple[int, int] = (COLUMNS, ROWS),
    ) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
        kept = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "NO_COLOR")}
        given = {"PYTHONPATH": str(common.REPO), "TERM": "xterm-256color", "COLORTERM": "truecolor"}
        self.began = time.perf_counter()
        self.process = subprocess.Popen(
            argv,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**kept, **given, **(env or {})},
            start_new_session=True,
        )
        os.close(slave)
        self.bytes = 0
        self._changed = threading.Condition()
        self._seen = bytearray()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self.process.pid

    def _read(self) -> None:
        while True:
            select.select([self._master], [], [], None)
            try:
                data = os.read(self._master, 1 << 16)
            except OSError:
                return  # the program has left its terminal
            with self._changed:
                self.bytes += len(data)
                self._seen += data
                del self._seen[: -(1 << 20)]
                self._changed.notify_all()

    def press(self, keys: bytes) -> float:
        """Press keys; when, on the monotonic clock."""
        now = time.monotonic()
        os.write(self._master, keys)
        return now

    def forget(self) -> None:
        """`wait_for` looks only at what comes from now on."""
        with self._changed:
            self._seen.clear()

    def wait_for(self, text: bytes, patience: float = PATIENCE) -> float:
        """Seconds from the start of the program until `text` was drawn."""
        deadline = time.perf_counter() + patience
        with self._changed:
            while text not in self._seen:
                left = deadline - time.perf_counter()
                if left <= 0 or not self._changed.wait(left):
                    raise TimeoutError(f"{text!r} was never drawn: {bytes(self._seen[-2000:])!r}")
        return time.perf_counter() - self.began

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join(5.0)
        os.close(self._master)
