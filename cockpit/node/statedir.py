"""The node's state folder: made private or refused, and the only place that requests may name.

Called at the agent's start and by every operation that takes a path. Never follows a path out of
the folder, not even through a symbolic link.
"""

from __future__ import annotations

import os
import stat
import time

from cockpit.node.failures import RequestFailedError
from cockpit.protocol import layout

HINT = "set `state_dir` of this cluster in cockpit.toml to a folder of your own on that node"
_STALE = 24 * 3600.0
"""Seconds after which a temporary entry belongs to an agent that was killed."""


class Node:
    """Where an operation runs: the node's name for people, its state folder, and `runtime`, the
    folder that holds the package `cockpit`. Both are absolute real paths."""

    def __init__(self, host: str, state_dir: str, runtime: str) -> None:
        self.host = host
        self.state_dir = state_dir
        self.runtime = runtime

    def resolve(self, path: str) -> str:
        """The absolute path of `path` below the state folder. Raises "bad_path"."""
        parts = path.split("/")
        bad = not path or "\0" in path or path.startswith("/") or ".." in parts
        absolute = os.path.normpath(f"{self.state_dir}/{path}") if not bad else ""
        if bad or not self._inside(os.path.realpath(absolute)):
            raise RequestFailedError(
                "bad_path",
                f"{path!r} is not inside the state folder {self.state_dir} on {self.host}",
                "paths are relative to the state folder and must not lead out of it",
            )
        return absolute

    def _inside(self, real: str) -> bool:
        return real == self.state_dir or real.startswith(self.state_dir.rstrip("/") + "/")


def open_state_dir(path: str, host: str) -> str:
    """Make the folder if needed (0700) and return its real path.

    Raises RequestFailedError "state_dir" when it cannot be made or others could tamper with it.
    """
    path = os.path.abspath(os.path.expanduser(path))
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
        status = os.stat(path)
    except OSError as error:
        raise RequestFailedError(
            "state_dir", f"cannot make the state folder {path} on {host}: {error.strerror}", HINT
        ) from error
    if not stat.S_ISDIR(status.st_mode):
        raise RequestFailedError(
            "state_dir", f"the state folder {path} on {host} is not a folder", HINT
        )
    if status.st_uid != os.geteuid():
        raise RequestFailedError(
            "state_dir",
            f"the state folder {path} on {host} belongs to another user (uid {status.st_uid})",
            HINT,
        )
    if status.st_mode & 0o022:
        raise RequestFailedError(
            "state_dir",
            f"others may write to the state folder {path} on {host}"
            f" (mode {stat.S_IMODE(status.st_mode):04o})",
            f"`chmod go-w {path}` there, or {HINT}",
        )
    return os.path.realpath(path)


def temporary(node: Node, suffix: str = "") -> str:
    """An unused path in the folder for unfinished things, on the same file system as the rest."""
    folder = f"{node.state_dir}/{layout.TEMPORARY}"
    os.makedirs(folder, mode=0o700, exist_ok=True)
    return f"{folder}/{os.urandom(8).hex()}{suffix}"


def sweep_temporary(node: Node) -> None:
    """Remove what killed agents left unfinished more than a day ago."""
    folder = f"{node.state_dir}/{layout.TEMPORARY}"
    try:
        names = os.listdir(folder)
    except OSError:
        return
    for name in names:
        path = f"{folder}/{name}"
        try:
            if time.time() - os.lstat(path).st_mtime > _STALE:
                remove_tree(path)
        except OSError:
            continue  # another agent removes it, or it is not ours to remove


def remove_tree(path: str) -> int:
    """Remove a file or a folder with all below it; returns the bytes of disk that were in use.

    Opens folders that forbid it (code keeps the modes it had). Raises OSError when something stays.
    """
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return 0
    freed = status.st_blocks * 512
    if not stat.S_ISDIR(status.st_mode):
        os.unlink(path)
        return freed if status.st_nlink == 1 else 0
    if status.st_mode & 0o700 != 0o700:
        os.chmod(path, 0o700)
    for name in os.listdir(path):
        freed += remove_tree(f"{path}/{name}")
    os.rmdir(path)
    return freed
