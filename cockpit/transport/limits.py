"""How many things may happen at once: SSH handshakes per server, descriptors per process."""

from __future__ import annotations

import asyncio
import contextlib

HANDSHAKES = 8
"""At once per jump host or address; by default sshd turns some away from the tenth on."""
DESCRIPTORS = 4096


class Limiter:
    """One per event loop."""

    def __init__(self, width: int = HANDSHAKES) -> None:
        self._width = width
        self._slots: dict[str, asyncio.Semaphore] = {}

    def slot(self, server: str) -> asyncio.Semaphore:
        """To be held during a handshake with `server`."""
        return self._slots.setdefault(server, asyncio.Semaphore(self._width))


def raise_descriptor_limit(wanted: int = DESCRIPTORS) -> None:
    """Allow one descriptor per node and more; macOS starts with 256."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
