"""At the start nothing is bad and nothing is fine: nodes are being connected to, and it is said."""

from __future__ import annotations

import msgspec
from tui_screen import Opener
from tui_world import AWAY, WALL, FakeSource, healthy, job, node

from cockpit.model.types import Fleet, Link, Node
from cockpit.profiles import builtin
from cockpit.tui.profile.drawing import entry_row
from cockpit.tui.profile.rows import Entry, entries

CONNECTING = Link(since=WALL - 2)


def _starting(*names: str) -> tuple[Node, ...]:
    return tuple(node(name, link=CONNECTING, age=None) for name in names)


async def test_a_fleet_of_which_nothing_is_known_is_not_called_sound(opened: Opener) -> None:
    async with opened(Fleet(revision=1, nodes=_starting("gpu01", "gpu02"))) as screen:
        assert "◌ connecting to 2 nodes: nothing is known yet" in screen.text
        assert "nothing is wrong" not in screen.text
        nodes = (node("gpu01"), *_starting("gpu02"))
        screen.source.change(nodes=nodes)
        screen.frozen.passed += 1
        await screen.pulse()
        assert "● nothing is wrong so far · ◌ 1 of 2 nodes not reached yet" in screen.text
        screen.source.change(nodes=(node("gpu01"), node("gpu02")))
        screen.frozen.passed += 1
        await screen.pulse()
        assert "● nothing is wrong" in screen.text
        assert "so far" not in screen.text


async def test_of_a_job_that_nobody_could_be_asked_about_nothing_is_claimed(
    opened: Opener,
) -> None:
    old = msgspec.structs.replace(job(), seen_at=WALL - 22)
    fleet = Fleet(revision=1, nodes=_starting("gpu01"), jobs=(old,))
    async with opened(fleet) as screen:
        await screen.press("2")
        assert "last seen 22s ago: no node of lab answers" in screen.text
        screen.source.change(nodes=(node("gpu01"),))
        screen.frozen.passed += 1
        await screen.pulse()
        assert "no node that was asked knows it now" in screen.text


def _drawn(*nodes: Node) -> str:
    """The row of the cluster lab among the profiles, and the tone of its shape."""
    source = FakeSource(healthy())
    local = builtin().clusters["local"]
    config = msgspec.structs.replace(
        source.config, clusters={"lab": msgspec.structs.replace(local, name="lab")}
    )
    fleet = Fleet(revision=1, nodes=nodes)
    entry = next(e for e in entries(config, (), fleet) if e.name == "lab")
    return _shape(entry)


def _shape(entry: Entry) -> str:
    glyph = entry_row(entry).cells[0].spans[1]
    return f"{glyph.text.strip()} {glyph.tone}"


def test_a_cluster_is_bad_only_once_no_node_of_it_is_being_connected_to() -> None:
    away = node("gpu02", link=AWAY, age=None)
    assert _drawn(*_starting("gpu01", "gpu02")) == "◌ busy"
    assert _drawn(*_starting("gpu01"), away) == "◌ busy"
    assert _drawn(away) == "✖ bad"
    assert _drawn(node("gpu01"), away) == "◐ warn"
    assert _drawn(node("gpu01")) == "● ok"
