from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.node.agent_fixtures import agent, one_agent, start_agent, state_dir
from tests.node.supervising import Node

__all__ = ["agent", "one_agent", "start_agent", "state_dir", "supervised_node"]


@pytest.fixture
def supervised_node(tmp_path: Path) -> Iterator[Node]:
    """A state folder for real supervisors; what they started is gone after the test."""
    node = Node(tmp_path)
    yield node
    node.close()
