"""What became of packed files since: whether a package that was shown can still be sent as it is.

A package reads its files when it is sent. One that has only grown, a log or an event file, still
begins with what was packed; one that was written anew does not.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from typing import NamedTuple

from cockpit.packaging import Entry, Package
from cockpit.text import clean

CHUNK = 1 << 18
"""Bytes that are read at once."""
NAMED = 3
"""How many files are named before the rest is counted."""


class Drift(NamedTuple):
    """`later`: files with something in them that the package lacks, new ones too. `lost`: files of
    the package whose packed content is not there any more."""

    later: tuple[str, ...]
    lost: tuple[str, ...]


def drift(shown: Package, now: Package) -> Drift:
    """Between a package and a later one of the same folder. Reads what differs, off the loop."""
    if shown.digest == now.digest:
        return Drift((), ())
    before = {entry.path: entry for entry in shown.entries}
    after = {entry.path: entry for entry in now.entries}
    later: list[str] = []
    lost: list[str] = []
    for path in sorted(before.keys() | after.keys()):
        old = before.get(path)
        if old == after.get(path):
            continue
        name = clean(os.fsdecode(path))
        (later if old is None or _still_there(shown.root, old) else lost).append(name)
    return Drift(tuple(later), tuple(lost))


def _still_there(root: bytes, entry: Entry) -> bool:
    """Whether the first bytes of the file are those that were packed. Links travel by name."""
    if entry.link is not None:
        return True
    checksum, left = 0, entry.size
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        with open(os.open(os.path.join(root, entry.path), flags), "rb", buffering=0) as file:
            while left and (chunk := file.read(min(CHUNK, left))):
                checksum = zlib.crc32(chunk, checksum)
                left -= len(chunk)
    except OSError:
        return False
    return not left and checksum == entry.checksum


def named(names: Sequence[str]) -> str:
    """ "a.log, b.log and 3 more"."""
    rest = len(names) - NAMED
    text = ", ".join(names[:NAMED])
    return f"{text} and {rest} more" if rest > 0 else text
