"""The agent's channel on an SSH connection: one command, its streams in bytes, flow control.

`SshTransport` starts it on a connection of `sshclient`. asyncssh is imported here, so the module
is loaded off the event loop. No pty, no environment, and nothing is decoded.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Sequence
from typing import Any, Protocol

import asyncssh

from cockpit.errors import LinkError
from cockpit.text import clean
from cockpit.transport import ssherrors
from cockpit.transport.bootstrap import AgentStream, command
from cockpit.transport.sshsettings import WINDOW

_CLOSE_GRACE = 2.0
_ACK_FIRST = 0.002
_ACK_GROWTH = 1.5
_QUICKACK = getattr(socket, "TCP_QUICKACK", None)


class AgentChannel(asyncssh.SSHClientSession[bytes]):
    """A command on a connection: bytes in and out. The Channel to an agent once it runs."""

    def __init__(self, node: str, stream: AgentStream) -> None:
        self._node = node
        self._stream = stream
        self._connection: Carrier | None = None
        self._status = "its streams were closed"
        self._closing = False
        self._writable = asyncio.Event()
        self._writable.set()
        self._gone = asyncio.Event()

    def adopt(self, connection: Carrier) -> None:
        """Close `connection` together with this channel from now on."""
        self._connection = connection

    # What asyncssh calls

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        self._chan = chan

    def data_received(self, data: bytes, datatype: int | None) -> None:
        if datatype == asyncssh.EXTENDED_DATA_STDERR:
            self._stream.stderr(data)
        else:
            self._stream.stdout(data)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def exit_status_received(self, status: int) -> None:
        self._status = f"exit code {status}"

    def exit_signal_received(
        self,
        signal: str,
        core_dumped: bool,  # noqa: ARG002
        msg: str,  # noqa: ARG002
        lang: str,  # noqa: ARG002
    ) -> None:
        self._status = f"killed by SIG{clean(signal)}"

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone.set()
        self._writable.set()
        if self._closing:
            self._stream.closed_by_us()
        elif exc is not None:
            self._stream.ended(ssherrors.lost(self._node, exc))
        else:
            self._stream.ended(None, self._status)

    # What the owner calls

    def write(self, data: bytes) -> None:
        if not self._chan.is_closing():
            # Closing may be under way on the other side; then the loss is reported there.
            with contextlib.suppress(OSError):
                self._chan.write(data)

    async def drained(self) -> None:
        await self._writable.wait()

    async def close(self) -> None:
        self._closing = True
        self._chan.close()
        if self._connection is not None:
            await self._connection.close()
        if not self._gone.is_set():
            waiting = asyncio.ensure_future(self._gone.wait())
            await asyncio.wait({waiting}, timeout=_CLOSE_GRACE)
            waiting.cancel()


class Carrier(Protocol):
    """The connection that a channel is on (an `sshclient.Connection`)."""

    conn: asyncssh.SSHClientConnection

    @property
    def sockets(self) -> list[Any]:
        """The TCP sockets under it."""

    async def close(self) -> None:
        """Close it, and whatever it needed."""


async def start_command(
    node: str, connection: Carrier, python: str, stream: AgentStream
) -> AgentChannel:
    """Run the bootstrap command on `connection`. Raises LinkError when the server refuses."""
    channel = AgentChannel(node, stream)
    acknowledging = asyncio.ensure_future(_acknowledge(connection.sockets))
    try:
        await connection.conn.create_session(
            lambda: channel,
            command(python),
            encoding=None,
            env=None,
            send_env=None,
            request_pty=False,
            window=WINDOW,
        )
    except asyncssh.ChannelOpenError as error:
        if connection.conn.is_closed():
            raise ssherrors.lost(node, None) from error
        raise LinkError(
            f"{node}: the server refuses to run a command: {clean(str(error.reason))}",
            "the account may be allowed file transfer only, or MaxSessions is used up",
        ) from error
    except (asyncssh.Error, OSError) as error:
        raise ssherrors.lost(node, error) from error
    finally:
        acknowledging.cancel()
    return channel


async def _acknowledge(sockets: Sequence[Any]) -> None:
    """Acknowledge soon whatever arrives, until cancelled.

    Until a command runs sshd leaves Nagle's algorithm on: its next small packet waits for our
    acknowledgement of the last one, which the kernel would delay by 40 ms (seen on OpenSSH 9.2).
    """
    pause = _ACK_FIRST
    while True:
        for sock in sockets:
            quick_ack(sock)
        await asyncio.sleep(pause)
        pause *= _ACK_GROWTH


def quick_ack(sock: Any) -> None:
    """Acknowledge at once what has arrived; later packets are delayed again."""
    if sock is not None and _QUICKACK is not None:
        with contextlib.suppress(OSError, AttributeError):
            sock.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
