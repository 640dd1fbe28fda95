"""Fixtures for tests that talk to a real agent; `conftest.py` makes them known."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.node.agent_client import PYTHONS, AgentClient

StartAgent = Callable[..., AgentClient]


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    """A fresh, private state folder."""
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def start_agent(state_dir: Path) -> Iterator[StartAgent]:
    """Starts agents on the state folder; they have said HELLO. All are ended after the test."""
    clients: list[AgentClient] = []

    def start(python: str = PYTHONS[0], env: dict[str, str] | None = None) -> AgentClient:
        client = AgentClient(state_dir, python, env)
        clients.append(client)
        client.hello()
        return client

    yield start
    for client in clients:
        client.stop()


@pytest.fixture(params=PYTHONS, ids=lambda path: "oldest" if path != PYTHONS[0] else "this")
def agent(request: pytest.FixtureRequest, start_agent: StartAgent) -> AgentClient:
    """An agent under each interpreter."""
    return start_agent(request.param)


@pytest.fixture
def one_agent(start_agent: StartAgent) -> AgentClient:
    """An agent under this interpreter only."""
    return start_agent()
