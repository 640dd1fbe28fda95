"""The operation `free_port`: a port on which a rendezvous can listen in a moment.

Runs in a thread, since names may have to be looked up. Nothing is kept open: between this answer
and its use another process could take the port, so it is drawn from a range out of which the
kernel hands out nothing by itself.
"""

from __future__ import annotations

import errno
import random
import socket
from typing import Any

from cockpit.node.arguments import Arguments
from cockpit.node.failures import RequestFailedError
from cockpit.node.statedir import Node

FIRST, LAST = 20000, 32000
"""Below the range for outgoing connections that Linux has by default (32768 upwards)."""
_TRIES = 200
_HINT = "set `addr` of this node in cockpit.toml to one of the node's own addresses"


def free_port(node: Node, arguments: Arguments) -> dict[str, Any]:
    """{port} that is free on `addr` (a name or an address of this node) and on all addresses."""
    addr = arguments.text("addr")
    try:
        found = socket.getaddrinfo(addr, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise RequestFailedError(
            "bad_addr", f"{node.host} cannot look up its training address {addr!r}: {error}", _HINT
        ) from error
    family, _, _, _, place = found[0]
    for port in random.sample(range(FIRST, LAST), _TRIES):
        try:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.bind((place[0], port, *place[2:]))
            # Stores listen on all addresses, whichever one they are told.
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.bind(("", port))
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                raise RequestFailedError(
                    "bad_addr", f"{addr} is not an address of {node.host}", _HINT
                ) from error
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
        else:
            return {"port": port}
    raise RequestFailedError(
        "no_port", f"no free port between {FIRST} and {LAST} on {addr} ({node.host})"
    )
