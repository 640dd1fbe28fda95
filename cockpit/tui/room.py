"""What is too small for the cockpit: a panel in front of everything says so, until there is room.

What is behind it stays as it is, and where the focus is; it gets no key meanwhile, since nobody
sees what that would do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from textual.app import App
from textual.geometry import Size
from textual.screen import Screen

from cockpit.tui import edges
from cockpit.tui.draw.spans import Line
from cockpit.tui.widgets.lines import Lines


class TooSmall(Lines):
    """The panel; each screen that is too small has its own."""


class Room:
    """`small`: there is not enough of it."""

    def __init__(self, app: App[Any]) -> None:
        self._app = app
        self.small = False

    def watch(self) -> None:
        """From now on every dialog that opens is looked at, too."""
        changed = self._app.screen_change_signal
        changed.subscribe(self._app, lambda _: self.fit(self._app.size), immediate=True)

    def fit(self, size: Size) -> None:
        """The terminal has this size."""
        notice = edges.too_small(*size)
        self.small = bool(notice)
        for screen in self._app.screen_stack:
            _cover(screen, notice)


def _cover(screen: Screen[Any], notice: Sequence[Line]) -> None:
    screen.set_class(bool(notice), "-too-small")
    if not notice:
        return
    panel = next(iter(screen.query(TooSmall)), None)
    if panel is None:
        panel = TooSmall()
        screen.mount(panel)
    panel.show(*notice)
