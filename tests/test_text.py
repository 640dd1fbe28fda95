"""Nothing that went through `clean` can move a cursor, change a title or hide text."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cockpit.text import after_name, clean, clean_line


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("plain", "plain"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]52;c;ZXZpbA==\x1b\\text", "text"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bPq#0\x1b\\sixel", "sixel"),
        ("\x9b31mC1\x9d0;t\x9cend", "C1end"),
        ("\x1b", ""),
        ("\x1b[", ""),
        ("a\x00b\x08c\x7f", "abc"),
        ("10%\r20%\r30%", "30%"),
        ("done\r", "done"),
        ("a\tb", "a       b"),
        ("safe\u202egnp.exe", "safegnp.exe"),
        ("zero\u200bwidth\ufeff", "zerowidth"),
        ("line\u2028separator", "lineseparator"),
        ("[rank0] [/data/x] [bold]", "[rank0] [/data/x] [bold]"),
        ("ünï 🚀", "ünï 🚀"),
    ],
)
def test_text_is_made_harmless(raw: str, shown: str) -> None:
    assert clean(raw) == shown


@given(st.text())
def test_no_control_or_format_character_survives(text: str) -> None:
    for character in clean(text):
        assert unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp")


@given(st.text())
def test_cleaning_twice_is_cleaning_once(text: str) -> None:
    assert clean(clean(text)) == clean(text)


@given(st.binary(max_size=2000), st.integers(1, 50))
def test_a_line_of_any_bytes_is_bounded_text(data: bytes, limit: int) -> None:
    shown = clean_line(data, limit)
    assert len(shown) <= limit + 40
    assert "\x1b" not in shown


@pytest.mark.parametrize(
    ("message", "rest"),
    [
        ("n1: connection refused", "connection refused"),
        ("n1 (ada@n1:22): connection refused at n1:22", "connection refused at n1:22"),
        ("n1 (ada@10.0.0.7) did not answer in time", "it did not answer in time"),
        ("n1 took too long to answer", "it took too long to answer"),
        ("n10: connection refused", "n10: connection refused"),
        ("n1 and n2 differ", "n1 and n2 differ"),
        ("the ssh_config is wrong", "the ssh_config is wrong"),
        ("", ""),
    ],
)
def test_what_was_named_already_is_not_named_again(message: str, rest: str) -> None:
    assert after_name("n1", message) == rest


def test_a_cut_line_says_how_much_is_missing() -> None:
    assert clean_line(b"x" * 100, 10) == "x" * 10 + "… (+90 bytes)"
