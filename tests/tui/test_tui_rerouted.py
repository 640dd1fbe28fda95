"""A profile edit that changes the way to a node: it reconnects, which is no news to page for."""

from __future__ import annotations

import msgspec
import pytest
from tui_quiet import until
from tui_world import WALL, node

from cockpit.model.types import Fleet, Link, LinkState
from cockpit.transport.fake import FakeNode, FakeTransport
from cockpit.transport.link import NodeLink
from cockpit.transport.nowhere import Nowhere
from cockpit.tui.house.attention import concern
from cockpit.tui.house.happenings import Chronicle, Happening

replace = msgspec.structs.replace


def told(*links: Link) -> list[Happening]:
    """What is told of a node whose link is this, then that."""
    chronicle, before = Chronicle(), None
    for link in links:
        now = Fleet(revision=1, nodes=(node("gpu01", link=link),))
        chronicle.observe(before, now, WALL)
        before = now
    return list(chronicle.kept)


@pytest.fixture
def way() -> FakeTransport:
    return FakeTransport(FakeNode("gpu01"))


async def test_a_link_over_another_way_is_a_note_that_pages_nobody(way: FakeTransport) -> None:
    links: list[Link] = []
    link = NodeLink("gpu01", way, lambda: links.append(link.link), retry_first=0.01)
    await link.start()
    await link.ready(20.0)
    online = len(links)
    link.redirect(way)
    await link.ready(20.0)
    await until(lambda: links[-1].state is LinkState.ONLINE and len(links) > online + 1)
    [note] = told(*links)
    assert (note.kind, note.text) == ("note", "gpu01 reconnecting: its profile changed")
    assert concern(note) == ""
    await link.close()


async def test_a_way_that_leads_nowhere_is_told_as_a_node_that_cannot_be_reached(
    way: FakeTransport,
) -> None:
    links: list[Link] = []
    link = NodeLink("gpu01", way, lambda: links.append(link.link), retry_first=0.01)
    await link.start()
    await link.ready(20.0)
    link.redirect(Nowhere("the cable is out"))
    await until(lambda: link.link.state is LinkState.UNREACHABLE)
    note, lost = told(*links)
    assert note.kind == "note"
    assert (lost.kind, concern(lost)) == ("node", "node")
    assert lost.text == "gpu01 cannot be reached: the cable is out"
    await link.close()


def test_a_link_that_is_lost_is_told_as_before() -> None:
    online = Link(state=LinkState.ONLINE, since=WALL - 9)
    lost = replace(online, state=LinkState.RECONNECTING, why="Connection lost")
    [happening] = told(online, lost)
    assert (concern(happening), happening.text) == ("node", "gpu01 lost: Connection lost")
