"""Long-lived requests: following a file, a subscription, an upload, a command's output.

Made by `NodeLink`. A Follow and a Subscription outlive connections: the link binds them to each
new session, and a Follow goes on at the exact next byte. Uploads and commands do not; they end
with the connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from cockpit.errors import CockpitError, LinkError, NodeError
from cockpit.protocol import frames
from cockpit.protocol.messages import INITIAL_CREDIT
from cockpit.transport.session import Reply, Session, Stream, guarded, log
from cockpit.transport.waiting import within

_CREDIT_STEP = INITIAL_CREDIT // 4
"""Consumed bytes are given back in steps of this size."""
_UPLOAD_FRAME = 256 * 1024


class FollowSink(Protocol):
    """Who reads a followed file. Called on the event loop, in the order of the file."""

    def opened(self, offset: int, size: int) -> None:
        """Reading (again) from `offset`; the file has `size` bytes now. 0, 0: not there yet."""

    def received(self, offset: int, data: bytes) -> None:
        """Bytes of the file. `offset` is where the last ones ended, or later after a gap."""

    def indexed(self, entries: Sequence[tuple[int, float]]) -> None:
        """(offset, wall time) of bytes that arrive next; only with `index`."""

    def replaced(self) -> None:
        """The file shrank or is another one; reading starts anew from offset 0."""

    def detached(self) -> None:
        """The connection is gone, or the node refused; reading resumes by itself."""


class Standing(Protocol):
    """Something that outlives connections."""

    def bind(self, session: Session) -> None:
        """A new connection is there; the one before has told its streams that it was lost."""


class Follow(Stream):
    """A file being followed, across connections."""

    def __init__(
        self, path: str, offset: int, sink: FollowSink, *, index: bool, forget: Callable[[], None]
    ) -> None:
        self.path = path
        self.error: CockpitError | None = None
        """Why nothing arrives now; None while reading."""
        self.position: int | None = offset if offset >= 0 else None
        """Offset of the next byte; None while that is for the node to say."""
        self._start = offset
        self._sink = sink
        self._index = index
        self._forget = forget
        self._session: Session | None = None
        self._number = 0
        self._inode = 0
        self._owed = 0
        self._paused = False
        self._closed = False

    def pause(self) -> None:
        """Give no more credit: at most INITIAL_CREDIT bytes still arrive."""
        self._paused = True

    def resume(self) -> None:
        """Undo `pause`."""
        self._paused = False
        self._give_back(0)

    def close(self) -> None:
        """Stop following. Nothing is called afterwards."""
        if not self._closed:
            self._closed = True
            self._unbind()
            self._forget()

    def bind(self, session: Session) -> None:
        """Ask `session` for the file from the next byte on."""
        if self._closed:
            return
        self._session = session
        self._owed = 0
        arguments = {
            "path": self.path,
            "offset": self._start if self.position is None else self.position,
            "credit": INITIAL_CREDIT,
            "index": self._index,
        }
        self._number = session.open("follow", arguments, self)

    # From the session

    def reply(self, result: dict[str, Any]) -> None:
        offset, size, inode = (int(result.get(key, 0)) for key in ("offset", "size", "inode"))
        if inode and self._inode and inode != self._inode:
            self._begin_anew()
            return
        self._inode = inode or self._inode
        self.error = None
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
            self.lost(LinkError(f"following {self.path} ended"))

    def fail(self, error: NodeError) -> None:
        log.warning("following %s: %s", self.path, error)
        self._detach(error)

    def lost(self, error: LinkError) -> None:
        self._detach(error)

    # Inside

    def _give_back(self, amount: int) -> None:
        self._owed += amount
        if self._session is not None and not self._paused and self._owed >= _CREDIT_STEP:
            self._session.credit(self._number, self._owed)
            self._owed = 0

    def _begin_anew(self) -> None:
        session = self._session
        self._unbind()
        self.position, self._inode = 0, 0
        guarded(self._sink.replaced)
        if session is not None and session.error is None:
            self.bind(session)

    def _unbind(self) -> None:
        if self._session is not None:
            self._session.close_stream(self._number)
        self._session = None

    def _detach(self, error: CockpitError) -> None:
        self._session = None
        self.error = error
        self._sink.detached()


class Subscription(Stream):
    """Events of one kind, on every connection anew."""

    def __init__(
        self,
        op: str,
        callback: Callable[[dict[str, Any]], None],
        arguments: Mapping[str, Any],
        forget: Callable[[], None],
    ) -> None:
        self.op = op
        self.error: CockpitError | None = None
        """Why nothing arrives now; None while it does."""
        self._callback = callback
        self._arguments = dict(arguments)
        self._forget = forget
        self._session: Session | None = None
        self._number = 0
        self._closed = False

    def close(self) -> None:
        """No more events."""
        if not self._closed:
            self._closed = True
            if self._session is not None:
                self._session.close_stream(self._number)
            self._session = None
            self._forget()

    def bind(self, session: Session) -> None:
        if not self._closed:
            self._session = session
            self._number = session.open(self.op, self._arguments, self)

    def reply(self, result: dict[str, Any]) -> None:  # noqa: ARG002
        self.error = None

    def event(self, item: dict[str, Any]) -> None:
        if not self._closed:
            self._callback(item)

    def end(self, result: dict[str, Any]) -> None:  # noqa: ARG002
        self._session = None

    def fail(self, error: NodeError) -> None:
        log.warning("%s: %s", self.op, error)
        self._session, self.error = None, error

    def lost(self, error: LinkError) -> None:
        self._session, self.error = None, error


class Executed(msgspec.Struct, frozen=True, kw_only=True):
    """How a command on a node ended. Exactly one of `code` and `signal` is set."""

    code: int | None
    signal: int | None
    stdout: bytes = b""
    stderr: bytes = b""


class Bulk(Reply):
    """A request whose answer is followed by DATA and END: `read`, `exec`, `put_code`."""

    def __init__(self, consume: Callable[[int, bytes], None] | None = None) -> None:
        super().__init__()
        self._consume = consume
        self._owed = 0
        self._session: Session | None = None
        self._number = 0
        self.done: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

    def start(self, session: Session, op: str, arguments: Mapping[str, Any]) -> int:
        """Send the request. Raises LinkError when the connection is gone."""
        self._session = session
        self._number = session.open(op, arguments, self)
        return self._number

    def stop(self) -> None:
        """Make sure that nothing more arrives."""
        if self._session is not None:
            self._session.close_stream(self._number)

    def data(self, payload: bytes) -> None:
        if self._consume is not None:
            (offset,) = frames.OFFSET.unpack_from(payload)
            self._consume(offset, payload[frames.OFFSET.size :])
        self._owed += len(payload) - frames.OFFSET.size
        if self._owed >= _CREDIT_STEP and self._session is not None:
            self._session.credit(self._number, self._owed)
            self._owed = 0

    def end(self, result: dict[str, Any]) -> None:
        if not self.done.done():
            self.done.set_result(result)

    def _break(self, error: Exception) -> None:
        super()._break(error)
        if not self.done.done():
            self.done.set_exception(error)
            self.done.exception()  # the caller may be waiting for the reply only


async def upload(
    session: Session,
    digest: str,
    size: int,
    chunks: Iterable[bytes] | AsyncIterator[bytes],
) -> dict[str, Any]:
    """`put_code`: send `chunks` unless the node has them. Returns {present} or {files, bytes}.

    A plain iterable is read off the event loop. Raises LinkError, NodeError, and whatever
    `chunks` raises.
    """
    bulk = Bulk()
    number = bulk.start(session, "put_code", {"digest": digest, "size": size})
    try:
        reply = await bulk.answer
        if reply.get("present"):
            return reply
        async for chunk in _frames(chunks):
            if bulk.done.done():
                break  # the agent gave up; `done` says why
            session.send(frames.Kind.DATA, number, chunk)
            await session.drained()
        session.send_json(frames.Kind.END, number, {})
        return await bulk.done
    finally:
        bulk.stop()


async def _frames(chunks: Iterable[bytes] | AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """`chunks` cut into the sizes of DATA frames; small ones are joined."""
    if isinstance(chunks, AsyncIterator):
        async for chunk in chunks:
            for begin in range(0, len(chunk), _UPLOAD_FRAME):
                yield chunk[begin : begin + _UPLOAD_FRAME]
        return
    pieces = _pieces(chunks)
    while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
        yield piece


def _pieces(chunks: Iterable[bytes]) -> Iterator[bytes]:
    buffer = bytearray()
    for chunk in chunks:
        buffer += chunk
        for begin in range(0, len(buffer) - _UPLOAD_FRAME + 1, _UPLOAD_FRAME):
            yield bytes(buffer[begin : begin + _UPLOAD_FRAME])
        del buffer[: len(buffer) - len(buffer) % _UPLOAD_FRAME]
    if buffer:
        yield bytes(buffer)


async def read(session: Session, path: str, offset: int, length: int, timeout: float) -> bytes:
    """`read`: a range of a file; shorter where the file ends."""
    parts: list[tuple[int, bytes]] = []
    bulk = Bulk(lambda at, data: parts.append((at, data)))
    bulk.start(session, "read", {"path": path, "offset": offset, "length": length})
    try:
        await within(bulk.done, timeout)
    except asyncio.TimeoutError:
        raise LinkError(f"reading {path} took more than {timeout:g} s") from None
    finally:
        bulk.stop()
    return b"".join(data for _, data in sorted(parts, key=lambda part: part[0]))


async def execute(
    session: Session,
    arguments: Mapping[str, Any],
    on_output: Callable[[str, bytes], None] | None,
) -> Executed:
    """`exec`: run a command to its end. Output goes to `on_output`, or into the result."""
    kept: dict[str, list[bytes]] = {"stdout": [], "stderr": []}

    def consume(number: int, data: bytes) -> None:
        stream = "stderr" if number == 1 else "stdout"
        if on_output is not None:
            on_output(stream, data)
        else:
            kept[stream].append(data)

    bulk = Bulk(consume)
    bulk.start(session, "exec", arguments)
    try:
        result = await bulk.done
    finally:
        bulk.stop()
    code, number = result.get("code"), result.get("signal")
    return Executed(
        code=None if code is None else int(code),
        signal=None if number is None else int(number),
        stdout=b"".join(kept["stdout"]),
        stderr=b"".join(kept["stderr"]),
    )
