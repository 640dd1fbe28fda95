"""Boxes to type in: what is drawn of remote text in them, and when they may be opened."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

import msgspec
from launch_world import FakePad, config
from textual import events
from textual.app import App, ComposeResult
from textual.suggester import SuggestFromList
from textual.widget import Widget
from tui_hands import running
from tui_screen import Opener
from tui_world import healthy, job

import cockpit.tui
from cockpit.tui.launch.form import LaunchForm
from cockpit.tui.logs.pane import LogPane
from cockpit.tui.widgets.cleanarea import CleanArea
from cockpit.tui.widgets.cleaninput import CleanInput
from cockpit.tui.widgets.filterline import FilterLine

EVIL = "train\x1b]52;c;PAYLOAD==\x07\x1b[31mred\x00\x9b2J\u202e.py"


def drawn(widget: Widget) -> str:
    """Every row as it goes to the terminal."""
    size = widget.size
    return "".join(widget.render_line(y).text for y in range(size.height))


def harmless(text: str) -> bool:
    return "PAYLOAD" not in text and not any(
        unicodedata.category(each) in ("Cc", "Cf") for each in text
    )


class Boxes(App[None]):
    def compose(self) -> ComposeResult:
        yield CleanInput(EVIL, placeholder=EVIL, suggester=SuggestFromList(["go " + EVIL]))
        yield CleanArea(f"A={EVIL}\nB={EVIL}", placeholder=EVIL)


async def test_no_control_character_is_drawn_however_it_came_into_a_box() -> None:
    async with running(Boxes()) as hands:
        box, area = hands.app.query_one(CleanInput), hands.app.query_one(CleanArea)
        assert "trainred" in drawn(box)
        assert harmless(drawn(box))
        box.value = ""
        await hands.pause()
        assert harmless(drawn(box))
        box.focus()
        box.value = "go"
        await hands.pause()
        assert "go trainred" in drawn(box), "the suggestion"
        assert harmless(drawn(box))
        await hands.press("end", "right")
        hands.app.post_message(events.Paste(EVIL))
        await hands.pause()
        assert "trainred" in box.value
        assert harmless(drawn(box))
        assert area.text.count("\n") == 1
        area.focus()
        hands.app.post_message(events.Paste(f"{EVIL}\r\nC={EVIL}"))
        await hands.pause()
        assert area.text.count("\n") == 2
        assert harmless(drawn(area))
        area.load_text(EVIL)
        assert area.text == "trainred.py"
        area.insert(EVIL)
        assert harmless(drawn(area))


async def test_a_hostile_job_that_is_launched_again_fills_the_form_with_plain_text(
    opened: Opener,
) -> None:
    hostile = msgspec.structs.replace(job(), name=EVIL, command=(EVIL, EVIL))
    fleet = msgspec.structs.replace(healthy(), jobs=(hostile,))
    async with opened(fleet, size=(120, 60)) as screen:
        screen.source.config = config()
        screen.source.launchpad = FakePad(screen.source)
        await screen.press("2", "r")
        form = next(s for s in screen.app.screen_stack if isinstance(s, LaunchForm))
        assert "trainred.py" in form._rows["target"].value
        for row in form._rows.values():
            assert harmless(row.value.replace("\n", ""))
            assert harmless(drawn(row.entry))


async def test_names_that_the_command_line_offers_are_drawn_as_plain_text(opened: Opener) -> None:
    hostile = msgspec.structs.replace(job(), name="evil" + EVIL)
    fleet = msgspec.structs.replace(healthy(), jobs=(hostile,))
    async with opened(fleet) as screen:
        await screen.press("colon")
        box = screen.app.query_one("#command", CleanInput)
        box.value = "job evil"
        await screen.settle()
        assert harmless(drawn(box))
        await screen.press("tab")
        assert "eviltrainred" in drawn(box)
        assert harmless(drawn(box))


def test_every_box_of_the_screen_is_a_clean_one() -> None:
    made = re.compile(r"(?<![\w.])(?:Input|TextArea)\(|class \w+\((?:Input|TextArea)\)")
    for folder in cockpit.tui.__path__:
        for file in Path(folder).rglob("*.py"):
            if file.name not in ("cleaninput.py", "cleanarea.py"):
                assert not made.search(file.read_text("utf-8")), file


async def test_a_filter_that_is_opened_before_it_is_on_the_screen_gets_the_keys_then() -> None:
    app: App[None] = App()
    async with running(app) as hands:
        line = FilterLine(id="filter")
        line.open("gpu")
        await app.mount(line)
        await hands.pause()
        assert app.focused is line
        await hands.press("1")
        assert line.value == "gpu1"


async def test_a_log_is_asked_for_its_filter_before_it_is_on_the_screen() -> None:
    app: App[None] = App()
    async with running(app) as hands:
        pane = LogPane(id="pane")
        pane.open_filter()
        assert pane._box.value == ""
        await hands.pause()


async def test_ordinary_text_is_left_as_it_is() -> None:
    text = "größe=世界 --x 'y z'"
    async with running(App[None]()):
        assert CleanInput(text).value == text
        assert CleanArea(f"{text}\n{text}").text == f"{text}\n{text}"
