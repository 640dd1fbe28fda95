"""What the Fleet view costs under a real pty: 128 nodes × 8 GPUs, every figure new at each tick.

python benchmarks/bench_fleet.py [wall] [table] [datatable] [keys] [--seconds N]

A child process runs the screen (or a Textual DataTable with the same data) on a pty of 36 × 120
cells; this process reads the pty and the child's CPU clock. The figures are made before the clock
starts, so that only drawing is measured. `idle` is the same screen without news.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import select
import struct
import sys
import termios
import time
from pathlib import Path

from common import REPO, cpu_seconds, note, percentile, report, resident_mb

ROWS, COLUMNS = 36, 120
HERTZ = 10
SETTLE = 4.0
"""Seconds before the clock starts: imports and the first frames."""
CHILD = Path(__file__).with_name("fleet_child.py")


class Screen:
    """A child on a pty; its output is read and counted."""

    def __init__(self, kind: str, hertz: float) -> None:
        environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
        environment.pop("NO_COLOR", None)
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.chdir(REPO)
            os.execve(sys.executable, [sys.executable, str(CHILD), kind, str(hertz)], environment)
        size = struct.pack("HHHH", ROWS, COLUMNS, 0, 0)
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, size)
        self.received = 0

    def read(self, seconds: float, *, until_something: bool = False) -> bytes:
        """What comes within `seconds`, or the first of it."""
        end = time.perf_counter() + seconds
        got = b""
        while (left := end - time.perf_counter()) > 0:
            if not select.select([self._fd], [], [], left)[0]:
                break
            chunk = os.read(self._fd, 1 << 16)
            self.received += len(chunk)
            got += chunk
            if until_something:
                break
        return got

    def type(self, keys: bytes) -> None:
        os.write(self._fd, keys)

    def close(self) -> None:
        self.type(b"\x11")  # ctrl+q
        end = time.perf_counter() + 5
        while time.perf_counter() < end:
            done, _ = os.waitpid(self.pid, os.WNOHANG)
            if done:
                break
            try:
                self.read(0.1)
            except OSError:
                continue
        else:
            os.kill(self.pid, 9)
            os.waitpid(self.pid, 0)
        os.close(self._fd)


def cost(kind: str, hertz: float, seconds: float) -> tuple[float, float, float]:
    """CPU in percent of a core, bytes a second to the terminal, resident megabytes."""
    screen = Screen(kind, hertz)
    try:
        screen.read(SETTLE)
        before, begin, sent = cpu_seconds(screen.pid), time.perf_counter(), screen.received
        screen.read(seconds)
        took = time.perf_counter() - begin
        used = cpu_seconds(screen.pid) - before
        return 100 * used / took, (screen.received - sent) / took, resident_mb(screen.pid)
    finally:
        screen.close()


def keys(hertz: float, presses: int) -> list[float]:
    """Seconds from a key that moves the cursor to the first byte that draws it."""
    screen = Screen("wall", 0)
    taken = []
    try:
        screen.read(SETTLE)
        for number in range(presses):
            screen.read(0.02 + 0.013 * (number % 7))
            while screen.read(0.15):
                pass  # the clock in the top line is drawn once a second
            begin = time.perf_counter()
            screen.type(b"j" if number % 2 else b"k")
            if screen.read(1.0, until_something=True):
                taken.append(time.perf_counter() - begin)
    finally:
        screen.close()
    return taken


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", nargs="*", default=["wall", "table", "datatable", "keys"])
    parser.add_argument("--seconds", type=float, default=10.0)
    chosen = parser.parse_args()
    found: dict[str, float] = {}
    if {"wall", "table"} & {*chosen.what}:
        idle, _, _ = cost("wall", 0, chosen.seconds)
        note(f"idle screen, no news: {idle:.1f} % of a core")
    for kind in ("wall", "calm", "table", "datatable"):
        if kind in chosen.what or (kind == "calm" and "wall" in chosen.what):
            found[kind], rate, memory = cost(kind, HERTZ, chosen.seconds)
            detail = f"{rate / 1e3:.0f} kB/s, {memory:.0f} MB"
            if kind in ("wall", "calm"):
                what = "any figures" if kind == "wall" else "figures of a training fleet"
                report(
                    f"heat wall 128 x 8 at 10 Hz, {what}, % of a core",
                    found[kind], "<= 8", found[kind] <= 8, detail,
                )  # fmt: skip
            else:
                note(f"{kind} 128 x 8 at 10 Hz: {found[kind]:.1f} % of a core, {detail}")
    if "wall" in found and "datatable" in found:
        ratio = found["datatable"] / found["wall"]
        report("DataTable costs times the heat wall", ratio, ">= 5", ratio >= 5)
    if "keys" in chosen.what:
        taken = keys(HERTZ, 60)
        p50, p95 = percentile(taken, 0.5) * 1e3, percentile(taken, 0.95) * 1e3
        report(
            "key -> repaint of the wall, p95, ms",
            p95, "<= 15", p95 <= 15, f"p50 {p50:.1f} ms, {len(taken)} keys",
        )  # fmt: skip


if __name__ == "__main__":
    main()
