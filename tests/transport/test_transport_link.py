"""The link over an in-memory node: state, requests, follows and subscriptions across drops."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import click
import pytest

from cockpit.cli.app import cli
from cockpit.errors import AuthenticationError, BootstrapError, LinkError, NodeError
from cockpit.protocol import frames
from cockpit.protocol.messages import INITIAL_CREDIT
from cockpit.transport import standing
from cockpit.transport.base import Channel, ChannelEvents, LinkState
from cockpit.transport.fake import FakeChannel, FakeFailure, FakeNode, FakeRequest, FakeTransport
from cockpit.transport.link import NodeLink

WAIT = 60.0


class Sink:
    """Remembers what a follow delivered, and fails on the first byte out of place."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.start: int | None = None
        self.entries: list[tuple[int, float]] = []
        self.opens: list[tuple[int, int]] = []
        self.replacements = 0
        self.detachments = 0

    def opened(self, offset: int, size: int) -> None:
        self.opens.append((offset, size))
        if self.start is None:
            self.start = offset

    def received(self, offset: int, data: bytes) -> None:
        assert self.start is not None
        assert offset == self.start + len(self.data)
        self.data += data

    def indexed(self, entries: Sequence[tuple[int, float]]) -> None:
        self.entries += entries

    def replaced(self) -> None:
        self.replacements += 1
        self.start = None
        self.data.clear()

    def detached(self) -> None:
        self.detachments += 1


async def until(condition: Callable[[], object], seconds: float = WAIT) -> None:
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, "the condition never came true"
        await asyncio.sleep(0.005)


@pytest.fixture
async def node() -> FakeNode:
    return FakeNode("gpu01")


@pytest.fixture
async def link(node: FakeNode) -> AsyncIterator[NodeLink]:
    link = NodeLink("gpu01", FakeTransport(node), retry_first=0.01, retry_longest=0.1)
    await link.start()
    yield link
    await link.close()
    assert node.connections == 0


async def test_a_link_comes_online_and_knows_who_answered(link: NodeLink) -> None:
    assert link.link.state is LinkState.CONNECTING
    hello = await link.ready(WAIT)
    assert hello.host == "gpu01"
    assert link.link.state is LinkState.ONLINE
    assert link.link.why == ""


async def test_changes_of_the_link_are_announced(node: FakeNode) -> None:
    states: list[LinkState] = []
    link = NodeLink("n", FakeTransport(node), lambda: states.append(link.link.state))
    await link.start()
    await link.ready(WAIT)
    node.drop()
    await until(lambda: states.count(LinkState.ONLINE) > 1 and states[-1] is LinkState.ONLINE)
    await link.close()
    assert states[0] is LinkState.ONLINE
    assert LinkState.RECONNECTING in states


async def test_requests_are_answered_and_may_overtake_each_other(
    node: FakeNode, link: NodeLink
) -> None:
    async def echo(request: FakeRequest) -> Mapping[str, Any]:
        await asyncio.sleep(0.02 if request.args["value"] == "slow" else 0)
        return {"value": request.args["value"]}

    node.handlers["echo"] = echo
    await link.ready(WAIT)
    order: list[str] = []

    async def ask(value: str) -> None:
        answer = await link.request("echo", value=value)
        order.append(answer["value"])

    await asyncio.gather(ask("slow"), ask("fast"))
    assert order == ["fast", "slow"]


async def test_a_refused_request_names_the_node_and_holds_no_escape_sequences(
    node: FakeNode, link: NodeLink
) -> None:
    async def refuse(request: FakeRequest) -> None:
        raise FakeFailure("busy", "no \x1b]52;c;aGk=\x07room", "wait\x1b[31m", by="ada\x1b[0m")

    node.handlers["prepare"] = refuse
    await link.ready(WAIT)
    with pytest.raises(NodeError) as caught:
        await link.request("prepare")
    assert caught.value.code == "busy"
    assert caught.value.message == "gpu01: no room"
    assert caught.value.hint == "wait"
    assert caught.value.details == {"by": "ada"}


async def test_a_hostile_greeting_is_made_harmless() -> None:
    node = FakeNode("n", host="evil\x1b]0;title\x07\u202ehost")
    link = NodeLink("n", FakeTransport(node))
    await link.start()
    assert (await link.ready(WAIT)).host == "evilhost"
    await link.close()


