"""The log: the ring and its numbers, the filter, and a reading position that never moves."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.events import MouseScrollUp
from tui_screen import Opener, Screen
from tui_world import FakeLine, chatter, healthy

from cockpit.tui.ring import LogRing, Matches, matcher
from cockpit.tui.widgets.logview import LogView

LLAMA = "llama-1a2b"


@given(st.lists(st.integers(1, 60), max_size=30))
def test_a_line_keeps_its_number_however_many_come(batches: list[int]) -> None:
    ring = LogRing(capacity=100)
    written = 0
    for size in batches:
        ring.append(chatter(size, written))
        written += size
        assert ring.end == written
        assert ring.end - ring.first <= 100
        for number in (ring.first, ring.end - 1):
            assert ring.entry(number).text.startswith(f"step={number} ")
        with pytest.raises(IndexError):
            ring.entry(ring.first - 1)
        with pytest.raises(IndexError):
            ring.entry(ring.end)


@given(st.lists(st.integers(1, 60), max_size=20), st.integers(1, 50))
def test_the_filter_finds_the_same_lines_in_any_number_of_steps(
    batches: list[int], step: int
) -> None:
    ring = LogRing(capacity=100)
    matches = Matches(ring, "7 ")
    written = 0
    for size in batches:
        ring.append(chatter(size, written))
        written += size
        matches.advance(step)
    while not matches.advance(step):
        pass
    expected = [n for n in range(ring.first, ring.end) if "7 " in ring.entry(n).text]
    assert [matches[index] for index in range(len(matches))] == expected


@pytest.mark.parametrize(
    ("pattern", "line", "found"),
    [
        ("nccl", "NCCL WARN", True),
        ("NCCL", "nccl warn", False),
        ("[rank0", "[rank0]: Traceback", True),
        (r"loss=\d+", "step=1 loss=2.1", True),
        ("a.c", "abc", True),
        ("a.c", "ab", False),
    ],
)
def test_a_filter_is_literal_unless_it_is_a_regular_expression(
    pattern: str, line: str, found: bool
) -> None:
    assert bool(matcher(pattern)(line)) is found


def test_times_and_origins_come_back_as_they_were() -> None:
    ring = LogRing()
    ring.append([FakeLine(rank=None, at=None, stream="launcher.err", text="x"), FakeLine(rank=5)])
    assert ring.entry(0).at is None
    assert ring.entry(0).origin.label == "gpu01 launcher"
    assert ring.entry(0).origin.error
    assert ring.entry(1).origin.label == "gpu01 r5"
    assert not ring.entry(1).origin.error


def _view(screen: Screen) -> LogView:
    return screen.app.query_one("#logs-log LogView", LogView)


async def test_the_reading_position_holds_while_lines_arrive_and_the_ring_trims(
    opened: Opener,
) -> None:
    async with opened(healthy()) as screen:
        screen.source.write(LLAMA, *chatter(1000))
        await screen.press("4")
        view = _view(screen)
        view._ring._capacity = 2000
        assert view.following
        await screen.press("k", "k")
        page = view.text_lines[:-1]
        position = view.position
        for start in range(1000, 2000, 250):
            screen.source.write(LLAMA, *chatter(250, start))
            await screen.pulse()
            assert view.text_lines[:-1] == page
        assert "+1,000 lines" in view.text_lines[-1]
        # Now the ring drops its oldest lines; the reader's are still held.
        screen.source.write(LLAMA, *chatter(300, 2000))
        await screen.pulse()
        assert view._ring.first > 0
        assert view.position == position
        assert view.text_lines[:-1] == page
        await screen.press("G")
        assert view.text_lines[-2].endswith("loss=0.701")
        assert view.behind == 0


async def test_a_reader_whose_lines_are_gone_is_told_so(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        screen.source.write(LLAMA, *chatter(200))
        await screen.press("4")
        view = _view(screen)
        view._ring._capacity = 300
        await screen.press("g")
        screen.source.write(LLAMA, *chatter(400, 200))
        await screen.pulse()
        assert view.position == view._ring.first
        assert "no longer held" in view.text_lines[-1]


async def test_the_filter_shows_matching_lines_and_escape_brings_back_all(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        screen.source.write(LLAMA, *chatter(300))
        await screen.press("4", "slash", *"step=7", "enter")
        view = _view(screen)
        body = [text for text in view.text_lines[:-1] if text]
        assert len(body) == 11
        assert all("step=7" in text for text in body)
        assert "11 of 300" in view.text_lines[-1]
        screen.source.write(LLAMA, FakeLine(text="step=7000"), FakeLine(text="step=8000"))
        await screen.pulse()
        assert "12 of 302" in view.text_lines[-1]
        await screen.press("escape")
        assert view.pattern == ""
        assert screen.app.view.value == "logs"
        assert "step=8000" in view.text_lines[-2]


async def test_a_filter_without_matches_says_so(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        screen.source.write(LLAMA, *chatter(10))
        await screen.press("4", "slash", *"zzz")
        assert "no line matches zzz" in _view(screen).text_lines[0]


async def test_a_long_search_leaves_the_loop_free_and_ends_right(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        screen.source.write(LLAMA, *chatter(60_000))
        await screen.press("4")
        while screen.app._feed.poll():
            pass
        view = _view(screen)
        view.filter("step=59999")
        assert len(view._matches) == 0
        deadline = time.monotonic() + 30
        while not view._scanner.is_finished and time.monotonic() < deadline:
            await screen.pilot.pause(0.01)
        assert [view._matches[n] for n in range(len(view._matches))] == [59_999]
        assert "step=59999" in view.text_lines[0]


async def test_lines_scroll_sideways_and_their_prefix_stays(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        screen.source.write(LLAMA, FakeLine(text="0123456789" * 30, stream="err"))
        await screen.press("4", "right")
        view = _view(screen)
        assert view.text_lines[0].startswith("08:53:20.000 gpu01 r0 ! 89012345")
        await screen.press("right", "left", "left", "left")
        assert " ! 01234567" in view.text_lines[0]
        await screen.press("t")
        assert view.text_lines[0].startswith("gpu01 r0 ! 0123")


async def test_remote_text_is_neither_markup_nor_control(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        screen.source.write(
            LLAMA,
            FakeLine(text="[rank0]: hello [/data/x] [red]no[/red]"),
            FakeLine(text="a\x1b]52;c;cGF5bG9hZA==\x07b\x1b[31mc\x00d\x9b2Je"),
        )
        await screen.press("4")
        assert "[rank0]: hello [/data/x] [red]no[/red]" in screen.text
        assert "│ abcde" in screen.text
        assert not any(ord(c) < 32 or 0x7F <= ord(c) < 0xA0 for c in screen.text if c != "\n")


async def test_another_job_gets_its_own_log_and_the_first_is_let_go(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        screen.source.write(LLAMA, FakeLine(text="of llama"))
        screen.source.write("abl-9f9f", FakeLine(text="of ablate"))
        await screen.press("2", "enter", "4")
        assert "of llama" in screen.text
        await screen.press("2", "j", "l")
        assert "of ablate" in screen.text
        assert "of llama" not in screen.text
        assert [log.closed for log in screen.source.logs] == [True, False]


async def test_the_wheel_stops_following_and_a_click_on_the_status_follows_again(
    opened: Opener,
) -> None:
    async with opened(healthy()) as screen:
        screen.source.write(LLAMA, *chatter(300))
        await screen.press("4")
        view = _view(screen)
        view.post_message(MouseScrollUp(view, 5, 5, 0, -1, 0, False, False, False))
        await screen.pulse()
        assert not view.following
        await screen.pilot.click(view, offset=(3, view.size.height - 1))
        assert view.following
