"""A node in memory: an agent made of Python callables, for tests and for the demo at scale.

`FakeNode` answers requests with handlers; `FakeTransport` connects a `NodeLink` to it through
real frames, so everything above the byte stream is the real thing. It can refuse, delay, fall
silent and drop the link.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from cockpit.errors import LinkError
from cockpit.protocol import frames
from cockpit.protocol.frames import Frame, Kind
from cockpit.protocol.messages import PROTOCOL_VERSION
from cockpit.tasks import Tasks
from cockpit.transport.base import Channel, ChannelEvents
from cockpit.transport.shell import Shell, ShellRequest

_CHUNK = 64 * 1024


class FakeFailure(Exception):
    """Raised by a handler to answer FAIL."""

    def __init__(self, code: str, message: str, hint: str = "", **details: Any) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.details = details


class FakeRequest:
    """One request as its handler sees it. A handler may return a dict, which is the REPLY."""

    def __init__(self, channel: FakeChannel, number: int, op: str, args: Mapping[str, Any]) -> None:
        self.op = op
        self.args = args
        self.replied = False
        self.ended = False
        self._channel = channel
        self._number = number
        self._credit = int(args.get("credit", 0))
        self._credit_given = asyncio.Event()
        self._uploaded: asyncio.Queue[bytes | None] = asyncio.Queue()

    def reply(self, result: Mapping[str, Any]) -> None:
        self.replied = True
        self._send(frames.encode_json(Kind.REPLY, self._number, result))

    def event(self, item: Mapping[str, Any]) -> None:
        self._send(frames.encode_json(Kind.EVENT, self._number, item))

    def index(self, entries: list[tuple[int, float]]) -> None:
        payload = b"".join(frames.INDEX_ENTRY.pack(*entry) for entry in entries)
        self._send(frames.encode(Kind.INDEX, self._number, payload))

    def data(self, offset: int, data: bytes) -> None:
        self._credit -= len(data)
        self._send(frames.encode(Kind.DATA, self._number, frames.OFFSET.pack(offset) + data))

    def end(self, result: Mapping[str, Any]) -> None:
        self.ended = True
        self._send(frames.encode_json(Kind.END, self._number, result))

    def fail(self, failure: FakeFailure) -> None:
        self.ended = True
        value = {
            "code": failure.code,
            "message": failure.message,
            "hint": failure.hint,
            "details": failure.details,
        }
        self._send(frames.encode_json(Kind.FAIL, self._number, value))

    async def credit(self) -> int:
        """Bytes that may be sent now; waits while there are none."""
        while self._credit <= 0:
            self._credit_given.clear()
            await self._credit_given.wait()
        return self._credit

    async def uploaded(self) -> AsyncIterator[bytes]:
        """The DATA that the controller sends, until its END."""
        while (chunk := await self._uploaded.get()) is not None:
            yield chunk

    def take(self, frame: Frame) -> None:
        """CREDIT, DATA or END from the controller."""
        if frame.kind == Kind.CREDIT:
            self._credit += frames.OFFSET.unpack(frame.payload)[0]
            self._credit_given.set()
        elif frame.kind == Kind.DATA:
            self._uploaded.put_nowait(frame.payload)
        elif frame.kind == Kind.END:
            self._uploaded.put_nowait(None)

    def _send(self, data: bytes) -> None:
        self._channel.send(data)


Handler = Callable[[FakeRequest], Awaitable[Mapping[str, Any] | None]]


class FakeNode:
    """`handlers`: op -> coroutine function. `clock` and `follow` (over `files`) are there."""

    def __init__(
        self,
        name: str = "fake",
        handlers: Mapping[str, Handler] | None = None,
        *,
        wall: Callable[[], float] = time.time,
        **hello: Any,
    ) -> None:
        self.name = name
        self.files: dict[str, bytearray] = {}
        self.handlers: dict[str, Handler] = {
            "clock": self._clock,
            "follow": self._follow,
            **(handlers or {}),
        }
        self.refuse: LinkError | None = None
        """Raised by the next connects."""
        self.delay = 0.0
        """Seconds by which everything that the node sends is late."""
        self.silent = False
        """Swallow whatever either side sends, as a half-open connection does."""
        self.requests: list[tuple[str, Mapping[str, Any]]] = []
        """Every request that arrived."""
        self._wall = wall
        self._hello = hello
        self._grown: set[asyncio.Event] = set()
        self._channels: set[FakeChannel] = set()

    @property
    def connections(self) -> int:
        return len(self._channels)

    def append(self, path: str, data: bytes) -> None:
        """Let a file grow; whoever follows it gets the bytes."""
        self.files.setdefault(path, bytearray()).extend(data)
        for grown in self._grown:
            grown.set()

    def drop(self, why: str = "dropped") -> None:
        """Lose every connection."""
        for channel in list(self._channels):
            channel.lose(LinkError(f"{self.name}: {why}"))

    def hello(self) -> dict[str, Any]:
        return {
            "protocol": PROTOCOL_VERSION,
            "version": "0",
            "host": self.name,
            "user": "fake",
            "uid": 1000,
            "boot_id": f"boot-{self.name}",
            "python": "3.11.0",
            "executable": "/usr/bin/python3",
            "state_dir": "/home/fake/.cockpit",
            "runtime": "0" * 64,
            "pid": 1,
            "address": "",
            "wall": self._wall(),
            "mono": time.monotonic(),
            **self._hello,
        }

    def opened(self, channel: FakeChannel) -> None:
        self._channels.add(channel)

    def closed(self, channel: FakeChannel) -> None:
        self._channels.discard(channel)

    async def answer(self, request: FakeRequest) -> None:
        """Run the handler of one request to its end."""
        self.requests.append((request.op, request.args))
        handler = self.handlers.get(request.op)
        if handler is None:
            request.fail(FakeFailure("unknown_op", f"no operation {request.op!r}"))
            return
        try:
            result = await handler(request)
        except FakeFailure as failure:
            request.fail(failure)
            return
        if result is not None:
            if request.replied:
                request.end(result)
            else:
                request.reply(result)

    async def _clock(self, request: FakeRequest) -> Mapping[str, Any]:  # noqa: ARG002
        return {"wall": self._wall(), "mono": time.monotonic()}

    async def _follow(self, request: FakeRequest) -> Mapping[str, Any] | None:
        path, offset = str(request.args["path"]), int(request.args["offset"])
        size = len(self.files.get(path, b""))
        if offset < 0:
            offset = max(0, size + offset)
        request.reply({"offset": offset, "size": size, "inode": 1 if path in self.files else 0})
        grown = asyncio.Event()
        self._grown.add(grown)
        try:
            while True:
                grown.clear()
                content = self.files.get(path, bytearray())
                if len(content) < offset:
                    return {"replaced": True}
                while offset < len(content):
                    room = min(await request.credit(), _CHUNK)
                    data = bytes(content[offset : offset + room])
                    request.data(offset, data)
                    offset += len(data)
                await grown.wait()
        finally:
            self._grown.discard(grown)


class FakeTransport:
    """Connects to a FakeNode."""

    def __init__(self, node: FakeNode) -> None:
        self._node = node

    @property
    def description(self) -> str:
        return f"simulated {self._node.name}"

    async def open(self, events: Callable[[], ChannelEvents]) -> Channel:
        await asyncio.sleep(self._node.delay)
        if self._node.refuse is not None:
            raise self._node.refuse
        channel = FakeChannel(self._node, events())
        channel.greet()
        return channel

    async def shell(self, request: ShellRequest) -> Shell:  # noqa: ARG002
        raise LinkError(f"{self._node.name} is simulated: it has no shell")


class FakeChannel:
    """Both ends of one connection to a FakeNode."""

    def __init__(self, node: FakeNode, events: ChannelEvents) -> None:
        self._node = node
        self._events = events
        self._loop = asyncio.get_running_loop()
        self._decoder = frames.Decoder()
        self._requests: dict[int, tuple[FakeRequest, asyncio.Task[None]]] = {}
        self._tasks = Tasks()
        self._open = True
        self._outgoing: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        node.opened(self)
        self._tasks.start(self._deliver(), f"fake node {node.name}")

    # The node's end

    def greet(self) -> None:
        self.send(frames.encode_json(Kind.HELLO, 0, self._node.hello()))

    def send(self, data: bytes) -> None:
        if self._open and not self._node.silent:
            self._outgoing.put_nowait((self._loop.time() + self._node.delay, data))

    def lose(self, error: LinkError | None) -> None:
        if not self._open:
            return
        self._open = False
        self._node.closed(self)
        for _, task in self._requests.values():
            task.cancel()
        self._events.closed(error)

    # The controller's end

    def write(self, data: bytes) -> None:
        if not self._open or self._node.silent:
            return
        for frame in self._decoder.feed(data):
            self._take(frame)

    async def drained(self) -> None:
        await asyncio.sleep(0)

    async def close(self) -> None:
        self.lose(None)
        await self._tasks.close()

    # Inside

    async def _deliver(self) -> None:
        while self._open:
            due, data = await self._outgoing.get()
            if (late := due - self._loop.time()) > 0:
                await asyncio.sleep(late)
            if self._open:
                self._events.received(data)

    def _take(self, frame: Frame) -> None:
        if frame.kind == Kind.REQUEST:
            args = json.loads(frame.payload)
            request = FakeRequest(self, frame.stream, args.pop("op"), args)
            task = self._tasks.start(self._serve(frame.stream, request), f"fake {request.op}")
            self._requests[frame.stream] = (request, task)
            return
        if frame.stream not in self._requests:
            return
        request, task = self._requests[frame.stream]
        if frame.kind == Kind.CLOSE:
            task.cancel()
            if not request.ended:
                request.end({})
        else:
            request.take(frame)

    async def _serve(self, number: int, request: FakeRequest) -> None:
        try:
            await self._node.answer(request)
        finally:
            self._requests.pop(number, None)