async def test_an_agent_of_another_protocol_is_given_up_at_once() -> None:
    link = NodeLink("n", FakeTransport(FakeNode("n", protocol=99)))
    await link.start()
    with pytest.raises(LinkError, match="protocol 99"):
        await link.ready(WAIT)
    await link.close()


async def test_a_late_answer_is_a_link_error_and_the_link_stays_online(
    node: FakeNode, link: NodeLink
) -> None:
    async def never(request: FakeRequest) -> None:
        await asyncio.sleep(3600)

    node.handlers["never"] = never
    await link.ready(WAIT)
    with pytest.raises(LinkError, match="did not answer `never`"):
        await link.request("never", timeout=0.05)
    assert link.online
    assert (await link.request("clock"))["wall"] > 0


async def test_a_request_in_flight_fails_when_the_link_drops(
    node: FakeNode, link: NodeLink
) -> None:
    async def never(request: FakeRequest) -> None:
        await asyncio.sleep(3600)

    node.handlers["never"] = never
    await link.ready(WAIT)
    request = asyncio.create_task(link.request("never"))
    await until(lambda: any(op == "never" for op, _ in node.requests))
    node.drop("cable cut")
    with pytest.raises(LinkError, match="cable cut"):
        await request


async def test_requests_fail_at_once_while_the_link_is_down(node: FakeNode, link: NodeLink) -> None:
    await link.ready(WAIT)
    node.refuse = LinkError("gpu01: connection refused", "is it on?")
    node.drop()
    await until(lambda: link.link.state is LinkState.UNREACHABLE)
    with pytest.raises(LinkError, match="refused"):
        await link.request("clock")
    assert link.link.why == "gpu01: connection refused"
    assert link.link.hint == "is it on?"
    await until(lambda: link.link.attempts >= 3)
    node.refuse = None
    await link.ready(WAIT)
    assert link.link.attempts == 0


async def test_ready_gives_the_last_error_after_its_time(node: FakeNode) -> None:
    node.refuse = LinkError("n: no route")
    link = NodeLink("n", FakeTransport(node), retry_first=0.01, retry_longest=0.02)
    await link.start()
    with pytest.raises(LinkError, match="no route"):
        await link.ready(0.2)
    await link.close()


async def test_a_hopeless_error_stops_trying_until_retry(node: FakeNode) -> None:
    tries = 0

    class Counting(FakeTransport):
        async def open(self, events: Any) -> Any:
            nonlocal tries
            tries += 1
            return await super().open(events)

    node.refuse = AuthenticationError("n: does not accept our keys")
    link = NodeLink("n", Counting(node), retry_first=0.001, retry_longest=0.002)
    await link.start()
    with pytest.raises(AuthenticationError):
        await link.ready(WAIT)
    await asyncio.sleep(0.1)
    assert tries == 1
    node.refuse = None
    link.retry()
    await link.ready(WAIT)
    assert tries == 2
    await link.close()


async def test_a_transport_that_breaks_is_reported_as_a_link_error() -> None:
    class Broken(FakeTransport):
        async def open(self, events: Any) -> Any:
            raise ZeroDivisionError("oops")

    link = NodeLink("n", Broken(FakeNode("n")))
    await link.start()
    with pytest.raises(LinkError, match="oops"):
        await link.ready(0.2)
    await link.close()


async def test_the_clock_offset_is_found_in_spite_of_the_way(node: FakeNode) -> None:
    node = FakeNode("n", wall=lambda: 1000.0)
    link = NodeLink("n", FakeTransport(node), clock=lambda: 400.0)
    await link.start()
    await link.ready(WAIT)
    await until(lambda: link.link.rtt is not None)
    assert link.link.clock_offset == pytest.approx(600.0, abs=1.0)
    await link.close()


async def test_a_follow_reads_what_is_there_and_what_comes(node: FakeNode, link: NodeLink) -> None:
    node.append("a.log", b"one\n")
    sink = Sink()
    follow = link.follow("a.log", 0, sink)  # before the link is online
    await until(lambda: sink.data == b"one\n")
    node.append("a.log", b"two\n")
    await until(lambda: sink.data == b"one\ntwo\n")
    assert sink.opens == [(0, 4)]
    follow.close()
    node.append("a.log", b"three\n")
    await link.request("clock")
    assert sink.data == b"one\ntwo\n"


