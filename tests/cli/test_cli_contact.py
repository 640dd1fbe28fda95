"""Whoever follows a job hears of lost nodes, and leaves when all are gone for too long."""

from __future__ import annotations

import click
import msgspec
import pytest
from click.testing import CliRunner

from cockpit.cli.contact import ContactWatch, contact_option
from cockpit.errors import ContactLost, ExitCode
from cockpit.model.types import Job, Link, LinkState, NodeState
from tests.model.scenarios import fold


def job(*states: LinkState, ended: tuple[int, ...] = ()) -> Job:
    """A job of two nodes with these links; the node ranks in `ended` have said their last word."""
    seen = fold("success")
    nodes = tuple(
        msgspec.structs.replace(
            node,
            link=Link(state=state, why="connection lost"),
            state=NodeState.SUCCEEDED if node.node_rank in ended else NodeState.RUNNING,
        )
        for node, state in zip(seen.nodes, states, strict=True)
    )
    return msgspec.structs.replace(seen, nodes=nodes)


class World:
    def __init__(self, timeout: float = 60.0) -> None:
        self.now = 0.0
        self.said: list[str] = []
        self.watch = ContactWatch(self.said.append, timeout, lambda: self.now)

    def check(self, at: float, *states: LinkState, ended: tuple[int, ...] = ()) -> None:
        self.now = at
        self.watch.check(job(*states, ended=ended))


UP, DOWN, AWAY = LinkState.ONLINE, LinkState.RECONNECTING, LinkState.UNREACHABLE


def test_a_link_that_is_lost_and_found_is_told_once_each() -> None:
    world = World()
    for at, state in enumerate((UP, UP, DOWN, DOWN, AWAY, UP, UP)):
        world.check(float(at), UP, state)
    assert world.said == [
        "gpu02: no contact (connection lost); the job goes on, trying again",
        "gpu02: connected again",
    ]


def test_one_node_in_reach_is_contact_enough() -> None:
    world = World()
    for at in range(0, 1000, 10):
        world.check(float(at), UP, AWAY)


def test_contact_is_lost_when_no_node_was_online_for_the_whole_time() -> None:
    world = World()
    world.check(0.0, UP, UP)
    world.check(10.0, DOWN, AWAY)
    world.check(65.0, UP, AWAY)
    world.check(66.0, DOWN, AWAY)
    world.check(126.0, DOWN, AWAY)
    with pytest.raises(ContactLost, match="for 60 s; the job may go on there") as caught:
        world.check(126.1, AWAY, AWAY)
    assert caught.value.exit_code is ExitCode.CONTACT_LOST
    assert "cockpit attach" in caught.value.hint


def test_a_node_that_has_ended_is_no_contact_to_the_one_that_has_not() -> None:
    world = World()
    world.check(0.0, UP, AWAY, ended=(0,))
    world.check(30.0, UP, AWAY, ended=(0,))
    assert world.said == ["the other nodes have ended; the end of the job waits for word of gpu02"]
    with pytest.raises(ContactLost, match="gpu02"):
        world.check(61.0, UP, AWAY, ended=(0,))


def test_the_option_is_seconds_with_a_long_default() -> None:
    @click.command()
    @contact_option
    def command(contact_timeout: float) -> None:
        click.echo(repr(contact_timeout))

    run = CliRunner().invoke
    assert run(command, []).output == "600.0\n"
    assert run(command, ["--contact-timeout", "5"]).output == "5.0\n"
    assert run(command, ["--contact-timeout", "0"]).exit_code == 2
