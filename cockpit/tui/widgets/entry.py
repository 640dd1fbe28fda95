"""What is typed in does the keys that edit it by itself, each in its turn.

Textual hands a bound key up to the app, which then calls the widget back; letters typed behind it
would be there before it is done. Keys that an entry does where it finds them need no such way, and
as many as there are can be handed to it in one go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import events

if TYPE_CHECKING:
    from textual.widget import Widget as _Widget
else:
    _Widget = object

_EDITING = frozenset(
    (
        *("backspace", "delete", "left", "right", "home", "end"),
        *("ctrl+a", "ctrl+d", "ctrl+e", "ctrl+k", "ctrl+u", "ctrl+w"),
    )
)
"""Keys that change nothing outside. Others submit, leave for the next field, or ask the clipboard
of the terminal."""


class Entry(_Widget):
    """Comes before Textual's widget among the bases of a widget to type in."""

    def does_alone(self, event: events.Event) -> bool:
        """Whether nothing outside has to be done before this event, or because of it."""
        if isinstance(event, events.Key):
            return event.is_printable or event.key in _EDITING
        return isinstance(event, events.Paste)

    async def _on_key(self, event: events.Key) -> None:
        if event.key not in _EDITING:
            return
        for binding in self._bindings.key_to_bindings.get(event.key, ()):
            if await self.app.run_action(binding.action, self):
                event.stop()
                return
