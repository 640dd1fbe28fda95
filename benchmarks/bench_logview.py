"""The log view under load, on a real pseudo-terminal, beside Textual's `Log` and `RichLog`.

python benchmarks/bench_logview.py [rates | memory | keys | open]

The lines lie in a mapped file behind a `LogDocument`: what is measured is the view. CPU is that of
the whole process with its terminal writer, as a share of one core; the other end of the terminal,
which reads all the time, is a process of its own and is not counted.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import mmap
import os
import pty
import select
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common import REPO, alternate, note, percentile, report, resident_mb

SIZE = (36, 120)
SECONDS = 6.0
LINE = b"2026-08-21 12:03:%02d.%03d INFO step=%09d loss=2.131 lr=3.0e-04 tok/s=3.91M grad=0.4211"
WIDTH = len(LINE % (0, 0, 0)) + 1


# ------------------------------------------------------------------ the child: one kind of view


class FileDocument:
    """Lines of equal length of a mapped file; `arrive` lets more of them be there."""

    complete = True
    notice = ""
    opening = False
    grown = 0
    selected = None
    first = 0

    def __init__(self, path: str, end: int) -> None:
        from cockpit.model.logtypes import Origin

        self._file = open(path, "rb")  # noqa: SIM115 - open while it is mapped
        self._map = mmap.mmap(self._file.fileno(), 0, prot=mmap.PROT_READ)
        self._most = len(self._map) // WIDTH
        self.origins = [
            Origin(f"gpu{r // 8:02d}", r // 8, r, r % 8, "out", 0, 0) for r in range(16)
        ]
        self._to = end
        self.end = end

    @property
    def size(self) -> int:
        return self.end * WIDTH

    def arrive(self, count: int) -> None:
        self._to += count

    def poll(self) -> bool:
        grown = self._to != self.end
        self.end = self._to
        return grown

    def lines(self, start: int, stop: int) -> list[Any]:
        from cockpit.model.logtypes import RawLine

        found = []
        for number in range(max(start, 0), min(stop, self.end, start + 10_000)):
            at = number % self._most * WIDTH
            data = self._map[at : at + WIDTH - 1]
            found.append(RawLine(number, self.origins[number % 16], 1.7e9 + number / 1e5, data))
        return found

    def at_time(self, at: float) -> int:
        return min(max(int((at - 1.7e9) * 1e5), 0), self.end)

    def search(self, finder: Any, start: int, stop: int) -> list[int]:
        return [line.number for line in self.lines(start, stop) if finder.line(line.data)]

    def older(self) -> None: ...
    def select(self, origins: Any) -> FileDocument:
        del origins
        return self

    async def save(self, path: Path) -> int:
        return path.write_bytes(self._map[:])

    def close(self) -> None: ...


def child(kind: str, rate: int, path: str, start: int) -> None:
    """Show the log for SECONDS at `rate` lines a second; print the figures to stderr's pipe."""
    from textual.app import App

    out = os.fdopen(int(os.environ["FIGURES"]), "w")
    document = FileDocument(path, start)

    class Bench(App[None]):
        CSS = "Screen { layout: vertical; }"
        ENABLE_COMMAND_PALETTE = False

        def __init__(self) -> None:
            super().__init__()
            self.animation_level = "none"
            self._sent = 0
            if kind == "ours":
                from cockpit.tui.logs.view import LogView

                self.shown: Any = LogView()
            elif kind == "log":
                from textual.widgets import Log

                self.shown = Log(max_lines=100_000)
            elif kind == "richlog":
                from textual.widgets import RichLog

                self.shown = RichLog(max_lines=100_000)
            else:
                from textual.widget import Widget

                self.shown = Widget()

        def compose(self) -> Any:
            yield self.shown

        def get_default_screen(self) -> Any:
            from cockpit.tui.terminal import MainScreen

            return MainScreen(id="_default")  # that of the cockpit

        def get_theme_variable_defaults(self) -> dict[str, str]:
            from cockpit.tui.draw import themes

            return themes.defaults(self.current_theme)

        def on_mount(self) -> None:
            if kind == "ours":
                self.shown.attach(document)
                self.shown.focus()
            out.write(f"mounted {time.monotonic()}\n")
            out.flush()
            self._begin = 0.0
            self.set_timer(1.0, self._start)

        def _start(self) -> None:
            self._begin = time.monotonic()
            self._cpu = time.process_time()
            self.set_interval(1 / 20, self._pulse)

        def _pulse(self) -> None:
            passed = time.monotonic() - self._begin
            due = int(passed * rate)
            new = due - self._sent
            self._sent = due
            if kind == "ours":
                document.arrive(new)
                if document.poll():
                    self.shown.arrived()
            elif new and kind != "empty":
                document.arrive(new)
                document.poll()
                lines = [
                    line.data.decode()
                    for at in range(document.end - new, document.end, 10_000)
                    for line in document.lines(at, min(at + 10_000, document.end))
                ]
                if kind == "log":
                    self.shown.write_lines(lines)
                else:
                    for text in lines:
                        self.shown.write(text)
            if passed >= SECONDS:
                used = (time.process_time() - self._cpu) / (time.monotonic() - self._begin)
                figures = {"cpu": used, "lines": document.end, "mb": resident_mb(os.getpid())}
                out.write(json.dumps(figures) + "\n")
                out.flush()
                self.exit()

        def on_key(self, event: Any) -> None:
            if kind == "ours" and event.key in ("k", "j", "G"):
                move = {"k": -1, "j": 1}.get(event.key)
                self.shown.move(move) if move else self.shown.bottom()

    Bench().run()