async def test_a_new_connection_is_asked_for_followed_files_first(node: FakeNode) -> None:
    async def watch(request: FakeRequest) -> None:
        request.reply({})

    node.handlers["watch_jobs"] = watch
    link = NodeLink("gpu01", FakeTransport(node), retry_first=0.01, retry_longest=0.1)
    link.subscribe("watch_jobs", lambda item: None)
    link.follow("a.log", 0, Sink())
    await link.start()
    for connects in (1, 2):
        await until(lambda connects=connects: len(node.requests) == 2 * connects)
        node.drop()
    assert [op for op, _ in node.requests] == ["follow", "watch_jobs"] * 2
    await link.close()


async def test_a_follow_from_the_tail_resumes_at_the_exact_byte(
    node: FakeNode, link: NodeLink
) -> None:
    node.append("a.log", b"0123456789")
    sink = Sink()
    link.follow("a.log", -4, sink)
    await until(lambda: sink.data == b"6789")
    node.refuse = LinkError("down")
    node.drop()
    await until(lambda: sink.detachments == 1)
    node.append("a.log", b"abc")
    node.refuse = None
    await until(lambda: sink.data == b"6789abc")
    assert sink.start == 6
    assert sink.opens[-1] == (10, 13)


async def test_nothing_is_lost_or_doubled_over_many_drops(node: FakeNode, link: NodeLink) -> None:
    sink = Sink()
    link.follow("a.log", 0, sink)
    written = bytearray()
    dice = random.Random(7)
    for number in range(300):
        line = b"line %d %s\n" % (number, b"x" * dice.randrange(4000))
        written += line
        node.append("a.log", line)
        for _ in range(dice.randrange(4)):
            await asyncio.sleep(0)
        if number % 25 == 24:
            least = len(written) - 50_000
            await until(lambda least=least: len(sink.data) > least)
            node.drop()
    await until(lambda: len(sink.data) == len(written))
    assert sink.data == written
    assert sink.detachments > 5


async def test_a_follow_gives_credit_back_for_what_it_has_read(
    node: FakeNode, link: NodeLink
) -> None:
    size = 3 * INITIAL_CREDIT
    node.append("a.log", bytes(size))
    sink = Sink()
    link.follow("a.log", 0, sink)
    await until(lambda: len(sink.data) == size)


async def test_a_replaced_file_is_read_anew(node: FakeNode, link: NodeLink) -> None:
    node.append("a.log", b"old content")
    sink = Sink()
    link.follow("a.log", 0, sink)
    await until(lambda: sink.data == b"old content")
    node.files["a.log"] = bytearray()
    node.append("a.log", b"new")
    await until(lambda: sink.data == b"new")
    assert sink.replacements == 1


async def test_a_file_replaced_while_the_link_was_down_is_read_anew(
    node: FakeNode, link: NodeLink
) -> None:
    inode = 7

    async def follow(request: FakeRequest) -> None:
        request.reply({"offset": request.args["offset"], "size": 9, "inode": inode})
        request.data(request.args["offset"], b"%d" % inode)
        await asyncio.sleep(3600)

    node.handlers["follow"] = follow
    sink = Sink()
    link.follow("a.log", 0, sink)
    await until(lambda: sink.data == b"7")
    inode = 8
    node.drop()
    await until(lambda: sink.data == b"8")
    assert sink.replacements == 1
    assert sink.start == 0


async def test_time_index_entries_arrive_before_their_bytes(node: FakeNode, link: NodeLink) -> None:
    async def follow(request: FakeRequest) -> None:
        request.reply({"offset": 0, "size": 2, "inode": 1})
        request.index([(0, 1.5), (1, 2.5)])
        request.data(0, b"ab")
        await asyncio.sleep(3600)

    node.handlers["follow"] = follow
    sink = Sink()
    link.follow("a.log", 0, sink, index=True)
    await until(lambda: sink.data == b"ab")
    assert sink.entries == [(0, 1.5), (1, 2.5)]
    assert ("follow", True) in [(op, args.get("index")) for op, args in node.requests]


async def test_a_sink_that_raises_harms_nobody_else(
    node: FakeNode, link: NodeLink, transport_log: list[str]
) -> None:
    class Bad(Sink):
        def received(self, offset: int, data: bytes) -> None:
            raise RuntimeError("a view broke")

    good = Sink()
    link.follow("a.log", 0, Bad())
    link.follow("a.log", 0, good)
    await link.ready(WAIT)
    node.append("a.log", b"text")
    await until(lambda: good.data == b"text")
    assert link.online
    assert "a view broke" in "".join(transport_log)


