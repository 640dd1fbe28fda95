"""Why an address is not reached: words and hints by the kind of failure."""

from __future__ import annotations

import errno
import os
import socket

import pytest

from cockpit.node.checks import routes


def failure(number: int) -> OSError:
    return OSError(number, os.strerror(number))


@pytest.mark.parametrize(
    ("error", "why", "hint"),
    [
        (failure(errno.EINVAL), "no route to it", "check `addr`"),
        (failure(errno.ENETUNREACH), "no route to it", "check `addr`"),
        (failure(errno.EHOSTUNREACH), "no route to it", "firewall that rejects"),
        (failure(errno.ECONNREFUSED), "nothing listens there", "check `addr`"),
        (failure(errno.ETIMEDOUT), "no answer in 5 s", "open the firewall"),
        (TimeoutError("timed out"), "no answer in 5 s", "open the firewall"),
        (failure(errno.ECONNRESET), "Connection reset by peer", "open the firewall"),
        (socket.gaierror(-2, "unknown"), "its name cannot be looked up: unknown", "numeric"),
    ],
)
def test_a_failure_leads_to_its_fault(error: OSError, why: str, hint: str) -> None:
    said, advice = routes.explain(error, 5.0)
    assert said == why
    assert hint in advice
