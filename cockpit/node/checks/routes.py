"""Why a node does not reach an address, in words that lead to the fault.

Used by `reach`. Only the kind of failure is judged; nothing is asked of the network again.
"""

from __future__ import annotations

import errno
import socket

_NO_ROUTE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EINVAL, errno.EADDRNOTAVAIL)
"""EINVAL is what Linux says of a route that is a black hole."""
_ADDR = "`addr` of the nodes in cockpit.toml"
FIREWALL = f"open the firewall between the nodes, or set {_ADDR} to a network that they share"


def explain(error: Exception, limit: float) -> tuple[str, str]:
    """(what went wrong, what to do) where a connection was not made within `limit` seconds."""
    # Two names of one class from Python 3.10 on.
    if isinstance(error, (socket.timeout, TimeoutError)):
        return f"no answer in {limit:.0f} s", FIREWALL
    if isinstance(error, (socket.gaierror, UnicodeError)):
        why = getattr(error, "strerror", None) or error
        return f"its name cannot be looked up: {why}", f"make {_ADDR} numeric"
    number = getattr(error, "errno", None)
    if number in _NO_ROUTE:
        hint = f"check {_ADDR}: it must be on a network that they share"
        if number == errno.EHOSTUNREACH:
            hint += "; a firewall that rejects looks the same"
        return "no route to it", hint
    if number == errno.ECONNREFUSED:
        hint = f"check {_ADDR}: it may be another machine's; a firewall that rejects looks the same"
        return "nothing listens there", hint
    return getattr(error, "strerror", None) or str(error), FIREWALL
