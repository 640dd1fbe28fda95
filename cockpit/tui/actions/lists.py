"""Moving in lists and logs, filters and marks."""

from __future__ import annotations

from cockpit.tui.actions.base import Action, Context, View, Words, on, with_pane

_LISTS = frozenset((View.FLEET, View.JOBS))
_MARKS = frozenset((View.FLEET, View.JOBS, View.JOB))


_on_pane = on(lambda context: context.pane)
_on_filterable = on(lambda context: context.filterable)


def _with_filter(context: Context) -> str | None:
    return None if context.filterable is not None else "nothing here can be filtered"


def _filter(context: Context, argument: str) -> None:
    if context.filterable is not None:
        context.filterable.set_filter(argument)


def _marked(context: Context) -> str | None:
    return None if context.marked_jobs or context.marked_nodes else "nothing is marked"


ACTIONS = (
    Action(
        "list.open",
        "Open the selection",
        ("enter",),
        lambda c: c.open_selection(),
        footer="open",
        enabled=with_pane,
    ),
    Action(
        "list.filter",
        "Filter: text or /regex/; ! inverts",
        ("slash",),
        _on_filterable(lambda shown: shown.open_filter()),
        footer="filter",
        enabled=_with_filter,
        words=Words(("filter",), "TEXT", _filter),
    ),
    Action(
        "list.down",
        "Down",
        ("j", "down"),
        _on_pane(lambda pane: pane.move(1)),
        enabled=with_pane,
    ),
    Action("list.up", "Up", ("k", "up"), _on_pane(lambda pane: pane.move(-1)), enabled=with_pane),
    Action(
        "list.page_down",
        "A page down",
        ("pagedown", "ctrl+f"),
        _on_pane(lambda pane: pane.page(1)),
        enabled=with_pane,
    ),
    Action(
        "list.page_up",
        "A page up",
        ("pageup", "ctrl+b"),
        _on_pane(lambda pane: pane.page(-1)),
        enabled=with_pane,
    ),
    Action(
        "list.top",
        "To the top",
        ("g", "home"),
        _on_pane(lambda pane: pane.top()),
        enabled=with_pane,
    ),
    Action(
        "list.bottom",
        "To the end; in a log: follow",
        ("G", "end"),
        _on_pane(lambda pane: pane.bottom()),
        enabled=with_pane,
    ),
    Action(
        "mark.toggle",
        "Mark, or take the mark away",
        ("space",),
        lambda c: c.mark(),
        views=_MARKS,
        enabled=with_pane,
    ),
    Action(
        "mark.range",
        "Mark from the last mark to here",
        ("ctrl+@", "ctrl+space"),
        lambda c: c.mark_range(),
        views=_LISTS,
        enabled=with_pane,
    ),
    Action(
        "mark.clear",
        "Take all marks away",
        ("ctrl+backslash",),
        lambda c: c.clear_marks(),
        enabled=_marked,
    ),
)
