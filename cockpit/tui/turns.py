"""Keys take turns: each is handed over when all is done that the one before it led to.

Textual hands a key to the widget that has the focus at that moment, and takes the next. What the
first one leads to comes later: a bound key goes from the widget all the way up to the app before it
does anything, a new focus stands in a queue, a dialog is not there at once. Of keys that come in
one go (a fast hand, a slow link, a busy machine) later ones would be done before earlier ones, or
go to a widget that should have lost the focus by then.

So behind each key a note is sent the way that all messages go: from the widget with the focus up to
the app, through the queue of each that is not at rest. Where it arrives, all that was on the way
before it is done. It goes again until it has found nothing on the way, and keys go where they went
before.

A note costs several turns of the event loop; a hand on a key, or a slow link, must not wait for
one each. What an entry does alone keeps its order in the queue of that entry: it is handed over as
it comes, and the note goes before the first event of another kind.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any

from textual import events
from textual.app import ScreenStackError

from cockpit.tui.widgets.entry import Entry

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
"""Seconds without a step after which the next key does not wait any longer: somebody on the way
sleeps."""

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
        self._typing: _Typing | None = None

    async def add(self, event: events.Event) -> None:
        """Take an event now, or when it is its turn. The app calls it."""
        if event.is_forwarded or not isinstance(event, _ORDERED):
            await self._take(event)
        elif self._busy:
            self._waiting.append(event)
        else:
            self._busy = True
            self._waiting.append(event)
            await self._next()

    def begin(self) -> None:
        """Take what came too early, and everything from now on."""
        self._app.call_next(self._next)

    async def _next(self) -> None:
        """Hand over what is waiting, up to the first event that leads to something."""
        while self._waiting:
            event = self._waiting[0]
            if self._is_typed(event):
                await self._take(self._waiting.popleft())
            elif self._typing is not None:
                entry, self._typing = self._typing.entry, None
                _Note(self._app, self._done, entry if entry.is_attached else _aim(self._app))
                return
            else:
                await self._hand_over(self._waiting.popleft())
                return
        self._busy = False

    def _is_typed(self, event: events.Event) -> bool:
        """The entry that keys go to does it alone. Of two entries, the second has to wait."""
        aim = _aim(self._app)
        if self._typing is not None:
            return self._typing.entry is aim and self._typing.takes(event)
        typing = _Typing(aim) if isinstance(aim, Entry) else None
        if typing is None or not typing.takes(event):
            return False
        self._typing = typing
        return True

    async def _hand_over(self, event: events.Event) -> None:
        aim = _aim(self._app)
        done = await self._take(event)
        only_app = bool(done) and _aim(self._app) is aim
        _Note(self._app, self._done, None if only_app else _aim(self._app))

    def _done(self) -> None:
        self._app.post_message(events.Callback(callback=self._next))


class _Typing:
    """Everything that was handed over since the last note is for this entry, which does it alone.

    What is bound with priority never comes to it.
    """

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self._bound = {
            key
            for _, bindings in entry.screen._binding_chain  # noqa: SLF001 - no public way
            for key, bound in bindings.key_to_bindings.items()
            if any(each.priority for each in bound)
        }

    def takes(self, event: events.Event) -> bool:
        bound = isinstance(event, events.Key) and event.key in self._bound
        return not bound and self.entry.does_alone(event)


class _Note:
    """Calls `done` when nothing is on the way any more that begins at `start`, or nowhere but in
    the app."""

    def __init__(self, app: App[Any], done: Callable[[], None], start: Widget | None) -> None:
        self._app = app
        self._done: Callable[[], None] | None = done
        self._start = start
        self._ways = self._times = 0
        self._at: MessagePump = app
        self._next: Any = None
        self._alarm = self._set_alarm()
        self._go()

    def _go(self) -> None:
        self._times += 1
        self._found = False
        self._aim = _aim(self._app)
        way = [self._app] if self._start is None else self._start.ancestors_with_self
        self._way: Iterator[MessagePump] = iter(way)
        self._move_on()

    def _move_on(self) -> None:
        if self._done is None:
            return
        for pump in self._way:
            if pump is not self._app and _rests(pump):
                continue
            self._found |= pump.message_queue_size > 0
            # Who is being closed takes no message; who is being made takes it when all is there.
            if pump.post_message(events.Callback(callback=self._move_on)):
                self._at, self._next = pump, _next_of(pump)
                return
        aim = _aim(self._app)
        if aim is not self._aim and self._ways < MOST_WAYS:
            self._start = aim
            self._ways += 1
            self._times = 0
            self._go()
        elif self._times < (MOST if self._found else FEWEST):
            self._go()
        else:
            self._end()

    def _set_alarm(self) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(PATIENCE, self._look)

    def _look(self) -> None:
        """Wait on as long as messages in front of the note are done: much may have been typed."""
        before, self._next = self._next, _next_of(self._at)
        if self._next is not before:
            self._alarm = self._set_alarm()
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


def _rests(pump: MessagePump) -> bool:
    """Whether it waits for its next message: none is in its queue, and none is being handled.
    Textual has no public word for it; where its queue is another one, nobody rests."""
    queue: Any = pump._message_queue  # noqa: SLF001
    ready = getattr(queue, "ready_event", None)
    return not queue.qsize() and bool(getattr(ready, "_waiters", ()))


def _next_of(pump: MessagePump) -> Any:
    """The message that stands first in its queue."""
    waiting = getattr(pump._message_queue, "values", ())  # noqa: SLF001 - no public way
    return waiting[0] if waiting else None
