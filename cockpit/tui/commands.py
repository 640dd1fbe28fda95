"""The `:` command line without its widget: what a line means, and how it could go on. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import NamedTuple

from cockpit.errors import UsageError
from cockpit.tui.actions.base import Action, Context, Words


class Command(NamedTuple):
    """A line that was understood."""

    action: Action
    argument: str


def names_of(action: Action) -> tuple[str, ...]:
    """How an action may be called on the command line; the first is shown."""
    words = action.words.names if action.words is not None else ()
    return (*words, action.id)


def parse(line: str, actions: Sequence[Action]) -> Command:
    """What a line asks for. A name may be cut short while it is unique.

    Raises UsageError, with the nearest name as its hint.
    """
    name, _, argument = line.strip().removeprefix(":").strip().partition(" ")
    if not name:
        raise UsageError("type a command", "tab completes, ? lists all keys")
    exact = [action for action in actions if name in names_of(action)]
    # Those with words of their own come first: ":q" is quit though other ids begin with q.
    begun = [a for a in actions if any(each.startswith(name) for each in names_of(a))]
    worded = [a for a in begun if a.words and any(each.startswith(name) for each in a.words.names)]
    found = exact or (worded if len(worded) == 1 else begun)
    if len(found) > 1:
        some = ", ".join(names_of(action)[0] for action in found[:6])
        raise UsageError(f":{name} could be {some}" + (" …" if len(found) > 6 else ""))
    if not found:
        known = [each for action in actions for each in names_of(action)]
        near = difflib.get_close_matches(name, known, 1)
        raise UsageError(
            f"there is no command :{name}", f"did you mean :{near[0]}?" if near else ""
        )
    action = found[0]
    argument = argument.strip()
    if argument and not takes_argument(action):
        raise UsageError(f":{names_of(action)[0]} takes no argument")
    return Command(action, argument)


def takes_argument(action: Action) -> bool:
    return action.words is not None and action.words.run is not None


def run(command: Command, context: Context) -> None:
    """Carry a command out. Raises UsageError for an argument that makes no sense."""
    words: Words | None = command.action.words
    if words is not None and words.run is not None:
        words.run(context, command.argument)
    else:
        command.action.run(context)


def offers(line: str, actions: Sequence[Action], context: Context) -> list[str]:
    """Whole lines that `line` could become, best first; at most 50."""
    text = line.lstrip().removeprefix(":").lstrip()
    name, space, argument = text.partition(" ")
    if not space:
        shown = [names_of(action)[0] for action in actions]
        every = [each for action in actions for each in names_of(action)]
        found = [each for each in dict.fromkeys((*shown, *every)) if each.startswith(name)]
        return found[:50]
    try:
        action = parse(name, actions).action
    except UsageError:
        return []
    if action.words is None:
        return []
    # Only the last word is completed: `:fleet @lab @b` may name several.
    kept, _, last = argument.rpartition(" ")
    start = f"{name} {kept} " if kept else f"{name} "
    wanted = last.lower()
    known = action.words.offers(context)
    begun = [each for each in known if each.lower().startswith(wanted)]
    inside = [each for each in known if wanted in each.lower() and each not in begun]
    return [start + each for each in (*begun, *inside)][:50]


def usage(line: str, actions: Sequence[Action]) -> str:
    """What the command of this line does, in words; "" for a line that is none."""
    try:
        action = parse(line.strip().partition(" ")[0], actions).action
    except UsageError:
        return ""
    argument = action.words.argument if action.words is not None else ""
    name = names_of(action)[0]
    return f":{name} {argument} — {action.title}" if argument else f":{name} — {action.title}"
