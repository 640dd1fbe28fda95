"""Code on its way back: the archive of a working directory, made again from the code store.

Serves `get_code`, for a node that shall run a job whose code only other nodes still hold. Files of
the store never change, so what is sent has the digest that was asked for; the controller checks.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Generator, Iterator

from cockpit.node.agent.connection import CHUNK
from cockpit.node.agent.files import open_regular
from cockpit.node.agent.streams import BulkStream, Services
from cockpit.node.arguments import Arguments
from cockpit.node.failures import RequestFailedError
from cockpit.protocol import archives, layout
from cockpit.protocol.frames import INITIAL_CREDIT


class GetCode(BulkStream):
    """REPLY, then DATA … END. Begins with INITIAL_CREDIT; more than that needs CREDIT."""

    def __init__(self, services: Services, number: int, arguments: Arguments) -> None:
        super().__init__(services, number)
        digest = arguments.digest()
        folder = f"{services.node.state_dir}/{layout.code_dir(digest)}"
        if not os.path.isdir(folder):
            raise RequestFailedError(
                "not_found", f"the code {digest[:12]} is not on {services.node.host}"
            )
        self._chunks = _archive(folder)
        self._rest = memoryview(b"")
        self._credit = INITIAL_CREDIT

    def start(self) -> None:
        self.reply({})
        self.services.connection.schedule(self)

    def credit(self, amount: int) -> None:
        self._credit += amount
        self.services.connection.schedule(self)

    def send_chunk(self) -> bool:
        if self._credit <= 0:
            return False
        if not self._rest:
            self._rest = memoryview(next(self._chunks, b""))
            if not self._rest:
                self.end({})
                return False
        part = self._rest[: min(self._credit, CHUNK)]
        self._rest = self._rest[len(part) :]
        self._credit -= len(part)
        self.send_data(0, bytes(part))
        return True

    def release(self) -> None:
        self._chunks.close()


def _archive(folder: str) -> Generator[bytes, None, None]:
    """The archive's bytes. Raises OSError."""
    root = os.fsencode(folder)
    pending = b""
    for path in sorted(_paths(root)):
        full = os.path.join(root, path)
        status = os.lstat(full)
        if stat.S_ISLNK(status.st_mode):
            pending += archives.header(path, 0o777, 0, os.readlink(full))
        else:
            pending += archives.header(path, stat.S_IMODE(status.st_mode), status.st_size)
            for data in _content(full, status.st_size):
                yield pending + data
                pending = b""
            pending += archives.padding(status.st_size)
        if len(pending) >= CHUNK:
            yield pending
            pending = b""
    yield pending + archives.END


def _paths(root: bytes) -> Iterator[bytes]:
    """Files and links below `root`, relative to it."""
    for folder, folders, files in os.walk(root):
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        for name in (*files, *links):
            yield os.path.relpath(os.path.join(folder, name), root)


def _content(path: bytes, size: int) -> Iterator[bytes]:
    fd = open_regular(os.fsdecode(path), os.fsdecode(path))
    try:
        position = 0
        while position < size:
            data = os.pread(fd, min(CHUNK, size - position), position)
            if not data:
                raise RequestFailedError("not_found", "the code changed while it was read")
            yield data
            position += len(data)
    finally:
        os.close(fd)
