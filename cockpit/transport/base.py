"""The seam between cockpit and a node: something that carries bytes to an agent and back.

Three kinds: SSH (asyncssh), a local subprocess, and a fake for tests and the demo. A channel is
already past the bootstrap: what it carries are frames. Nothing above this room knows how the
bytes travel.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from cockpit.transport.shell import Shell, ShellRequest


class LinkState(str, enum.Enum):
    CONNECTING = "connecting"
    ONLINE = "online"
    RECONNECTING = "reconnecting"
    UNREACHABLE = "unreachable"


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """The connection to a node, as this controller has it."""

    state: LinkState = LinkState.CONNECTING
    since: float = 0.0
    """Controller's wall clock."""
    why: str = ""
    """The last error, for people; "" while online."""
    hint: str = ""
    attempts: int = 0
    """Failed tries since the link was last online."""
    rtt: float | None = None
    clock_offset: float | None = None
    """Node's wall clock minus ours, round trip removed."""


class ChannelEvents(Protocol):
    """What a channel tells its owner; called on the event loop, never concurrently."""

    def received(self, data: bytes) -> None:
        """Bytes from the agent, split anyhow."""

    def closed(self, error: Exception | None) -> None:
        """The channel is gone, once. `error` says why, None after `close()`."""


class Channel(Protocol):
    """An open byte stream to a running agent."""

    def write(self, data: bytes) -> None:
        """Queue bytes to the agent. Silently dropped once the channel is closed."""

    async def drained(self) -> None:
        """Wait until the write queue is short enough for more bulk data."""

    async def close(self) -> None:
        """Close; the agent ends, jobs go on. Never raises."""


class Transport(Protocol):
    """How to reach one node. Cheap to make; does nothing before `open`."""

    @property
    def description(self) -> str:
        """Where it goes, for people: "ssh ada@gpu01.lab", "this machine"."""

    async def open(self, events: Callable[[], ChannelEvents]) -> Channel:
        """Connect, bootstrap the node runtime, return the channel to the agent.

        Raises LinkError (or one of its kinds) that names the node and what went wrong.
        """

    async def shell(self, request: ShellRequest) -> Shell:
        """Open a shell beside the channel that is open. Raises LinkError, UsageError."""
