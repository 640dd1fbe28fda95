"""The way to a node that nobody is to reach any more. Its link stays, and says why it is down."""

from __future__ import annotations

from collections.abc import Callable

from cockpit.errors import LinkError
from cockpit.transport.base import Channel, ChannelEvents
from cockpit.transport.shell import Shell, ShellRequest


class Nowhere:
    """A transport that connects to nothing. `why`: what is said instead."""

    def __init__(self, why: str, hint: str = "") -> None:
        self._why = why
        self._hint = hint

    @property
    def description(self) -> str:
        return self._why

    async def open(self, events: Callable[[], ChannelEvents]) -> Channel:  # noqa: ARG002
        raise LinkError(self._why, self._hint, retry=False)

    async def shell(self, request: ShellRequest) -> Shell:  # noqa: ARG002
        raise LinkError(self._why, self._hint, retry=False)
