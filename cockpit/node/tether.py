"""Tools that must not outlive the process that started them, however it ends.

Used where a tool may hang in a driver or file system (nvidia-smi, AMD's tools, an import of torch):
the agent may be killed, or leave by os._exit, and a tool that prints nothing never learns of it.
The kernel kills a tethered tool as soon as the thread that started it is gone.
"""

from __future__ import annotations

import errno
import os
import sys

_BECOME = """
import ctypes, os, signal, sys
try:
    ctypes.CDLL(None).prctl(1, 9, 0, 0, 0)
except (OSError, AttributeError):
    pass
if os.getppid() != int(sys.argv[1]):
    os._exit(1)
for number in (signal.SIGPIPE, signal.SIGXFSZ):
    signal.signal(number, signal.SIG_DFL)
try:
    os.execv(sys.argv[2], sys.argv[2:])
except OSError as error:
    sys.exit("it cannot be run: " + error.strerror)
"""
"""Has the kernel send SIGKILL when the starting thread ends (PR_SET_PDEATHSIG, which an exec
keeps), undoes what Python ignores, and becomes the tool: same pid, no process in between."""


def tethered(argv: list[str]) -> list[str]:
    """`argv` (the first is a path) as a command that dies with the thread that starts it.

    That thread has to wait for it. Raises OSError where nothing can be run at that path.
    """
    os.stat(argv[0])
    if not os.access(argv[0], os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), argv[0])
    if not sys.executable:
        return argv
    return [sys.executable, "-I", "-S", "-c", _BECOME, str(os.getpid()), *argv]
