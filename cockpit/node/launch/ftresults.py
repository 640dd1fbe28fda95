"""The job results file: one line for each attempt, as other launchers of ft_launcher write it.

Called by the instrumented launcher process at its end. Only node rank 0 writes, since the file may
lie on a file system that all nodes share.
"""

from __future__ import annotations

import os
import sys

from cockpit.protocol import layout


def append(path: str, *, succeeded: bool) -> None:
    """Add `JOB ATTEMPT S`, or F, in one write. A file that cannot be written ends no job."""
    attempt = layout.parse_marker(os.environ.get(layout.MARKER, ""))
    if attempt is None or attempt[2] != 0:
        return
    line = f"{attempt[0]} {attempt[1]} {'S' if succeeded else 'F'}\n"
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            os.write(fd, line.encode())
        finally:
            os.close(fd)
    except OSError as error:
        sys.stderr.write(f"cockpit: {path} takes no line of results: {error.strerror}\n")