async def test_a_refused_follow_says_why_and_tries_again_on_the_next_connection(
    node: FakeNode, link: NodeLink
) -> None:
    real = node.handlers["follow"]

    async def refuse(request: FakeRequest) -> None:
        raise FakeFailure("path", "outside of state_dir")

    node.handlers["follow"] = refuse
    sink = Sink()
    follow = link.follow("a.log", 0, sink)
    await until(lambda: follow.error is not None)
    assert "outside of state_dir" in str(follow.error)
    node.handlers["follow"] = real
    node.append("a.log", b"now")
    node.drop()
    await until(lambda: sink.data == b"now")
    assert follow.error is None


@pytest.mark.parametrize("kind", ["follow", "telemetry"])
async def test_what_was_refused_is_asked_again_on_the_same_connection(
    node: FakeNode, link: NodeLink, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standing, "ASK_AGAIN", 0.01)
    monkeypatch.setattr(standing, "ASK_AGAIN_LATEST", 0.03)
    asked = 0
    follow = node.handlers["follow"]

    async def at_the_sixth_time(request: FakeRequest) -> Mapping[str, Any] | None:
        nonlocal asked
        asked += 1
        if asked < 6:
            raise FakeFailure("io", "the file server hiccups")
        if kind == "follow":
            return await follow(request)
        request.reply({})
        request.event({"at": 1.0})
        return None

    node.handlers[kind] = at_the_sixth_time
    node.append("a.log", b"here")
    await link.ready(WAIT)
    sink, seen = Sink(), []
    request: standing.Standing = (
        link.follow("a.log", 0, sink)
        if kind == "follow"
        else link.subscribe("telemetry", seen.append)
    )
    await until(lambda: request.error is not None)
    await until(lambda: sink.data == b"here" or seen)
    assert request.error is None
    assert asked == 6


async def test_what_was_refused_and_closed_is_not_asked_again(
    node: FakeNode, link: NodeLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standing, "ASK_AGAIN", 0.02)

    async def refuse(request: FakeRequest) -> None:
        raise FakeFailure("path", "outside of state_dir")

    node.handlers["follow"] = refuse
    follow = link.follow("a.log", 0, Sink())
    await until(lambda: follow.error is not None)
    follow.close()
    await asyncio.sleep(0.1)
    assert sum(op == "follow" for op, _ in node.requests) == 1


async def test_bytes_that_the_node_has_dropped_are_a_jump_of_the_offset(
    node: FakeNode, link: NodeLink
) -> None:
    async def trimmed(request: FakeRequest) -> None:
        request.reply({"offset": request.args["offset"], "size": 8196, "inode": 7})
        request.data(8192, b"tail")
        await asyncio.sleep(3600)

    got: list[tuple[int, bytes]] = []

    class Gaps(Sink):
        def received(self, offset: int, data: bytes) -> None:
            got.append((offset, data))

    node.handlers["follow"] = trimmed
    follow = link.follow("a.log", 100, Gaps())
    await until(lambda: got)
    assert got == [(8192, b"tail")]
    assert follow.position == 8196


async def test_a_subscription_survives_drops(node: FakeNode, link: NodeLink) -> None:
    served = 0

    async def telemetry(request: FakeRequest) -> None:
        nonlocal served
        served += 1
        request.reply({})
        request.event({"connection": served, "interval": request.args["interval"]})
        await asyncio.sleep(3600)

    node.handlers["telemetry"] = telemetry
    seen: list[dict[str, Any]] = []
    subscription = link.subscribe("telemetry", seen.append, interval=0.5)
    await until(lambda: seen == [{"connection": 1, "interval": 0.5}])
    node.drop()
    await until(lambda: len(seen) == 2)
    assert seen[1]["connection"] == 2
    subscription.close()
    node.drop()
    await link.ready(WAIT)
    await link.request("clock")
    assert len(seen) == 2


async def test_an_upload_sends_everything_in_order(node: FakeNode, link: NodeLink) -> None:
    got = bytearray()

    async def put_code(request: FakeRequest) -> Mapping[str, Any]:
        request.reply({"present": False})
        async for chunk in request.uploaded():
            got.extend(chunk)
        return {"files": 3, "bytes": len(got)}

    node.handlers["put_code"] = put_code
    await link.ready(WAIT)
    pieces = [b"header", bytes(900_000), b"", b"tail"]
    result = await link.upload("ab" * 32, 900_010, iter(pieces))
    assert result == {"files": 3, "bytes": 900_010}
    assert got == b"".join(pieces)


