"""The operations `read` and `list`, and the one way in which the agent opens files for reading.

Called by the agent's dispatcher and by `follow`. Never opens anything but regular files, so no pipe
or device can block it.
"""

from __future__ import annotations

import os
import stat

from cockpit.node.agent.connection import CHUNK
from cockpit.node.agent.streams import BulkStream, Services
from cockpit.node.arguments import Arguments
from cockpit.node.failures import RequestFailedError
from cockpit.node.linux import BLOCK
from cockpit.node.statedir import Node
from cockpit.protocol.frames import INITIAL_CREDIT

TYPE_CHECKING = False  # typing itself would be a tenth of an agent's start
if TYPE_CHECKING:
    from typing import Any

_OPEN_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


def open_regular(path: str, shown: str) -> int:
    """A descriptor of the regular file `path`. Raises OSError, or "bad_path" for anything else."""
    fd = os.open(path, _OPEN_FLAGS)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise RequestFailedError("bad_path", f"{shown!r} is not a regular file")
    return fd


def end_of_hole(fd: int, position: int, data: bytes) -> int:
    """Where `data`, read at `position`, goes on after what was dropped from the file's head.

    `position` itself where nothing was dropped: bytes that a program wrote are never taken for a
    hole, zeros included. To be asked after reading, as a hole may be punched meanwhile.
    """
    if b"\0" not in data:
        return position
    try:
        found = os.lseek(fd, position, os.SEEK_DATA)
    except OSError:
        return position  # nothing but zeros up to the end, or a file system that does not tell
    # A second look: what is dropped reads as zeros to the end of its block.
    block = os.pread(fd, BLOCK - position % BLOCK, position)
    return position if block.strip(b"\0") else found


class Read(BulkStream):
    """`length` bytes of a file from `offset`, or fewer where it ends, then END.

    Begins with INITIAL_CREDIT; a longer range needs CREDIT.
    """

    def __init__(self, services: Services, number: int, arguments: Arguments) -> None:
        super().__init__(services, number)
        shown = arguments.text("path")
        path = services.node.resolve(shown)
        self._position = arguments.integer("offset")
        self._left = arguments.integer("length")
        if self._position < 0:
            raise arguments.wrong("offset", "at least 0")
        self._credit = INITIAL_CREDIT
        self._fd = open_regular(path, shown)

    def start(self) -> None:
        self.reply({"size": os.fstat(self._fd).st_size})
        self.services.connection.schedule(self)

    def credit(self, amount: int) -> None:
        self._credit += amount
        self.services.connection.schedule(self)

    def send_chunk(self) -> bool:
        if self._left > 0 and self._credit <= 0:
            return False
        length = min(self._left, self._credit, CHUNK)
        data = os.pread(self._fd, max(0, length), self._position)
        if not data:
            self.end({})
            return False
        self.send_data(self._position, data)
        self._position += len(data)
        self._left -= len(data)
        self._credit -= len(data)
        return True

    def release(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def list_folder(node: Node, arguments: Arguments) -> dict[str, Any]:
    """The entries of a folder, by name; none if it does not exist. Raises OSError otherwise."""
    folder = node.resolve(arguments.text("path"))
    entries = []
    try:
        with os.scandir(folder) as found:
            for entry in found:
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                entries.append(
                    {
                        "name": entry.name,
                        "size": status.st_size,
                        "mtime": status.st_mtime,
                        "directory": stat.S_ISDIR(status.st_mode),
                    }
                )
    except FileNotFoundError:
        return {"entries": []}
    entries.sort(key=lambda entry: str(entry["name"]))
    return {"entries": entries}
