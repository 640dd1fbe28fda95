"""The screen on a real pseudo-terminal: what bytes reach it, how it begins and how it ends."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tui_pty import HERE, HOSTILE, PATIENCE, Terminal, environment

from cockpit.tui import session


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
    assert terminal.leave(signal.SIGTERM) == 0
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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_as_quitting_does(terminal: Terminal, number: int) -> None:
    terminal.read_until(b"gpu01")
    assert terminal.leave(number) == 0
    tail = terminal.seen.rpartition(b"\x1b[?1049l")[2]
    assert b"cockpit closed; 2 jobs run on" in tail


def test_a_terminal_that_is_gone_ends_it(terminal: Terminal) -> None:
    terminal.read_until(b"gpu01")
    terminal.hang_up()
    assert terminal.process.wait(PATIENCE) is not None


def test_no_color_sends_no_colour() -> None:
    with contextlib.closing(Terminal(NO_COLOR="1", COLORTERM="truecolor")) as terminal:
        terminal.read_until(b"gpu01")
        terminal.press(b"4")
        terminal.read_until(b"last line")
        assert terminal.leave() == 0
        for codes in re.findall(rb"\x1b\[([0-9;]*)m", terminal.seen):
            numbers = {int(code) for code in codes.split(b";") if code}
            assert not numbers & {*range(30, 39), *range(40, 49), *range(90, 108)}


def test_only_ascii_reaches_a_terminal_whose_locale_has_no_more() -> None:
    with contextlib.closing(Terminal(LC_ALL="C")) as terminal:
        terminal.read_until(b"gpu01")
        for key, shown in (
            (b"4", b"last line"),
            (b"3", b"first"),
            (b"2", b"failed"),
            (b"~", b"loop lag"),
            (b"\x14", b"theme cockpit"),
            (b"?", b"everywhere"),
        ):
            terminal.press(key)
            terminal.read_until(shown)
        terminal.press(b"q")  # closes the help
        assert terminal.leave() == 0
        assert re.findall(rb"[\x80-\xff]+", terminal.seen) == []


def test_a_slow_terminal_gets_fewer_frames_and_keys_pass_by_all_that_waits() -> None:
    frame = 60_000  # bytes, more than the wall and the top line need in true colour
    with contextlib.closing(Terminal(HERE / "busy_screen.py", COLORTERM="truecolor")) as terminal:
        terminal.read_slowly_until(b"4 fps", most=40 * frame)
        terminal.press(b"2")
        terminal.read_slowly_until(b"llama", most=4 * frame)
        terminal.press(b"1")
        terminal.read_slowly_until(b"n001", most=4 * frame)
        terminal.read_until(b"n001")
        assert terminal.leave() == 0


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
            [sys.executable, str(HOSTILE)], env=environment(), timeout=PATIENCE, **streams
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
        [sys.executable, "-c", code], env=environment(), capture_output=True, timeout=PATIENCE
    )
    assert done.stdout.split() == [b"False", b"False"]


def test_the_users_themes_lie_in_the_users_configuration(home: Path) -> None:
    assert session.user_themes() == home / ".config" / "cockpit" / "themes"
