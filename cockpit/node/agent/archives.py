"""Unpacking of uploaded working directories: every name is hostile, nothing is followed.

Used by `codestore`, in a thread. Takes uncompressed tar files with regular files, folders and
symbolic links; anything else is refused, as is any name that would land outside the folder or
below a symbolic link.
"""

from __future__ import annotations

import os
import tarfile
from typing import NamedTuple

from cockpit.node.failures import RequestFailedError

_COPY = 1024 * 1024


class Unpacked(NamedTuple):
    """Regular files that were written, and their bytes together."""

    files: int
    bytes: int


def unpack(archive: str, folder: str) -> Unpacked:
    """Unpack the tar file `archive` into the new folder `folder`.

    Modes are kept (without set-id bits, always readable by the owner), owners and times are not.
    Raises RequestFailedError "bad_archive" or OSError; the folder may be half full then.
    """
    os.mkdir(folder, 0o700)
    unpacker = _Unpacker(folder)
    try:
        with tarfile.open(archive, mode="r:") as tar:
            for member in tar:
                unpacker.take(tar, member)
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise _bad(f"is damaged: {error}") from error
    unpacker.finish()
    return Unpacked(unpacker.files, unpacker.bytes)


def _bad(what: str) -> RequestFailedError:
    return RequestFailedError("bad_archive", f"the uploaded archive {what}")


class _Unpacker:
    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._folders: dict[str, int] = {"": 0o700}
        """Folders that exist, with the mode they get at last."""
        self.files = 0
        self.bytes = 0

    def take(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        name = self._safe(member.name)
        if name == "":
            if not member.isdir():
                raise _bad("has an entry without a name")
            return
        self._make_folder(os.path.dirname(name))
        path = f"{self._folder}/{name}"
        try:
            if member.isdir():
                self._make_folder(name)
                self._folders[name] = (member.mode & 0o777) | 0o700
            elif member.issym():
                os.symlink(member.linkname, path)
            elif member.isreg() and not member.issparse():
                self._write(tar, member, path)
            else:
                raise _bad(f"holds {member.name!r}, which is no file, folder or symbolic link")
        except FileExistsError as error:
            raise _bad(f"holds {member.name!r} twice") from error

    def finish(self) -> None:
        """Give folders their modes, inner ones first."""
        for name in sorted(self._folders, reverse=True):
            os.chmod(f"{self._folder}/{name}", self._folders[name])

    def _safe(self, name: str) -> str:
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if name.startswith("/") or ".." in parts or "\0" in name:
            raise _bad(f"holds {name!r}, which leads out of its folder")
        return "/".join(parts)

    def _make_folder(self, name: str) -> None:
        """Make `name` and its parents. What is there and no folder of ours is never entered."""
        if name in self._folders:
            return
        self._make_folder(os.path.dirname(name))
        try:
            os.mkdir(f"{self._folder}/{name}", 0o700)
        except FileExistsError as error:
            raise _bad(f"has entries below {name!r}, which is not a folder") from error
        self._folders[name] = 0o700

    def _write(self, tar: tarfile.TarFile, member: tarfile.TarInfo, path: str) -> None:
        source = tar.extractfile(member)
        assert source is not None
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(path, flags, 0o600)
        try:
            left = member.size
            while left:
                data = source.read(min(left, _COPY))
                if not data:
                    raise _bad(f"ends within {member.name!r}")
                left -= len(data)
                view = memoryview(data)
                while view:
                    view = view[os.write(fd, view) :]
            os.fchmod(fd, (member.mode & 0o777) | 0o400)
        finally:
            os.close(fd)
        self.files += 1
        self.bytes += member.size
