"""Verified SSH connections, through jump hosts where needed.

`SshTransport` uses it; the module imports asyncssh, so it is loaded off the event loop. Host keys
are always checked, nothing is ever asked, no agent is forwarded and no environment is sent.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

import asyncssh

from cockpit.errors import LinkError
from cockpit.text import clean
from cockpit.transport import ssherrors
from cockpit.transport.limits import Limiter
from cockpit.transport.sshchannel import quick_ack
from cockpit.transport.ssherrors import Progress
from cockpit.transport.sshsettings import (
    CIPHER,
    KEEPALIVE_COUNT,
    KEEPALIVE_INTERVAL,
    Hop,
    Settings,
    Target,
)

AUTHENTICATION = "publickey,gssapi-with-mic,hostbased"
_TRIES = 4
"""Handshakes tried when a busy server turns us away."""
_CLOSE_GRACE = 2.0
_LONGEST_WAY = 8
"""Jump hosts in a row; more is a loop."""


class _Client(asyncssh.SSHClient):
    """Notes what happens during a connect; trusts nothing beyond known_hosts."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        self._conn = conn
        self._progress.connected = True
        quick_ack(conn.get_extra_info("socket"))

    def validate_host_public_key(
        self,
        host: str,  # noqa: ARG002
        addr: str,  # noqa: ARG002
        port: int,  # noqa: ARG002
        key: asyncssh.SSHKey,
    ) -> bool:
        self._progress.offered = key
        return False

    def validate_host_ca_key(
        self,
        host: str,  # noqa: ARG002
        addr: str,  # noqa: ARG002
        port: int,  # noqa: ARG002
        key: asyncssh.SSHKey,
    ) -> bool:
        self._progress.authority = key
        return False

    def auth_banner_received(self, msg: str, lang: str) -> None:  # noqa: ARG002
        self._progress.authenticating = True
        self._progress.banner = clean(" ".join(msg.split()))[:300]

    def public_key_auth_requested(self) -> None:
        # Asked when our keys are used up, while the server's list is still whole.
        self._progress.authenticating = True
        self._progress.methods = tuple(self._conn.get_server_auth_methods())


class Connection:
    """An authenticated connection, and its share of the jump host's."""

    def __init__(
        self, target: Target, conn: asyncssh.SSHClientConnection, tunnel: Tunnel | None
    ) -> None:
        self.target = target
        self.conn = conn
        self._tunnel = tunnel
        self._closed = False
        self._proxy = conn.get_extra_info("subprocess")

    @property
    def sockets(self) -> list[Any]:
        """The TCP sockets under it; one, unless there are proxies of another kind."""
        if self._tunnel is not None:
            return self._tunnel.connection.sockets
        found = self.conn.get_extra_info("socket")
        return [found] if found is not None else []

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self.conn.close()
        waiting = asyncio.ensure_future(self.conn.wait_closed())
        done, _ = await asyncio.wait({waiting}, timeout=_CLOSE_GRACE)
        if not done:
            self.conn.abort()
            await asyncio.wait({waiting}, timeout=_CLOSE_GRACE)
            waiting.cancel()
        if self._proxy is not None:
            await _reaped(self._proxy)
        if self._tunnel is not None:
            await self._tunnel.release()


async def _reaped(process: Any) -> None:
    """Wait until asyncio has noticed the end of a ProxyCommand, which closing has killed."""
    deadline = asyncio.get_running_loop().time() + _CLOSE_GRACE
    while (  # noqa: ASYNC110 - asyncio tells only asyncssh's own protocol
        process.returncode is None and asyncio.get_running_loop().time() < deadline
    ):
        await asyncio.sleep(0.01)


class Tunnel:
    """A connection to a jump host, shared by all that go through it; closed with its last user."""

    def __init__(self, tunnels: dict[tuple[Hop, ...], Tunnel], hops: tuple[Hop, ...]) -> None:
        self._tunnels = tunnels
        self._hops = hops
        self._users = 0
        self._opening = asyncio.Lock()
        self._connection: Connection | None = None

    @property
    def connection(self) -> Connection:
        if self._connection is None:
            raise LinkError(f"the jump host {self._hops[-1]} is not connected")
        return self._connection

    async def acquire(self, dialer: Dialer, node: str, depth: int) -> None:
        """Become a user; the first one connects, a lost connection is made anew."""
        self._users += 1
        try:
            async with self._opening:
                if self._connection is not None and self._connection.conn.is_closed():
                    await self._connection.close()
                    self._connection = None
                if self._connection is None:
                    before, last = self._hops[:-1], self._hops[-1]
                    self._connection = await dialer.dial(node, last, before, depth + 1)
        except BaseException:
            await self.release()
            raise

    async def release(self) -> None:
        self._users -= 1
        if self._users == 0:
            self._tunnels.pop(self._hops, None)
            if self._connection is not None:
                await self._connection.close()


