"""The last lines that a rank wrote before it ended, for the record of its failure.

Called in the launcher process while the group is down: it reads a bounded piece of a file, once,
and never fails. Whatever is in there, it is only text.
"""

from __future__ import annotations

import os

LINES = 20
CHARACTERS = 400
"""Of one line; the rest of it is left out."""
WINDOW = 16 * 1024
"""Bytes at the end of a file that are read at most."""


def last_words(*paths: str) -> list[str]:
    """The last lines of the first of `paths` that has any; [] when none can be read."""
    for path in paths:
        lines = _last_lines(path) if path else []
        if lines:
            return lines
    return []


def _last_lines(path: str) -> list[str]:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return []
    try:
        size = os.fstat(fd).st_size
        data = os.pread(fd, WINDOW, max(size - WINDOW, 0))
    except OSError:
        return []
    finally:
        os.close(fd)
    lines = [_shown(line) for line in data.decode("utf-8", "replace").split("\n")]
    if size > WINDOW and len(lines) > 1:
        del lines[0]  # its beginning was not read
    return [line for line in lines if line][-LINES:]


def _shown(line: str) -> str:
    """What a terminal would show in the end of a line that was drawn over, as progress bars are."""
    parts = [part for part in line.split("\r") if part.strip()]
    return parts[-1].rstrip()[:CHARACTERS] if parts else ""
