"""The lasting link to one node: connects, reconnects, and carries requests while it can.

The controller makes one per node. Follows and subscriptions made here go on by themselves after
a drop; plain requests fail at once while the link is down. It never ends anything on a node.
"""

from __future__ import annotations

import asyncio
import functools
import random
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any

import msgspec

from cockpit.errors import LinkError
from cockpit.protocol.messages import HANDSHAKE_TIMEOUT, Hello
from cockpit.tasks import Tasks, within
from cockpit.transport import streams
from cockpit.transport.base import Link, LinkState, Transport
from cockpit.transport.session import Session, guarded, log
from cockpit.transport.shell import Shell, ShellRequest
from cockpit.transport.standing import Follow, FollowSink, Standing, Subscription
from cockpit.transport.streams import Executed
from cockpit.transport.trace import NodeTrace, Trace, command, named

__all__ = ["Executed", "Follow", "FollowSink", "NodeLink", "Subscription"]

REQUEST_TIMEOUT = 30.0
RETRY_FIRST = 0.2
RETRY_LONGEST = 10.0
_MOST_DOUBLINGS = 30
"""Of the pause between tries; an outage of weeks must not overflow a float."""
STEADY = 1.0
"""Seconds that a connection must have lasted for its drop to be followed by an immediate try."""
CLOCK_FIRST = 1.0
"""Seconds after a connect; until then the clock is known from HELLO, and logs go first."""
CLOCK_PERIOD = 60.0
CLOCK_SAMPLES = 5
_SLEEP_CHECK = 2.0
_SLEPT = 5.0
"""Seconds by which the wall clock must have run ahead of ours: this machine was asleep."""
_PROBE_TIMEOUT = 5.0


