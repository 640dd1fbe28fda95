"""The transport for a node of a profile. Everything above asks here and nowhere else."""

from __future__ import annotations

import asyncio
import weakref

import msgspec

from cockpit.profiles.types import Cluster, NodeSpec
from cockpit.transport.base import Transport
from cockpit.transport.limits import Limiter, raise_descriptor_limit
from cockpit.transport.local import LocalTransport
from cockpit.transport.ssh import ClusterSsh, SshTransport


class _Shared:
    """What all connections of one event loop share."""

    def __init__(self) -> None:
        self.limiter = Limiter()
        self.clusters: dict[bytes, ClusterSsh] = {}


_shared: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Shared] = weakref.WeakKeyDictionary()


def transport_for(cluster: Cluster, node: NodeSpec) -> Transport:
    """How to reach `node` of `cluster`. To be called on the event loop that will use it."""
    if cluster.executor == "local":
        return LocalTransport(node.name, node.state_dir or cluster.state_dir)
    return SshTransport(cluster, node, cluster_ssh(cluster))


def cluster_ssh(cluster: Cluster) -> ClusterSsh:
    """What the nodes of `cluster` share on the running event loop."""
    loop = asyncio.get_running_loop()
    shared = _shared.get(loop)
    if shared is None:
        raise_descriptor_limit()
        shared = _shared[loop] = _Shared()
    # Nodes come and go; the way to them is what is shared.
    key = msgspec.msgpack.encode(msgspec.structs.replace(cluster, nodes=(), spares=()))
    if key not in shared.clusters:
        shared.clusters[key] = ClusterSsh(cluster, shared.limiter)
    return shared.clusters[key]
