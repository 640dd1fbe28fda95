"""Log lines as they are shown: colours kept, everything else inert, folded, cut and wrapped."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tui_world import WALL, origin

from cockpit.model.logtypes import RawLine
from cockpit.text import clean_line
from cockpit.tui.draw.spans import Span, plain, width_of
from cockpit.tui.logs.drawing import Facts, Look, Times, draw, status
from cockpit.tui.logs.fold import Fold, text_of
from cockpit.tui.logs.level import Level
from cockpit.tui.logs.query import Query
from cockpit.tui.logs.sgr import runs, style_of
from cockpit.tui.logs.text import cut_spans, marked, wrapped
from cockpit.tui.logs.text import text_of as shown_of


def _raw(data: bytes, rank: int | None = 0, stream: str = "out", number: int = 0) -> RawLine:
    return RawLine(number, origin(rank, stream=stream), WALL, data)


def _text(data: bytes, look: Look = Look(80, times=Times.OFF)) -> list[str]:  # noqa: B008
    return [plain(row.spans).rstrip() for row in draw(_raw(data), look)]


@pytest.mark.parametrize(
    ("text", "tones"),
    [
        ("\x1b[31mred\x1b[0m", ["sgr color(1)"]),
        ("\x1b[1;92;44mx", ["sgr bold color(10) on color(4)"]),
        ("\x1b[38;5;208mx\x1b[39my", ["sgr color(208)", ""]),
        ("\x1b[38;2;1;2;255;4mx", ["sgr underline #0102ff"]),
        ("\x1b[48:5:7mx\x1b[49my", ["sgr on color(7)", ""]),
        ("\x9b32mx\x1b[my", ["sgr color(2)", ""]),
        ("\x1b[1mx\x1b[22my", ["sgr bold", ""]),
        ("\x1b[8mhidden\x1b[5m", [""]),
        ("\x1b[38;5;999mx\x1b[38;2;1mx\x1b[38mx\x1b[99999mx", ["", "", "", ""]),
    ],
)
def test_colours_become_tones_with_a_style(text: str, tones: list[str]) -> None:
    found = runs(text)
    assert [span.tone for span in found] == tones
    for span in found:
        if span.tone:
            assert style_of(span.tone)
            assert style_of(span.tone, colours=False).color is None


ESCAPES = st.lists(
    st.one_of(
        st.binary(max_size=8),
        st.sampled_from(
            [
                b"\x1b[31m", b"\x1b[0m", b"\x1b]0;title\x07", b"\x1b]52;c;QQ==\x1b\\", b"\x9b2J",
                b"\x1bP", b"\r", b"\t", b"\x00", b"\x1b[38;5;1", b"m", "é世\u202e\u200b".encode(),
                b"\xc2\x9b31m", b"text ", b"\x7f", b"\x1b[1;31m\x1b", b"\xe2\x80\xa8", b"[/x]",
            ]
        ),
    ),
    max_size=12,
).map(b"".join)  # fmt: skip


@given(ESCAPES, st.integers(30, 90), st.booleans(), st.integers(0, 9))
@example(b"\x1b]0;a\x1b[31mb\x07c", 40, False, 0)
def test_no_bytes_whatsoever_give_a_control_character(
    data: bytes, width: int, wrap: bool, left: int
) -> None:
    data = data.replace(b"\n", b"")
    look = Look(width, left=left, wrap=wrap, queries=(Query("e"),))
    for row in draw(_raw(data), look, 3):
        assert plain(row.spans).isprintable()
        assert width_of(row.spans) <= width


@given(ESCAPES)
def test_what_is_shown_is_the_clean_text(data: bytes) -> None:
    data = data.replace(b"\n", b"")
    shown = shown_of(data)
    assert shown.plain == plain(shown.spans)
    # Colours split a line in pieces; tab stops count from its beginning all the same. An open
    # string (DCS, OSC, …) that a colour ends may leave more or less of it, but nothing harmful.
    opened = re.search("[\x1b][PX\\]^_]|[\x90\x98\x9d-\x9f]", data.decode("utf-8", "replace"))
    if b"\t" not in data and b"\r" not in data and opened is None:
        assert shown.plain == clean_line(data)


def test_tab_stops_count_from_the_beginning_of_the_line() -> None:
    assert shown_of(b"ab\x1b[31mcd\tx").plain == "abcd    x"


def test_of_a_progress_bar_the_last_state_is_shown() -> None:
    assert _text(b"  1%|#  \r 50%|## \r100%|###|\r") == ["gpu01 r0 │ 100%|###|"]


def test_a_line_of_64_kib_is_cut_and_says_so() -> None:
    shown = shown_of(b"x" * 65536)
    assert shown.plain.endswith("… (+49152 bytes)")
    assert len(shown.plain) < 16_500
    assert len(draw(_raw(b"\xc3\xa9" * 32768), Look(80, wrap=True))) < 400


@given(
    st.lists(st.tuples(st.text("ab世é", max_size=6), st.sampled_from(["", "x"])), max_size=5),
    st.integers(2, 9),
)
def test_wrapping_loses_nothing_and_fits(parts: list[tuple[str, str]], width: int) -> None:
    spans = tuple(Span(*part) for part in parts)
    rows = wrapped(spans, width)
    assert "".join(plain(row) for row in rows) == plain(spans)
    assert all(width_of(row) <= width for row in rows)


@given(
    st.lists(st.tuples(st.text("ab世é", max_size=6), st.sampled_from(["", "x"])), max_size=5),
    st.integers(0, 9),
    st.integers(1, 9),
)
def test_cutting_spans_is_cutting_their_text(
    parts: list[tuple[str, str]], start: int, width: int
) -> None:
    spans = tuple(Span(*part) for part in parts)
    whole = (Span(plain(spans)),)
    assert plain(cut_spans(spans, start, width)) == plain(cut_spans(whole, start, width))


def test_marked_spots_go_across_spans() -> None:
    found = marked((Span("abc", "x"), Span("def")), [(1, 2), (2, 5)], "match")
    assert found == (
        Span("a", "x"), Span("b", "match"), Span("c", "match"), Span("de", "match"), Span("f"),
    )  # fmt: skip


def test_a_row_tells_stream_level_and_how_many_it_stands_for() -> None:
    look = Look(80, times=Times.OFF, label=9)
    assert plain(draw(_raw(b"hello"), look)[0].spans) == "gpu01 r0  │ hello"
    assert plain(draw(_raw(b"hello", stream="err"), look)[0].spans) == "gpu01 r0  ┊ hello"
    assert plain(draw(_raw(b"ValueError: x"), look)[0].spans) == "gpu01 r0  E ValueError: x"
    assert plain(draw(_raw(b"WARNING x", None), look)[0].spans) == "…launcher W WARNING x"
    assert plain(draw(_raw(b"hello"), look, 1007)[0].spans) == "gpu01 r0  │ ▏×1,008 hello"


def test_time_stamps_are_of_the_day_or_since_a_moment() -> None:
    def stamp(look: Look) -> str:
        return plain(draw(_raw(b"x"), look)[0].spans).partition("gpu01")[0]

    assert stamp(Look(80)) == "08:53:20.000 "
    assert stamp(Look(79)) == "08:53:20 "
    assert stamp(Look(80, times=Times.SINCE, since=WALL - 61.5)) == "    +61.500 "
    assert stamp(Look(80, times=Times.SINCE)).strip() == "--"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"[rank3]: hello ", b"hello"),
        (b"rank 12: hello", b"hello"),
        (b"[default0]:hello", b"hello"),
        (b"  [0]: hello", b"hello"),
        (b"\x1b[31m[rank0]: hello\x1b[0m", b"hello"),
        (b"ratio: 3", b"ratio: 3"),
        (b"[12 steps]", b"[12 steps]"),
    ],
)
def test_a_fold_looks_past_rank_colours_and_space(data: bytes, text: bytes) -> None:
    assert text_of(data) == text


def _fold(*lines: tuple[int, float, str]) -> Fold:
    fold = Fold()
    fold.add(
        RawLine(number, origin(rank), WALL + after, text.encode())
        for number, (rank, after, text) in enumerate(lines)
    )
    return fold


def test_equal_lines_of_several_ranks_within_a_second_are_folded() -> None:
    fold = _fold((0, 0, "[rank0]: a"), (1, 0.5, "[rank1]: a"), (2, 1.5, "a"), (1, 0.6, "b"))
    assert fold.heads == {0: [1]}


def test_the_same_rank_twice_is_not_folded_but_a_repeated_block_of_all_is() -> None:
    assert _fold((0, 0, "a"), (0, 0, "a")).heads == {}
    block = [(rank, 0.1 * rank, text) for rank in range(3) for text in ("x", "y", "x")]
    assert _fold(*block).heads == {0: [3, 6], 1: [4, 7], 2: [5, 8]}


@given(st.integers(0, 200))
def test_the_status_row_fits_and_keeps_the_most_important(width: int) -> None:
    facts = Facts(
        following=False, new=1204, held=41_230, size=10**9, rate=9812, level=Level.WARNING,
        pattern="世" * 300, matches=3, lag=120_000, notice="x" * 400,
    )  # fmt: skip
    row = status(facts, width)
    assert width_of(row.spans) <= width
    if width > 40:
        assert "+1,204 lines" in plain(row.spans)


def test_the_status_row_says_when_the_filter_lags() -> None:
    shown = plain(status(Facts(pattern="x", matches=3, held=9, lag=120_000), 120).spans)
    assert "3 of 9, 120,000 not searched yet" in shown