# ------------------------------------------------------------- the parent: the terminal's end


class Terminal:
    """A view in a process of its own, on a pseudo-terminal that is read all the time."""

    def __init__(self, kind: str, rate: int, path: Path, start: int = 1000) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", *SIZE, 0, 0))
        self._figures, theirs = os.pipe()
        self.begin = time.monotonic()
        self._process = subprocess.Popen(
            [sys.executable, __file__, "child", kind, str(rate), str(path), str(start)],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            pass_fds=(theirs,),
            env={
                **os.environ,
                "PYTHONPATH": str(REPO),
                "TERM": "xterm-256color",
                "COLORTERM": "truecolor",
                "FIGURES": str(theirs),
            },
            start_new_session=True,
        )
        os.close(slave)
        os.close(theirs)
        self.bytes = 0

    def read(self, wait: float) -> bytes:
        if not select.select([self._master], [], [], wait)[0]:
            return b""
        try:
            data = os.read(self._master, 1 << 16)
        except OSError:
            return b""
        self.bytes += len(data)
        return data

    def read_until(self, wanted: bytes, limit: float = 30.0) -> float:
        """Seconds since the start of the process until `wanted` was on the terminal."""
        seen = b""
        while wanted not in seen:
            seen = seen[-200:] + self.read(0.2)
            if time.monotonic() - self.begin > limit:
                raise RuntimeError(f"{wanted!r} never came")
        return time.monotonic() - self.begin

    def press(self, key: bytes) -> float:
        """Seconds from a key to the next bytes on the screen, when it is quiet."""
        while self.read(0.12):
            pass
        begin = time.monotonic()
        os.write(self._master, key)
        while not self.read(0.5):
            if time.monotonic() - begin > 2:
                raise RuntimeError("no repaint")
        return time.monotonic() - begin

    def figures(self, limit: float = 120.0) -> dict[str, float]:
        """What the view says of itself at its end."""
        deadline = time.monotonic() + limit
        while self._process.poll() is None and time.monotonic() < deadline:
            self.read(0.05)
        with os.fdopen(self._figures) as pipe:
            lines = pipe.read().splitlines()
        self.close()
        if not lines or not lines[-1].startswith("{"):
            raise RuntimeError(f"no figures: {lines}")
        found: dict[str, float] = json.loads(lines[-1])
        return found

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        with contextlib.suppress(OSError):
            os.close(self._master)


