"""What is sought in a log: patterns, levels, streams and moments. Without a screen."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tui_world import WALL, origin

from cockpit.errors import UsageError
from cockpit.text import clean_line
from cockpit.tui.logs import moments, streams
from cockpit.tui.logs.level import Level, LevelFinder, level_of
from cockpit.tui.logs.query import Every, Query


@pytest.mark.parametrize(
    ("pattern", "line", "found"),
    [
        ("nccl", b"NCCL WARN", True),
        ("NCCL", b"nccl warn", False),
        ("[rank0", b"[rank0]: Traceback", True),
        (r"loss=\d+", b"step=1 loss=2.1", True),
        (r"\S+=7", b"STEP=7", True),
        ("a.c", b"abc", True),
        ("a.c", b"ab", False),
        ("/abc/", b"xabcx", True),
        ("/a", b"path /a", True),
        ("!abc", b"abc", False),
        ("!abc", b"ab", True),
        ("!", b"wait!", True),
        ("loss=2", b"loss=\x1b[31m2\x1b[0m", True),
        ("31m", b"loss=\x1b[31m2\x1b[0m", False),
        ("10%", b" 10%\r 99%", False),
        ("99%", b" 10%\r 99%", True),
        ("größe", "GRÖSSE größe".encode(), True),
        ("^.{3}$", "äöü".encode(), True),
        ("é|loss", b"loss", True),
        (r"\u0041", b"A", True),
        ("(a+)+$", b"aaaa", False),
        ("(a+)+$", b"text (a+)+$", True),
        ("[rank0]", b"r", False),
        ("[rank0]", b"[rank0]: hello", True),
        ("/[[a]/", b"a", True),
    ],
)
def test_a_pattern_is_literal_unless_it_is_a_regular_expression(
    pattern: str, line: bytes, found: bool
) -> None:
    assert Query(pattern).line(line) is found


def test_what_cannot_be_an_expression_says_how_it_was_taken() -> None:
    assert Query("(a+)+").note.startswith("repeats in repeats")
    assert Query("*x").note == "no regular expression: taken as plain text"
    assert Query("plain").note == Query("a.c").note == ""


TEXT = st.one_of(st.text(max_size=12), st.text("aAbB=\x1b[m1;\r\t", max_size=12))


@given(st.text("aAbB=.!\x00é", min_size=1, max_size=4), st.lists(TEXT, min_size=1, max_size=6))
@example("ab", ["a\x00b"])
@example("ab", ["a\u200bB"])
def test_a_block_that_is_passed_over_holds_no_line_that_passes(
    pattern: str, texts: list[str]
) -> None:
    lines = [text.replace("\n", "").encode("utf-8", "replace") for text in texts]
    block = b"\n".join(lines) + b"\n"
    for finder in (Query(pattern), LevelFinder(Level.WARNING), Every([Query(pattern)])):
        if any(finder.line(line) for line in lines):
            assert finder.block(block)


@given(st.text("aAbB= ", min_size=1, max_size=3), TEXT)
def test_what_is_found_is_what_is_shown(pattern: str, text: str) -> None:
    data = text.replace("\n", "").encode("utf-8", "replace")
    shown = clean_line(data)
    query = Query(pattern)
    assert query.line(data) is bool(query.spots(shown))
    assert all(shown[a:b].lower() == pattern.lower() for a, b in query.spots(shown))


@pytest.mark.parametrize(
    ("line", "level"),
    [
        (b"Traceback (most recent call last):", Level.ERROR),
        (b"[rank3]: torch.OutOfMemoryError: CUDA out of memory", Level.ERROR),
        (b"RuntimeError: boom", Level.ERROR),
        (b"2026-08-21 12:00:00,1 - root - ERROR - x", Level.ERROR),
        (b"CRITICAL:root:x", Level.ERROR),
        (b"[E1120 12:03:49.118 ProcessGroupNCCL.cpp:616] timeout", Level.ERROR),
        (b"E0820 12:03:49.118 7 file.cc:1] x", Level.ERROR),
        (b"[E ProcessGroupNCCL.cpp:475] x", Level.ERROR),
        (b'{"level": "error", "msg": "x"}', Level.ERROR),
        (b"gcc: error: no input files", Level.ERROR),
        (b"n090:4:7 [0] NCCL WARN Call to ibv failed", Level.WARNING),
        (b"W1120 12:03:49.118 x", Level.WARNING),
        (b"/a.py:3: UserWarning: x", Level.WARNING),
        (b"WARNING:root:x", Level.WARNING),
        (b"step=1 val error 0.3 mean_absolute_error=0.1", Level.ALL),
        (b"0 errors, 0 warnings", Level.ALL),
        (b"INFO all good", Level.ALL),
        (b"TERRORISE", Level.ALL),
    ],
)
def test_levels_are_recognised(line: bytes, level: Level) -> None:
    assert level_of(line) is level
    assert LevelFinder(Level.ERROR).line(line) is (level is Level.ERROR)
    assert LevelFinder(Level.WARNING).line(line) is (level is not Level.ALL)


ORIGINS = [
    origin(None, "gpu01", "err"),
    *(
        origin(rank, f"gpu0{1 + rank // 2}", stream)
        for rank in range(4)
        for stream in ("out", "err")
    ),
]


@pytest.mark.parametrize(
    ("words", "taken"),
    [
        ("r3", 2),
        ("3", 2),
        ("rank1-2", 4),
        ("r0,r3", 4),
        ("gpu02", 4),
        ("gpu02 err", 2),
        ("err", 5),
        ("launcher", 1),
        ("r0 launcher", 3),
    ],
)
def test_words_choose_streams(words: str, taken: int) -> None:
    chosen = streams.parse(words, ORIGINS).of(ORIGINS)
    assert chosen is not None
    assert len(chosen) == taken


def test_all_streams_are_chosen_by_none_and_unknown_words_are_refused() -> None:
    assert streams.parse("all", ORIGINS).of(ORIGINS) is None
    assert streams.parse("rank0+errors", ORIGINS).of(ORIGINS) is None
    with pytest.raises(UsageError, match="gpu77 names no stream"):
        streams.parse("gpu77", ORIGINS)


def test_one_goes_from_rank_to_rank_and_past_the_last_to_all() -> None:
    choice = streams.ALL
    seen = []
    for _ in range(5):
        choice = streams.beside(choice, ORIGINS, 1)
        seen.append(choice.words)
    assert seen == ["r0", "r1", "r2", "r3", ""]
    assert streams.beside(choice, ORIGINS, -1).words == "r3"
    assert streams.beside(streams.RANK_0_AND_ERRORS, ORIGINS, 1).words == "r0"
    assert streams.beside(choice, [], 1) == streams.ALL


def test_everything_that_is_offered_can_be_chosen() -> None:
    for offer in streams.offers(ORIGINS):
        streams.parse(offer.words, ORIGINS)


@pytest.mark.parametrize(
    ("text", "ago"),
    [
        ("5m", 300),
        ("-5m", 300),
        ("1h30m", 5400),
        ("2 h ago", 7200),
        ("90s", 90),
        # It is 08:53:20 on 9 October 2025.
        ("08:53", 20),
        ("08:53:19.5", 0.5),
        ("09:00", 24 * 3600 - 400),
        ("2025-10-09", 8 * 3600 + 53 * 60 + 20),
        ("2025-10-08 08:53:20", 24 * 3600),
    ],
)
def test_moments_are_understood(text: str, ago: float) -> None:
    assert time.tzname[0] == "UTC"
    assert moments.parse(text, WALL) == pytest.approx(WALL - ago)


@pytest.mark.parametrize("text", ["", "soon", "25:00", "12:61", "2025-10-09 x", "99999-01-01", "m"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no time"):
        moments.parse(text, WALL)


def test_whatever_moment_is_offered_is_understood() -> None:
    for words, _ in moments.OFFERS:
        assert moments.parse(words, WALL) < WALL
