"""A working directory as a content-addressed archive that the nodes unpack.

`pack` chooses the files, warns about what a person should know, and hashes them; the `Package` it
returns streams the archive to as many nodes as lack it. `stamp` tells whether it is worth packing
again. Called by the faces; it never writes to the working directory and runs no other program than
git.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
from collections.abc import Callable, Iterable
from pathlib import Path

import platformdirs

from cockpit.errors import PackagingError
from cockpit.packaging.archive import Entry, Package, largest, seal, survey
from cockpit.packaging.selection import select, shown
from cockpit.protocol.layout import DEFAULT_STATE_DIR

__all__ = ["LARGE", "Entry", "Package", "pack", "stamp"]

LARGE = 100_000_000
"""Bytes of files above which a package gets a warning."""

_NAMED = 3
"""How many files a warning names before it counts the rest."""


def pack(
    working_dir: Path,
    *,
    warn: Callable[[str], None] | None = None,
    exclude: Iterable[Path] = (),
) -> Package:
    """Pack what belongs to `working_dir`. Reads every file once: call it off the event loop.

    `warn` hears each warning when it is found, before the files are read; the package holds them
    too. `exclude` names further folders that never travel, such as a state folder or a log
    mirror of this cockpit that is kept in an unusual place. Raises PackagingError if there is
    nothing to pack, or something that cannot be read.
    """
    root = os.fsencode(os.path.realpath(working_dir))
    if not os.path.isdir(root):
        raise PackagingError(
            f"cannot pack {shown(root)}: it is not a folder", "give another --working-dir"
        )
    warnings: list[str] = []

    def tell(message: str) -> None:
        warnings.append(message)
        if warn is not None:
            warn(message)

    special: list[bytes] = []
    paths = select(root, skip=_own_folders(root, exclude), warn=tell)
    files, links = survey(root, paths, special.append)
    if not files and not links:
        raise PackagingError(
            f"cannot pack {shown(root)}: there is no file in it that is not ignored",
            "check --working-dir and the .gitignore and .cockpitignore files",
        )
    if special:
        tell(f"left out, neither file nor folder: {_names(special)}")
    if leading_out := [link.path for link in links if _leads_out(link)]:
        tell(
            f"symbolic links that lead out of {shown(root)} and may lead nowhere on a node: "
            + _names(leading_out)
        )
    total = sum(file.size for file in files)
    if total > LARGE:
        named = ", ".join(
            f"{shown(file.path)} ({_megabytes(file.size)})" for file in largest(files, _NAMED)
        )
        tell(
            f"packing {_megabytes(total)} from {shown(root)}; the largest files are {named}. "
            "Leave files out with .cockpitignore, or use --no-sync where the nodes share the "
            "folder"
        )
    return seal(root, files + links, tuple(warnings))


def stamp(working_dir: Path, *, exclude: Iterable[Path] = ()) -> str:
    """Changes when `pack` would find other files or files that were written to. Reads no file;
    call it off the event loop. Raises PackagingError as `pack`.
    """
    root = os.fsencode(os.path.realpath(working_dir))
    digest = hashlib.sha256(root)
    for path in select(root, skip=_own_folders(root, exclude), warn=_unheard):
        try:
            status = os.lstat(os.path.join(root, path))
        except OSError as error:
            digest.update(b"%s\0%d\0" % (path, error.errno or 0))
            continue
        seen = (status.st_mode, status.st_size, status.st_mtime_ns, status.st_ino)
        digest.update(b"%s\0%d %d %d %d\0" % (path, *seen))
    return digest.hexdigest()


def _unheard(message: str) -> None:
    """What `pack` will say anyway."""


def _own_folders(root: bytes, exclude: Iterable[Path]) -> frozenset[bytes]:
    """Where cockpit keeps its own things, as far as that lies below `root`, relative to it."""
    own: list[str | Path] = [
        os.path.expanduser(DEFAULT_STATE_DIR),
        platformdirs.user_cache_path("cockpit"),
        platformdirs.user_data_path("cockpit"),
        platformdirs.user_state_path("cockpit"),
        *exclude,
    ]
    inside = root.rstrip(b"/") + b"/"
    real = (os.fsencode(os.path.realpath(folder)) for folder in own)
    return frozenset(folder[len(inside) :] for folder in real if folder.startswith(inside))


def _leads_out(entry: Entry) -> bool:
    target = entry.link or b""
    end = posixpath.normpath(posixpath.join(posixpath.dirname(entry.path), target))
    return end.startswith((b"/", b"../")) or end == b".."


def _names(paths: list[bytes]) -> str:
    named = ", ".join(map(shown, sorted(paths)[:_NAMED]))
    rest = len(paths) - _NAMED
    return f"{named} and {rest} more" if rest > 0 else named


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
