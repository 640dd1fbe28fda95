"""A node reached over SSH: connect, bootstrap, and what the next connect should know.

asyncssh is loaded by the first `open`, in a thread; importing this module costs nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING

from cockpit.errors import LinkError
from cockpit.profiles.types import Cluster, NodeSpec
from cockpit.transport.base import Channel, ChannelEvents
from cockpit.transport.bootstrap import INTERPRETERS, AgentStream, start_agent
from cockpit.transport.limits import Limiter
from cockpit.transport.runtime import Runtime, node_runtime
from cockpit.transport.shell import Shell, ShellRequest

if TYPE_CHECKING:
    from cockpit.transport.sshchannel import AgentChannel, Carrier
    from cockpit.transport.sshclient import Dialer


class ClusterSsh:
    """What the nodes of one cluster share on one event loop: keys, jump hosts, hand brakes."""

    def __init__(self, cluster: Cluster, limiter: Limiter) -> None:
        self._cluster = cluster
        self._limiter = limiter
        self._dialer: Dialer | None = None
        self._runtime: Runtime | None = None

    async def dialer(self) -> Dialer:
        """The cluster's Dialer; the first call loads asyncssh."""
        if self._dialer is None:
            modules = await asyncio.to_thread(_load)
        if self._dialer is None:
            settings = modules[1].Settings(self._cluster)
            self._dialer = modules[0].Dialer(settings, self._limiter)
        return self._dialer

    async def runtime(self) -> Runtime:
        """What the nodes run; the first call reads it from disk. Raises BootstrapError."""
        if self._runtime is None:
            self._runtime = await asyncio.to_thread(node_runtime)
        return self._runtime

    async def notes(self, node: NodeSpec) -> list[str]:
        """Options of the user's ssh_config that have no effect for `node`, with their places.

        Raises LinkError when a file that the profile names cannot be read.
        """
        settings = (await self.dialer()).settings
        return await asyncio.to_thread(settings.notes, node.host)


def _load() -> tuple[ModuleType, ModuleType]:
    from cockpit.transport import sshchannel, sshclient, sshsettings, sshshell  # noqa: F401

    return sshclient, sshsettings


class SshTransport:
    """One node of a cluster."""

    def __init__(self, cluster: Cluster, node: NodeSpec, shared: ClusterSsh) -> None:
        self._node = node
        self._shared = shared
        self._user = node.user or cluster.user
        self._port = node.port or cluster.port
        self._state_dir = node.state_dir or cluster.state_dir
        self._connection: Carrier | None = None
        """The newest; what is on it may have ended."""
        python = node.python or cluster.python
        self._interpreters = list(dict.fromkeys([*INTERPRETERS, *([python] if python else [])]))

    @property
    def description(self) -> str:
        user = f"{self._user}@" if self._user else ""
        port = f" port {self._port}" if self._port and self._port != 22 else ""
        return f"ssh {user}{self._node.host}{port}"

    async def open(self, events: Callable[[], ChannelEvents]) -> Channel:
        dialer = await self._shared.dialer()
        runtime = await self._shared.runtime()
        from cockpit.transport.sshchannel import start_command
        from cockpit.transport.sshsettings import Hop

        name = self._node.name
        connection = await dialer.connect(name, Hop(self._node.host, self._port, self._user))

        launched: list[AgentChannel] = []

        async def launch(python: str, stream: AgentStream) -> AgentChannel:
            launched.append(await start_command(name, connection, python, stream))
            return launched[-1]

        try:
            channel, python = await start_agent(
                name, self._interpreters, launch, lambda: self._stream(runtime, events)
            )
        except BaseException:
            await connection.close()
            raise
        self._connection = connection
        # The one that worked goes first next time.
        self._interpreters.sort(key=lambda candidate: candidate != python)
        launched[-1].adopt(connection)
        return channel

    async def shell(self, request: ShellRequest) -> Shell:
        name = self._node.name
        if self._connection is None:
            raise LinkError(f"{name} is not connected")
        from cockpit.transport.sshshell import open_shell

        return await open_shell(name, self._connection, request)

    def _stream(self, runtime: Runtime, events: Callable[[], ChannelEvents]) -> AgentStream:
        return AgentStream(self._node.name, runtime, self._state_dir, events)