class Dialer:
    """Makes connections for one cluster on one event loop."""

    def __init__(self, settings: Settings, limiter: Limiter) -> None:
        self.settings = settings
        self._limiter = limiter
        self._tunnels: dict[tuple[Hop, ...], Tunnel] = {}

    async def connect(self, node: str, hop: Hop) -> Connection:
        """Connect to `hop`, called `node` in errors. Raises LinkError."""
        return await self.dial(node, hop, None, 0)

    async def dial(
        self, node: str, hop: Hop, way: tuple[Hop, ...] | None, depth: int
    ) -> Connection:
        """`way`: the jump hosts before `hop`; None takes them from the settings.

        `depth` counts jump hosts that were met on the way so far.
        """
        if depth > _LONGEST_WAY:
            raise LinkError(f"{node}: the jump hosts lead in a circle", retry=False)
        if depth > 0:
            node = f"jump host {hop.host}"
        target = await self.resolve(node, hop, jump=depth > 0)
        tunnel = await self.tunnel(node, way or target.jumps, depth)
        try:
            conn = await self._handshakes(node, target, tunnel)
        except BaseException:
            if tunnel is not None:
                await tunnel.release()
            raise
        return Connection(target, conn, tunnel)

    async def resolve(self, node: str, hop: Hop, *, jump: bool) -> Target:
        """`Settings.resolve` off the event loop, with errors that name `node`."""
        try:
            return await asyncio.to_thread(self.settings.resolve, hop, jump=jump)
        except LinkError as error:
            raise ssherrors.named(node, error) from error

    async def tunnel(self, node: str, way: tuple[Hop, ...], depth: int = 0) -> Tunnel | None:
        """A share of the connection to the last jump host of `way`, None for no way."""
        if not way:
            return None
        tunnel = self._tunnels.get(way)
        if tunnel is None:
            tunnel = self._tunnels[way] = Tunnel(self._tunnels, way)
        await tunnel.acquire(self, node, depth)
        return tunnel

    def options(self, target: Target, tunnel: Tunnel | None) -> dict[str, Any]:
        """What `asyncssh.connect` and its likes are told about a target."""
        hop = target.hop
        proxied = tunnel.connection.conn if tunnel is not None else None
        return {
            "host": hop.host,
            "port": hop.port if hop.port is not None else (),
            "config": list(target.config) or None,
            "tunnel": proxied,
            "proxy_command": () if target.proxy_command and proxied is None else None,
        }

    def slot(self, target: Target, tunnel: Tunnel | None) -> asyncio.Semaphore:
        """To be held during a handshake with a target."""
        server = target.address if tunnel is None else tunnel.connection.target.address
        return self._limiter.slot(server)

    async def _handshakes(
        self, node: str, target: Target, tunnel: Tunnel | None
    ) -> asyncssh.SSHClientConnection:
        for attempt in range(_TRIES):
            progress = Progress()
            try:
                async with self.slot(target, tunnel):
                    return await self._handshake(target, tunnel, progress)
            except (OSError, asyncssh.Error, asyncio.TimeoutError, ValueError, LinkError) as error:
                if attempt == _TRIES - 1 or not ssherrors.was_turned_away(error, progress):
                    raise ssherrors.explain(node, target, progress, error) from error
            await asyncio.sleep(random.uniform(0.05, 0.2) * 2**attempt)
        raise AssertionError("unreachable: the last try returns or raises")

    async def _handshake(
        self, target: Target, tunnel: Tunnel | None, progress: Progress
    ) -> asyncssh.SSHClientConnection:
        known = target.known
        trusted: tuple[list[Any], ...] = (
            list(known.keys),
            list(known.authorities),
            list(known.revoked),
            [],
            [],
            [],
            [],
        )
        keys = target.keys
        hop = target.hop
        more: dict[str, Any] = {}
        if keys.agent_identities == ():
            more["agent_path"] = None
        elif keys.agent_identities is not None:
            more["agent_identities"] = keys.agent_identities
        return await asyncssh.connect(
            **self.options(target, tunnel),
            username=hop.user if hop.user is not None else (),
            client_factory=lambda: _Client(progress),
            client_keys=list(keys.pairs),
            known_hosts=lambda _host, _addr, _port: trusted,
            server_host_key_algs=known.algorithms(),
            x509_trusted_certs=None,
            x509_trusted_cert_paths=None,
            preferred_auth=AUTHENTICATION,
            password_auth=False,
            kbdint_auth=False,
            agent_forwarding=False,
            x11_forwarding=False,
            encryption_algs=CIPHER,
            compression_algs=None,
            keepalive_interval=KEEPALIVE_INTERVAL,
            keepalive_count_max=KEEPALIVE_COUNT,
            connect_timeout=self.settings.connect_timeout,
            login_timeout=self.settings.connect_timeout,
            **more,
        )


async def host_key(
    dialer: Dialer, node: str, hop: Hop, way: tuple[Hop, ...], *, jump: bool
) -> tuple[Target, asyncssh.SSHKey]:
    """The key that a host shows, checked by nobody; `way` are the (verified) hosts before it.

    Raises LinkError.
    """
    target = await dialer.resolve(node, hop, jump=jump)
    tunnel = await dialer.tunnel(node, way)
    progress = Progress()
    progress.connected = tunnel is not None
    plain = [name for name in target.known.algorithms() if "-cert-" not in name]
    try:
        async with dialer.slot(target, tunnel):
            key = await asyncio.wait_for(
                asyncssh.get_server_host_key(
                    **dialer.options(target, tunnel), server_host_key_algs=plain
                ),
                dialer.settings.connect_timeout,
            )
    except (OSError, asyncssh.Error, asyncio.TimeoutError, ValueError) as error:
        raise ssherrors.explain(node, target, progress, error) from error
    finally:
        if tunnel is not None:
            await tunnel.release()
    if key is None:
        raise LinkError(f"{node}: the server shows no host key", retry=False)
    return target, key