def measured(kind: str, rate: int, path: Path, start: int = 1000) -> dict[str, float]:
    terminal = Terminal(kind, rate, path, start)
    return {**terminal.figures(), "bytes": terminal.bytes}


def make_file(path: Path, size: int) -> None:
    block = b"".join(LINE % (n // 1000 % 60, n % 1000, n) + b"\n" for n in range(20_000))
    with path.open("wb") as file:
        for _ in range(max(size // len(block), 1)):
            file.write(block)


def rates(path: Path, runs: int = 3) -> None:
    ours: dict[int, float] = {}
    for rate, bar in ((0, 0.0), (1_000, 0.0), (100_000, 0.12), (1_000_000, 0.35)):
        every = [measured("ours", rate, path) for _ in range(runs)]
        ours[rate] = statistics.median(each["cpu"] for each in every)
        text = f"cockpit's log view at {rate:,} lines/s: share of a core"
        kilo = statistics.median(each["bytes"] for each in every) / SECONDS / 1e3
        detail = f"{kilo:.0f} kB/s to the terminal, {every[0]['mb']:.0f} MB resident"
        if bar:
            report(text, ours[rate], f"≤ {bar}", ours[rate] <= bar, detail)
        else:
            note(f"{text} {ours[rate]:.3f}  {detail}")
    theirs = {}
    for kind, rate in (("log", 1_000), ("log", 100_000), ("richlog", 1_000)):
        theirs[kind, rate] = measured(kind, rate, path)["cpu"]
        note(f"Textual's {kind} at {rate:,} lines/s: share of a core {theirs[kind, rate]:.3f}")
    for rate in (1_000, 100_000):
        ratio = theirs["log", rate] / ours[rate]
        report(f"Log, the better of the two / ours, {rate:,} lines/s", ratio, "≥ 5", ratio >= 5)


def memory(path: Path) -> None:
    full, empty = alternate(
        lambda: measured("ours", 100, path, 10_000_000)["mb"],
        lambda: measured("ours", 0, path, 0)["mb"],
        2,
        warmup=0,
    )
    more = statistics.median(full) - statistics.median(empty)
    report("ten million lines, MB more than an empty view", more, "≤ 10", more <= 10)


def keys(path: Path, presses: int = 60) -> None:
    terminal = Terminal("ours", 0, path)
    try:
        terminal.read_until(b"following")
        taken = [terminal.press(b"k" if n % 40 < 35 else b"j") for n in range(presses)]
    finally:
        terminal.close()
    high = percentile(taken, 0.95)
    report("key → repaint, p95 seconds", high, "≤ 0.015", high <= 0.015)
    note(f"p50 {percentile(taken, 0.5) * 1e3:.1f} ms")


def opening(folder: Path, runs: int = 5) -> None:
    large, small = folder / "large.log", folder / "small.log"
    make_file(large, 2_000_000_000)
    make_file(small, 2_000_000)

    def first_frame(path: Path) -> float:
        terminal = Terminal("ours", 0, path, path.stat().st_size // WIDTH)
        try:
            return terminal.read_until(b"following")
        finally:
            terminal.close()

    big, little = alternate(lambda: first_frame(large), lambda: first_frame(small), runs)
    ratio = statistics.median(big) / statistics.median(little)
    report("first frame of a 2 GB log / of a 2 MB log", ratio, "≤ 1.2", ratio <= 1.2)


def main(wanted: Sequence[str]) -> None:
    if wanted[:1] == ["child"]:
        child(wanted[1], int(wanted[2]), wanted[3], int(wanted[4]))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "run.log"
        make_file(path, 90_000_000)
        parts = {
            "rates": lambda: rates(path),
            "memory": lambda: memory(path),
            "keys": lambda: keys(path),
            "open": lambda: opening(folder),
        }
        for part in wanted or parts:
            parts[part]()


if __name__ == "__main__":
    main(sys.argv[1:])
