"""The bottom line: the keys of the view that is shown. A click on one does it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from textual import events

from cockpit.tui.draw.spans import Line, Span
from cockpit.tui.widgets.lines import LineWidget


class Hint(NamedTuple):
    """A key, its word, the action behind it, and whether it can be done now."""

    key: str
    word: str
    action: str
    enabled: bool


class FooterBar(LineWidget):
    """Keeps the last hint in sight when there is no room for all."""

    def __init__(self, perform: Callable[[str], object], *, id: str) -> None:  # noqa: A002
        super().__init__(id=id)
        self._perform = perform
        self._hints: Sequence[Hint] = ()
        self._spots: list[tuple[int, int, str]] = []

    def show(self, hints: Sequence[Hint]) -> None:
        if hints != self._hints:
            self._hints = hints
            self.redraw()

    def lines(self, width: int, height: int) -> Sequence[Line]:  # noqa: ARG002
        sizes = [len(hint.key) + len(hint.word) + 3 for hint in self._hints]
        shown = list(range(len(sizes)))
        # The last two, help and quit, stay; what is before them goes from the right.
        while len(shown) > 2 and sum(sizes[index] for index in shown) > width:
            del shown[-3]
        spans: list[Span] = []
        self._spots = []
        x = 0
        for index in shown:
            hint = self._hints[index]
            spans.append(Span(f" {hint.key} ", "key" if hint.enabled else "dim"))
            spans.append(Span(f"{hint.word} ", "" if hint.enabled else "dim"))
            self._spots.append((x, x + sizes[index], hint.action))
            x += sizes[index]
        return [Line(tuple(spans), "bar")]

    def on_click(self, event: events.Click) -> None:
        for start, stop, action in self._spots:
            if start <= event.x < stop:
                self._perform(action)
