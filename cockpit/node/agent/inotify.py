"""The kernel's notice that files changed: inotify(7) through ctypes, and where it can be trusted.

Used by `tails`. Raises OSError where the kernel has no inotify or no watch to spare; the caller
polls then. `sees_changes` tells which file systems report the writes of every machine that can
write to them.
"""

from __future__ import annotations

import os
import struct

TYPE_CHECKING = False  # typing itself would be a tenth of an agent's start
if TYPE_CHECKING:
    from typing import Any

IN_MODIFY = 0x2
IN_ATTRIB = 0x4
IN_MOVED_TO = 0x80
IN_CREATE = 0x100
IN_DELETE_SELF = 0x400
IN_MOVE_SELF = 0x800
IN_Q_OVERFLOW = 0x4000
IN_IGNORED = 0x8000
IN_ONLYDIR = 0x1000000

FILE_EVENTS = IN_MODIFY | IN_ATTRIB | IN_MOVE_SELF | IN_DELETE_SELF
FOLDER_EVENTS = IN_CREATE | IN_MOVED_TO | IN_ATTRIB | IN_MOVE_SELF | IN_DELETE_SELF | IN_ONLYDIR

_EVENT = struct.Struct("iIII")
_READ_SIZE = 64 * 1024
_LOCAL = frozenset(
    ("ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "tmpfs", "ramfs", "overlay", "f2fs", "jfs")
)
"""File systems that only this machine's kernel writes to. All others are polled."""


class Inotify:
    """One inotify descriptor, non-blocking."""

    def __init__(self) -> None:
        import ctypes  # slow to load, and only needed from here on

        self._ctypes = ctypes
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.fd = self._checked(self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))

    def add(self, path: str, events: int) -> int:
        """Watch `path`; the same file gives the same number again."""
        return self._checked(
            self._libc.inotify_add_watch(self.fd, os.fsencode(path), self._ctypes.c_uint32(events)),
            path,
        )

    def remove(self, watch: int) -> None:
        """Stop a watch; harmless if the kernel has dropped it already."""
        self._libc.inotify_rm_watch(self.fd, watch)

    def read(self) -> list[tuple[int, int]]:
        """What happened since the last call, as (watch, events); empty if nothing did."""
        events = []
        try:
            buffer = os.read(self.fd, _READ_SIZE)
        except BlockingIOError:
            return []
        position = 0
        while position < len(buffer):
            watch, mask, _, length = _EVENT.unpack_from(buffer, position)
            events.append((watch, mask))
            position += _EVENT.size + length
        return events

    def _checked(self, result: Any, path: str | None = None) -> int:
        if result < 0:
            number = self._ctypes.get_errno()
            raise OSError(number, os.strerror(number), path)
        return int(result)


def sees_changes(path: str) -> bool:
    """Whether inotify reports every write below `path`: not on NFS and its like."""
    return file_system(os.path.realpath(path)) in _LOCAL


def file_system(path: str) -> str:
    """The type of the file system that holds the real path `path`, "" when unknown."""
    wanted = os.fsencode(path)
    best, kind = -1, b""
    try:
        with open("/proc/self/mountinfo", "rb") as mounts:
            lines = mounts.readlines()
    except OSError:
        return ""
    for line in lines:
        fields = line.split(b" ")
        try:
            point, found = _unescape(fields[4]), fields[fields.index(b"-") + 1]
        except (IndexError, ValueError):
            continue
        inside = wanted == point or wanted.startswith(point.rstrip(b"/") + b"/")
        if inside and len(point) >= best:  # a later mount on the same folder hides the earlier
            best, kind = len(point), found
    return os.fsdecode(kind)


def _unescape(point: bytes) -> bytes:
    for escaped, plain in (
        (b"\\040", b" "),
        (b"\\011", b"\t"),
        (b"\\012", b"\n"),
        (b"\\134", b"\\"),
    ):
        point = point.replace(escaped, plain)
    return point
