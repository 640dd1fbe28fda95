"""What all requests have in common: a number, answers in order, one end, and no way to take the
agent down.

Operations that answer more than once derive from `Stream`; the agent hands them the frames of
their number. A stream ends once, by `end` or `fail`, and is forgotten then.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from cockpit.node.agent.connection import Connection
from cockpit.node.agent.explain import failure
from cockpit.node.agent.loop import Loop, Timer
from cockpit.node.agent.workers import Workers
from cockpit.node.statedir import Node
from cockpit.protocol.frames import Kind

TYPE_CHECKING = False  # typing itself would be a tenth of an agent's start
if TYPE_CHECKING:
    from typing import Any


class Services:
    """What a stream may use. One per agent; `connection` is set before the first request."""

    connection: Connection

    def __init__(self, node: Node, loop: Loop) -> None:
        self.node = node
        self.loop = loop
        self.workers = Workers(loop)
        self.streams: dict[int, Stream] = {}


class Stream:
    """One request that is being answered. Makers call `register` on what they made."""

    def __init__(self, services: Services, number: int) -> None:
        self.services = services
        self.number = number
        self.ended = False
        self._bulk = False

    def register(self) -> None:
        """Get the frames of this number from now on, and be released at the end."""
        self.services.streams[self.number] = self

    # What the controller says; kinds that an operation does not take are ignored.

    def credit(self, amount: int) -> None:
        """CREDIT: `amount` more bytes may be sent."""

    def data(self, payload: bytes) -> None:
        """DATA: the next part of an upload."""

    def finish(self) -> None:
        """END: the upload is complete."""

    def close(self) -> None:
        """CLOSE: stop, then `end`."""
        self.end({})

    def release(self) -> None:
        """The stream has ended or the controller is gone: leave nothing behind. Must be quick."""

    # What the operation answers.

    def reply(self, value: dict[str, Any]) -> None:
        if not self.ended:
            self.services.connection.send(Kind.REPLY, self.number, value)

    def event(self, value: dict[str, Any], *, patient: bool = False) -> None:
        """`patient`: it may wait a moment for other frames to go with."""
        if not self.ended:
            self.services.connection.send(Kind.EVENT, self.number, value, patient=patient)

    def send_data(self, offset: int, data: bytes) -> None:
        if not self.ended:
            self._bulk = True
            self.services.connection.send_data(self.number, offset, data)

    def send_index(self, entries: list[tuple[int, float]]) -> None:
        if not self.ended:
            self._bulk = True
            self.services.connection.send_index(self.number, entries)

    def end(self, value: dict[str, Any]) -> None:
        self._last(Kind.END, value)

    def fail(self, error: Exception) -> None:
        """Answer FAIL with what `error` means. A defect also leaves its traceback on stderr."""
        value = failure(error, self.services.node.host)
        if value["code"] == "internal":
            import traceback  # slow to load, and never needed if all is well

            trace = traceback.format_exception(type(error), error, error.__traceback__)
            sys.stderr.write("".join(trace))
        self._last(Kind.FAIL, value)

    def reply_last(self, value: dict[str, Any]) -> None:
        """REPLY, and the request is over."""
        self._last(Kind.REPLY, value)

    def _last(self, kind: int, value: dict[str, Any]) -> None:
        if not self.ended:
            self.services.connection.send(kind, self.number, value, after_data=self._bulk)
            self.ended = True
            if self.services.streams.get(self.number) is self:
                del self.services.streams[self.number]
                self.release()

    # Callbacks whose defects end this stream only.

    def guarded(self, callback: Callable[..., None]) -> Callable[..., None]:
        """`callback`, which runs only while the stream lasts; what it raises is answered."""

        def run(*arguments: Any) -> None:
            if self.ended:
                return
            try:
                callback(*arguments)
            except Exception as error:  # noqa: BLE001 - answered; the agent lives on
                self.fail(error)

        return run

    def later(self, delay: float, callback: Callable[[], None]) -> Timer:
        return self.services.loop.later(delay, self.guarded(callback))


class BulkStream(Stream):
    """A stream that sends data whenever the connection has room for it (a `Source`)."""

    def produce(self) -> bool:
        if self.ended:
            return False
        try:
            return self.send_chunk()
        except Exception as error:  # noqa: BLE001 - answered; other streams go on
            self.fail(error)
            return False

    def send_chunk(self) -> bool:
        """Send at most CHUNK bytes; True while more could follow at once."""
        raise NotImplementedError


class OneShot(Stream):
    """A request whose one answer is made in a thread. CLOSE cannot hurry it."""

    def run(self, function: Callable[[], dict[str, Any]], *, vital: bool = False) -> None:
        self.services.workers.submit(function, self.done, vital=vital)

    def done(self, result: dict[str, Any], error: Exception | None) -> None:
        if error is not None:
            self.fail(error)
        else:
            self.guarded(self.reply_last)(result)

    def close(self) -> None:
        """The answer that is being made ends the request."""
