"""Figures of the protocol that must fit to each other."""

from __future__ import annotations

from cockpit.executors import direct
from cockpit.protocol.messages import GO_TIMEOUT

MARGIN = 60.0
"""Seconds for everything between the last answer to `prepare` and the last `go`."""


def test_a_prepared_node_waits_longer_for_go_than_the_slowest_one_may_take() -> None:
    assert direct.PREPARE_TIMEOUT + MARGIN <= GO_TIMEOUT
