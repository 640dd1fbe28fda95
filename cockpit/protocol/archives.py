"""The bytes of a working directory's archive, the same wherever they are made: headers, padding.

A plain GNU tar: entries sorted by the bytes of their names, no times, no owners, files and
symbolic links only, so that equal trees give equal digests anywhere. The controller packs with
it, and a node makes the archive again from the files that it has unpacked. Pure functions.
"""

from __future__ import annotations

import tarfile

END = bytes(2 * tarfile.BLOCKSIZE)
"""What comes after the last entry."""


def header(path: bytes, mode: int, size: int, link: bytes | None = None) -> bytes:
    """What comes before an entry's content. `path`: relative to the working directory; `mode`:
    permission bits of a file, 0o777 for a link; `link`: what a symbolic link points to."""
    info = tarfile.TarInfo(path.decode("utf-8", "surrogateescape"))
    info.mode = mode
    info.size = size
    if link is not None:
        info.type = tarfile.SYMTYPE
        info.linkname = link.decode("utf-8", "surrogateescape")
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")


def padding(size: int) -> bytes:
    """What comes after `size` bytes of content."""
    return bytes(-size % tarfile.BLOCKSIZE)
