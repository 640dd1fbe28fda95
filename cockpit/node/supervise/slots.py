"""The folder in which the ranks of an attempt beat: made before the start, removed at the end.

Called by the supervisor only. Shared memory is open to every user of a machine, so nothing there
is trusted before it is known to be a real folder of this user's own; where shared memory cannot be
had, the slots lie in the attempt's folder. Slots themselves are `slot`'s business.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat

from cockpit.node.supervise.claims import Place
from cockpit.protocol import layout

_FALLBACK = "slots"
_PROBE = ".room"
_ROOM = 256 * 1024
"""Bytes that must be free in shared memory: slots of many ranks."""
_TRIES = 3


def make(place: Place) -> str:
    """An empty folder for the slots of an attempt, absolute. Raises OSError when none can be."""
    folder = _shared(place)
    try:
        for attempt in range(_TRIES):
            try:
                _make_private(os.path.dirname(folder))
                _make_empty(folder)
            except FileNotFoundError:
                # Another supervisor has just removed the parent, which it found empty.
                if attempt == _TRIES - 1:
                    raise
            else:
                break
        _check_room(folder)
    except OSError:
        remove(folder)
        folder = place.file(_FALLBACK)
        _make_empty(folder)
    return folder


def find(place: Place) -> str:
    """The folder that an earlier supervisor made; "" when there is none."""
    folders = (_shared(place), place.file(_FALLBACK))
    return next((folder for folder in folders if _is_private(folder)), "")


def remove(folder: str) -> None:
    """Remove the folder and its slots, and what of our own is empty above. Never raises."""
    if not _is_private(folder):
        return
    _empty(folder)
    with contextlib.suppress(OSError):
        os.rmdir(folder)
        parent = os.path.dirname(folder)
        if os.path.dirname(parent) == layout.SHARED_MEMORY:
            os.rmdir(parent)


def _shared(place: Place) -> str:
    return layout.slots_dir(os.geteuid(), place.marker)


def _is_ours(folder: str) -> bool:
    """Whether it is a real folder of this user's; a link of whomever is not."""
    try:
        status = os.lstat(folder)
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()


def _is_private(folder: str) -> bool:
    """Whether nobody else could have put it there."""
    return _is_ours(os.path.dirname(folder)) and _is_ours(folder)


def _make_private(folder: str) -> None:
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder, 0o700)
    if not _is_ours(folder):
        raise PermissionError(f"{folder} belongs to somebody else")
    if stat.S_IMODE(os.lstat(folder).st_mode) != 0o700:
        os.chmod(folder, 0o700)


def _make_empty(folder: str) -> None:
    try:
        os.mkdir(folder, 0o700)
    except FileExistsError:
        if not _is_ours(folder):
            raise
        _empty(folder)
        left = os.listdir(folder)
        if left:
            raise OSError(errno.ENOTEMPTY, f"{left[0]} cannot be removed", folder) from None


def _empty(folder: str) -> None:
    """Remove what can be removed of all that is in it. Links are removed, never followed."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                if entry.is_dir(follow_symlinks=False):
                    _empty(entry.path)
                    os.rmdir(entry.path)
                else:
                    os.unlink(entry.path)


def _check_room(folder: str) -> None:
    path = os.path.join(folder, _PROBE)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(fd, 0, _ROOM)
    finally:
        os.close(fd)
        os.unlink(path)
