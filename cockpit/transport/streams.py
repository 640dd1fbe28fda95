"""Requests that move much data: an upload, a range of a file, a command's output.

Called by `NodeLink` on a live session. They end with the connection and are not tried again;
what outlives connections is in `standing`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec

from cockpit.errors import LinkError
from cockpit.protocol import frames
from cockpit.tasks import within
from cockpit.transport.session import Reply, Session
from cockpit.transport.standing import CREDIT_STEP

_UPLOAD_FRAME = 256 * 1024


class Executed(msgspec.Struct, frozen=True, kw_only=True):
    """How a command on a node ended. Exactly one of `code` and `signal` is set."""

    code: int | None
    signal: int | None
    timed_out: bool = False
    """The node killed it because it took longer than it was given."""
    stdout: bytes = b""
    stderr: bytes = b""


class Bulk(Reply):
    """A request whose answer is followed by DATA and END: `read`, `exec`, or moving code."""

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
        if self._owed >= CREDIT_STEP and self._session is not None:
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


async def fetch(session: Session, digest: str) -> AsyncIterator[bytes]:
    """`get_code`: the bytes of an archive as they come. Raises LinkError, NodeError."""
    arrived: asyncio.Queue[bytes | None] = asyncio.Queue()
    bulk = Bulk(lambda _, data: arrived.put_nowait(data))
    bulk.start(session, "get_code", {"digest": digest})
    bulk.done.add_done_callback(lambda _: arrived.put_nowait(None))
    try:
        while (data := await arrived.get()) is not None:
            yield data
        await bulk.done
    finally:
        bulk.stop()


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
        timed_out=bool(result.get("timed_out", False)),
        stdout=b"".join(kept["stdout"]),
        stderr=b"".join(kept["stderr"]),
    )
