"""How many files an agent may hold open, and that nobody else inherits it.

An agent that follows the logs of many ranks needs more descriptors than the usual soft limit of
1024. Programs of the user's keep their own limit: a higher one makes some of them slow (they walk
over every possible descriptor), and one that a login has lowered was lowered for a reason.
"""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Mapping

ENOUGH = 65536
"""Descriptors; beyond it the kernel's own tables would grow for nothing."""
ENV = "COCKPIT_OPEN_FILES"
"""Environment variable of a supervisor: the soft limit that is the user's own."""


class _Own:
    """(soft, hard) of this process before `raise_limit`; None while they are still in force."""

    limits: tuple[int, int] | None = None


def raise_limit() -> None:
    """Raise the soft limit of this process to the hard one, ENOUGH at most. Never lowers it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = ENOUGH if hard == resource.RLIM_INFINITY else min(hard, ENOUGH)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    with contextlib.suppress(OSError, ValueError):  # a sandbox forbids it: work with what there is
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        _Own.limits = (soft, hard)


def environment() -> dict[str, str]:
    """What a supervisor needs in its environment for `restore_from`."""
    return {} if _Own.limits is None else {ENV: str(_Own.limits[0])}


def restore_from(environ: Mapping[str, str]) -> None:
    """Go back to the soft limit that `environ` names, if it does; children inherit that one."""
    soft = environ.get(ENV, "")
    if soft.isdecimal():
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (int(soft), hard))


def restore_for(pid: int) -> None:
    """Give the child `pid`, which has just been started, the user's own limit."""
    if _Own.limits is not None:
        with contextlib.suppress(OSError):  # it has ended, or has become another user's
            resource.prlimit(pid, resource.RLIMIT_NOFILE, _Own.limits)
