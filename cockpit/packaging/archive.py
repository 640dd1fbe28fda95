"""A deterministic archive that is never held in memory: hashed once, read again when it is sent.

Called by `pack`, its `Package` by the executors. The format is a plain GNU tar: entries sorted by
the bytes of their names, no times, no owners, files and symbolic links only, so that equal trees
give equal digests anywhere. It writes nothing to disk and follows no link.
"""

from __future__ import annotations

import hashlib
import os
import stat
import zlib
from collections.abc import Callable, Iterator

import msgspec

from cockpit.errors import PackagingError
from cockpit.packaging.selection import shown
from cockpit.protocol import archives
from cockpit.protocol.records import CodeRef

CHUNK = 256 * 1024
"""Bytes of a file that are read at once, and about the size of what `chunks` yields."""

_END = archives.END
# A fifo opened for reading would wait for its writer; a link swapped in would lead elsewhere.
_OPEN_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A file or a symbolic link of the archive, as it was when it was hashed."""

    path: bytes
    """Relative to the working directory."""
    mode: int
    """Permission bits of a file; 0o777 for a link."""
    size: int
    """Bytes of content; 0 for a link."""
    link: bytes | None = None
    """What a symbolic link points to; None for a file."""
    checksum: int = 0
    """CRC-32 of the content: tells which file changed; the digest proves that none did."""


class Package(msgspec.Struct, frozen=True, kw_only=True):
    """A packed working directory."""

    root: bytes
    """The working directory, absolute."""
    entries: tuple[Entry, ...]
    """Sorted by path."""
    digest: str
    """sha256 of the archive, hex."""
    size: int
    """Bytes of the archive."""
    warnings: tuple[str, ...] = ()

    @property
    def files(self) -> int:
        """Files and symbolic links in the archive."""
        return len(self.entries)

    @property
    def code(self) -> CodeRef:
        """The package's name for nodes and records."""
        return CodeRef(self.digest, self.size, self.files)

    def largest(self, count: int) -> tuple[Entry, ...]:
        """The `count` largest files, largest first."""
        return largest(self.entries, count)

    def chunks(self) -> Iterator[bytes]:
        """The archive's bytes in order, files read as they are needed; any number of times.

        Blocks on disk: call it off the event loop. Raises PackagingError, naming the file, if one
        is no longer as it was when the package was made; what was yielded so far is void then.
        """
        total = hashlib.sha256()
        for entry in self.entries:
            header = _header(entry)
            total.update(header)
            yield header
            checksum = 0
            for chunk in _content(self.root, entry):
                total.update(chunk)
                checksum = zlib.crc32(chunk, checksum)
                yield chunk
            if checksum != entry.checksum:
                raise changed(entry.path)
            if padding := archives.padding(entry.size):
                total.update(padding)
                yield padding
        total.update(_END)
        if total.hexdigest() != self.digest:
            raise PackagingError(
                f"{shown(self.root)} changed after it was packed", "run the command again"
            )
        yield _END


def largest(entries: tuple[Entry, ...] | list[Entry], count: int) -> tuple[Entry, ...]:
    """The `count` largest of `entries`, largest first; equal ones by name."""
    return tuple(sorted(entries, key=lambda entry: (-entry.size, entry.path))[:count])


def changed(path: bytes) -> PackagingError:
    """The error for a file that did not hold still."""
    return PackagingError(
        f"{shown(path)} changed while it was being packed",
        "name files that are written to in .cockpitignore",
    )


def survey(
    root: bytes, paths: list[bytes], special: Callable[[bytes], None]
) -> tuple[list[Entry], list[Entry]]:
    """What `paths` are: (files, links), not read yet. Names that vanished are left out.

    `special` is told of each entry that is neither and cannot travel.
    """
    files: list[Entry] = []
    links: list[Entry] = []
    for path in paths:
        full = os.path.join(root, path)
        try:
            status = os.lstat(full)
            if stat.S_ISLNK(status.st_mode):
                links.append(Entry(path=path, mode=0o777, size=0, link=os.readlink(full)))
            elif stat.S_ISREG(status.st_mode):
                mode = stat.S_IMODE(status.st_mode) & 0o777
                files.append(Entry(path=path, mode=mode, size=status.st_size))
            else:
                special(path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise unreadable(path, error) from error
    return files, links


def seal(root: bytes, entries: list[Entry], warnings: tuple[str, ...]) -> Package:
    """Read and hash `entries`. Raises PackagingError for a file that is unreadable or changes."""
    digest = hashlib.sha256()
    size = 0
    sealed: list[Entry] = []
    for entry in sorted(entries, key=lambda entry: entry.path):
        header, padding = _header(entry), archives.padding(entry.size)
        digest.update(header)
        checksum = 0
        for chunk in _content(root, entry):
            digest.update(chunk)
            checksum = zlib.crc32(chunk, checksum)
        digest.update(padding)
        size += len(header) + entry.size + len(padding)
        sealed.append(msgspec.structs.replace(entry, checksum=checksum))
    digest.update(_END)
    return Package(
        root=root,
        entries=tuple(sealed),
        digest=digest.hexdigest(),
        size=size + len(_END),
        warnings=warnings,
    )


def unreadable(path: bytes, error: OSError) -> PackagingError:
    """The error for a file that cannot be read."""
    return PackagingError(
        f"cannot read {shown(path)} to pack it: {error.strerror or error}",
        "make it readable, or name it in .cockpitignore",
    )


def _header(entry: Entry) -> bytes:
    return archives.header(entry.path, entry.mode, entry.size, entry.link)


def _content(root: bytes, entry: Entry) -> Iterator[bytes]:
    """Exactly `entry.size` bytes of the file; what was appended since is not read."""
    if entry.link is not None:
        return
    try:
        descriptor = os.open(os.path.join(root, entry.path), _OPEN_FLAGS)
    except OSError as error:
        raise unreadable(entry.path, error) from error
    with open(descriptor, "rb", buffering=0) as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise changed(entry.path)
        left = entry.size
        while left:
            try:
                chunk = file.read(min(CHUNK, left))
            except OSError as error:
                raise unreadable(entry.path, error) from error
            if not chunk:
                raise changed(entry.path)
            left -= len(chunk)
            yield chunk
