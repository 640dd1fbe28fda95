"""The debug page, the trace of calls behind it, and what the screen measures of itself."""

from __future__ import annotations

import re
import threading
from typing import Any

import pytest
from tui_quiet import until
from tui_screen import Opener
from tui_world import MONO, WALL, healthy, node, troubled

from cockpit.errors import LinkError, NodeError
from cockpit.transport.fake import FakeFailure, FakeNode, FakeRequest, FakeTransport
from cockpit.transport.link import NodeLink
from cockpit.transport.trace import KEPT, LONGEST, Trace, command, named
from cockpit.tui.actions import View
from cockpit.tui.house import debugging
from cockpit.tui.house.vitals import Vitals, resident, spread
from cockpit.tui.source import Call
from cockpit.tui.terminal import Meter

CALLS = [
    Call(WALL - 5, "lab", "gpu01", "follow path=[/data/x] offset=0", None, ""),
    Call(WALL - 3, "lab", "gpu02", "connect ssh ada@gpu02.lab", 0.21, "Connection refused"),
    Call(WALL - 1, "lab", "gpu01", "scan job=llama-1a2b", 0.004, "ok"),
]


@pytest.mark.parametrize("size", [(120, 36), (80, 24), (60, 15)])
async def test_the_page_shows_readings_links_calls_and_facts(
    opened: Opener, size: tuple[int, int]
) -> None:
    async with opened(troubled(), size=size) as screen:
        screen.source.made_calls = CALLS
        await screen.press("tilde")
        text = screen.text
        for part in ("loop lag", "memory", "pulse cost", "from nodes", "20 fps", "✖ unreachable"):
            assert part in text
        assert "scan job=llama-1a2b" in text
        await until(lambda: "textual" in screen.text)


async def test_calls_are_newest_first_and_an_open_one_and_a_failure_have_shapes_of_their_own(
    opened: Opener,
) -> None:
    async with opened(healthy()) as screen:
        screen.source.made_calls = CALLS
        await screen.press("tilde")
        rows = [r for r in screen.text.splitlines() if re.search(r"scan|connect ssh|follow", r)]
        assert "scan" in rows[0]
        assert "4 ms" in rows[0]
        assert rows[0].rstrip().endswith("ok")
        assert "✖ Connection refused" in rows[1]
        assert "[/data/x]" in rows[2]
        assert "◌ open" in rows[2]