async def test_an_upload_of_what_is_there_sends_nothing(node: FakeNode, link: NodeLink) -> None:
    async def put_code(request: FakeRequest) -> Mapping[str, Any]:
        return {"present": True}

    def chunks() -> Any:
        pytest.fail("the archive was read")
        yield b""

    node.handlers["put_code"] = put_code
    await link.ready(WAIT)
    assert await link.upload("ab" * 32, 5, chunks()) == {"present": True}


async def test_an_upload_that_the_node_gives_up_raises_its_reason(
    node: FakeNode, link: NodeLink
) -> None:
    async def put_code(request: FakeRequest) -> None:
        request.reply({"present": False})
        raise FakeFailure("no_space", "no space left")

    node.handlers["put_code"] = put_code
    await link.ready(WAIT)
    with pytest.raises(NodeError, match="no space left"):
        await link.upload("ab" * 32, 1 << 30, (bytes(1 << 20) for _ in range(1 << 10)))


async def test_a_command_gives_its_output_and_its_end(node: FakeNode, link: NodeLink) -> None:
    async def execute(request: FakeRequest) -> Mapping[str, Any]:
        request.reply({"pid": 1})
        request.data(0, b"out")
        request.data(1, b"err")
        return {"code": 3, "signal": None}

    node.handlers["exec"] = execute
    await link.ready(WAIT)
    result = await link.execute(["nvidia-smi"])
    assert (result.code, result.signal) == (3, None)
    assert (result.stdout, result.stderr) == (b"out", b"err")
    streamed: list[tuple[str, bytes]] = []
    await link.execute(["x"], on_output=lambda stream, data: streamed.append((stream, data)))
    assert streamed == [("stdout", b"out"), ("stderr", b"err")]


async def test_a_range_of_a_file_is_read_whole(node: FakeNode, link: NodeLink) -> None:
    async def read(request: FakeRequest) -> Mapping[str, Any]:
        request.reply({"size": 100})
        request.data(10, b"ab")
        request.data(12, b"cd")
        return {}

    node.handlers["read"] = read
    await link.ready(WAIT)
    assert await link.read("a.log", 10, 4) == b"abcd"


@pytest.mark.parametrize(
    "noise",
    [
        frames.HEADER.pack(1 << 31, 5, 1),
        frames.encode(99, 1, b""),
        frames.encode(frames.Kind.HELLO, 0, b"{}"),
        frames.encode(frames.Kind.REPLY, 1, b"\xff{"),
        frames.encode(frames.Kind.REPLY, 1, b"[]"),
    ],
)
async def test_what_is_no_frame_drops_the_link_with_a_reason(
    node: FakeNode, link: NodeLink, noise: bytes
) -> None:
    whys: list[str] = []

    async def shout(request: FakeRequest) -> None:
        request._channel.send(noise.replace(b"\x00\x00\x00\x01", b"\x00\x00\x00\x01"))
        await asyncio.sleep(3600)

    # The request that is answered with noise must be stream 1 for the noise to reach anybody.
    node.handlers["clock"] = shout
    link._on_change = lambda: whys.append(link.link.why)
    await until(lambda: any("does not speak frames" in why for why in whys))


async def test_a_silent_node_after_a_sleep_of_this_machine_is_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cockpit.transport.link._SLEEP_CHECK", 0.01)
    monkeypatch.setattr("cockpit.transport.link._PROBE_TIMEOUT", 0.05)
    slept = 0.0

    def wall() -> float:
        return asyncio.get_running_loop().time() + slept

    node = FakeNode("n")
    whys: list[str] = []
    link = NodeLink("n", FakeTransport(node), lambda: whys.append(link.link.why), clock=wall)
    await link.start()
    await link.ready(WAIT)
    node.silent = True
    await asyncio.sleep(0.05)
    assert link.online  # nothing was asked, so nothing was missed
    slept = 3600.0
    await until(lambda: any("did not survive a sleep" in why for why in whys))
    node.silent = False
    await link.ready(WAIT)
    await link.close()


async def test_a_link_that_comes_and_goes_does_not_spin(node: FakeNode) -> None:
    opened = 0

    class Dying(FakeTransport):
        async def open(self, events: Any) -> Any:
            nonlocal opened
            opened += 1
            channel = await super().open(events)
            asyncio.get_running_loop().call_later(0.001, node.drop)
            return channel

    link = NodeLink("n", Dying(node), retry_first=0.2, retry_longest=10.0)
    await link.start()
    await asyncio.sleep(0.5)
    await link.close()
    assert opened <= 6


