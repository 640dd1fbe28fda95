"""Keys that come in one go: each is done before the next one, on every screen."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partialmethod
from pathlib import Path
from typing import Any

import pytest
from launch_world import FakePad, config
from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.events import Event, Key, Paste
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Input
from tui_hands import key_event, running
from tui_pty import HERE, PATIENCE, Terminal
from tui_quiet import until
from tui_screen import Opener, Screen
from tui_world import healthy

from cockpit.tui import turns
from cockpit.tui.launch.fields import VariableArea
from cockpit.tui.launch.form import LaunchForm
from cockpit.tui.launch.picks import LeaveDialog
from cockpit.tui.turns import Turns, _Note
from cockpit.tui.widgets.cleaninput import CleanInput

TO_NODES = ("tab",) * 3
"""From the first field of the launch form to the first that is typed in."""


def burst(app: App[Any], *keys: str | Event) -> None:
    """All keys at once, as a terminal sends them that was waited for."""
    driver = app._driver
    assert driver is not None
    for key in keys:
        event = key_event(key) if isinstance(key, str) else key
        event.set_sender(app)
        driver.send_message(event)


@contextlib.contextmanager
def launching(screen: Screen) -> Iterator[FakePad]:
    screen.source.config = config()
    screen.source.launchpad = pad = FakePad(screen.source)
    yield pad


def form_of(screen: Screen) -> LaunchForm:
    return next(each for each in screen.app.screen_stack if isinstance(each, LaunchForm))


async def test_a_burst_opens_a_form_and_fills_each_of_its_fields(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        with launching(screen):
            burst(screen.app, "n", *TO_NODES, *"1:2", "tab", *"gpu01", "tab", *"gpu03", "backspace")
            burst(screen.app, *"2", "up", "home", *"x", "delete", "enter", *",gpu09")
            await screen.settle()
            rows = form_of(screen)._rows
            assert rows["nodes"].value == "1:2"
            assert rows["on"].value == "xpu01"
            assert rows["without"].value == "gpu02,gpu09"


async def test_what_is_typed_behind_the_end_of_a_dialog_is_for_what_was_behind_it(
    opened: Opener,
) -> None:
    async with opened(healthy()) as screen:
        with launching(screen) as pad:
            await screen.press("n", *TO_NODES)
            burst(screen.app, *"12", "ctrl+s", *"mime", "left", "left", "delete", *"n", "enter")
            burst(screen.app, "tab", *"gpu01", "escape", "d", "2", "slash", *"dpo", "enter", "3")
            await screen.settle()
            assert [(draft.nodes, name) for draft, name in pad.saved] == [("12", "mine")]
            assert len(screen.app.screen_stack) == 1
            assert screen.app.view.value == "job"
            await screen.pulse()
            assert " dpo · " in screen.text


async def test_a_key_that_asks_and_the_answer_may_come_together(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        with launching(screen):
            burst(screen.app, "n", *TO_NODES, "1", "escape", "escape", "tab", *"gpu01")
            await screen.settle()
            assert isinstance(screen.app.screen, LaunchForm)
            assert form_of(screen)._rows["on"].value == "gpu01"
            burst(screen.app, "escape", "right", "enter", "n", *TO_NODES, "2")
            await screen.settle()
            assert not any(isinstance(each, LeaveDialog) for each in screen.app.screen_stack)
            assert form_of(screen)._rows["nodes"].value == "12", "it was kept"


async def test_a_paste_and_the_keys_around_it_keep_their_order(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        with launching(screen):
            burst(screen.app, "n", *TO_NODES, "a", Paste("pasted"), "b", "tab", Paste("next"), "c")
            await screen.settle()
            rows = form_of(screen)._rows
            assert rows["nodes"].value == "apastedb"
            assert rows["on"].value == "nextc"


class Ordered(App[None]):
    """Whose keys take turns."""

    def __init__(self) -> None:
        super().__init__()
        self.turns = Turns(self, super().on_event, held=False)

    async def on_event(self, event: Event) -> None:
        await self.turns.add(event)


class Sleeper(Widget, can_focus=True):
    """Takes a key for as long as `gate` is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.sleeps = False

    async def on_key(self) -> None:
        self.sleeps = True
        await self.gate.wait()