async def test_calls_are_filtered_and_lead_to_their_node(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        screen.source.made_calls = CALLS
        await screen.press("tilde", "slash", *"refused", "enter")
        assert "scan job" not in screen.text
        assert "calls [1]" in screen.text
        await screen.press("enter")
        assert screen.app.view is View.NODE
        assert screen.app.node is not None
        assert screen.app.node.name == "gpu02"


async def test_bytes_a_second_come_from_what_the_source_counts(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        await screen.press("tilde")
        screen.source.bytes_in = 10 * 1024 * 1024
        screen.frozen.passed += 2
        await screen.pulse()
        assert "from nodes 5.0M/s" in screen.text


async def test_the_heartbeat_runs_on_this_page_only(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        vitals = screen.app.house.vitals
        assert vitals.lag is None
        await screen.press("tilde")
        await until(lambda: vitals.lag is not None)
        await screen.press("1")
        await until(lambda: vitals.lag is None)


def test_a_row_shows_round_trip_and_a_clock_that_is_wrong() -> None:
    import msgspec

    from cockpit.tui.frame import Frame

    link = msgspec.structs.replace(node("x").link, rtt=0.0123, clock_offset=-2.5)
    row = debugging.link_row(node("x", link=link), Frame(healthy(), MONO, WALL))
    shown = [span for cell in row.cells for span in cell.spans]
    assert "12 ms" in [span.text for span in shown]
    assert ("-2500 ms", "warn") in shown


def test_facts_name_versions_terminal_and_paths() -> None:
    facts = debugging.gather(["/x/cockpit.toml"], {"log mirrors": "/m"}, {"TERM": "vt220"})
    shown = {fact.name: fact.value for fact in facts}
    assert "textual 8" in shown["versions"]
    assert shown["terminal"] == "TERM=vt220"
    assert shown["configuration"] == "/x/cockpit.toml"
    assert shown["log mirrors"] == "/m"


# ------------------------------------------------------------------------------------ vitals


def test_a_spread_is_the_middle_the_rare_and_the_worst() -> None:
    assert spread([]) is None
    assert spread(range(1, 101)) == (51, 100, 100)


def test_frames_that_were_left_out_are_counted() -> None:
    vitals = Vitals()
    for number in range(5):
        vitals.late(0.01 * number)
        if number % 2:
            with vitals.drawing():
                pass
    assert vitals.skipped == 3
    assert vitals.frames == 2
    assert vitals.lag is not None
    assert vitals.lag.worst == pytest.approx(0.04)
    assert vitals.cost is not None


def test_this_process_occupies_some_memory() -> None:
    assert 1 << 20 < resident() < 1 << 36


class Stuck:
    """A terminal that takes nothing until it is released."""

    def __init__(self) -> None:
        self.released = threading.Event()

    def write(self, text: str) -> int:
        self.released.wait(30)
        return len(text)

    def flush(self) -> None:
        self.released.wait(30)


def test_a_meter_waits_while_the_terminal_has_not_taken_what_was_sent() -> None:
    stuck: Any = Stuck()
    meter = Meter(stuck)
    assert meter.waiting == 0
    meter.sent()
    writing = threading.Thread(target=lambda: (meter.write("x"), meter.flush()))
    writing.start()
    assert meter.waiting > 0
    stuck.released.set()
    writing.join(30)
    assert meter.waiting == 0
    assert meter.slowest > 0


# ------------------------------------------------------------------------------------- trace


def test_a_call_is_named_without_anything_secret() -> None:
    text = named("start", {"job": "a-1", "env": {"TOKEN": "hush"}, "secrets": {"K": "hush"}})
    assert text == "start job=a-1"
    assert command(["echo", "a b"]) == "exec echo 'a b'"
    assert len(command(["x" * 1000])) == LONGEST
    followed = {"path": "\x1b[31mx", "digest": "f" * 64}
    assert named("follow", followed) == f"follow path=x digest={'f' * 12}"


def test_the_ring_is_bounded() -> None:
    trace = Trace()
    for number in range(KEPT + 5):
        trace.begin("lab", "n", str(number))
    assert len(trace.calls()) == KEPT
    assert trace.calls()[-1].what == str(KEPT + 4)


async def test_every_request_of_a_link_is_in_the_trace_with_how_it_ended() -> None:
    async def answer(request: FakeRequest) -> dict[str, Any]:
        return {"found": []}

    async def refuse(request: FakeRequest) -> dict[str, Any]:
        raise FakeFailure("busy", "not now")

    answering = FakeNode("gpu01")
    answering.handlers.update({"scan": answer, "clean": refuse})
    trace = Trace()
    link = NodeLink("gpu01", FakeTransport(answering), trace=trace.node("lab", "gpu01"))
    await link.start()
    try:
        await link.ready(10.0)
        await link.request("scan", job="a-1")
        with pytest.raises(NodeError):
            await link.request("clean", job="a-1", env={"TOKEN": "hush"})
        with pytest.raises(LinkError, match="no shell"):
            from cockpit.transport.shell import ShellRequest

            await link.shell(ShellRequest("vt100", 80, 24, "/w", lambda _: None))
        subscription = link.subscribe("watch_jobs", lambda item: None, interval=1)
        calls = trace.calls()
        assert [call.what for call in calls] == [
            "connect simulated gpu01",
            "scan job=a-1",
            "clean job=a-1",
            "shell /w",
            "watch_jobs interval=1",
        ]
        assert [call.outcome for call in calls[:3]] == ["ok", "ok", "gpu01: not now"]
        assert all(call.seconds is not None for call in calls[:3])
        assert calls[-1].seconds is None
        subscription.close()
        assert trace.calls()[-1].outcome == "ok"
        assert trace.received > 0
        assert {(call.cluster, call.node) for call in calls} == {("lab", "gpu01")}
    finally:
        await link.close()
