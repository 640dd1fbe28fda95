from __future__ import annotations

import asyncio

from textual.app import App, ComposeResult
from textual.screen import Screen
from textual.widgets import Static
from tui_hands import running

from cockpit.tui.draw import themes
from cockpit.tui.draw.spans import line
from cockpit.tui.rows import rows_of
from cockpit.tui.terminal import MainScreen
from cockpit.tui.widgets.lines import Lines

CSS = """
Screen { layers: below above; layer: below; }
Lines { height: 3; layer: below; }
#lid { layer: above; position: absolute; width: 5; height: 1; display: none; }
"""


class Small(App[None]):
    CSS = CSS

    def compose(self) -> ComposeResult:
        yield Lines(id="top")
        yield Lines(id="rest")
        yield Static("lid", id="lid")

    def get_default_screen(self) -> Screen[None]:
        return MainScreen(id="_default")

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return themes.defaults(self.current_theme)


async def test_changed_rows_that_nothing_covers_go_to_the_terminal_as_they_are() -> None:
    app = Small()
    async with running(app, (20, 8)) as hands:
        rest = app.query_one("#rest", Lines)
        rest.show(line("one"), line("two"), line("three"))
        await hands.pause()
        placed = app.screen._compositor.visible_widgets
        rest.show(line("one"), line("other"), line("three"))
        rows = rows_of([rest], placed)
        assert rows is not None
        assert [(x, y, strip.text.rstrip()) for x, y, strip in rows.rows] == [(0, 4, "other")]
        frame = rows.render_segments(app.console)
        assert frame.startswith("\x1b[5;1H")
        assert "other" in frame
        assert "three" not in frame


async def test_rows_that_were_taken_are_not_drawn_twice() -> None:
    app = Small()
    async with running(app, (20, 8)) as hands:
        rest = app.query_one("#rest", Lines)
        rest.show(line("one"))
        await hands.pause()
        placed = app.screen._compositor.visible_widgets
        rest.show(line("other"))
        first, second = rows_of([rest], placed), rows_of([rest], placed)
        assert first is not None
        assert first.rows
        assert second is not None
        assert second.rows == []


async def test_under_another_widget_it_is_left_to_the_compositor() -> None:
    app = Small()
    async with running(app, (20, 8)) as hands:
        top, rest = app.query_one("#top", Lines), app.query_one("#rest", Lines)
        app.query_one("#lid").display = True
        top.show(line("one"))
        rest.show(line("two"))
        await hands.pause()
        placed = app.screen._compositor.visible_widgets
        top.show(line("under the lid"))
        assert rows_of([top], placed) is None
        assert top._repaint_regions, "nothing was taken from it"
        rest.show(line("beside the lid"))
        assert rows_of([rest], placed) is not None


async def test_other_widgets_are_left_to_the_compositor() -> None:
    app = Small()
    async with running(app, (20, 8)) as hands:
        lid = app.query_one("#lid", Static)
        lid.display = True
        await hands.pause()
        assert rows_of([lid], app.screen._compositor.visible_widgets) is None


async def test_what_is_shown_is_drawn_in_the_next_turn_of_the_loop() -> None:
    app = Small()
    async with running(app, (20, 8)) as hands:
        rest = app.query_one("#rest", Lines)
        rest.show(line("one"))
        await hands.pause()
        frames: list[object] = []
        display = app._display
        app._display = lambda screen, frame: (frames.append(frame), display(screen, frame))  # type: ignore[method-assign,assignment,func-returns-value]
        screen = app.screen
        assert isinstance(screen, MainScreen)
        screen._drawn_at = 0.0  # a frame of a moment ago would have it wait
        rest.show(line("two"))
        assert frames == []
        await asyncio.sleep(0)
        assert len(frames) == 1
