"""The log on the screen: keys, prompts, menus, copies and files."""

from __future__ import annotations

import asyncio
import base64
import os
import re
from array import array
from pathlib import Path

import pytest
from textual.events import MouseScrollUp
from textual.widgets import Input
from tui_screen import Opener, Screen
from tui_world import WALL, FakeLine, chatter, healthy, origin

from cockpit.model.merged import QUIET
from cockpit.tui import outside
from cockpit.tui.logs import clipboard
from cockpit.tui.logs.dialogs import ChoiceDialog
from cockpit.tui.logs.level import Level
from cockpit.tui.logs.memorylog import MemoryDocument
from cockpit.tui.logs.pane import LogPane
from cockpit.tui.logs.query import Query
from cockpit.tui.logs.streams import ALL
from cockpit.tui.logs.view import LogView
from tests.model.log_world import World

LLAMA = "llama-1a2b"


def _view(screen: Screen) -> LogView:
    return screen.app.query_one("#logs-log LogView", LogView)


def _body(screen: Screen) -> list[str]:
    return [text for text in _view(screen).text_lines[:-1] if text]


def _status(screen: Screen) -> str:
    return _view(screen).text_lines[-1]


async def test_the_reading_position_holds_while_lines_arrive(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        screen.source.write(LLAMA, *chatter(1000))
        await screen.press("4")
        view = _view(screen)
        assert view.following
        await screen.press("k", "k")
        page = _body(screen)
        for start in range(1000, 2000, 250):
            screen.source.write(LLAMA, *chatter(250, start))
            await screen.pulse()
            assert _body(screen) == page
        assert "+1,000 lines" in _status(screen)
        await screen.press("G")
        assert _body(screen)[-1].endswith("loss=1.001")
        assert "following" in _status(screen)


async def test_earlier_lines_are_fetched_near_the_first_one_and_move_nothing(
    opened: Opener,
) -> None:
    async with opened(healthy()) as screen:
        lines = [tuple(line) for line in chatter(600)]
        screen.source.documents[LLAMA] = MemoryDocument(lines[300:], earlier=lines[:300])
        await screen.press("4", "k")
        page = _body(screen)
        assert page[-1].endswith("step=599 loss=2.401")
        await screen.pulse()
        assert screen.source.documents[LLAMA].first == -300
        assert _body(screen) == page


class Deep(MemoryDocument):
    """Gives `older` lines hundred by hundred."""

    def __init__(self, lines: list[FakeLine]) -> None:
        super().__init__([tuple(line) for line in lines[-100:]])
        self._rest = [tuple(line) for line in lines[:-100]]
        self._asked = False
        self.asked = 0

    @property
    def complete(self) -> bool:
        return not self._rest

    def older(self) -> None:
        self._asked = True
        self.asked += 1

    def poll(self) -> bool:
        changed = super().poll()
        if not self._asked or not self._rest:
            return changed
        self._asked = False
        self._all.earlier[:0] = self._rest[-100:]
        del self._rest[-100:]
        self._before = array("q", range(len(self._all.earlier)))
        return True


async def test_a_filter_that_does_not_fill_the_screen_looks_further_back(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        document = Deep([FakeLine(data=b"needle"), *chatter(999)])
        screen.source.documents[LLAMA] = document
        await screen.press("4", "slash", *"needle")
        assert "no match in the newest" in _body(screen)[0]
        assert _body(screen)[0].endswith("lines; looking further back…")
        for _ in range(20):
            await screen.pulse()
        assert document.complete
        assert ["needle" in text for text in _body(screen)] == [True]


async def test_a_filter_that_fills_the_screen_fetches_nothing(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        document = screen.source.documents[LLAMA] = Deep(list(chatter(1000)))
        await screen.press("4", "slash", *"step")
        for _ in range(5):
            await screen.pulse()
        assert document.asked == 0


async def test_g_goes_on_until_the_first_line_is_there(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        document = screen.source.documents[LLAMA] = Deep(list(chatter(1000)))
        await screen.press("4", "g")
        assert "fetching earlier lines…" in _status(screen)
        for _ in range(20):
            await screen.pulse()
        assert document.complete
        assert _body(screen)[0].endswith("step=0 loss=3.000")
        assert "fetching earlier lines" not in _status(screen)


@pytest.mark.parametrize("key", ["j", "slash", "escape"])
async def test_another_key_ends_the_way_to_the_first_line(opened: Opener, key: str) -> None:
    async with opened(healthy()) as screen:
        screen.source.documents[LLAMA] = Deep(list(chatter(1000)))
        await screen.press("4", "g", key)
        page = _body(screen)
        asked = screen.source.documents[LLAMA].asked
        for _ in range(20):
            await screen.pulse()
        assert _body(screen) == page
        assert screen.source.documents[LLAMA].asked == asked
        assert "fetching earlier lines" not in _status(screen)


async def test_a_progress_bar_without_a_newline_goes_on(opened: Opener, tmp_path: Path) -> None:
    world = await asyncio.to_thread(World, tmp_path, 1)
    (stream,) = world.streams
    stream.open()

    async def write(text: bytes) -> None:
        stream.write(1.0, text)
        await asyncio.to_thread(stream.send)

    async with opened(healthy()) as screen:
        document = screen.source.documents[LLAMA] = world.document()
        await write(b"epoch 1\n 1%")
        world.settle(document, QUIET + 0.5)
        await screen.press("4")
        assert _body(screen)[-1].endswith(" 1%")
        for percent in (b" 2%", b" 3%"):
            await write(b"\r" + percent)
            await screen.pulse()
            assert _body(screen)[-1].endswith(percent.decode())
            assert len(_body(screen)) == 2
        await write(b"\r100%\n")
        await screen.pulse()
        assert _body(screen)[-1].endswith("100%")
    await asyncio.to_thread(world.store.close)


async def test_what_is_sought_in_one_job_is_not_sought_in_the_next(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        screen.source.write(LLAMA, *chatter(20))
        screen.source.write("abl-9f9f", FakeLine(data=b"of ablate"))
        await screen.press("2", "enter", "4", "slash", *"step=1", "enter", "e", "L", *"r1", "enter")
        view = _view(screen)
        await screen.press("n")
        assert (view.pattern, view.choice.label) == ("step=1", "r1")
        view.find(Query("step"))
        await screen.press("2", "j", "l")
        assert "of ablate" in screen.text
        assert (view.pattern, view.found, view.level) == ("", None, Level.ALL)
        assert (view.choice, view.filtered) == (ALL, False)
        assert "step" not in screen.text.splitlines()[1]


async def test_the_filter_shows_matching_lines_and_escape_brings_back_all(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        screen.source.write(LLAMA, *chatter(300))
        await screen.press("4", "slash", *"step=7", "enter")
        assert len(_body(screen)) == 11
        assert all("step=7" in text for text in _body(screen))
        assert "11 of 300" in _status(screen)
        screen.source.write(LLAMA, FakeLine(data=b"step=7000"), FakeLine(data=b"step=8000"))
        await screen.pulse()
        assert "12 of 302" in _status(screen)
        await screen.press("exclamation_mark")
        assert "290 of 302" in _status(screen)
        assert "/!step=7" in screen.text
        await screen.press("escape")
        assert _view(screen).pattern == ""
        assert screen.app.view.value == "logs"
        assert "step=8000" in _body(screen)[-1]
        await screen.press("slash")
        assert screen.app.focused.value == "!step=7"


async def test_a_filter_without_matches_says_so(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        screen.source.write(LLAMA, *chatter(10))
        await screen.press("4", "slash", *"zzz")
        assert "no line matches zzz" in _body(screen)[0]


async def test_a_long_search_leaves_the_loop_free_and_ends_right(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        screen.source.write(LLAMA, FakeLine(data=b"needle"), *[FakeLine(data=b"hay")] * 50_000)
        await screen.press("4")
        view = _view(screen)
        view.filter("needle")
        assert view.window.rows.matches.earlier > 0
        assert "searching" in _body(screen)[0]
        await screen.until(lambda: not view.window.rows.matches.earlier)
        assert ["needle" in text for text in _body(screen)] == [True]


async def test_found_places_are_gone_to_while_all_lines_stay(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        screen.source.write(LLAMA, *chatter(900))
        await screen.press("4", "n")
        assert isinstance(screen.app.focused, Input)
        await screen.press(*"step=77", "enter")
        view = _view(screen)
        assert view.window.cursor == 779
        assert len(_body(screen)) > 20
        await screen.press("N")
        assert view.window.cursor == 778
        await screen.press("g", "n")
        assert view.window.cursor == 77
        await screen.press("N")
        await screen.says("no match of step=77 above here")
        await screen.press("escape")
        assert view.found is None
        assert screen.app.view.value == "logs"


async def test_levels_contexts_and_the_first_error(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        screen.source.write(
            LLAMA, *chatter(100), FakeLine(data=b"ValueError: x"), *chatter(50, 100),
            FakeLine(data=b"WARNING y"), *chatter(100, 150),
        )  # fmt: skip
        await screen.press("4", "e")
        assert [text.rpartition(" r0 ")[2] for text in _body(screen)] == [
            "E ValueError: x", "W WARNING y",
        ]  # fmt: skip
        await screen.press("e")
        assert len(_body(screen)) == 1
        assert "errors" in screen.text.splitlines()[1]
        await screen.press("equals_sign", "equals_sign")
        assert len(_body(screen)) == 7
        await screen.press("escape", "0")
        assert _view(screen).window.cursor == 100


async def test_one_goes_through_time_by_minutes_and_by_words(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        screen.source.write(
            LLAMA, *(FakeLine(at=WALL - 600 + n, data=f"at {n}".encode()) for n in range(600))
        )
        await screen.press("4", "left_curly_bracket")
        view = _view(screen)
        assert view.window.cursor == 539
        await screen.press("left_curly_bracket", "right_curly_bracket")
        assert view.window.cursor == 539
        await screen.press("T")
        assert isinstance(screen.app.screen, ChoiceDialog)
        await screen.press("down", "enter")
        assert view.window.cursor == 300
        await screen.press("T", *"08:44:00", "enter")
        assert view.window.cursor == 40
        await screen.press("T", *"soon", "enter")
        assert "'soon' is no time" in screen.said[-1]


async def test_streams_are_picked_from_a_menu_and_kept_when_more_come(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        screen.source.write(LLAMA, *chatter(300))
        await screen.press("4", "L", *"r3")
        assert [offer.words for offer in screen.app.screen.offered] == ["r3"]
        await screen.press("enter")
        assert all("gpu02 r3" in text for text in _body(screen))
        assert "r3" in screen.text.splitlines()[1]
        later = origin(3)._replace(attempt=1, generation=0)
        screen.source.write(
            LLAMA, FakeLine(later, WALL, b"again"), FakeLine(origin(2), WALL, b"no")
        )
        screen.frozen.passed += 1
        await screen.pulse()
        assert _body(screen)[-1].endswith("again")
        await screen.press("comma")
        assert all(" r2 " in text for text in _body(screen))
        await screen.press("a")
        assert {text[19:21] for text in _body(screen)} == {"r0", "r1", "r2", "r3"}
        await screen.press("L", *"gpu99 x", "enter")
        assert "gpu99 names no stream" in screen.said[-1]


async def test_streams_can_be_named_before_the_log_is_there(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        screen.source.write(LLAMA, *chatter(100), FakeLine(origin(1), WALL, b"KeyError: 'x'"))
        await screen.press("1", "colon", *"logs rank0+errors", "enter")
        assert screen.app.view.value == "logs"
        assert _body(screen)[-1].endswith("E KeyError: 'x'")
        assert all(" r0 " in text for text in _body(screen)[:-1])
        assert "rank 0 + errors of all" in _status(screen)


async def test_reading_goes_on_at_the_same_time_in_another_choice_of_streams(
    opened: Opener,
) -> None:
    async with opened(healthy()) as screen:
        screen.source.write(LLAMA, *chatter(900))
        await screen.press("4", "left_curly_bracket", *["ctrl+f"] * 9, "m")
        view = _view(screen)
        at = view.moment
        assert not view.following
        await screen.press("full_stop")
        assert not view.following
        assert abs(view.moment - at) < 0.05
        assert [mark.at for mark in view.window.marks] == [at]


async def test_a_moment_before_all_that_is_held_is_fetched_and_gone_to(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        lines = [tuple(line) for line in chatter(600)]
        screen.source.documents[LLAMA] = MemoryDocument(lines[300:], earlier=lines[:300])
        await screen.press("4", "colon", *"time 08:52:21", "enter")
        view = _view(screen)
        assert "is being fetched" in screen.said[-1]
        assert view.moment == pytest.approx(WALL - 59)
        assert view.window.cursor == -200


async def test_equal_lines_of_ranks_are_one_row_that_enter_opens(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        screen.source.write(
            LLAMA, *(FakeLine(origin(r), data=f"[rank{r}]: boom".encode()) for r in range(4))
        )
        await screen.press("4")
        assert ["▏×4 [rank0]: boom" in text for text in _body(screen)] == [True]
        await screen.press("k", "enter")
        assert len(_body(screen)) == 4
        await screen.press("enter")
        assert len(_body(screen)) == 1
        await screen.press("z")
        assert len(_body(screen)) == 4
        await screen.press("enter")
        assert "stands for no others" in screen.said[-1]


async def test_lines_scroll_sideways_wrap_and_keep_their_prefix(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        screen.source.write(LLAMA, FakeLine(data=b"0123456789" * 30))
        await screen.press("4", "right")
        assert _body(screen)[0].startswith("08:53:20.000 gpu01 r0 │ 89012345")
        await screen.press("right", "left", "left", "left")
        assert " │ 01234567" in _body(screen)[0]
        await screen.press("w", "t", "t")
        assert _body(screen)[0].startswith("gpu01 r0 │ 0123")
        assert len(_body(screen)) == 3
        assert _body(screen)[1].startswith("           9012345")


async def test_colours_stay_unless_the_person_wants_none(
    opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = FakeLine(data=b"\x1b[38;2;1;2;3mred\x1b[0m \x1b[1mbold")

    async def styles() -> tuple[object, object]:
        async with opened(healthy()) as screen:
            screen.source.write(LLAMA, line)
            await screen.press("4")
            segments = list(_view(screen)._strips[0])
            red = next(each for each in segments if each.text == "red")
            bold = next(each for each in segments if each.text == "bold")
            assert bold.style.bold
            return red.style.color, screen.app.theme

    colour, _ = await styles()
    assert colour.triplet == (1, 2, 3)
    monkeypatch.setenv("NO_COLOR", "1")
    colour, _ = await styles()
    assert colour is None or colour.triplet is None


async def test_remote_text_is_neither_markup_nor_control(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        screen.source.write(
            LLAMA,
            FakeLine(data=b"[rank0]: hello [/data/x] [red]no[/red]"),
            FakeLine(data=b"a\x1b]52;c;cGF5bG9hZA==\x07b\x1b[31mc\x00d\xc2\x9b2Je"),
        )
        await screen.press("4")
        assert "[rank0]: hello [/data/x] [red]no[/red]" in screen.text
        assert "│ abcde" in screen.text
        assert not any(ord(c) < 32 or 0x7F <= ord(c) < 0xA0 for c in screen.text if c != "\n")


async def test_a_flood_costs_the_screen_only_and_folds_again_when_it_is_read(
    opened: Opener,
) -> None:
    async with opened(healthy()) as screen:
        screen.source.write(LLAMA, *chatter(10))
        await screen.press("4")
        alike = [FakeLine(origin(n % 4), WALL, b"alike") for n in range(40_000)]
        screen.source.write(LLAMA, *alike)
        await screen.pulse()
        assert "fold waits" in _status(screen)
        assert not any("×" in text for text in _body(screen))
        await screen.press("k")
        assert "fold on" in _status(screen)
        assert any("▏×4 alike" in text for text in _body(screen))


async def test_another_job_gets_its_own_log_and_the_first_is_let_go(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        screen.source.write(LLAMA, FakeLine(data=b"of llama"))
        screen.source.write("abl-9f9f", FakeLine(data=b"of ablate"))
        await screen.press("2", "enter", "4")
        assert "of llama" in screen.text
        await screen.press("2", "j", "l")
        assert "of ablate" in screen.text
        assert "of llama" not in screen.text
        assert screen.source.documents[LLAMA].closed
        assert not screen.source.documents["abl-9f9f"].closed


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
        await screen.click(view, offset=(30, 2))
        assert view.window.cursor == view.window.position + 2
        await screen.click(view, offset=(3, view.size.height - 1))
        assert view.following


async def test_selected_lines_are_copied_to_the_clipboard_and_to_a_file(
    opened: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TMUX", raising=False)
    async with opened(healthy(), state_file=tmp_path / "screen.json") as screen:
        screen.source.write(LLAMA, *chatter(300))
        await screen.press("4")
        sent: list[str] = []
        monkeypatch.setattr(screen.app._driver, "write", sent.append)
        await screen.press("k", "v", "k", "k")
        assert "3 selected" in _status(screen)
        await screen.press("y")
        await screen.says(f"3 lines copied to the clipboard and written to {tmp_path}")
        written = (tmp_path / "saved" / "copied.txt").read_text()
        assert [text.split()[:3] for text in written.splitlines()] == [
            ["gpu01", "r0", "step=296"], ["gpu01", "r1", "step=297"], ["gpu02", "r2", "step=298"],
        ]  # fmt: skip
        assert (tmp_path / "saved" / "copied.txt").stat().st_mode & 0o777 == 0o600
        (escape,) = [text for text in sent if "]52;" in text]
        encoded = re.fullmatch("\x1b]52;c;(.*)\x07", escape)
        assert encoded is not None
        assert base64.b64decode(encoded[1]).decode() == written
        await screen.press("escape", "y")
        await screen.says("1 line copied")
        assert (tmp_path / "saved" / "copied.txt").read_text() == "step=296 loss=2.704"


def test_what_is_too_much_for_a_clipboard_is_not_sent_and_tmux_gets_it_wrapped() -> None:
    assert clipboard.sequence("x" * 56_244, {}) != ""
    assert clipboard.sequence("x" * 56_248, {}) == ""
    wrapped = clipboard.sequence("hi", {"TMUX": "/tmp/tmux-0/default,1,0"})
    assert wrapped == "\x1b]52;c;aGk=\x07\x1bPtmux;\x1b\x1b]52;c;aGk=\x07\x1b\\"


async def test_the_whole_log_is_saved_to_a_file_that_does_not_exist_yet(
    opened: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path.home() / ".local/state/cockpit/saved"
    folder.mkdir(parents=True)
    (folder / f"{LLAMA}.log").write_text("mine")
    async with opened(healthy()) as screen:
        screen.source.write(LLAMA, *chatter(300))
        await screen.press("4", "ctrl+s")
        await screen.says("saved")
        saved = folder / f"{LLAMA}-2.log"
        assert str(saved) in screen.said[-1]
        assert len(saved.read_bytes().splitlines()) == 300
        assert (folder / f"{LLAMA}.log").read_text() == "mine"
        assert folder.stat().st_mode & 0o777 == 0o700
        assert list(tmp_path.iterdir()) == []
        assert _view(screen).busy == ""


async def test_the_pager_gets_what_is_shown_as_clean_text(
    opened: Opener, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[tuple[list[str], str]] = []

    async def run(app: object, argv: list[str]) -> int:
        seen.append((argv, await asyncio.to_thread(Path(argv[-1]).read_text)))
        return 3

    monkeypatch.setattr(outside, "outside", run)
    monkeypatch.setenv("PAGER", "less -R")
    async with opened(healthy()) as screen:
        screen.source.write(LLAMA, *chatter(300), FakeLine(data=b"step=7 \x1b]0;evil\x07"))
        await screen.press("4", "slash", *"step=7", "enter", "k", "P")
        await screen.says("less ended with 3")
    ((argv, text),) = seen
    assert argv[:3] == ["less", "-R", "+11"]
    assert len(text.splitlines()) == 12
    assert all("step=7" in line for line in text.splitlines())
    assert text.replace("\n", "").isprintable()
    assert not os.path.exists(argv[-1])


async def test_without_a_terminal_to_hand_over_the_pager_says_so(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        screen.source.write(LLAMA, *chatter(3))
        await screen.press("4", "P")
        await screen.says("cannot be handed to another program")


def test_the_program_of_a_variable_is_a_command_line() -> None:
    environ = {"PAGER": "less -R '+G x'", "EDITOR": " "}
    assert outside.chosen(("VISUAL", "PAGER"), "more", environ) == ["less", "-R", "+G x"]
    assert outside.chosen(("EDITOR",), "vi", environ) == ["vi"]
    with pytest.raises(Exception, match="no command line"):
        outside.chosen(("PAGER",), "less", {"PAGER": "less '"})


async def test_switches_are_remembered_and_nonsense_is_not_taken(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        await screen.press("4", "w", "z", "t", "t")
        pane = screen.app.query_one("#logs-log", LogPane)
        assert pane.memory() == {"wrap": True, "times": "off", "fold": False}
        pane.recall({"wrap": False, "times": "clock", "fold": True})
        assert pane.memory() == {"wrap": False, "times": "clock", "fold": True}
        pane.recall({"wrap": 3, "times": [], "fold": None})
        assert pane.memory() == {"wrap": False, "times": "clock", "fold": True}


async def test_lines_from_before_a_log_was_opened_are_no_rate(
    opened: Opener,
) -> None:
    async with opened(healthy()) as screen:
        screen.source.write(LLAMA, *chatter(400))
        await screen.press("4")
        screen.source.write(LLAMA, *chatter(7))
        screen.frozen.passed += 1
        await screen.pulse()
        assert "in 7/s" in _status(screen)


async def test_the_rate_of_lines_is_shown(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        await screen.press("4")
        for _ in range(2):
            screen.source.write(LLAMA, *chatter(200))
            screen.frozen.passed += 1
            await screen.pulse()
        assert "in 200/s" in _status(screen)
        screen.frozen.passed += 1
        await screen.pulse()
        assert "/s" not in _status(screen)
