"""Which action a key stands for in each view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from textual import events

from cockpit.tui import keymap
from cockpit.tui.actions.base import Action, View


class Keyboard:
    """`actions`: every action, with the keys that are in force. `troubles`: what of the wanted keys
    could not be had."""

    def __init__(self, actions: Sequence[Action], wanted: Mapping[str, Sequence[str]]) -> None:
        self._mapped = keymap.build(actions, wanted)
        self.actions = self._mapped.actions
        self.by_id = {action.id: action for action in self.actions}
        self.troubles = self._mapped.troubles
        self._in_view: dict[View, tuple[Action, ...]] = {}

    def in_view(self, view: View) -> tuple[Action, ...]:
        """The actions of a view, with the keys that they have in it."""
        if view not in self._in_view:
            self._in_view[view] = self._mapped.in_view(view)
        return self._in_view[view]

    def action_of(self, event: events.Key, view: View) -> str | None:
        """The id of the action that a key stands for, by whichever of its names that has it."""
        for key in (event.key, *event.aliases):
            for action in self.in_view(view):
                if key in action.keys:
                    return action.id
        return None
