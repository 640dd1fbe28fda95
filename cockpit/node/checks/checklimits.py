"""Checks of the preflight: what the system lets this user's processes have.

Called by `preflight` in a thread.
"""

from __future__ import annotations

import os
import resource

from cockpit.node import openfiles
from cockpit.node.checks.checks import Check, check

FILES_WARN = 4096
PROCESSES_WARN = 4096
INFINIBAND = "/sys/class/infiniband"
_HINT = "raise it in /etc/security/limits.conf or in the unit of sshd, and log in again"


def limits() -> list[Check]:
    """Open files, processes and, where there is InfiniBand, locked memory."""
    checks = [
        _enough("nofile", "open files", _open_files(), FILES_WARN),
        _enough("nproc", "processes", resource.getrlimit(resource.RLIMIT_NPROC)[0], PROCESSES_WARN),
    ]
    if _has_infiniband():
        locked = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
        if locked == resource.RLIM_INFINITY:
            checks.append(check("memlock", "ok", "memory may be locked without limit"))
        else:
            message = f"RDMA needs locked memory, and only {locked / 1e6:.1f} MB may be locked"
            hint = f"`ulimit -l` should be unlimited: {_HINT}"
            checks.append(check("memlock", "warn", message, hint))
    return checks


def _enough(name: str, what: str, soft: int, least: int) -> Check:
    if soft == resource.RLIM_INFINITY:
        return check(name, "ok", f"{what} without limit")
    if soft < least:
        return check(name, "warn", f"only {soft} {what} are allowed, {least} are advised", _HINT)
    return check(name, "ok", f"{soft} {what} are allowed")


def _open_files() -> int:
    """The limit that jobs get: that of the login, not the agent's own."""
    own = openfiles.environment().get(openfiles.ENV)
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0] if own is None else int(own)


def _has_infiniband() -> bool:
    try:
        return bool(os.listdir(INFINIBAND))
    except OSError:
        return False