async def test_an_outage_of_any_length_does_not_end_the_tries(node: FakeNode) -> None:
    node.refuse = LinkError("n: no route")
    link = NodeLink("n", FakeTransport(node), retry_first=0.001, retry_longest=0.002)
    link._failures = 5000  # days of tries
    await link.start()
    await until(lambda: link.link.attempts >= 3)
    node.refuse = None
    await link.ready(WAIT)
    await link.close()


async def test_a_connection_that_greets_and_is_gone_was_never_online(node: FakeNode) -> None:
    class Greeting(FakeTransport):
        async def open(self, events: Any) -> Any:
            session = events()
            channel = FakeChannel(node, session)
            session.received(frames.encode_json(frames.Kind.HELLO, 0, node.hello()))
            channel.lose(LinkError("n: the login was ended"))
            return channel

    states: list[LinkState] = []
    link = NodeLink("n", Greeting(node), lambda: states.append(link.link.state), retry_first=60.0)
    await link.start()
    with pytest.raises(LinkError, match="the login was ended"):
        await link.ready(1.0)
    assert states == [LinkState.UNREACHABLE]
    assert link.link.why == "n: the login was ended"
    with pytest.raises(LinkError):
        await link.request("clock")
    await link.close()


@pytest.mark.parametrize(
    ("timeout", "way", "message"),
    [
        (0.0, "ssh gpu01", "gpu01: no connection yet"),
        (0.0, "ssh ada@10.0.0.7", "gpu01: no connection yet (ssh ada@10.0.0.7)"),
        (0.01, "ssh gpu01", "gpu01: no connection within 0.01 s"),
    ],
)
async def test_a_link_without_a_connection_names_its_node_once_and_no_time_of_nothing(
    node: FakeNode, monkeypatch: pytest.MonkeyPatch, timeout: float, way: str, message: str
) -> None:
    monkeypatch.setattr(FakeTransport, "description", way)
    link = NodeLink("gpu01", FakeTransport(node))
    with pytest.raises(LinkError) as failed:
        await link.ready(timeout)
    assert failed.value.message == message


async def test_a_link_that_is_not_ready_in_time_names_a_command_that_exists() -> None:
    slow = FakeNode("n")
    slow.delay = 3600.0
    link = NodeLink("n", FakeTransport(slow))
    await link.start()
    with pytest.raises(LinkError) as caught:
        await link.ready(0.05)
    named = re.findall(r"`cockpit (\w+)", caught.value.hint)
    assert named and set(named) <= set(cli.list_commands(click.Context(cli)))
    await link.close()


async def test_closing_while_connecting_leaves_nothing_behind(node: FakeNode) -> None:
    node.delay = 3600.0
    link = NodeLink("n", FakeTransport(node))
    await link.start()
    waiting = asyncio.create_task(link.ready(WAIT))
    await asyncio.sleep(0.01)
    await asyncio.wait_for(link.close(), WAIT)
    with pytest.raises(LinkError, match="closed"):
        await waiting
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(0)
    assert node.connections == 0


def test_a_bootstrap_error_is_hopeless_unless_it_says_otherwise() -> None:
    assert not BootstrapError("x").retry
    assert BootstrapError("x", retry=True).retry


class Swallowing(FakeTransport):
    """A way to a node whose library loses a cancellation that meets its own end."""

    def __init__(self, node: FakeNode, *, answers: bool) -> None:
        super().__init__(node)
        self.answers = answers
        self.opening = asyncio.Event()

    async def open(self, events: Callable[[], ChannelEvents]) -> Channel:
        self.opening.set()
        try:
            await asyncio.sleep(WAIT)
        except asyncio.CancelledError:
            if not self.answers:
                raise LinkError("gpu01: connection refused") from None
        return await super().open(events)


@pytest.mark.parametrize("answers", [False, True], ids=["refused", "connected"])
async def test_closing_ends_though_a_connect_swallows_the_cancellation(
    node: FakeNode, answers: bool
) -> None:
    transport = Swallowing(node, answers=answers)
    link = NodeLink("gpu01", transport, retry_first=WAIT, retry_longest=WAIT)
    await link.start()
    await transport.opening.wait()
    closing = asyncio.ensure_future(link.close())
    assert (await asyncio.wait({closing}, timeout=WAIT / 2))[0]
    assert node.connections == 0
