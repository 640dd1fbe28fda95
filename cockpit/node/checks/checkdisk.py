"""Checks of the preflight: folders that a job writes to, and shared memory.

Called by `preflight` in a thread. Leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import os

from cockpit.node.checks.checks import Check, check
from cockpit.node.statedir import HINT, Node

DISK_WARN = 1_000_000_000
DISK_CRIT = 50_000_000
"""Bytes free."""
INODES_WARN = 10_000
TMP = "/tmp"  # noqa: S108 - a file of a random name is made there and removed
SHM = "/dev/shm"  # noqa: S108 - its size is looked at, nothing is made there
SHM_WARN = 1_000_000_000
"""Bytes. Containers get 64 MB unless told otherwise, too little for DataLoader workers."""
_TMP_HINT = "free some space there; torch keeps sockets and unfinished files in it"


def state_dir(node: Node) -> list[Check]:
    """Can be written, and has room."""
    return [_writable("state_dir", node.state_dir, "the state folder", HINT), _disk(node)]


def temporary() -> list[Check]:
    """The folder for temporary files can be written, and has room."""
    folder = os.environ.get("TMPDIR") or TMP
    written = _writable("tmp", folder, "the folder for temporary files", _TMP_HINT)
    return [written if written["level"] != "ok" else _room("tmp", folder, _TMP_HINT)]


def shared_memory(node: Node) -> list[Check]:
    """SHM is there and large enough."""
    try:
        status = os.statvfs(SHM)
    except OSError as error:
        message = f"{SHM} on {node.host}: {error.strerror}"
        return [check("shm", "warn", message, "mount a tmpfs there")]
    size = status.f_blocks * status.f_frsize
    free = status.f_bavail * status.f_frsize
    message = f"{SHM}: {free / 1e9:.1f} of {size / 1e9:.1f} GB free"
    if free < SHM_WARN:
        hint = "DataLoader workers and NCCL need it; in a container raise its --shm-size"
        return [check("shm", "warn", message, hint)]
    return [check("shm", "ok", message)]


def _writable(name: str, folder: str, what: str, hint: str) -> Check:
    """Write and sync a file: a full quota or a read-only mount does not show otherwise."""
    path = f"{folder}/.cockpit-preflight.{os.urandom(6).hex()}"
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, b"\0" * 4096)
            os.fsync(fd)
        finally:
            os.close(fd)
    except OSError as error:
        return check(name, "crit", f"cannot write to {what} {folder}: {error.strerror}", hint)
    finally:
        with contextlib.suppress(OSError):
            os.unlink(path)
    return check(name, "ok", f"{folder} can be written")


def _disk(node: Node) -> Check:
    return _room("disk", node.state_dir, f"`cockpit clean` or {HINT}")


def _room(name: str, folder: str, hint: str) -> Check:
    try:
        status = os.statvfs(folder)
    except OSError as error:
        return check(name, "unknown", f"free space below {folder}: {error.strerror}")
    free = status.f_bavail * status.f_frsize
    message = f"{free / 1e9:.1f} GB free below {folder}"
    # Some file systems make inodes as they are needed and count none.
    if status.f_files and not status.f_favail:
        return check(name, "crit", f"no inode is left below {folder}", hint)
    if free < DISK_CRIT:
        return check(name, "crit", message, hint)
    if status.f_files and status.f_favail < INODES_WARN:
        return check(name, "warn", f"{status.f_favail} inodes are left below {folder}", hint)
    if free < DISK_WARN:
        return check(name, "warn", message, hint)
    return check(name, "ok", message)
