"""The screen in a process of its own on a pseudo-terminal, whose every byte is remembered."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

HERE = Path(__file__).parent
HOSTILE = HERE / "hostile_screen.py"
ROOT = HERE.parents[1]
PATIENCE = 60.0
"""Seconds that any single thing may take on a busy machine."""


def environment(**more: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("COLUMNS", "LINES"))}
    path = os.pathsep.join((str(ROOT), str(HERE)))
    return {**kept, "PYTHONPATH": path, "TERM": "xterm-256color", **more}


class Terminal:
    """A pseudo-terminal of 120 × 36 with the screen on it; remembers every byte."""

    def __init__(self, script: Path = HOSTILE, *arguments: str, **more: str) -> None:
        """`more`: variables of its environment."""
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 36, 120, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, str(script), *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment(**more),
            start_new_session=True,
        )
        os.close(slave)
        self.seen = b""

    def read_until(self, wanted: bytes) -> None:
        """Read until `wanted` came after the call."""
        start = len(self.seen)
        deadline = time.monotonic() + PATIENCE
        while wanted not in self.seen[start:]:
            assert time.monotonic() < deadline, f"{wanted!r} never came: {self.seen[start:]!r}"
            self._read(0.2)

    def read_slowly_until(self, wanted: bytes, most: int) -> None:
        """As `read_until`, as a link of 60 kB/s does it; fails after `most` bytes."""
        start = len(self.seen)
        deadline = time.monotonic() + PATIENCE
        while wanted not in self.seen[start:]:
            assert len(self.seen) - start <= most, f"{wanted!r} did not come in {most} bytes"
            assert time.monotonic() < deadline, f"{wanted!r} never came"
            self._read(0.2, 600)
            time.sleep(0.01)

    def _read(self, wait: float, most: int = 65536) -> bool:
        if select.select([self._master], [], [], wait)[0]:
            try:
                data = os.read(self._master, most)
            except OSError:
                return False
            self.seen += data
            return bool(data)
        return True

    def press(self, keys: bytes) -> None:
        os.write(self._master, keys)

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def leave(self, number: int | None = None) -> int:
        """Press q, or send the process a signal, and read to the end; its exit code."""
        if number is None:
            self.press(b"q")
        else:
            self.process.send_signal(number)
        deadline = time.monotonic() + PATIENCE
        while self._read(0.2) and time.monotonic() < deadline and self.process.poll() is None:
            pass
        code = self.process.wait(PATIENCE)
        while select.select([self._master], [], [], 0.1)[0] and self._read(0.1):
            pass
        return code

    def hang_up(self) -> None:
        """Close it without a word, as a lost pty does."""
        os.close(self._master)
        self._master = -1

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(PATIENCE)
        if self._master >= 0:
            os.close(self._master)
