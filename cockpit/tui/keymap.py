"""Which key does what: the usual keys of every action, changed by `[keys]` of the profiles. Pure.

Knows Textual's names of keys, but not Textual, so that `cockpit profiles validate` can ask it, too.
A key that a person gave to an action is taken from whatever else has it in the same views.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

from cockpit.tui.actions.base import Action, View, key_name

_SHORTER = {
    "solidus": "slash",
    "reverse_solidus": "backslash",
    "commercial_at": "at",
    "hyphen_minus": "minus",
    "plus_sign": "plus",
    "low_line": "underscore",
}
"""Where Textual's name of a character is not the one of Unicode."""

_NAMED = frozenset(
    (
        *("enter", "escape", "tab", "space", "backspace", "delete", "insert"),
        *("home", "end", "pageup", "pagedown", "up", "down", "left", "right"),
        *(f"f{number}" for number in range(1, 25)),
    )
)
_SHORT_FORMS = {
    "esc": "escape",
    "return": "enter",
    "del": "delete",
    "ins": "insert",
    "pgup": "pageup",
    "pgdn": "pagedown",
}
_MODIFIERS = ("ctrl", "alt", "shift", "super", "hyper", "meta")


@dataclasses.dataclass(frozen=True)
class Trouble:
    """What is wrong with an entry of `[keys]`: its action id, and why in words."""

    action: str
    message: str
    hint: str = ""


@dataclasses.dataclass(frozen=True)
class Keymap:
    """Every action with its keys, and what could not be had. `lost`: keys that an action does not
    have in a view (action id, key, view), because another one was given them."""

    actions: tuple[Action, ...]
    lost: frozenset[tuple[str, str, View]] = frozenset()
    troubles: tuple[Trouble, ...] = ()

    def in_view(self, view: View) -> tuple[Action, ...]:
        """The actions that apply in `view`, with the keys that they have there."""
        return tuple(
            dataclasses.replace(
                action, keys=tuple(k for k in action.keys if (action.id, k, view) not in self.lost)
            )
            if any(action.id == loser for loser, _, _ in self.lost)
            else action
            for action in self.actions
            if action.applies(view)
        )


def key_id(text: str) -> str:
    """Textual's name of a key as people write it: "?", "ctrl+x", "^x", "F9", "question_mark".

    Raises ValueError for what is no key.
    """
    *modifiers, key = _split(text.strip())
    for modifier in modifiers:
        if modifier not in _MODIFIERS:
            raise ValueError(f"{text!r}: {modifier} is no modifier")
    if len(key) == 1:
        if not key.isprintable():
            raise ValueError(f"{text!r} is no key")
        if key.isalnum():
            # A terminal sends capitals as characters; with ctrl it knows no case.
            named = key.lower() if "ctrl" in modifiers else key
        elif key == " ":
            named = "space"
        elif modifiers == ["ctrl"] and key == "@":
            named = "@"  # what terminals send for ctrl+space
        else:
            name = unicodedata.name(key, "").lower().replace("-", "_").replace(" ", "_")
            named = _SHORTER.get(name, name)
    else:
        named = _SHORT_FORMS.get(key.lower(), key.lower())
        if named not in _NAMED and named not in _punctuation():
            near = difflib.get_close_matches(named, (*_NAMED, *_punctuation()), 1)
            raise ValueError(f"{text!r} is no key" + (f", did you mean {near[0]}?" if near else ""))
    return "+".join((*modifiers, named))


def _split(text: str) -> list[str]:
    if len(text) > 1 and text.startswith("^"):
        return ["ctrl", text[1:]]
    found = re.fullmatch(r"((?:[A-Za-z]+\+)*)(.+)", text, re.DOTALL)
    if found is None:
        raise ValueError("an empty text is no key")
    return [*(part.lower() for part in found[1].split("+") if part), found[2]]


@functools.cache
def _punctuation() -> frozenset[str]:
    names = set()
    for code in range(33, 127):
        character = chr(code)
        if not character.isalnum():
            name = unicodedata.name(character).lower().replace("-", "_").replace(" ", "_")
            names.add(_SHORTER.get(name, name))
    return frozenset(names)


def build(actions: Sequence[Action], wanted: Mapping[str, Sequence[str]]) -> Keymap:
    """The actions with the keys of `wanted` (action id -> keys, none to unbind) in their place."""
    ids = {action.id for action in actions}
    troubles: list[Trouble] = []
    given: dict[str, tuple[str, ...]] = {}
    for action_id, keys in wanted.items():
        if action_id not in ids:
            near = difflib.get_close_matches(action_id, ids, 1)
            hint = f"did you mean {near[0]}?" if near else "docs/keys.md lists all actions"
            troubles.append(Trouble(action_id, "there is no such action", hint))
            continue
        good = []
        for key in keys:
            try:
                good.append(key_id(key))
            except ValueError as error:
                troubles.append(Trouble(action_id, str(error), "docs/keys.md lists the usual keys"))
        if good or not keys:
            given[action_id] = tuple(good)
    made = [
        dataclasses.replace(action, keys=given[action.id]) if action.id in given else action
        for action in actions
    ]
    lost: set[tuple[str, str, View]] = set()
    for one, other, key, view in clashes(made):
        loser = other if other.id not in given else one if one.id not in given else other
        winner = one if loser is other else other
        lost.add((loser.id, key, view))
        troubles.append(
            Trouble(
                winner.id,
                f"{key_name(key)} is taken from {loser.id} ({loser.title}) in {view.value}",
                f'give it another key: "{loser.id}" = "…"',
            )
        )
    return Keymap(tuple(made), frozenset(lost), tuple(dict.fromkeys(troubles)))


def clashes(actions: Iterable[Action]) -> list[tuple[Action, Action, str, View]]:
    """Two actions that have the same key in the same view, and where."""
    found: dict[tuple[str, str, str, View], tuple[Action, Action, str, View]] = {}
    seen: dict[tuple[View, str], Action] = {}
    for action in actions:
        for view in View:
            if not action.applies(view):
                continue
            for key in action.keys:
                other = seen.setdefault((view, key), action)
                if other is not action:
                    found.setdefault((other.id, action.id, key, view), (other, action, key, view))
    return list(found.values())
