"""Turns whatever went wrong in an operation into the words of a FAIL frame.

Used by everything that answers requests. Knows which errors of the operating system a person can
act on; all others are bugs and say so by their code, "internal".
"""

from __future__ import annotations

import errno
import os

from cockpit.node.failures import RequestFailedError
from cockpit.node.statedir import HINT

TYPE_CHECKING = False  # typing itself would be a tenth of an agent's start
if TYPE_CHECKING:
    from typing import Any

_OS_ERRORS = {
    errno.ENOENT: ("not_found", "does not exist"),
    errno.ENOTDIR: ("not_found", "does not exist"),
    errno.EACCES: ("permission", "is not accessible to this user"),
    errno.EPERM: ("permission", "is not accessible to this user"),
    errno.EROFS: ("read_only", "is on a read-only file system"),
    errno.ELOOP: ("bad_path", "leads through a symbolic link"),
    errno.EISDIR: ("bad_path", "is a folder"),
    errno.EIO: ("io", "cannot be read or written (I/O error)"),
    errno.ESTALE: ("io", "is gone from its file server"),
}


def failure(error: Exception, host: str) -> dict[str, Any]:
    """The fields of `messages.Failure` for `error`, which happened on `host`."""
    if isinstance(error, RequestFailedError):
        return _fields(error.code, error.message, error.hint, error.details)
    if isinstance(error, OSError) and error.errno is not None:
        path = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else ""
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return failure(no_space(host, path, None), host)
        if error.errno in _OS_ERRORS:
            code, what = _OS_ERRORS[error.errno]
            subject = path or "a file"
            hint = HINT if code in ("read_only", "permission") else ""
            return _fields(code, f"{subject} on {host} {what}", hint, {})
    return _fields(
        "internal",
        f"the agent on {host} failed: {type(error).__name__}: {error}",
        "this is a defect of cockpit; other requests to this node go on",
        {},
    )


def no_space(host: str, path: str, needed: int | None) -> RequestFailedError:
    """The failure "no_space". `needed`: bytes, None when unknown."""
    free = _free(path)
    needs = f"needs {_megabytes(needed)}, " if needed is not None else ""
    have = f"{_megabytes(free)} free" if free is not None else "quota or disk used up"
    where = f" in {path}" if path else ""
    return RequestFailedError(
        "no_space", f"no space left on {host}{where}: {needs}{have}", f"free some, or {HINT}"
    )


def _free(path: str) -> int | None:
    while path:
        try:
            status = os.statvfs(path)
        except FileNotFoundError:
            path = os.path.dirname(path) if path != "/" else ""
        except OSError:
            return None
        else:
            return status.f_bavail * status.f_frsize
    return None


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.0f} MB" if count >= 1_000_000 else f"{count / 1e6:.1f} MB"


def _fields(code: str, message: str, hint: str, details: dict[str, Any]) -> dict[str, Any]:
    return {"code": code, "message": message, "hint": hint, "details": details}
