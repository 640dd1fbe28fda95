"""One connection to an agent: frames in and out, and which request each answer belongs to.

`NodeLink` makes one per successful connect and throws it away when it is lost. Nothing here
reconnects, and nothing here survives a drop.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from cockpit.errors import BootstrapError, LinkError, NodeError
from cockpit.protocol import frames
from cockpit.protocol.frames import Frame, Kind
from cockpit.protocol.messages import PROTOCOL_VERSION, Hello
from cockpit.tasks import within
from cockpit.text import clean
from cockpit.transport.base import Channel

log = logging.getLogger("cockpit.transport")


class Stream:
    """What the owner of one request hears. Called on the event loop; does nothing by default.

    After `fail`, `end`, `lost`, or the reply of a plain request, nothing more is called.
    """

    raw = False
    """Items of a subscription go to `event` as they came, JSON in bytes."""

    def reply(self, result: dict[str, Any]) -> None:
        """The request was accepted, or done."""

    def data(self, payload: bytes) -> None:
        """A DATA frame, with its offset in front."""

    def index(self, payload: bytes) -> None:
        """An INDEX frame."""

    def event(self, item: Any) -> None:
        """An item of a subscription: a JSON object, or its bytes."""

    def end(self, result: dict[str, Any]) -> None:
        """Nothing more follows."""

    def fail(self, error: NodeError) -> None:
        """The agent refused, or could not go on."""

    def lost(self, error: LinkError) -> None:
        """The connection is gone."""


class Session:
    """The owner of a Channel (its ChannelEvents).

    `on_lost` is called once, before any stream; `heard` with the size of whatever arrives.
    """

    def __init__(
        self,
        node: str,
        on_lost: Callable[[LinkError], None],
        heard: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._node = node
        self._on_lost = on_lost
        self._heard = heard
        self._channel: Channel | None = None
        self._decoder = frames.Decoder()
        self._ids = itertools.count(1)
        self._streams: dict[int, Stream] = {}
        self._closing: asyncio.Task[None] | None = None
        self.error: LinkError | None = None
        """Why the connection is gone; None while it lives."""
        self.hello: asyncio.Future[Hello] = asyncio.get_running_loop().create_future()
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def attach(self, channel: Channel) -> None:
        """Write to `channel` from now on."""
        self._channel = channel

    # From the channel

    def received(self, data: bytes) -> None:
        if self.error is not None:
            return
        self._heard(len(data))
        try:
            for frame in self._decoder.feed(data):
                self._dispatch(frame)
        except (frames.FrameError, msgspec.MsgspecError, UnicodeError) as error:
            self.drop(LinkError(f"{self._node}: the agent does not speak frames: {error}"))

    def closed(self, error: Exception | None) -> None:
        if error is None:
            error = LinkError(f"{self._node}: the connection was closed")
        elif not isinstance(error, LinkError):
            error = LinkError(f"{self._node}: the connection is lost: {error}")
        self._lose(error)

    # To the agent

    def open(self, op: str, arguments: Mapping[str, Any], stream: Stream) -> int:
        """Send a request; its answers go to `stream`. Returns the stream's id.

        Raises LinkError when the connection is gone.
        """
        self.require()
        number = next(self._ids)
        self._streams[number] = stream
        self.send_json(Kind.REQUEST, number, {"op": op, **arguments})
        return number

    def send(self, kind: Kind, number: int, payload: bytes = b"") -> None:
        """Queue a frame; dropped when the connection is gone."""
        if self._channel is not None and self.error is None:
            self._channel.write(frames.encode(kind, number, payload))

    def send_json(self, kind: Kind, number: int, value: Mapping[str, Any]) -> None:
        self.send(kind, number, msgspec.json.encode(value))

    def credit(self, number: int, amount: int) -> None:
        """Allow the agent `amount` more bytes of DATA on this stream."""
        self.send(Kind.CREDIT, number, frames.OFFSET.pack(amount))

    def close_stream(self, number: int) -> None:
        """Stop a stream; whatever still arrives on it is ignored."""
        if self._streams.pop(number, None) is not None:
            self.send(Kind.CLOSE, number)

    async def request(
        self, op: str, arguments: Mapping[str, Any], timeout: float
    ) -> dict[str, Any]:
        """One request with one answer. Raises LinkError (gone, or late) and NodeError."""
        waiter = Reply()
        number = self.open(op, arguments, waiter)
        try:
            return await within(waiter.answer, timeout)
        except asyncio.TimeoutError:
            raise LinkError(
                f"{self._node} did not answer `{op}` within {timeout:g} s",
                "the node may be overloaded, or its disk may hang",
            ) from None
        finally:
            self._streams.pop(number, None)

    def require(self) -> None:
        """Raise the LinkError that ended the connection, if one did."""
        if self.error is not None:
            raise self.error.with_traceback(None)

    async def drained(self) -> None:
        """Wait until more bulk data may be queued. Raises LinkError when the link is gone."""
        if self._channel is not None:
            await self._channel.drained()
        self.require()

    def drop(self, error: LinkError) -> None:
        """Give the connection up because of `error`."""
        self._lose(error)
        if self._channel is not None and self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(self._channel.close())

    async def close(self) -> None:
        """Close the channel and wait for it."""
        self._lose(LinkError(f"{self._node}: the connection was closed"))
        if self._closing is not None:
            # Whoever waits for it may be cancelled; the channel is closed all the same.
            await asyncio.shield(self._closing)
        elif self._channel is not None:
            await self._channel.close()

    # Inside

    def _lose(self, error: LinkError) -> None:
        if self.error is not None:
            return
        self.error = error
        self.gone.set_result(None)
        if not self.hello.done():
            self.hello.set_exception(error)
            self.hello.exception()  # it may be that nobody waits for it any more
        guarded(self._on_lost, error)
        streams, self._streams = self._streams, {}
        for stream in streams.values():
            guarded(stream.lost, error)

    def _dispatch(self, frame: Frame) -> None:
        kind, number, payload = frame
        if kind == Kind.HELLO:
            self._greet(payload)
            return
        if number == 0 and kind == Kind.FAIL:
            error = _node_error(self._node, _object(payload))
            self.drop(BootstrapError(error.message, error.hint))
            return
        stream = self._streams.get(number)
        if stream is None:
            return  # an answer to what was closed or timed out
        if kind == Kind.DATA:
            guarded(stream.data, payload)
        elif kind == Kind.EVENT:
            guarded(stream.event, payload if stream.raw else _object(payload))
        elif kind == Kind.INDEX:
            guarded(stream.index, payload)
        elif kind == Kind.REPLY:
            guarded(stream.reply, _object(payload))
        elif kind == Kind.END:
            del self._streams[number]
            guarded(stream.end, _object(payload))
        elif kind == Kind.FAIL:
            del self._streams[number]
            guarded(stream.fail, _node_error(self._node, _object(payload)))
        else:
            raise frames.FrameError(f"frame of unknown kind {kind}")

    def _greet(self, payload: bytes) -> None:
        if self.hello.done():
            raise frames.FrameError("a second HELLO")
        greeting = _object(payload)
        protocol = greeting.get("protocol")
        if protocol != PROTOCOL_VERSION:
            self.drop(
                BootstrapError(
                    f"{self._node}: the agent speaks protocol {clean(str(protocol))}, "
                    f"not {PROTOCOL_VERSION}"
                )
            )
            return
        self.hello.set_result(msgspec.convert(_cleaned(greeting), Hello))


class Reply(Stream):
    """Waits for one answer; `answer` gets LinkError or NodeError when there is none."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

    def reply(self, result: dict[str, Any]) -> None:
        if not self.answer.done():
            self.answer.set_result(result)

    def fail(self, error: NodeError) -> None:
        self._break(error)

    def lost(self, error: LinkError) -> None:
        self._break(error)

    def _break(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)
            self.answer.exception()  # the caller may have given up waiting


def guarded(callback: Callable[..., None], *arguments: Any) -> None:
    """Call `callback`; an exception of its own is logged and harms nobody else."""
    try:
        callback(*arguments)
    except Exception:
        log.exception("a callback failed: %r", callback)


def _object(payload: bytes) -> dict[str, Any]:
    value = msgspec.json.decode(payload)
    if not isinstance(value, dict):
        raise frames.FrameError("a control frame holds no JSON object")
    return value


def _cleaned(value: Any) -> Any:
    """`value` with every string in it made harmless."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {clean(str(key)): _cleaned(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_cleaned(item) for item in value]
    return value


def _node_error(node: str, failure: dict[str, Any]) -> NodeError:
    failure = _cleaned(failure)
    details = failure.get("details")
    return NodeError(
        str(failure.get("code", "unknown")),
        f"{node}: {failure.get('message') or 'the agent gave no reason'}",
        str(failure.get("hint", "")),
        details if isinstance(details, dict) else {},
    )
