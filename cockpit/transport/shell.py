"""A shell on a node, on a pseudo-terminal there: what is asked for, and what one is.

Transports open one beside the agent's channel, over the connection that they have. What it prints
is for a person's own terminal, byte by byte; nothing here looks at it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple, Protocol

from cockpit.errors import UsageError
from cockpit.text import clean

SCRIPT = 'cd -- "$0"; exec "${SHELL:-/bin/sh}" -l'
"""Run by sh with the folder as $0. No quote, `!` or backslash: every login shell takes it alike."""

_UNQUOTABLE = re.compile(r"['!\\\x00-\x1f\x7f]")


class ShellRequest(NamedTuple):
    """`term`: the terminal's kind, as TERM. `directory`: where to start, "" for the home folder.
    `received` is called with what the shell prints."""

    term: str
    columns: int
    rows: int
    directory: str
    received: Callable[[bytes], None]


class Shell(Protocol):
    """A running shell."""

    def write(self, data: bytes) -> None:
        """What was typed. Dropped once it has ended."""

    def resize(self, columns: int, rows: int) -> None:
        """The terminal has another size now."""

    def pause(self) -> None:
        """Let it print no more for now."""

    def resume(self) -> None: ...

    async def ended(self) -> int:
        """Wait for its end; its exit code, 128 + n after signal n. Raises LinkError when the
        connection was lost."""

    async def close(self) -> None:
        """Hang up, if it has not ended. Never raises."""


def command(directory: str) -> str | None:
    """What a login shell is told to become a shell in `directory`; None for the home folder.

    Raises UsageError for a name that not every login shell would take literally.
    """
    if not directory:
        return None
    if _UNQUOTABLE.search(directory):
        raise UsageError(
            f"a shell cannot be started in {clean(directory)!r}",
            "its name holds a quote, a backslash, an exclamation mark or a control character",
        )
    return f"exec /bin/sh -c '{SCRIPT}' '{directory}'"
