"""The operations `listen`, `unlisten` and `reach`: do nodes reach each other where training will?

`listen` opens a port for a number of peers; each says the secret that its controller gave it, and
hears it backwards. `reach` is such a peer. So nobody else's server is taken for ours, and no
stranger for a peer. The port is closed as soon as all peers have come.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time

from cockpit.node.agent.streams import OneShot, Services
from cockpit.node.arguments import Arguments
from cockpit.node.checks import routes
from cockpit.node.failures import RequestFailedError

TYPE_CHECKING = False  # typing itself would be a tenth of an agent's start
if TYPE_CHECKING:
    from typing import Any

LONGEST = 60.0
"""Seconds after which a listener closes by itself."""
TIMEOUT = 5.0
_MOST = 512
"""Strangers that are put up with; the listener closes at the next."""


class Listeners:
    """The ports that this agent listens on. All methods are called on the loop's thread."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._open: dict[int, _Listener] = {}

    def listen(self, number: int, arguments: Arguments) -> None:
        """Answer request `number` with {port, nonce}."""
        addr, port = arguments.text("addr"), arguments.integer("port", 0)
        peers = arguments.integer("peers")
        answer = OneShot(self._services, number)
        answer.register()

        def bound(server: socket.socket | None, error: Exception | None) -> None:
            if server is None:
                answer.done({}, error)
                return
            nonce = os.urandom(16).hex()
            self._open = {known: one for known, one in self._open.items() if not one.closed}
            listener = _Listener(self._services, server, nonce.encode(), peers)
            self._open[listener.port] = listener
            answer.done({"port": listener.port, "nonce": nonce}, None)

        # A name may take long to look up: not on the loop.
        host = self._services.node.host
        self._services.workers.submit(lambda: _bind(addr, port, host), bound)

    def close(self, port: int) -> bool:
        """Whether it was open."""
        listener = self._open.pop(port, None)
        return listener is not None and listener.close()


class _Listener:
    def __init__(self, services: Services, server: socket.socket, nonce: bytes, peers: int) -> None:
        self.port = int(server.getsockname()[1])
        self._loop = services.loop
        self._server = server
        self._nonce = nonce
        self._missing = peers
        self._callers: list[socket.socket] = []
        self.closed = False
        self._loop.watch(server.fileno(), self._accept)
        self._loop.later(LONGEST, self._expire)

    def _expire(self) -> None:
        self.close()

    def close(self) -> bool:
        """Whether it was open."""
        was_open, self.closed = not self.closed, True
        for one in (self._server, *self._callers) if was_open else ():
            self._loop.unwatch(one.fileno())
            one.close()
        self._callers = []
        return was_open

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # whoever it was has gone again
            caller, _ = self._server.accept()
            caller.setblocking(False)
            self._callers.append(caller)
            self._loop.watch(caller.fileno(), lambda: self._hear(caller))
        if len(self._callers) > _MOST:
            self.close()

    def _hear(self, caller: socket.socket) -> None:
        """A peer says all in one small segment; who says anything else is a stranger."""
        try:
            peer = caller.recv(len(self._nonce)) == self._nonce
            if peer:
                caller.send(self._nonce[::-1])
        except OSError:
            peer = False
        # Whoever closes first keeps the port busy for a while: a peer's socket stays open here.
        self._loop.unwatch(caller.fileno())
        if not peer:
            self._callers.remove(caller)
            caller.close()
            return
        self._missing -= 1
        if not self._missing:
            self._stop_listening()

    def _stop_listening(self) -> None:
        self._loop.unwatch(self._server.fileno())
        self._server.close()
        # Peers close at once; theirs are waited for, so that the port is free without a trace.
        for caller in self._callers:
            self._loop.watch(caller.fileno(), self._goodbye(caller))

    def _goodbye(self, caller: socket.socket) -> Any:
        def gone() -> None:
            self._loop.unwatch(caller.fileno())
            self._callers.remove(caller)
            caller.close()
            self.closed = not self._callers

        return gone


def _bind(addr: str, port: int, host: str) -> socket.socket:
    try:
        family, _, _, _, place = socket.getaddrinfo(
            addr, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        server = socket.socket(family, socket.SOCK_STREAM)
        try:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind(place)
            server.listen(_MOST)
        except OSError:
            server.close()
            raise
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise RequestFailedError(
            "bad_addr",
            f"{host} cannot listen on its training address {addr}: {why}",
            "set `addr` of this node in cockpit.toml to one of the node's own addresses",
        ) from error
    server.setblocking(False)
    return server


def reach(arguments: Arguments) -> dict[str, Any]:
    """{reached, seconds, error, hint}: connect to `addr`:`port` and be known by `nonce`."""
    addr, port = arguments.text("addr"), arguments.integer("port")
    nonce = arguments.text("nonce").encode()
    timeout = arguments.seconds("limit", TIMEOUT, 0.1)
    begin = time.monotonic()
    error = hint = ""
    try:
        with socket.create_connection((addr, port), timeout) as connection:
            connection.sendall(nonce)
            if _heard(connection, len(nonce), begin + timeout) != nonce[::-1]:
                error, hint = "somebody else answers there", routes.FIREWALL
    except (OSError, UnicodeError) as problem:
        error, hint = routes.explain(problem, timeout)
    took = round(time.monotonic() - begin, 6)
    return {"reached": not error, "seconds": took, "error": error, "hint": hint}


def _heard(connection: socket.socket, size: int, deadline: float) -> bytes:
    heard = b""
    while len(heard) < size:
        connection.settimeout(max(deadline - time.monotonic(), 0.05))
        piece = connection.recv(size - len(heard))
        if not piece:
            break
        heard += piece
    return heard
