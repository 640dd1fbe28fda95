"""The few system calls that Python's standard library does not offer.

Used by the supervisor; `files` shares BLOCK. Every function says False instead of raising where
the C library, the kernel or the file system lacks the call: all of them are improvements, none is
a precondition.
"""

from __future__ import annotations

import errno
import os

_PR_SET_CHILD_SUBREAPER = 36
_FALLOC_FL_KEEP_SIZE = 1
_FALLOC_FL_PUNCH_HOLE = 2

BLOCK = 4096
"""Bytes. Holes are punched in multiples of this."""


def become_subreaper() -> bool:
    """Orphans among this process's descendants become its children instead of init's."""
    try:
        import ctypes

        libc = ctypes.CDLL(None, use_errno=True)
        return bool(libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)
    except (ImportError, OSError, AttributeError):
        return False


def reserve(fd: int, length: int) -> bool:
    """Set disk space aside for the first `length` bytes of a file, whose size stays as it is.

    What is written there later meets no full disk. False when that cannot be had.
    """
    try:
        return _fallocate(fd, _FALLOC_FL_KEEP_SIZE, 0, length)
    except OSError:
        return False


def punch_hole(fd: int, start: int, length: int) -> bool:
    """Give the bytes [start, start + length) of a file back to the file system.

    The size of the file and all offsets stay; the bytes read as zeros afterwards. `fd` must be
    open for writing. False when the file system cannot do it; raises OSError on anything else.
    """
    return _fallocate(fd, _FALLOC_FL_PUNCH_HOLE | _FALLOC_FL_KEEP_SIZE, start, length)


def _fallocate(fd: int, mode: int, start: int, length: int) -> bool:
    try:
        import ctypes

        libc = ctypes.CDLL(None, use_errno=True)
        fallocate = libc.fallocate64
    except (ImportError, OSError, AttributeError):
        return False
    if fallocate(fd, mode, ctypes.c_int64(start), ctypes.c_int64(length)) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.EOPNOTSUPP, errno.ENOSYS, errno.ENODEV):
        return False
    raise OSError(code, os.strerror(code))
