"""The operation `follow`: one file, from an offset, for ever; byte-exact and within its credit.

Made by the agent's dispatcher, woken by `tails`, asked for chunks by the connection. Never reads
more than it may send, and never past a change of identity: a file that shrank or was replaced ends
the stream. What was dropped from the head of a log (its size limit) is stepped over.
"""

from __future__ import annotations

import errno
import os
import time

from cockpit.node.agent.connection import CHUNK
from cockpit.node.agent.files import end_of_hole, open_regular
from cockpit.node.agent.index import IndexReader
from cockpit.node.agent.streams import BulkStream, Services
from cockpit.node.agent.tails import Tails
from cockpit.node.arguments import Arguments
from cockpit.protocol import layout


class Follow(BulkStream):
    def __init__(self, services: Services, number: int, arguments: Arguments, tails: Tails) -> None:
        super().__init__(services, number)
        self._shown = arguments.text("path")
        self.path = services.node.resolve(self._shown)
        self._position = arguments.integer("offset")
        self._credit = arguments.integer("credit")
        indexed = arguments.boolean("index", False)
        self._index = IndexReader(self.path + layout.INDEX_SUFFIX) if indexed else None
        self._tails = tails
        self._fd = -1
        self._replaced = False

    @property
    def fd(self) -> int:
        """Descriptor of the followed file, -1 while it does not exist."""
        return self._fd

    @property
    def position(self) -> int:
        """Offset of the next byte to send."""
        return self._position

    def start(self) -> None:
        """Answer with what is there now, then send."""
        self._open()
        if self._fd < 0:
            self._position = max(self._position, 0)
            self.reply({"offset": self._position, "size": 0, "inode": 0})
        else:
            status = os.fstat(self._fd)
            if self._position < 0:
                self._position = max(0, status.st_size + self._position)
            self.reply({"offset": self._position, "size": status.st_size, "inode": status.st_ino})
        self._tails.add(self)
        self.wake()

    def wake(self) -> None:
        """There may be something to send."""
        self.services.connection.schedule(self)

    def credit(self, amount: int) -> None:
        self._credit += amount
        self.wake()

    def appeared(self) -> bool:
        """Try once more to open a file that was missing; True when it is open."""
        if self._fd < 0:
            self._open()
        return self._fd >= 0

    def changed(self) -> bool:
        """Whether there is anything to do; also notes that the path names another file now."""
        mine = os.fstat(self._fd)
        try:
            named = os.stat(self.path)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                return False  # a file server that hiccups replaces nothing
            self._replaced = True
        else:
            self._replaced = (named.st_ino, named.st_dev) != (mine.st_ino, mine.st_dev)
        return self._replaced or mine.st_size != self._position

    def send_chunk(self) -> bool:
        if self._fd < 0:
            return False
        status = os.fstat(self._fd)
        available = status.st_size - self._position
        if available < 0 or (available == 0 and self._replaced):
            self.end({"replaced": True})
            return False
        length = min(available, self._credit, CHUNK)
        if length <= 0:
            return False
        data = os.pread(self._fd, length, self._position)
        if not data:
            return False  # it shrank just now; the kernel tells
        after = end_of_hole(self._fd, self._position, data)
        if after > self._position:
            self._position = after
            return True
        end = self._position + len(data)
        if self._index is not None:
            entries = self._index.entries(self._position, end, min(status.st_mtime, time.time()))
            if entries:
                self.send_index(entries)
        self.send_data(self._position, data)
        self._position = end
        self._credit -= len(data)
        return self._credit > 0 and (end < status.st_size or self._replaced)

    def _open(self) -> None:
        try:
            self._fd = open_regular(self.path, self._shown)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                raise

    def release(self) -> None:
        self._tails.remove(self)
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        if self._index is not None:
            self._index.close()
