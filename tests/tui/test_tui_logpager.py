"""The pager on a real pseudo-terminal: it has the terminal, and the screen comes back."""

from __future__ import annotations

import contextlib

from tui_pty import Terminal

PAGER = """sh -c 'echo PAGED $(wc -l < "$0"); read answer; echo "GOT $answer"'"""


def test_the_pager_has_the_terminal_and_the_screen_comes_back() -> None:
    with contextlib.closing(Terminal(PAGER=PAGER)) as terminal:
        terminal.read_until(b"cockpit")
        terminal.press(b"4")
        terminal.read_until(b"following")
        terminal.press(b"P")
        # All lines of the log, and its own echo, since the keys are the pager's.
        terminal.read_until(b"PAGED 122")
        terminal.press(b"2q4\n")
        terminal.read_until(b"GOT 2q4")
        terminal.read_until(b"following")
        assert b"PAYLOADTITLE" not in terminal.seen
        assert terminal.leave() == 0
