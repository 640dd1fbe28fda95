"""Where a node is and how it is reached, as values that can be compared. Pure functions.

When profiles change, `sessions` asks here which links stay as they are.
"""

from __future__ import annotations

from typing import NamedTuple

from cockpit.profiles.types import Cluster, NodeSpec

_OF_THE_ROAD = (
    "connect_timeout",
    "executor",
    "identity_file",
    "known_hosts",
    "proxy_jump",
    "python",
    "ssh_config",
    "user",
)
"""Keys of a cluster, beside those of a place, that decide how its nodes are reached."""


class Place(NamedTuple):
    """The machine and the folder on it: another place has other jobs."""

    executor: str
    host: str
    port: int | None
    state_dir: str


def place_of(cluster: Cluster, spec: NodeSpec) -> Place:
    return Place(
        cluster.executor,
        spec.host,
        spec.port or cluster.port,
        spec.state_dir or cluster.state_dir,
    )


def road_of(cluster: Cluster, spec: NodeSpec) -> object:
    """Equal for two profiles that reach the node in the same way."""
    parts = [getattr(cluster, key) for key in _OF_THE_ROAD]
    return (place_of(cluster, spec), parts, spec.user, spec.python)
