"""A shell over an SSH connection that is open already, beside the agent's channel.

asyncssh is imported here, so the module is loaded off the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal as signals

import asyncssh

from cockpit.errors import LinkError
from cockpit.text import clean
from cockpit.transport import ssherrors
from cockpit.transport.shell import ShellRequest, command
from cockpit.transport.sshchannel import Carrier

_CLOSE_GRACE = 2.0


class SshShell(asyncssh.SSHClientSession[bytes]):
    """Satisfies `cockpit.transport.shell.Shell`."""

    def __init__(self, node: str, request: ShellRequest) -> None:
        self._node = node
        self._request = request
        self._status: int | None = None
        self._end: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    # What asyncssh calls

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        self._chan = chan

    def data_received(self, data: bytes, datatype: int | None) -> None:  # noqa: ARG002
        self._request.received(data)

    def exit_status_received(self, status: int) -> None:
        self._status = status

    def exit_signal_received(
        self,
        signal: str,
        core_dumped: bool,  # noqa: ARG002
        msg: str,  # noqa: ARG002
        lang: str,  # noqa: ARG002
    ) -> None:
        number = getattr(signals, f"SIG{signal}", None)
        self._status = 128 + (int(number) if isinstance(number, signals.Signals) else 0)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._end.done():
            return
        if self._status is not None:
            self._end.set_result(self._status)
        else:
            self._end.set_exception(ssherrors.lost(self._node, exc))
            self._end.exception()  # it may be that nobody waits for it any more

    # What the owner calls

    def write(self, data: bytes) -> None:
        if not self._chan.is_closing():
            with contextlib.suppress(OSError):
                self._chan.write(data)

    def resize(self, columns: int, rows: int) -> None:
        if not self._chan.is_closing():
            with contextlib.suppress(OSError):
                self._chan.change_terminal_size(columns, rows)

    def pause(self) -> None:
        self._chan.pause_reading()

    def resume(self) -> None:
        self._chan.resume_reading()

    async def ended(self) -> int:
        await asyncio.wait({self._end})
        return self._end.result()

    async def close(self) -> None:
        self._chan.close()
        await asyncio.wait({self._end}, timeout=_CLOSE_GRACE)


async def open_shell(node: str, connection: Carrier, request: ShellRequest) -> SshShell:
    """Start one on `connection`. Raises LinkError when the server refuses, UsageError for a folder
    that cannot be named."""
    shell = SshShell(node, request)
    told = command(request.directory)
    try:
        await connection.conn.create_session(
            lambda: shell,
            told if told is not None else (),
            encoding=None,
            env=None,
            send_env=None,
            request_pty="force",
            term_type=request.term,
            term_size=(request.columns, request.rows),
        )
    except asyncssh.ChannelOpenError as error:
        if connection.conn.is_closed():
            raise ssherrors.lost(node, None) from error
        raise LinkError(
            f"{node}: the server refuses to open a shell: {clean(str(error.reason))}",
            "MaxSessions of its sshd may be used up, or the account may have no terminal",
        ) from error
    except (asyncssh.Error, OSError) as error:
        raise ssherrors.lost(node, error) from error
    return shell
