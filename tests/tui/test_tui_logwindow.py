"""The window on a log: its position holds whatever comes, and what it shows is what passes."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tui_world import WALL, origin

from cockpit.model.logtypes import Origin
from cockpit.tui.draw.spans import plain
from cockpit.tui.logs import matches as logmatches
from cockpit.tui.logs.drawing import Look, Times
from cockpit.tui.logs.level import Level
from cockpit.tui.logs.matches import Matches
from cockpit.tui.logs.memorylog import MemoryDocument
from cockpit.tui.logs.query import Query
from cockpit.tui.logs.search import search_of, seek
from cockpit.tui.logs.streams import ALL, RANK_0_AND_ERRORS
from cockpit.tui.logs.window import LogWindow

LOOK = Look(60, times=Times.OFF)


def _line(number: int) -> tuple[Origin, float, bytes]:
    """Every fifth step is told alike by all ranks; every seventh line is long."""
    text = f"step {number // 5}" if number % 5 else f"line {number}"
    return (
        origin(number % 4),
        WALL + number / 100,
        (text + " long" * 30 * (number % 7 == 0)).encode(),
    )


def _document(count: int, earlier: int = 0) -> MemoryDocument:
    return MemoryDocument(
        [_line(number) for number in range(count)],
        earlier=[_line(number) for number in range(-earlier, 0)],
    )


def _write(document: MemoryDocument, count: int) -> None:
    start = document.end
    for number in range(start, start + count):
        document.append(*_line(number))
    document.poll()


def _window(document: MemoryDocument, height: int = 7, pattern: str = "") -> LogWindow:
    window = LogWindow(document, LOOK)
    window.height = height
    if pattern:
        _filter(window, pattern)
    return window


def _filter(window: LogWindow, pattern: str, level: Level = Level.ALL) -> None:
    window.pin()
    search = search_of([Query(pattern)] if pattern else [], level, ALL)
    anchor = window.document.end if window.following else window.cursor
    matches = None if search is None else Matches(window.document, search, anchor)
    window.rows.refilter(matches)
    _search(window)


def _search(window: LogWindow) -> None:
    matches = window.rows.matches
    near = window.document.end if window.following else window.cursor
    if matches is not None:
        matches.advance(60, near, 20, following=window.following)


def _page(window: LogWindow) -> list[str]:
    return [plain(row.line.spans).rstrip() for row in window.view()]


class Move(NamedTuple):
    name: str
    by: int

    def __call__(self, window: LogWindow) -> None:
        getattr(window, self.name)(*([self.by] if self.name != "top" else []))


MOVES = st.lists(
    st.one_of(
        st.builds(Move, st.sampled_from(["move", "scroll", "page"]), st.integers(-9, 9)),
        st.builds(Move, st.just("go"), st.integers(-30, 120)),
        st.builds(Move, st.just("top"), st.just(0)),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=60)
@given(
    MOVES,
    st.integers(0, 120),
    st.lists(st.integers(1, 40), min_size=1, max_size=4),
    st.sampled_from(["", "step", "!step", "1"]),
    st.booleans(),
    st.booleans(),
    st.sampled_from([0, 1, 3]),
)
def test_nothing_that_arrives_moves_what_a_reader_sees(
    moves: list[Move],
    count: int,
    batches: list[int],
    pattern: str,
    wrap: bool,
    folding: bool,
    context: int,
) -> None:
    document = _document(count, earlier=30)
    window = _window(document, pattern=pattern)
    window.look = LOOK.__class__(60, times=Times.OFF, wrap=wrap)
    window.rows.folding, window.rows.context = folding, context
    window.move(-1)
    for move in moves:
        move(window)
    page, cursor = window.view(), window.cursor
    for number, batch in enumerate(batches):
        _write(document, batch)
        if number == 1:
            document.older()
            document.poll()
        _search(window)
        now = window.view()
        if len(page) < window.height:
            # There was room left; it fills, but what was there stays in its order.
            kept = [row for row in now if row[:2] in {old[:2] for old in page}]
            assert [row[:2] for row in kept] == [row[:2] for row in page][: len(kept)]
            page, cursor = now, window.cursor
            continue
        assert [row[:2] for row in now] == [row[:2] for row in page]
        assert window.cursor == cursor
    assert window.behind == sum(batches)


@settings(max_examples=60)
@given(
    st.lists(st.integers(0, 3000), max_size=4),
    st.integers(0, 300),
    st.sampled_from(["7", "step 1", "!step", "nothing"]),
    st.integers(0, 5000),
)
def test_a_filter_finds_the_same_lines_from_wherever_it_begins(
    batches: list[int], earlier: int, pattern: str, anchor: int
) -> None:
    document = _document(500, earlier)
    query = Query(pattern)
    search = search_of([query], Level.ALL, ALL)
    assert search is not None
    matches = Matches(document, search, anchor)
    for batch in batches:
        matches.advance(0, anchor, 5, following=False)
        _write(document, batch)
    document.older()
    document.poll()
    while not matches.advance(0, anchor, 5, following=False):
        pass
    expected = [line for line in range(document.first, document.end) if query.line(_line(line)[2])]
    assert [matches[index] for index in range(len(matches))] == expected
    for number in range(document.first - 1, document.end + 2, 97):
        assert matches.index(number) == sum(1 for each in expected if each < number)


def test_a_filter_that_hides_the_line_in_the_first_row_and_all_below_shows_those_above() -> None:
    document = MemoryDocument([(origin(), WALL + n, b"step %d" % n) for n in range(100)])
    window = _window(document)
    window.top()
    window.page(1)
    window.put_cursor(window.view()[0].number)
    for typed in ("s", "step 0", "step 0x", "step 0"):
        _filter(window, typed)
    assert [text.rpartition("│ ")[2] for text in _page(window)] == ["step 0"]


def test_a_filter_finds_what_fills_the_screen_first() -> None:
    document = _document(200_000)
    search = search_of([Query("line")], Level.ALL, ALL)
    assert search is not None
    matches = Matches(document, search, 100_000)
    matches.advance(0, 100_000, 20, following=False)
    matches.advance(0, 100_000, 20, following=False)
    assert matches.low < 100_000 < matches.high
    assert matches.high - matches.low < 10_000
    assert matches.index(100_000) >= 20
    assert len(matches) - matches.index(100_000) >= 20


def test_of_more_matches_than_are_held_a_follower_keeps_the_newest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logmatches, "MOST", 1000)
    document = _document(3000)
    search = search_of([Query("!x")], Level.ALL, ALL)
    assert search is not None
    matches = Matches(document, search, document.end)
    assert matches.advance(60, document.end, 10, following=True)
    assert matches.capped
    _write(document, 500)
    assert matches.advance(60, document.end, 10, following=True)
    assert len(matches) <= 1000
    assert matches[len(matches) - 1] == 3499
    # A reader keeps what is held; new lines wait.
    kept = matches[0]
    _write(document, 2000)
    assert matches.advance(60, kept, 10, following=False)
    assert matches[0] == kept
    assert matches.behind > 0


def test_folded_lines_are_hidden_until_they_are_opened() -> None:
    document = MemoryDocument(
        [(origin(rank), WALL + rank / 10, f"[rank{rank}]: boom".encode()) for rank in range(8)]
    )
    window = _window(document)
    assert len(_page(window)) == 1
    assert "▏×8 [rank0]: boom" in _page(window)[0]
    window.move(-1)
    assert window.rows.expand(window.cursor)
    assert len(_page(window)) == 7
    assert window.rows.expand(5)
    assert len(_page(window)) == 1
    assert not window.rows.expand(77)


def test_a_fold_never_hides_a_match_behind_a_line_that_is_none() -> None:
    document = MemoryDocument(
        [(origin(rank), WALL, f"[rank{rank}]: boom".encode()) for rank in range(8)]
    )
    window = _window(document, pattern="rank3")
    assert [text.partition("[")[2] for text in _page(window)] == ["rank3]: boom"]


def test_lines_around_a_match_are_shown_once() -> None:
    document = MemoryDocument(
        [
            (origin(), WALL + n, f"{'hit' if n in (5, 7, 20) else 'other'} {n}".encode())
            for n in range(30)
        ]
    )
    window = _window(document, height=30, pattern="hit")
    window.rows.context = 3
    shown = [int(text.split()[-1]) for text in _page(window)]
    assert shown == [*range(2, 11), *range(17, 24)]
    assert window.rows.before(10, 5) == [9, 8, 7, 6, 5]


def test_marks_are_drawn_where_they_were_set_and_can_be_gone_to() -> None:
    document = _document(30)
    window = _window(document)
    window.mark(WALL)
    assert _page(window)[-1].startswith("── mark 08:53:20 ──")
    _write(document, 2)
    assert _page(window)[-3].startswith("── mark")
    window.top()
    assert window.next_mark(1)
    assert window.cursor == 30
    assert not window.next_mark(1)
    window.go(10)
    window.mark(None)
    assert window.next_mark(1)
    assert window.next_mark(-1)
    assert window.cursor == 10
    row = next(i for i, text in enumerate(_page(window)) if "mark --:--:--" in text)
    assert "line 10" in _page(window)[row + 1]


def test_a_filter_keeps_the_line_that_is_read_where_it_is() -> None:
    window = _window(_document(1000), height=9)
    window.rows.folding = False
    window.go(500)
    row = [each.number for each in window.view()].index(500)
    for pattern in ("line", "", "!step", ""):
        _filter(window, pattern)
        assert [each.number for each in window.view()].index(500) == row
        assert window.cursor == 500


def test_following_shows_the_newest_and_a_step_up_stops_it() -> None:
    document = _document(100)
    window = _window(document)
    window.rows.folding = False
    _write(document, 10)
    assert window.view()[-1].number == 109
    window.move(1)
    assert window.following
    window.move(-1)
    assert not window.following
    assert window.behind == 0
    _write(document, 5)
    assert window.behind == 5
    window.follow()
    assert (window.behind, window.view()[-1].number) == (0, 114)


def test_a_line_longer_than_the_screen_can_be_read_to_its_end() -> None:
    document = MemoryDocument([(origin(), WALL, b"x" * 2000 + b"END"), _line(1)])
    window = _window(document)
    window.look = Look(60, times=Times.OFF, wrap=True)
    window.top()
    seen = []
    while "END" not in "".join(_page(window)):
        seen.append(window.position)
        assert window.scroll(3)
    assert seen
    assert set(seen) == {0}


async def test_a_line_is_sought_in_both_directions() -> None:
    document = _document(20_000)
    search = search_of([Query("line 700 ")], Level.ALL, ALL)
    assert search is not None
    search = search_of([Query("/^line 7000\\b/")], Level.ALL, ALL) or search
    assert await seek(document, search, 0, 1) == 7000
    assert await seek(document, search, 7000, 1) == 7000
    assert await seek(document, search, 7001, 1) is None
    assert await seek(document, search, 99_999, -1) == 7000
    assert await seek(document, search, 7000, -1) is None


def test_rank_0_and_the_errors_of_all_are_found_together() -> None:
    lines = [(0, "a"), (1, "b"), (1, "ValueError: x"), (None, "ERROR y"), (0, "ValueError: z")]
    document = MemoryDocument([(origin(rank), WALL, text.encode()) for rank, text in lines])
    search = search_of([], Level.ALL, RANK_0_AND_ERRORS)
    assert search is not None
    assert list(search(document, 0, 5)) == [0, 2, 3, 4]
    search = search_of([Query("z")], Level.ERROR, RANK_0_AND_ERRORS)
    assert search is not None
    assert list(search(document, 0, 5)) == [4]
