"""The few system calls that Python's standard library does not offer.

Used by the supervisor and for stacks; `files` shares BLOCK. Every function says False instead of
raising where the C library, the kernel or the file system lacks the call: all of them are
improvements, none is a precondition.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_FALLOC_FL_KEEP_SIZE = 1
_FALLOC_FL_PUNCH_HOLE = 2
_TGKILL = {
    "x86_64": 234,
    "aarch64": 131,
    "riscv64": 131,
    "loongarch64": 131,
    "ppc64le": 250,
    "s390x": 241,
}
"""Number of the system call by machine, for 64 bits (arch/*/entry/syscalls of Linux)."""

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


def die_with_parent(parent: int) -> None:
    """Have the kernel end this process when its parent, which had the pid `parent`, dies.

    Ends it now if that has happened already.
    """
    with contextlib.suppress(ImportError, OSError, AttributeError):
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def signal_thread(pid: int, thread: int, number: int) -> bool:
    """Signal that very thread of the process `pid`, as `kill` cannot; False when it is gone.

    False as well where the C library (glibc before 2.30) and the table of system calls lack it.
    Raises PermissionError.
    """
    try:
        import ctypes

        libc = ctypes.CDLL(None, use_errno=True)
    except (ImportError, OSError):
        return False
    if hasattr(libc, "tgkill"):
        result = libc.tgkill(pid, thread, number)
    else:
        call = _TGKILL.get(os.uname().machine) if sys.maxsize > 2**32 else None
        if call is None:
            return False
        result = libc.syscall(*map(ctypes.c_long, (call, pid, thread, number)))
    if result and ctypes.get_errno() == errno.EPERM:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
    return bool(result == 0)


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
