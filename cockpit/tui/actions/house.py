"""What is about the cockpit itself: help, themes, screenshots, events, the debug page, shells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from cockpit.errors import UsageError
from cockpit.model.types import LinkState
from cockpit.tui.actions.base import Action, Context, View, Words


class HouseDo(Protocol):
    """What actions may ask of the house."""

    def retry(self) -> None:
        """Try the marked nodes, or the selected one, again."""

    def next_theme(self) -> None: ...
    def set_theme(self, name: str) -> None:
        """Raises UsageError when there is none of that name."""

    def theme_names(self) -> Sequence[str]: ...
    def set_attention(self, on: bool | None) -> None:
        """Ask for attention or not; None changes it."""

    def redraw(self) -> None: ...
    def screenshot(self) -> None: ...
    def shell(self) -> None:
        """Open a shell on `Context.node`."""


def _can_open_shell(context: Context) -> str | None:
    node = context.node
    if node is None:
        return "no node is selected"
    if node.link.state is not LinkState.ONLINE:
        return f"{node.name} is {node.link.state.value}"
    return context.missing("shells") or None


def _theme(context: Context, name: str) -> None:
    if name:
        context.house.set_theme(name)
    else:
        context.house.next_theme()


def _attention(context: Context, argument: str) -> None:
    chosen = {"": None, "on": True, "off": False}
    if argument not in chosen:
        raise UsageError(f"attention is on or off, not {argument!r}")
    context.house.set_attention(chosen[argument])


ACTIONS: tuple[Action, ...] = (
    Action(
        "app.command",
        "Command line",
        ("colon",),
        lambda c: c.open_command_line(),
        footer="cmd",
    ),
    Action("app.palette", "Command palette", ("ctrl+p",), lambda c: c.show_palette()),
    Action(
        "view.events",
        "Events: what happened",
        ("E",),
        lambda c: c.show(View.EVENTS),
        words=Words(("events",)),
    ),
    Action(
        "view.debug",
        "Debug: loop, links, calls",
        ("tilde",),
        lambda c: c.show(View.DEBUG),
        words=Words(("debug",)),
    ),
    Action(
        "node.shell",
        "Shell on the node",
        ("s",),
        lambda c: c.house.shell(),
        views=frozenset((View.FLEET, View.NODE, View.JOB)),
        footer="shell",
        writes=True,
        enabled=_can_open_shell,
        words=Words(("shell",)),
    ),
    Action(
        "app.attention",
        "Bell, title and notifications on or off",
        ("A",),
        lambda c: c.house.set_attention(None),
        words=Words(("attention",), "[on|off]", _attention, lambda _: ("on", "off")),
    ),
    Action(
        "app.theme",
        "Next theme",
        ("ctrl+t",),
        lambda c: c.house.next_theme(),
        words=Words(("theme",), "[NAME]", _theme, lambda c: c.house.theme_names()),
    ),
    Action("app.screenshot", "Save the screen as SVG", ("f8",), lambda c: c.house.screenshot()),
    Action("app.redraw", "Draw the screen anew", ("ctrl+l",), lambda c: c.house.redraw()),
    Action(
        "app.help",
        "Keys and what they do",
        ("question_mark",),
        lambda c: c.show_help(),
        footer="help",
    ),
    Action(
        "app.quit",
        "Quit; jobs run on",
        ("q", "ctrl+q"),
        lambda c: c.leave(),
        footer="quit",
        words=Words(("quit", "q")),
    ),
)
