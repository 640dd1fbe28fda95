"""The first row of the screen and the last one: where one is, how the fleet is, what keys do.

And what stands in the place of everything where there is no room for it. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from cockpit.model.types import LinkState
from cockpit.tui.actions.base import NUMBERED, Action, View, key_name
from cockpit.tui.draw.spans import Line, Span, line
from cockpit.tui.draw.words import clock_time
from cockpit.tui.frame import Frame, is_live
from cockpit.tui.widgets.footer import Hint

MIN_WIDTH, MIN_HEIGHT = 60, 15
"""Cells of the smallest terminal that the views are made for."""


def tabs(shown: View) -> Line:
    """The views with their digits; one without a digit stands there while it is shown."""
    spans = [Span(" cockpit ", "title")]
    for number, view in enumerate(NUMBERED, 1):
        spans.append(Span(f" {number} {view.value.title()}", "accent" if view is shown else "dim"))
    if shown not in NUMBERED:
        spans.append(Span(f" {shown.value.title()}", "accent"))
    return Line(tuple(spans), "bar")


def state(frame: Frame, banner: str, *, read_only: bool, frozen: bool, slow: str) -> list[Span]:
    """How the fleet is; before that what has to be known of the screen, behind it how slow it is.

    What comes first has room the longest.
    """
    fleet = frame.fleet
    online = sum(1 for node in fleet.nodes if node.link.state is LinkState.ONLINE)
    running = sum(1 for job in fleet.jobs if is_live(job))
    shown = [
        Span(banner, "accent"),
        Span("read-only" if read_only else "", "warn"),
        Span("FROZEN p" if frozen else "", "warn"),
        Span(f"{online}/{len(fleet.nodes)} online", "warn" if online < len(fleet.nodes) else ""),
        Span(f"{running} running"),
        Span(clock_time(frame.wall)),
        Span(slow, "warn"),
    ]
    return [span for span in shown if span.text]


def too_small(width: int, height: int) -> tuple[Line, ...]:
    """What a terminal of this size is told; nothing where there is room."""
    if width >= MIN_WIDTH and height >= MIN_HEIGHT:
        return ()
    return (
        line(Span(" The cockpit needs ", "warn"), f"{MIN_WIDTH}×{MIN_HEIGHT} cells."),
        line(f" This terminal has {width}×{height}."),
        line(Span(" Make it larger, or press q to quit.", "dim")),
    )


_ONLY_WHERE = frozenset(("list.filter",))
"""Not offered where it cannot be done: nothing that happens there would change that."""


def hints(actions: Iterable[Action], possible: Callable[[Action], bool]) -> list[Hint]:
    """What the footer offers, in its order."""
    return [
        Hint(key_name(action.keys[0]), action.footer, action.id, possible(action))
        for action in sorted(actions, key=_place)
        if action.footer and action.keys and (action.id not in _ONLY_WHERE or possible(action))
    ]


def _place(action: Action) -> int:
    """Where in the footer: enter, what the view is for, what is everywhere, the way out."""
    if action.id == "list.open":
        return 0
    return 1 if action.views else 3 if action.id.startswith("app.") else 2
