"""The operation `preflight`: what would make a start fail here, found before it is tried.

Runs in a thread. Each check says ok, warn, crit or unknown, and how to repair what is wrong.
Leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import os
import re
from typing import Any

from cockpit.node.arguments import Arguments
from cockpit.node.facts import DEFAULT_PYTHON, PYTHON_HINT, inspect_python
from cockpit.node.statedir import HINT, Node

DISK_WARN = 1_000_000_000
DISK_CRIT = 50_000_000
SHM = "/dev/shm"  # noqa: S108 - its size is looked at, nothing is made there
SHM_WARN = 1_000_000_000
"""Bytes. Containers get 64 MB unless told otherwise, too little for DataLoader workers."""
OLDEST_PYTHON = (3, 9)

Check = dict[str, str]


def run(node: Node, arguments: Arguments) -> dict[str, Any]:
    """All checks: state_dir, disk, python, torch (if `need_torch`), shm."""
    python = arguments.text("python", DEFAULT_PYTHON)
    need_torch = arguments.boolean("need_torch", False)
    return {
        "checks": [
            _state_dir(node),
            _disk(node),
            *_python(node, python, need_torch),
            _shared_memory(node),
        ]
    }


def _check(name: str, level: str, message: str, hint: str = "") -> Check:
    return {"check": name, "level": level, "message": message, "hint": hint}


def _state_dir(node: Node) -> Check:
    path = f"{node.state_dir}/.preflight.{os.urandom(6).hex()}"
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, b"\0" * 4096)
            os.fsync(fd)
        finally:
            os.close(fd)
    except OSError as error:
        message = f"cannot write to the state folder {node.state_dir}: {error.strerror}"
        return _check("state_dir", "crit", message, HINT)
    finally:
        with contextlib.suppress(OSError):
            os.unlink(path)
    return _check("state_dir", "ok", f"{node.state_dir} can be written")


def _disk(node: Node) -> Check:
    try:
        status = os.statvfs(node.state_dir)
    except OSError as error:
        return _check("disk", "unknown", f"free space below {node.state_dir}: {error.strerror}")
    free = status.f_bavail * status.f_frsize
    message = f"{free / 1e9:.1f} GB free below {node.state_dir}"
    if status.f_files and not status.f_favail:
        return _check("disk", "crit", f"no inode is left below {node.state_dir}", HINT)
    if free < DISK_CRIT:
        return _check("disk", "crit", message, f"`cockpit clean` or {HINT}")
    if free < DISK_WARN:
        return _check("disk", "warn", message, f"`cockpit clean` or {HINT}")
    return _check("disk", "ok", message)


def _python(node: Node, wanted: str, need_torch: bool) -> list[Check]:
    found = inspect_python(wanted, node.host)
    if found.problem:
        return [_check("python", "crit", found.problem, PYTHON_HINT)]
    version = tuple(int(part) for part in re.findall(r"\d+", found.version)[:2])
    if version < OLDEST_PYTHON:
        message = f"{found.path} is Python {found.version}; 3.9 is needed"
        return [_check("python", "crit", message, PYTHON_HINT)]
    checks = [_check("python", "ok", f"{found.path} is Python {found.version}")]
    if found.torch:
        checks.append(_check("torch", "ok", f"torch {found.torch}"))
    elif need_torch:
        message = f"{found.path} on {node.host} has no torch"
        checks.append(_check("torch", "crit", message, f"install torch there, or {PYTHON_HINT}"))
    return checks


def _shared_memory(node: Node) -> Check:
    try:
        status = os.statvfs(SHM)
    except OSError as error:
        return _check(
            "shm", "warn", f"{SHM} on {node.host}: {error.strerror}", "mount a tmpfs there"
        )
    size = status.f_blocks * status.f_frsize
    free = status.f_bavail * status.f_frsize
    message = f"{SHM}: {free / 1e9:.1f} of {size / 1e9:.1f} GB free"
    if free < SHM_WARN:
        hint = "DataLoader workers and NCCL need it; in a container raise its --shm-size"
        return _check("shm", "warn", message, hint)
    return _check("shm", "ok", message)
