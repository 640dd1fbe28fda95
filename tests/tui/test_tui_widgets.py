"""Spans, columns, the table's cursor, the pulse: the parts that the views are made of."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.app import App, ComposeResult
from textual.events import Resize
from textual.geometry import Size
from tui_hands import running

from cockpit.tui.draw.spans import Span, cut, fit, plain
from cockpit.tui.draw.words import clock_time, fine_clock_time, size_of, span_of_time
from cockpit.tui.pulse import CALM, LATE, STRIKES, Pulse
from cockpit.tui.widgets.bars import UNKNOWN, columns, heat, level, mean, percent
from cockpit.tui.widgets.grid import Column, Row, RowGrid, cell, widths_for

TEXT = st.text(alphabet="aZ 0é字한🙂…", max_size=30)


@given(TEXT, st.integers(1, 40), st.sampled_from(["left", "right"]))
def test_fitted_text_has_exactly_the_width_that_was_asked_for(
    text: str, width: int, align: str
) -> None:
    spans = fit((Span(text[:4]), Span(text[4:], "bad")), width, align)
    assert cell_len(plain(spans)) == width


@given(TEXT, st.integers(0, 20), st.integers(0, 20))
def test_a_cut_never_exceeds_its_cells_and_starts_where_it_should(
    text: str, start: int, width: int
) -> None:
    part = cut(text, start, width)
    assert cell_len(part) <= width
    if start + width <= cell_len(text):
        assert cell_len(part) == width


def test_text_that_is_too_long_says_so() -> None:
    assert plain(fit((Span("gpu01.lab.example"),), 8)) == "gpu01.l…"


COLUMNS = (
    Column("A", 10, grow=1),
    Column("B", 5, drop=2),
    Column("C", 5, drop=1),
    Column("D", 5, grow=2),
)


def test_columns_share_spare_width_and_are_dropped_in_their_order() -> None:
    assert widths_for(COLUMNS, 28) == (10, 5, 5, 5)
    assert widths_for(COLUMNS, 34) == (12, 5, 5, 9)
    narrow = widths_for(COLUMNS, 22)
    assert narrow[1] == 0
    assert narrow[2] == 5
    assert widths_for(COLUMNS, 16) == (10, 0, 0, 5)


@given(st.integers(16, 200))
def test_columns_never_need_more_than_there_is(width: int) -> None:
    shown = [size for size in widths_for(COLUMNS, width) if size]
    assert sum(shown) + len(shown) - 1 <= width


def test_what_is_not_known_is_no_empty_bar() -> None:
    bars = columns([0.0, None, 1.0], 5)
    assert plain(bars) == f"{level(0)}{UNKNOWN}{level(1)}  "
    assert mean([None, 0.5]) == 0.5
    assert mean([None]) is None
    assert percent(None).strip() == "--"
    assert heat(1.5) == "heat7"


def test_old_values_are_drawn_without_heat_at_their_height() -> None:
    fresh, old = columns([0.9], 1), columns([0.9], 1, stale=True)
    assert fresh[0].text == old[0].text
    assert (fresh[0].tone, old[0].tone) == ("heat7", "stale")


def test_durations_and_sizes_are_short() -> None:
    assert [span_of_time(s) for s in (0.9, 59, 228, 24061, 183_600)] == [
        "0s", "59s", "3m48s", "6h41m", "2d03h",
    ]  # fmt: skip
    assert [size_of(b) for b in (0, 1536, 80 << 30, 1 << 50)] == ["0B", "1.5K", "80G", "1024T"]


@pytest.mark.parametrize("at", [None, float("inf"), 1e300, -1e300])
def test_a_time_that_cannot_be_is_dashes(at: float | None) -> None:
    assert clock_time(at) == "--:--:--"
    assert fine_clock_time(at) == "--:--:--.---"


class GridApp(App[None]):
    def compose(self) -> ComposeResult:
        yield RowGrid((Column("N", 6),), lambda n: Row((cell(f"n{n}"),)), str, empty="none")

    def get_theme_variable_defaults(self) -> dict[str, str]:
        from cockpit.tui.draw.themes import defaults

        return defaults(self.current_theme)


async def test_the_cursor_stays_with_its_item_when_items_move() -> None:
    app = GridApp()
    async with running(app, (20, 8)) as hands:
        grid = app.query_one(RowGrid)
        grid.show(list(range(50)))
        grid.move(10)
        await hands.pause()
        row = next(y for y, text in enumerate(grid.text_lines) if "n10" in text)
        grid.show([100, 101, 102, *range(50)])
        assert grid.current == 10
        assert "n10" in grid.text_lines[row]
        grid.show([100, 101, 102, *(n for n in range(50) if n != 10)])
        assert grid.current == 11
        grid.show([])
        assert grid.current is None
        assert "none" in grid.text_lines[1]


async def test_what_less_room_pushed_out_of_sight_more_room_brings_back() -> None:
    app = GridApp()
    async with running(app, (20, 2)) as hands:
        grid = app.query_one(RowGrid)
        grid.show(list(range(50)))
        grid.select("3")
        assert [text.split()[-1] for text in grid.text_lines[1:]] == ["n3"]
        for height, shown in ((4, ["n1", "n2", "n3"]), (6, ["n0", "n1", "n2", "n3", "n4"])):
            app.post_message(Resize(Size(20, height), Size(20, height)))
            await hands.pause()
            assert [text.split()[-1] for text in grid.text_lines[1:]] == shown
        assert grid.current == 3


async def test_movement_stops_at_the_ends() -> None:
    app = GridApp()
    async with running(app, (20, 8)):
        grid = app.query_one(RowGrid)
        grid.show(list(range(50)))
        grid.move(-5)
        assert grid.current == 0
        grid.page(1)
        assert grid.current == 6
        grid.bottom()
        grid.move(1)
        assert grid.current == 49
        assert grid.text_lines[-1].endswith("n49")
        grid.top()
        assert grid.current == 0


async def test_only_rows_that_are_different_are_repainted() -> None:
    app = GridApp()
    async with running(app, (20, 8)) as hands:
        grid = app.query_one(RowGrid)
        grid.show(list(range(5)))
        await hands.pause()
        before = list(grid._strips)
        grid.show([0, 1, 77, 3, 4])
        after = grid._strips
        assert [old is new for old, new in zip(before, after, strict=True)] == [
            True, True, True, False, True, True, True, True,
        ]  # fmt: skip


def test_the_pulse_slows_down_when_late_and_recovers_when_calm() -> None:
    pulse = Pulse()
    assert pulse.rate == 20
    for _ in range(STRIKES):
        pulse.observe(LATE * 2)
    assert pulse.rate == 10
    for _ in range(STRIKES * 5):
        pulse.observe(LATE * 2)
    assert pulse.rate == 4
    for _ in range(int(CALM * 4) + 1):
        pulse.observe(0.0)
    assert pulse.rate == 10


def test_the_pulse_slows_down_for_a_terminal_that_takes_some_frames_only() -> None:
    pulse = Pulse()
    for _ in range(3):
        for blocked in (False, True, True, True):
            pulse.observe(0.0, blocked)
    assert pulse.rate == 10


def test_a_late_pulse_now_and_then_changes_nothing() -> None:
    pulse = Pulse()
    for _ in range(20):
        pulse.observe(LATE * 2)
        for _ in range(5):
            pulse.observe(0.0)
    assert pulse.rate == 20


def test_a_rate_that_did_not_last_is_tried_again_later() -> None:
    def calm_until_faster(pulse: Pulse) -> float:
        slow, passed = pulse.rate, 0.0
        while pulse.rate == slow:
            passed += pulse.interval
            pulse.observe(0.0)
        return passed

    pulse = Pulse()
    waited = []
    for _ in range(3):
        for _ in range(STRIKES):
            pulse.observe(0.0, blocked=True)
        waited.append(calm_until_faster(pulse))
    assert CALM * 0.9 < waited[0] < waited[1] < waited[2]
