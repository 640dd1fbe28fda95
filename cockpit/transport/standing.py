"""Requests that outlive connections: following a file, and a subscription to events.

Made by `NodeLink`, which binds them to each new session. A Follow goes on at the exact next byte.
What a node refuses is asked again after a while, on the same connection too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from cockpit.errors import CockpitError, LinkError, NodeError
from cockpit.protocol import frames
from cockpit.protocol.frames import INITIAL_CREDIT
from cockpit.transport.session import Session, Stream, guarded, log

CREDIT_STEP = INITIAL_CREDIT // 4
"""Consumed bytes are given back in steps of this size."""
ASK_AGAIN = 1.0
"""Seconds after a refusal until the node is asked again; doubled with every refusal in a row."""
ASK_AGAIN_LATEST = 30.0


class FollowSink(Protocol):
    """Who reads a followed file. Called on the event loop, in the order of the file."""

    def opened(self, offset: int, size: int) -> None:
        """Reading (again) from `offset`; the file has `size` bytes now. 0, 0: not there yet."""

    def received(self, offset: int, data: bytes) -> None:
        """Bytes of the file. `offset` is where the last ones ended, or later: what lies between
        has been dropped on the node (`log_limit`) and never comes."""

    def indexed(self, entries: Sequence[tuple[int, float]]) -> None:
        """(offset, wall time) of bytes that arrive next; only with `index`."""

    def replaced(self) -> None:
        """The file shrank or is another one; reading starts anew from offset 0."""

    def detached(self) -> None:
        """The connection is gone, or the node refused; reading resumes by itself."""


class Standing(Stream):
    """A request that is made anew on every connection, and again after a refusal."""

    urgent = False
    """Made before the others on a new connection: somebody waits for what comes."""

    def __init__(self, what: str, forget: Callable[[], None]) -> None:
        self.error: CockpitError | None = None
        """Why nothing arrives now; None while it does."""
        self._what = what
        """For people: what is asked of the node."""
        self._forget = forget
        self._session: Session | None = None
        self._number = 0
        self._closed = False
        self._refusals = 0
        self._again: asyncio.TimerHandle | None = None

    def close(self) -> None:
        """Stop. Nothing is called afterwards."""
        if not self._closed:
            self._closed = True
            self._unbind()
            self._forget()

    def bind(self, session: Session) -> None:
        """Ask on `session`, a new connection; the one before has told that it was lost."""
        if not self._closed:
            self._refusals = 0
            self._ask(session)

    def request(self) -> tuple[str, Mapping[str, Any]]:
        """The operation and its arguments, as they are to be sent now."""
        raise NotImplementedError

    def detached(self) -> None:
        """Nothing arrives any more for now; `error` says why."""

    # From the session

    def reply(self, result: dict[str, Any]) -> None:  # noqa: ARG002
        self.error = None
        self._refusals = 0

    def end(self, result: dict[str, Any]) -> None:  # noqa: ARG002
        self._refused(LinkError(f"{self._what} ended"))

    def fail(self, error: NodeError) -> None:
        if self.error is None or self.error.message != error.message:
            log.warning("%s: %s", self._what, error)
        self._refused(error)

    def lost(self, error: LinkError) -> None:
        self._detach(error)

    # Inside

    def _ask(self, session: Session) -> None:
        self._stop_waiting()
        self._session = session
        self._number = session.open(*self.request(), self)

    def _refused(self, error: CockpitError) -> None:
        session = self._session
        self._detach(error)
        if session is None or self._closed:
            return
        delay = min(ASK_AGAIN * 2 ** min(self._refusals, 30), ASK_AGAIN_LATEST)
        self._refusals += 1
        self._again = asyncio.get_running_loop().call_later(delay, self._ask_again, session)

    def _ask_again(self, session: Session) -> None:
        if session.error is None:
            self._ask(session)

    def _stop_waiting(self) -> None:
        if self._again is not None:
            self._again.cancel()
            self._again = None

    def _unbind(self) -> None:
        self._stop_waiting()
        if self._session is not None:
            self._session.close_stream(self._number)
        self._session = None

    def _detach(self, error: CockpitError) -> None:
        self._stop_waiting()
        self._session = None
        self.error = error
        self.detached()


class Follow(Standing):
    """A file being followed, across connections."""

    urgent = True

    def __init__(
        self,
        path: str,
        offset: int,
        sink: FollowSink,
        *,
        index: bool,
        length: int | None = None,
        forget: Callable[[], None],
    ) -> None:
        super().__init__(f"following {path}", forget)
        self.path = path
        self.position: int | None = offset if offset >= 0 else None
        """Offset of the next byte; None while that is for the node to say."""
        self._start = offset
        self._sink = sink
        self._index = index
        self._inode = 0
        self._owed = 0
        self._end = None if length is None else offset + length
        self._allowed = 0
        """Offset up to which the node may send, where there is an end."""

    def request(self) -> tuple[str, Mapping[str, Any]]:
        self._owed = 0
        offset = self._start if self.position is None else self.position
        credit = INITIAL_CREDIT
        if self._end is not None:
            # A node sends no more than it has credit for.
            credit = max(min(credit, self._end - offset), 1)
            self._allowed = offset + credit
        return "follow", {
            "path": self.path,
            "offset": offset,
            "credit": credit,
            "index": self._index,
        }

    def detached(self) -> None:
        guarded(self._sink.detached)

    # From the session

    def reply(self, result: dict[str, Any]) -> None:
        offset, size, inode = (int(result.get(key, 0)) for key in ("offset", "size", "inode"))
        if inode and self._inode and inode != self._inode:
            self._begin_anew()
            return
        super().reply(result)
        self._inode = inode or self._inode
        self.position = offset
        guarded(self._sink.opened, offset, size)

    def data(self, payload: bytes) -> None:
        (offset,) = frames.OFFSET.unpack_from(payload)
        data = payload[frames.OFFSET.size :]
        amount = len(data)
        if self.position is not None and offset < self.position:
            data = data[self.position - offset :]
            offset = self.position
        if data:
            self.position = offset + len(data)
            guarded(self._sink.received, offset, data)
        self._give_back(amount)

    def index(self, payload: bytes) -> None:
        self._sink.indexed(list(frames.INDEX_ENTRY.iter_unpack(payload)))

    def end(self, result: dict[str, Any]) -> None:
        if result.get("replaced"):
            self._begin_anew()
        else:
            super().end(result)

    # Inside

    def _give_back(self, amount: int) -> None:
        self._owed += amount
        if self._session is not None and self._owed >= CREDIT_STEP:
            if self._end is not None:
                self._owed = min(self._owed, self._end - self._allowed)
                self._allowed += self._owed
            if self._owed > 0:
                self._session.credit(self._number, self._owed)
            self._owed = 0

    def _begin_anew(self) -> None:
        session = self._session
        self._unbind()
        self.position, self._inode = 0, 0
        guarded(self._sink.replaced)
        if session is not None and session.error is None:
            self.bind(session)


class Subscription(Standing):
    """Events of one kind, on every connection anew."""

    def __init__(
        self,
        op: str,
        callback: Callable[[Any], None],
        arguments: Mapping[str, Any],
        forget: Callable[[], None],
        *,
        raw: bool = False,
    ) -> None:
        super().__init__(op, forget)
        self.op = op
        self.raw = raw
        self._callback = callback
        self._arguments = dict(arguments)

    def request(self) -> tuple[str, Mapping[str, Any]]:
        return self.op, self._arguments

    def event(self, item: Any) -> None:
        if not self._closed:
            self._callback(item)
