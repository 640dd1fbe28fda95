"""A command does not wait long for nodes that are silent once others have said what it needs."""

from __future__ import annotations

import asyncio
import time

import pytest

from cockpit.controller import sessions as sessions_module
from cockpit.controller.sessions import Sessions
from cockpit.controller.tracking import NodeKey
from cockpit.model.types import Link
from cockpit.profiles.types import Config
from cockpit.tasks import Tasks
from cockpit.transport.link import LinkError

PATIENCE = 0.3


class Silent:
    """The link to a node that never answers."""

    online = False
    link = Link()

    async def ready(self, timeout: float) -> None:
        await asyncio.sleep(timeout)
        raise LinkError("n2: no connection")


class Up(Silent):
    online = True


def opened(*links: Silent) -> Sessions:
    """Sessions whose node n1 has listed its jobs, and n2 has not."""
    config = Config(clusters={}, launchers={}, jobs={})
    sessions = Sessions(config, Tasks(), lambda _: None, telemetry=False)
    for number, link in enumerate(links, 1):
        key = NodeKey("lab", f"n{number}")
        sessions.links[key] = link  # type: ignore[assignment]
        sessions._listed[key] = asyncio.get_running_loop().create_future()
    sessions._listed[NodeKey("lab", "n1")].set_result(None)
    return sessions


@pytest.mark.parametrize("second", [Silent(), Up()])
async def test_once_enough_is_known_a_silent_node_is_waited_for_a_little(
    monkeypatch: pytest.MonkeyPatch, second: Silent
) -> None:
    monkeypatch.setattr(sessions_module, "ENOUGH_PATIENCE", PATIENCE)
    begin = time.monotonic()
    failed = await opened(Up(), second).settle(120.0, lambda: True)
    assert PATIENCE <= time.monotonic() - begin < 60.0
    assert [key.node for key in failed] == ["n2"]
    assert failed[NodeKey("lab", "n2")].message.startswith("n2: ")


async def test_until_then_it_is_waited_for_as_long_as_was_said() -> None:
    begin = time.monotonic()
    failed = await opened(Up(), Silent()).settle(1.0, lambda: False)
    assert time.monotonic() - begin >= 1.0
    assert list(failed) == [NodeKey("lab", "n2")]
