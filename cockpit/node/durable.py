"""Files and folders of the state folder that must be whole or absent, whatever happens.

Used by the supervisor and by the agent's side of it for plans, claims, commands and identities.
Files are 0600 and appear under their name in one step (temporary file, fsync, rename); folders
are 0700. Never used for logs and journals, which grow in place.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from typing import Any


def temporary_name(path: str) -> str:
    """A name beside `path` that no other process uses; hidden, so that readers skip it."""
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name}.{os.getpid()}.{os.urandom(6).hex()}")


def make_folder(path: str) -> None:
    """Create `path` and its missing parents, each readable by its owner only."""
    parent = os.path.dirname(path)
    if parent != path and not os.path.isdir(parent):
        make_folder(parent)
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o700)


def sync_folder(path: str) -> None:
    """Make the names in a folder survive a power cut, where the file system can do that."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(fd)
    finally:
        os.close(fd)


def write(path: str, data: bytes) -> None:
    """Replace `path` by a file that holds `data`. Raises OSError; `path` is untouched then."""
    temporary = _write_temporary(path, data)
    try:
        os.rename(temporary, path)
    except OSError:
        _remove(temporary)
        raise
    sync_folder(os.path.dirname(path))


def write_new(path: str, data: bytes) -> bool:
    """Create `path` with `data`, whole or not at all; False when it exists already."""
    temporary = _write_temporary(path, data)
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError:
        # A file system without hard links: the test and the rename are two steps there.
        if os.path.lexists(path):
            return False
        os.rename(temporary, path)
    finally:
        _remove(temporary)
    sync_folder(os.path.dirname(path))
    return True


def is_full(error: OSError) -> bool:
    """Whether the disk, or this user's share of it, has no room left."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def to_json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def read_json(path: str) -> Any:
    """The document in `path`; None when there is none, or it is not JSON."""
    try:
        with open(path, "rb") as file:
            return json.loads(file.read())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None


def _write_temporary(path: str, data: bytes) -> str:
    temporary = temporary_name(path)
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        os.fsync(fd)
    except OSError:
        _remove(temporary)
        raise
    finally:
        os.close(fd)
    return temporary


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
