"""Keys take turns: each is handed over when all is done that the one before it led to.

Textual hands a key to the widget that has the focus at that moment, and takes the next. What the
first one leads to comes later: a bound key goes from the widget all the way up to the app before it
does anything, a new focus stands in a queue, a dialog is not there at once. Of keys that come in
one go (a fast hand, a slow link, a busy machine) later ones would be done before earlier ones, or
go to a widget that should have lost the focus by then.

So behind each key a note is sent the way that all messages go: from the widget with the focus up to
the app, through the queue of each. Where it arrives, all that was on the way before it is done. It
goes again until it has found nothing on the way, and keys go where they went before.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any

from textual import events
from textual.app import ScreenStackError

if TYPE_CHECKING:
    from textual.app import App
    from textual.message_pump import MessagePump
    from textual.widget import Widget

FEWEST, MOST = 2, 3
"""Times that a note goes the same way. A bound key is done at the end of the first; what that leads
to is a message to the widget that had the focus, which comes up again. There may be other messages
all the time."""

MOST_WAYS = 5
"""Times that keys go somewhere else because of one key: to a dialog, to a field in it."""

PATIENCE = 2.0
"""Seconds after which the next key does not wait any longer: somebody on the way sleeps."""

_ORDERED = (events.Key, events.Paste, events.MouseDown, events.MouseUp)


class Turns:
    """`take` does what an event is for; the app calls it. It answers True if the app has done it
    by itself, and nobody was handed anything. With `held`, nothing is handed over until `begin`."""

    def __init__(
        self, app: App[Any], take: Callable[[events.Event], Awaitable[bool | None]], *, held: bool
    ) -> None:
        self._app = app
        self._take = take
        self._busy = held
        self._waiting: deque[events.Event] = deque()

    async def add(self, event: events.Event) -> None:
        """Take an event now, or when it is its turn. The app calls it."""
        if event.is_forwarded or not isinstance(event, _ORDERED):
            await self._take(event)
        elif self._busy:
            self._waiting.append(event)
        else:
            await self._hand_over(event)

    def begin(self) -> None:
        """Take what came too early, and everything from now on."""
        self._app.call_next(self._next)

    async def _next(self) -> None:
        if self._waiting:
            await self._hand_over(self._waiting.popleft())
        else:
            self._busy = False

    async def _hand_over(self, event: events.Event) -> None:
        self._busy = True
        aim = _aim(self._app)
        done = await self._take(event)
        _Note(self._app, self._done, only_app=bool(done) and _aim(self._app) is aim)

    def _done(self) -> None:
        self._app.post_message(events.Callback(callback=self._next))


class _Note:
    """Calls `done` when nothing is on the way any more. With `only_app`, nothing was sent to
    anybody but the app."""

    def __init__(self, app: App[Any], done: Callable[[], None], *, only_app: bool) -> None:
        self._app = app
        self._done: Callable[[], None] | None = done
        self._only_app = only_app
        self._ways = self._times = 0
        self._alarm = asyncio.get_running_loop().call_later(PATIENCE, self._end)
        self._go()

    def _go(self) -> None:
        self._times += 1
        self._found = False
        self._begun_at = _aim(self._app)
        start = None if self._only_app else self._begun_at
        way = [self._app] if start is None else start.ancestors_with_self
        self._way: Iterator[MessagePump] = iter(way)
        self._move_on()

    def _move_on(self) -> None:
        if self._done is None:
            return
        for pump in self._way:
            self._found |= pump.message_queue_size > 0
            # Who is being closed takes no message; who is being made takes it when all is there.
            if pump.post_message(events.Callback(callback=self._move_on)):
                return
        if _aim(self._app) is not self._begun_at and self._ways < MOST_WAYS:
            self._only_app = False
            self._ways += 1
            self._times = 0
            self._go()
        elif self._times < (MOST if self._found else FEWEST):
            self._go()
        else:
            self._end()

    def _end(self) -> None:
        self._alarm.cancel()
        if self._done is not None:
            done, self._done = self._done, None
            done()


def _aim(app: App[Any]) -> Widget | None:
    """Where keys go now: to the widget with the focus, or to the screen; None at the very end."""
    try:
        return app.focused or app.screen
    except ScreenStackError:
        return None
