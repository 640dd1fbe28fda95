"""ASCII mode: whatever is drawn, by us or by Textual, and whoever wrote it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from tui_screen import Opener
from tui_world import chatter, healthy, node, troubled

from cockpit.tui.draw import words
from cockpit.tui.draw.ascii_only import suits, to_ascii
from cockpit.tui.fleet.condition import Condition
from cockpit.tui.house.events import GLYPHS
from cockpit.tui.widgets.bars import LEVELS


@given(st.text())
def test_what_stands_for_a_text_is_ascii_and_as_wide(text: str) -> None:
    # Joined and zero-width characters never get here: `clean` has taken them.
    plain = "".join(character for character in text if cell_len(character))
    assert to_ascii(plain).isascii()
    assert len(to_ascii(plain)) == sum(cell_len(character) for character in plain)


@pytest.mark.parametrize(
    "glyphs",
    [
        [glyph for glyph, _ in words.JOB.values()],
        [glyph for glyph, _ in words.NODE.values()],
        [glyph for glyph, _ in words.RANK.values()],
        [glyph for glyph, _ in words.STAGE.values()],
        [glyph for glyph, _ in words.LINK.values()],
        [each.glyph for each in Condition],
        list(LEVELS),
        list(GLYPHS.values()),
    ],
)
def test_shapes_stay_different_from_each_other(glyphs: list[str]) -> None:
    drawn = [to_ascii(glyph) for glyph in dict.fromkeys(glyphs)]
    assert len(set(drawn)) == len(drawn)
    unknown = [glyph for glyph in glyphs if glyph != "?" and to_ascii(glyph) == "?"]
    assert unknown == []


@pytest.mark.parametrize("size", [(120, 36), (60, 15)])
async def test_every_view_and_dialog_is_drawn_in_ascii(
    opened: Opener, size: tuple[int, int]
) -> None:
    async with opened(troubled(), size=size, ascii=True) as screen:
        screen.source.write("llama-1a2b", *chatter(30))
        for keys in (
            ("1",), ("2",), ("3",), ("4",), ("5",), ("E",), ("tilde",), ("question_mark",),
            ("escape", "ctrl+p"), ("escape", "2", "ctrl+d"), ("escape", "A"),
        ):  # fmt: skip
            await screen.press(*keys)
            assert screen.text.isascii(), keys


async def test_remote_text_becomes_question_marks_and_ascii_stays(opened: Opener) -> None:
    async with opened(healthy(), ascii=True) as screen:
        screen.source.change(nodes=(node("h\u00e9\u6f22[rank0]"),))
        await screen.pulse()
        assert "h???[rank0]" in screen.text


@pytest.mark.parametrize(
    ("environ", "ascii"),
    [
        ({}, False),
        ({"LANG": "en_US.UTF-8"}, False),
        ({"LANG": "de_DE.utf8@euro"}, False),
        ({"LANG": "en_US.ISO-8859-1"}, True),
        ({"LC_ALL": "C", "LANG": "en_US.UTF-8"}, True),
        ({"LC_ALL": "", "LC_CTYPE": "POSIX"}, True),
        ({"LC_ALL": "C.UTF-8"}, False),
    ],
)
def test_the_locale_says_whether_ascii_is_all_there_is(
    environ: dict[str, str],
    ascii: bool,  # noqa: A002
) -> None:
    assert suits(environ) is ascii