class NodeLink:
    """`on_change` is called on the event loop whenever `link` has changed. `clock` is wall time."""

    def __init__(
        self,
        name: str,
        transport: Transport,
        on_change: Callable[[], None] | None = None,
        *,
        clock: Callable[[], float] = time.time,
        retry_first: float = RETRY_FIRST,
        retry_longest: float = RETRY_LONGEST,
        trace: NodeTrace | None = None,
    ) -> None:
        self.name = name
        self.transport = transport
        self.hello: Hello | None = None
        """Who answered last; kept while the link is down."""
        self._on_change = on_change
        self._clock = clock
        self._trace = trace or Trace(clock).node("", name)
        self._retry_first = retry_first
        self._retry_longest = retry_longest
        self._link = Link(since=clock())
        self._session: Session | None = None
        self._error: LinkError | None = None
        self._failures = 0
        self._online_at = 0.0
        self._standing: dict[int, Standing] = {}
        self._next_standing = 0
        self._waiters: set[asyncio.Future[None]] = set()
        self._retry_now: asyncio.Future[None] | None = None
        self._tasks = Tasks()
        self._started = False
        self._closed = False

    # Life

    @property
    def link(self) -> Link:
        return self._link

    @property
    def online(self) -> bool:
        return self._link.state is LinkState.ONLINE

    async def start(self) -> None:
        """Begin to connect; returns at once. `ready` waits for the result."""
        if not self._started:
            self._started = True
            self._tasks.start(self._run(), f"link {self.name}")
            self._tasks.start(self._watch_for_sleep(), f"sleep watch {self.name}")

    async def close(self) -> None:
        """Disconnect. Jobs on the node go on. Not reusable."""
        self._closed = True
        session, self._session = self._session, None
        await self._tasks.close()
        if session is not None:
            await session.close()
        self._error = LinkError(f"{self.name}: this link was closed", retry=False)
        self._on_change = None
        self._change(state=LinkState.UNREACHABLE, since=self._clock(), why=self._error.message)

    def retry(self) -> None:
        """Try again now, also after an error that stopped the link from trying by itself."""
        self._failures = 0
        self._error = None
        if self._retry_now is not None and not self._retry_now.done():
            self._retry_now.set_result(None)

    def redirect(self, transport: Transport) -> None:
        """Go on over another way to the node, now. Follows and subscriptions resume there.

        The link is `connecting` then, as at its beginning: it was left, not lost.
        """
        self.transport = transport
        if self.online:
            why = "its profile changed"
            self._change(state=LinkState.CONNECTING, since=self._clock(), why=why, hint="")
        if self._session is not None:
            self._session.drop(LinkError(f"{self.name}: the way to it was changed"))
        self.retry()

    async def ready(self, timeout: float) -> Hello:
        """Wait until the link is online.

        Raises the LinkError at once when trying again cannot help, or the last one after
        `timeout` seconds.
        """
        deadline = asyncio.get_running_loop().time() + timeout
        while True:
            if self.online and self.hello is not None:
                return self.hello
            if self._error is not None and not self._error.retry:
                raise self._error.with_traceback(None)
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0 or not await self._changed(left):
                raise self._not_ready(timeout)

    def _not_ready(self, timeout: float) -> LinkError:
        if self._error is not None:
            return self._error.with_traceback(None)
        since = f"within {timeout:g} s" if timeout > 0 else "yet"
        way = self.transport.description
        how = "" if way == f"ssh {self.name}" else f" ({way})"
        return LinkError(
            f"{self.name}: no connection {since}{how}",
            "`cockpit nodes` says what each node answers",
        )

    # Requests

    async def request(
        self, op: str, /, *, timeout: float = REQUEST_TIMEOUT, **arguments: Any
    ) -> dict[str, Any]:
        """One request to the agent, see `cockpit.protocol.messages`.

        Raises LinkError when the link is down, goes down, or nothing answers within `timeout`
        seconds; NodeError when the agent refuses.
        """
        with self._trace.call(named(op, arguments)):
            return await self._live().request(op, arguments, timeout)

    async def upload(
        self, digest: str, size: int, chunks: Iterable[bytes] | AsyncIterator[bytes]
    ) -> dict[str, Any]:
        """Store an archive on the node. Returns {present: true}, or {files, bytes} after sending.

        A plain iterable is read in a thread. Raises LinkError, NodeError, and what `chunks`
        raises.
        """
        with self._trace.call(f"put_code digest={digest[:12]} size={size}"):
            return await streams.upload(self._live(), digest, size, chunks)

    async def download(self, digest: str) -> AsyncIterator[bytes]:
        """The archive that was stored on the node under `digest`, as it comes; the caller checks
        it. Raises LinkError, NodeError "not_found"."""
        with self._trace.call(f"get_code digest={digest[:12]}"):
            async for chunk in streams.fetch(self._live(), digest):
                yield chunk

    async def read(
        self, path: str, offset: int, length: int, *, timeout: float = REQUEST_TIMEOUT
    ) -> bytes:
        """A range of a file below state_dir; shorter where the file ends."""
        with self._trace.call(named("read", {"path": path, "offset": offset, "length": length})):
            return await streams.read(self._live(), path, offset, length, timeout)

    async def execute(
        self,
        argv: Sequence[str],
        *,
        env: dict[str, str] | None = None,
        cwd: str | None = None,
        timeout: float | None = None,
        on_output: Callable[[str, bytes], None] | None = None,
    ) -> Executed:
        """Run a command on the node to its end; the node kills it after `timeout` seconds.

        `env` is added to the environment of the login; `cwd` is the home folder unless given.

        `on_output("stdout" | "stderr", bytes)` gets the output as it comes; without it the
        result holds all of it. The command ends when the link does. Raises LinkError, NodeError.
        """
        arguments: dict[str, Any] = {"argv": list(argv), "env": env or {}}
        if cwd is not None:
            arguments["cwd"] = cwd
        if timeout is not None:
            arguments["timeout"] = timeout
        with self._trace.call(command(argv)):
            return await streams.execute(self._live(), arguments, on_output)

    async def shell(self, request: ShellRequest) -> Shell:
        """Open a shell on the node, over the connection that is there.

        Raises LinkError when there is none, or the node refuses; UsageError for its directory.
        """
        self._live()
        with self._trace.call(f"shell {request.directory}".rstrip()):
            return await self.transport.shell(request)

    def follow(
        self,
        path: str,
        offset: int,
        sink: FollowSink,
        *,
        index: bool = False,
        length: int | None = None,
    ) -> Follow:
        """Follow a file from `offset` on (negative: that many bytes before its end), for ever.

        `length`: hardly more bytes than that are sent; the caller closes it when it has them. May
        be called while the link is down. `sink` is never called before this returns.
        """
        key = self._reserve()
        end = self._trace.begin(named("follow", {"path": path, "offset": offset}))
        forget = self._forgetter(key, end)
        follow = Follow(path, offset, sink, index=index, length=length, forget=forget)
        self._stand(key, follow)
        return follow

    def subscribe(
        self, op: str, /, callback: Callable[[Any], None], *, raw: bool = False, **arguments: Any
    ) -> Subscription:
        """Have `callback` called with every item of a streaming request, on every connection.

        An item is a JSON object; with `raw` its bytes, for who has a better decoder.
        """
        key = self._reserve()
        end = self._trace.begin(named(op, arguments))
        forget = self._forgetter(key, end)
        subscription = Subscription(op, callback, arguments, forget, raw=raw)
        self._stand(key, subscription)
        return subscription

    def _live(self) -> Session:
        if self._session is not None and self.online:
            return self._session
        if self._error is not None:
            raise self._error.with_traceback(None)
        raise LinkError(f"{self.name} is not connected ({self.transport.description})")

    def _reserve(self) -> int:
        self._next_standing += 1
        return self._next_standing

    def _forgetter(self, key: int, end: Callable[[str], None]) -> Callable[[], None]:
        return functools.partial(self._forget, key, end)

    def _forget(self, key: int, end: Callable[[str], None]) -> None:
        self._standing.pop(key, None)
        end("ok")

    def _stand(self, key: int, standing: Standing) -> None:
        self._standing[key] = standing
        if self._session is not None and self.online:
            standing.bind(self._session)

    # Connecting

    async def _run(self) -> None:
        # A cancellation that meets a failing connect may be lost in `asyncio.wait_for`.
        while not self._closed:
            transport = self.transport
            try:
                with self._trace.call(f"connect {transport.description}"):
                    session = await self._connect()
            except LinkError as error:
                if transport is self.transport and not self._closed:
                    self._failed(error)
                    await self._pause()
                continue
            if transport is not self.transport or self._closed:
                await session.close()
                continue
            self._came_online(session)
            await asyncio.wait({session.gone})
            await session.close()
            if asyncio.get_running_loop().time() - self._online_at < STEADY:
                # It does not last: no immediate try, or we would spin.
                self._failures += 1
                await self._pause()
            else:
                self._failures = 0

    async def _connect(self) -> Session:
        session = Session(self.name, self._lost, self._trace.heard)
        try:
            session.attach(await self.transport.open(lambda: session))
            await within(session.hello, HANDSHAKE_TIMEOUT)
            session.require()  # it may have greeted and gone before anybody looked
        except asyncio.TimeoutError:
            await session.close()
            raise LinkError(
                f"{self.name}: the agent did not greet within {HANDSHAKE_TIMEOUT:g} s",
                "the node may be overloaded, or its home folder may hang",
            ) from None
        except LinkError:
            await session.close()
            raise
        except asyncio.CancelledError:
            await session.close()
            raise
        except Exception as error:
            log.exception("connecting to %s", self.name)
            await session.close()
            raise LinkError(f"{self.name}: connecting failed: {error!r}") from error
        return session

    async def _pause(self) -> None:
        """Wait before the next try: longer with each failure, for `retry` where it is hopeless."""
        self._retry_now = asyncio.get_running_loop().create_future()
        if self._error is not None and not self._error.retry:
            await asyncio.wait({self._retry_now})
            return
        doublings = min(self._failures - 1, _MOST_DOUBLINGS)
        longest = min(self._retry_first * 2**doublings, self._retry_longest)
        await asyncio.wait({self._retry_now}, timeout=longest * random.uniform(0.5, 1.0))

    def _came_online(self, session: Session) -> None:
        hello = session.hello.result()
        self._session = session
        self._online_at = asyncio.get_running_loop().time()
        self._error = None
        self.hello = hello
        now = self._clock()
        self._change(
            state=LinkState.ONLINE,
            since=now,
            why="",
            hint="",
            attempts=0,
            clock_offset=hello.wall - now,
        )
        self._tasks.start(self._keep_clock(session), f"clock {self.name}")
        for standing in sorted(self._standing.values(), key=lambda waiting: not waiting.urgent):
            if session.error is None:
                guarded(standing.bind, session)

    def _lost(self, error: LinkError) -> None:
        """From the session, before its streams hear of it."""
        if self._session is None or not self.online:
            return  # it never came online: `_connect` raises the same error
        self._error = error
        self._change(
            state=LinkState.RECONNECTING, since=self._clock(), why=error.message, hint=error.hint
        )

    def _failed(self, error: LinkError) -> None:
        self._failures += 1
        self._error = error
        down = self._link.state is LinkState.UNREACHABLE
        self._change(
            state=LinkState.UNREACHABLE,
            since=self._link.since if down else self._clock(),
            why=error.message,
            hint=error.hint,
            attempts=self._link.attempts + 1,
        )

    def _change(self, **fields: Any) -> None:
        changed = msgspec.structs.replace(self._link, **fields)
        if changed == self._link:
            return
        self._link = changed
        self._wake_waiters()
        if self._on_change is not None:
            guarded(self._on_change)

    async def _changed(self, timeout: float) -> bool:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await within(waiter, timeout)
        except asyncio.TimeoutError:
            return False
        finally:
            self._waiters.discard(waiter)
        return True

    def _wake_waiters(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    # Clocks

    async def _keep_clock(self, session: Session) -> None:
        """Keep `rtt` and `clock_offset` true while `session` lasts."""
        pause = CLOCK_FIRST
        while not (await asyncio.wait({session.gone}, timeout=pause))[0]:
            try:
                best = min([await self._sample(session) for _ in range(CLOCK_SAMPLES)])
            except LinkError:
                return
            self._change(rtt=best[0], clock_offset=best[1])
            pause = CLOCK_PERIOD

    async def _sample(self, session: Session) -> tuple[float, float]:
        """(round trip, node's clock minus ours), seconds."""
        loop = asyncio.get_running_loop()
        wall, begin = self._clock(), loop.time()
        answer = await session.request("clock", {}, REQUEST_TIMEOUT)
        trip = loop.time() - begin
        return trip, float(answer["wall"]) - (wall + trip / 2)

    async def _watch_for_sleep(self) -> None:
        """Find out at once, not by keepalive, whether the connection outlived a sleep of ours."""
        loop = asyncio.get_running_loop()
        wall, mono = self._clock(), loop.time()
        while True:
            await asyncio.sleep(_SLEEP_CHECK)
            passed, ticked = self._clock() - wall, loop.time() - mono
            wall, mono = wall + passed, mono + ticked
            if passed - ticked > _SLEPT:
                await self._after_sleep()

    async def _after_sleep(self) -> None:
        session = self._session
        if session is None or session.error is not None:
            if self._error is None or self._error.retry:
                self.retry()
            return
        try:
            await session.request("clock", {}, _PROBE_TIMEOUT)
        except LinkError:
            session.drop(LinkError(f"{self.name}: the connection did not survive a sleep"))
