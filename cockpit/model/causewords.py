"""Who a cause is about, where no rank is: the command of a node, its launcher process, or nobody.

Used by the faces, so that a cause that knows no rank is a sentence in all of them.
"""

from __future__ import annotations

from cockpit.model.types import Cause

COMMAND = "the command"
LAUNCHER = "the launcher process"
_OF_A_PROCESS = ("exit", "signal", "oom")
"""Kinds of causes that tell how one process ended."""


def subject(cause: Cause) -> str:
    """ "rank 3", "the command", "the launcher process"; "" where it is about the whole node."""
    if cause.rank is not None:
        return f"rank {cause.rank}"
    for process in (LAUNCHER, COMMAND):
        if cause.message.startswith(f"{process} "):
            return process
    return COMMAND if cause.kind in _OF_A_PROCESS else ""


def predicate(cause: Cause) -> str:
    """The message of a cause without the subject that it may begin with."""
    if cause.rank is not None:
        return cause.message
    return cause.message.removeprefix(f"{LAUNCHER} ").removeprefix(f"{COMMAND} ")