class Sleepy(Ordered):
    def compose(self) -> ComposeResult:
        yield Sleeper()
        yield CleanInput()


async def test_nobody_waits_for_ever_for_what_a_key_led_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "PATIENCE", 0.05)
    async with running(Sleepy()) as hands:
        box, sleeper = hands.app.query_one(Input), hands.app.query_one(Sleeper)
        burst(hands.app, "s")
        await until(lambda: sleeper.sleeps)
        box.focus()
        burst(hands.app, "x")
        await until(lambda: box.value == "x")
        sleeper.gate.set()
        await hands.pause()


class SlowInput(CleanInput):
    """Is done with a key when somebody begins to wait for it, or looks how far it is."""

    def __init__(self) -> None:
        super().__init__()
        self.looks = asyncio.Semaphore(0)

    async def on_key(self) -> None:
        await self.looks.acquire()


class Slow(Ordered):
    BINDINGS = [Binding("ctrl+e", "read", priority=True)]  # noqa: RUF012
    read = ""

    def compose(self) -> ComposeResult:
        yield SlowInput()

    def action_read(self) -> None:
        self.read = self.query_one(SlowInput).value


async def test_much_that_was_typed_is_waited_for_as_long_as_it_gets_less(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app = Slow()
    go, look = _Note._go, _Note._look

    def then_release(note: _Note, method: Callable[[_Note], None]) -> None:
        method(note)
        app.query_one(SlowInput).looks.release()

    monkeypatch.setattr(turns, "PATIENCE", 0.2)
    monkeypatch.setattr(_Note, "_go", partialmethod(then_release, go))
    monkeypatch.setattr(_Note, "_look", partialmethod(then_release, look))
    async with running(app):
        burst(app, *"abcd", "ctrl+e")
        await until(lambda: app.read != "")
        assert app.read == "abcd"


class Asking(Ordered):
    """Whose key opens a dialog that a worker waits for."""

    BINDINGS = [("d", "ask", "")]  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[str] = []

    def action_ask(self) -> None:
        self.run_worker(self._ask())

    async def _ask(self) -> None:
        self.answers.append(await self.push_screen_wait(Question()))


class Question(ModalScreen[str]):
    def compose(self) -> ComposeResult:
        yield CleanInput()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.dismiss(event.value)


async def test_a_dialog_that_is_awaited_gets_its_keys_at_once() -> None:
    app = Asking()
    async with running(app) as hands:
        await hands.press("d", *"yes", "enter", "d", *"no", "enter")
        assert app.answers == ["yes", "no"]


async def test_keys_that_come_too_early_wait_for_their_time() -> None:
    taken: list[str] = []

    async def take(event: Event) -> None:
        if isinstance(event, Key):
            taken.append(event.key)

    app: App[None] = App()
    async with running(app) as hands:
        held = Turns(app, take, held=True)
        for key in "abc":
            await held.add(key_event(key))
        assert taken == []
        held.begin()
        await hands.pause()
        assert taken == ["a", "b", "c"]
        await held.add(key_event("d"))
        assert taken[-1] == "d"
        await hands.pause()


class Form(Ordered):
    """Whose fields are deep inside; ctrl+e reads all of them, though it means something in each."""

    BINDINGS = [Binding("ctrl+e", "read", priority=True)]  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self.read: list[list[str]] = []

    def compose(self) -> ComposeResult:
        with Vertical(), Vertical(), Vertical(), Vertical():
            yield CleanInput(id="first", select_on_focus=False)
            yield CleanInput(id="second", select_on_focus=False)
            yield VariableArea(id="area")
            yield CleanInput(id="last", select_on_focus=False)

    def action_read(self) -> None:
        self.read.append(self.texts())

    def texts(self) -> list[str]:
        area = self.query_one(VariableArea).text
        first, second, last = (each.value for each in self.query(CleanInput))
        return [first, second, area, last]


@contextlib.contextmanager
def counted() -> Iterator[Counter[str]]:
    """Counts the notes, and the queues that they go through."""
    count: Counter[str] = Counter()
    go, move_on = _Note.__init__, _Note._move_on

    def counted_note(note: _Note, *arguments: Any) -> None:
        count["notes"] += 1
        go(note, *arguments)

    def counted_hop(note: _Note) -> None:
        count["hops"] += 1
        move_on(note)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_Note, "__init__", counted_note)
        patch.setattr(_Note, "_move_on", counted_hop)
        yield count


