"""The screen on a real pseudo-terminal: what bytes reach it, how it begins and how it ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cockpit.tui import session

SCRIPT = Path(__file__).with_name("hostile_screen.py")
ROOT = Path(__file__).parents[2]
PATIENCE = 60.0
"""Seconds that any single thing may take on a busy machine."""


def _environment(**more: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("COLUMNS", "LINES"))}
    path = os.pathsep.join((str(ROOT), str(SCRIPT.parent)))
    return {**kept, "PYTHONPATH": path, "TERM": "xterm-256color", **more}


class Terminal:
    """A pseudo-terminal of 120 × 36 with the screen on it; remembers every byte."""

    def __init__(self, **environment: str) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 36, 120, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, str(SCRIPT)],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=_environment(**environment),
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

    def _read(self, wait: float) -> bool:
        if select.select([self._master], [], [], wait)[0]:
            try:
                data = os.read(self._master, 65536)
            except OSError:
                return False
            self.seen += data
            return bool(data)
        return True

    def press(self, keys: bytes) -> None:
        os.write(self._master, keys)

    def leave(self) -> int:
        self.press(b"q")
        deadline = time.monotonic() + PATIENCE
        while self._read(0.2) and time.monotonic() < deadline and self.process.poll() is None:
            pass
        code = self.process.wait(PATIENCE)
        while select.select([self._master], [], [], 0.1)[0] and self._read(0.1):
            pass
        return code

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(PATIENCE)
        os.close(self._master)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    terminal = Terminal()
    with contextlib.closing(terminal):
        yield terminal


def test_no_escape_of_a_remote_text_reaches_the_terminal(terminal: Terminal) -> None:
    terminal.read_until(b"gpu01")
    for key, shown in (
        (b"4", b"last line"),
        (b"3", b"first"),
        (b"2", b"failed"),
        (b"\x04", b"Cancel"),
    ):
        terminal.press(b"j" if key == b"\x04" else b"")
        terminal.press(key)
        terminal.read_until(shown)
    terminal.press(b"\x1b")
    time.sleep(0.5)
    assert terminal.leave() == 0
    seen = terminal.seen
    # The words of the red text are ordinary text, so the lines did come through …
    assert b"PAYLOADRED" in seen
    assert b"[rank0] [/data/x]" in seen
    # … but no sequence with what it carried, neither as sequence nor as text.
    for payload in (b"PAYLOAD52", b"PAYLOADTITLE", b"PAYLOADDCS", b"\x1b]52", b"\x1b]0;", b"\x1bP"):
        assert payload not in seen
    assert not re.search(rb"\x1b\[[0-9;]*mPAYLOADRED\x00", seen)
    assert b"\x00" not in seen
    assert b"\xc2\x9b" not in seen


def test_quitting_restores_the_terminal_and_says_that_jobs_run_on(terminal: Terminal) -> None:
    terminal.read_until(b"gpu01")
    assert terminal.leave() == 0
    tail = terminal.seen.rpartition(b"\x1b[?1049l")[2]
    assert b"cockpit closed; 2 jobs run on" in tail
    assert b"\x1b]" not in tail


def test_no_color_sends_no_colour() -> None:
    with contextlib.closing(Terminal(NO_COLOR="1", COLORTERM="truecolor")) as terminal:
        terminal.read_until(b"gpu01")
        terminal.press(b"4")
        terminal.read_until(b"last line")
        assert terminal.leave() == 0
        for codes in re.findall(rb"\x1b\[([0-9;]*)m", terminal.seen):
            numbers = {int(code) for code in codes.split(b";") if code}
            assert not numbers & {*range(30, 39), *range(40, 49), *range(90, 108)}


def test_an_unknown_theme_is_refused_before_anything_is_drawn() -> None:
    with contextlib.closing(Terminal(SCREEN_THEME="cockpit-drak")) as terminal:
        terminal.read_until(b"there is no theme 'cockpit-drak'")
        assert terminal.process.wait(PATIENCE) == 64
        assert b"\x1b[?1049h" not in terminal.seen


@pytest.mark.parametrize("closed", ["stdin", "stdout", "stderr"])
def test_without_a_terminal_the_screen_refuses_with_64(closed: str) -> None:
    master, slave = pty.openpty()
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), slave)
    kinds = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    streams[closed] = kinds[closed]
    try:
        done = subprocess.run(
            [sys.executable, str(SCRIPT)], env=_environment(), timeout=PATIENCE, **streams
        )
        assert done.returncode == 64
        os.set_blocking(master, False)
        said = done.stderr or b""
        with contextlib.suppress(BlockingIOError, OSError):
            said += os.read(master, 65536)
        assert b"needs a terminal" in said
        assert b"cockpit ps" in said
        assert b"\x1b" not in said
    finally:
        os.close(slave)
        os.close(master)


def test_importing_the_room_does_not_import_textual() -> None:
    code = "import sys, cockpit.tui; print('textual' in sys.modules, 'asyncssh' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], env=_environment(), capture_output=True, timeout=PATIENCE
    )
    assert done.stdout.split() == [b"False", b"False"]


def test_the_users_themes_lie_in_the_users_configuration(home: Path) -> None:
    assert session.user_themes() == home / ".config" / "cockpit" / "themes"