async def test_no_note_is_sent_among_keys_that_an_entry_does_alone() -> None:
    app = Form()
    async with running(app) as hands:
        with counted() as count:
            burst(app, *"ab" * 200, *("backspace",) * 398, "left", *"x", "delete", Paste("y"))
            burst(app, "home", *"0", "end", *"1", "left", "backspace")
            await hands.pause()
            assert app.texts() == ["0ax1", "", "", ""]
            assert count["notes"] == 0


async def test_a_key_that_leads_somewhere_costs_two_notes_however_much_is_typed_around_it() -> None:
    app = Form()
    async with running(app) as hands:
        with counted() as count:
            burst(app, *"a" * 100, "tab", *"b" * 100, "backspace", "tab", *"c" * 100)
            burst(app, "up", *"d" * 100)
            await hands.pause()
            assert app.texts() == ["a" * 100, "b" * 99 + "d" * 100, "c" * 100, ""]
            assert count["notes"] == 6


async def test_a_note_skips_who_is_at_rest() -> None:
    app = Form()
    async with running(app) as hands:
        box = app.query_one(CleanInput)
        with counted() as count:
            burst(app, "f1")
            await hands.pause()
            assert count["notes"] == 1
            depth = len(box.ancestors_with_self)
            assert count["hops"] <= depth + 4, "once all the way up, and then the app only"


async def test_what_is_bound_with_priority_is_done_between_what_is_typed_around_it() -> None:
    app = Form()
    async with running(app) as hands:
        burst(app, *"ab", "left", "ctrl+e", *"c", "backspace", "tab", *"de", "ctrl+e", *"f")
        await hands.pause()
        assert app.read == [["ab", "", "", ""], ["ab", "de", "", ""]]
        assert app.texts() == ["ab", "def", "", ""]


def ended(screen: Terminal) -> int:
    """Read to the end, which comes by itself; its exit code."""
    deadline = time.monotonic() + PATIENCE
    while screen._read(0.2) and screen.process.poll() is None:
        assert time.monotonic() < deadline, "it does not end"
    return screen.process.wait(PATIENCE)


def test_no_key_is_lost_while_the_terminal_is_resized(tmp_path: Path) -> None:
    sizes = ((24, 80), (36, 120), (20, 70), (40, 150))
    screen = Terminal(HERE / "form_screen.py", XDG_STATE_HOME=str(tmp_path))
    with contextlib.closing(screen):
        screen.read_until(b"gpu01")
        screen.press(b"nl")
        screen.read_until(b"gpu02")
        screen.press(b"\x13")
        screen.read_until(b"Save as")
        for at, key in enumerate(b"\x7f" * 6 + b"mine"):
            screen.press(bytes((key,)))
            screen.resize(*sizes[at % len(sizes)])
        screen.press(b"\r")
        screen.read_until(b"saved as")
        # A form in which nothing but a choice was made, and the way out in one go.
        screen.press(b"\x1b")
        screen.read_until(b"Leave the form?")
        screen.press(b"dq")
        assert ended(screen) == 0
        assert re.findall(rb"saved <(.*?)>", screen.seen) == [b"mine"]


def test_what_comes_in_one_write_goes_field_by_field(tmp_path: Path) -> None:
    screen = Terminal(HERE / "form_screen.py", XDG_STATE_HOME=str(tmp_path))
    with contextlib.closing(screen):
        screen.read_until(b"gpu01")
        screen.press(b"n\t\t\t12\tgpu01\t\x1b[Z\x1b[H2\x13mine\r")
        screen.read_until(b"saved as")
        screen.press(b"\x1b")
        screen.read_until(b"Leave the form?")
        screen.press(b"dq")
        assert ended(screen) == 0
        assert b"saved <mine> nodes <12> on <2gpu01>" in screen.seen
