"""When each part of a log was written: the time index beside every log file, and its size limit.

The supervisor calls `tick` about 20 times a second while logs grow. Ranks write their logs
themselves; this module only looks at how long the files are, so neither a dead supervisor nor a
full disk can touch training. Errors of the file system never leave `tick`; they are reported once.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping

from cockpit.node import linux
from cockpit.node.supervise import claims
from cockpit.protocol import layout
from cockpit.protocol.frames import INDEX_ENTRY

_INTERVAL = 0.05
_SLOWER_EVERY = 8 * 1024 * 1024
_RESCAN = 1.0
_SETTLED = 60.0
_ACTIVE = 0.25
_KEEP_AFTER_PUNCH = 0.75

Gap = Callable[[str, int, int], None]
"""Called with a log's path (relative to the attempt's folder) and the bytes [start, end)."""
Complain = Callable[[str], None]


class LogIndexer:
    """Indexes every `logs/**.out` and `.err` of an attempt, and keeps them below `limit` bytes.

    `limit` 0 is no limit. `gaps`: path -> end of the head that an earlier supervisor dropped.
    Logs of generations that have been followed by another are let go once they stop growing.
    """

    def __init__(
        self, attempt: str, limit: int, gaps: Mapping[str, int], on_gap: Gap, complain: Complain
    ) -> None:
        self._attempt = attempt
        self._limit = limit
        self._gaps = dict(gaps)
        self._on_gap = on_gap
        self._complain = complain
        self._logs: dict[str, _Log] = {}
        self._settled: dict[str, int] = {}
        self._scanned: dict[str, tuple[int, float]] = {}
        self._complaints: set[str] = set()
        self.active = True
        """Whether any log has grown just now, so that the next tick should come soon."""

    def tick(self, now: float) -> None:
        """Look at every log once. `now` is monotonic seconds."""
        with self._reporting():
            self._discover(layout.LOGS, now)
        self.active = False
        for path, log in list(self._logs.items()):
            with self._reporting():
                log.tick(now)
                if self._limit:
                    self._bound(path, log)
            self.active = self.active or now - log.grown < _ACTIVE
            if now - log.grown > _SETTLED and self._is_superseded(path):
                self._settled[path] = log.size
                self._gaps[path] = log.start
                log.close()
                del self._logs[path]

    def finish(self) -> None:
        """Index what was written last, and close every file."""
        with self._reporting():
            self._discover(layout.LOGS, math.inf)
        for log in self._logs.values():
            with self._reporting():
                log.tick(math.inf)
            log.close()
        self._logs.clear()

    def _discover(self, folder: str, now: float) -> None:
        absolute = os.path.join(self._attempt, folder)
        try:
            mtime = os.stat(absolute).st_mtime_ns
        except FileNotFoundError:
            return
        known, at = self._scanned.get(folder, (-1, 0.0))
        if mtime != known or now - at >= _RESCAN:
            self._scanned[folder] = (mtime, now)
            with os.scandir(absolute) as entries:
                for entry in entries:
                    path = f"{folder}/{entry.name}"
                    if entry.is_dir(follow_symlinks=False) and folder == layout.LOGS:
                        self._scanned.setdefault(path, (-1, 0.0))
                    elif _is_log(entry) and path not in self._logs:
                        with self._reporting():
                            self._open(path, entry, now)
        if folder == layout.LOGS:
            for generation in self._newest_generations():
                self._discover(generation, now)

    def _newest_generations(self) -> list[str]:
        """The last two: the one that runs, and the one whose end may still be written."""
        folders = [path for path in self._scanned if path != layout.LOGS]
        return sorted(folders, key=_generation)[-2:]

    def _open(self, path: str, entry: os.DirEntry[str], now: float) -> None:
        seen = self._settled.get(path)
        if seen is not None and entry.stat(follow_symlinks=False).st_size == seen:
            return
        log = _Log.open(os.path.join(self._attempt, path), self._limit > 0, now, seen)
        if log is not None:
            log.start = self._gaps.get(path, 0)
            self._logs[path] = log

    def _is_superseded(self, path: str) -> bool:
        folder = os.path.dirname(path)
        return folder != layout.LOGS and folder != self._newest_generations()[-1]

    def _bound(self, path: str, log: _Log) -> None:
        if log.size - log.start <= self._limit:
            return
        end = log.size - int(self._limit * _KEEP_AFTER_PUNCH)
        end -= end % linux.BLOCK
        if end <= log.start:
            return
        if log.punch(end):
            self._on_gap(path, log.start, end)
            log.start = end
        else:
            self._limit = 0
            self._tell("this file system cannot drop the head of a log; logs are kept whole")

    @contextlib.contextmanager
    def _reporting(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._tell(f"indexing a log failed: {error}")

    def _tell(self, complaint: str) -> None:
        if complaint not in self._complaints:
            self._complaints.add(complaint)
            self._complain(complaint)


class _Log:
    """One log file and its index. `start` is the end of its dropped head, `size` its length."""

    def __init__(self, fd: int, index: int, now: float) -> None:
        self._fd = fd
        self._index = index
        self._index_size = os.lseek(index, 0, os.SEEK_END)
        self._written = -1.0
        self.start = 0
        self.size = 0
        self.grown = now

    @classmethod
    def open(cls, path: str, writable: bool, now: float, seen: int | None) -> _Log | None:
        """None for what is no regular file. Raises OSError.

        `seen`: the length that is indexed already, None when an index, if any, must tell.
        """
        access = os.O_RDWR if writable else os.O_RDONLY
        # A rank may have put anything here; O_NONBLOCK keeps a FIFO from holding us.
        fd = os.open(path, access | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                os.close(fd)
                return None
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            index = os.open(path + layout.INDEX_SUFFIX, flags, 0o600)
        except OSError:
            os.close(fd)
            raise
        log = cls(fd, index, now)
        try:
            log._resume(seen)
        except OSError:
            log.close()
            raise
        return log

    def tick(self, now: float) -> None:
        """Add an entry when the log has grown. Raises OSError; the growth is then seen again."""
        # Unlike stat, a seek makes no network file system write its dirty pages back first.
        size = os.lseek(self._fd, 0, os.SEEK_END)
        if size == self.size:
            return
        if size < self.size:
            os.ftruncate(self._index, 0)
            self._index_size, self.size, self.start = 0, 0, 0
            if size == 0:
                return
        # The index of a log that never rests grows ever slower.
        if now - self._written < _INTERVAL * (1 + self._index_size // _SLOWER_EVERY):
            return
        self._add(self.size, time.time())
        self._written, self.size, self.grown = now, size, now

    def punch(self, end: int) -> bool:
        return linux.punch_hole(self._fd, self.start, end - self.start)

    def close(self) -> None:
        os.close(self._fd)
        os.close(self._index)

    def _add(self, offset: int, at: float) -> None:
        entry = INDEX_ENTRY.pack(offset, at)
        if os.write(self._index, entry) != len(entry):
            os.ftruncate(self._index, self._index_size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._index_size += len(entry)

    def _resume(self, seen: int | None) -> None:
        """Go on after the entries of an earlier supervisor, of which the last may be torn."""
        self._index_size -= self._index_size % INDEX_ENTRY.size
        os.ftruncate(self._index, self._index_size)
        if seen is not None:
            self.size = seen
        if seen is not None or self._index_size == 0:
            return
        position = self._index_size - INDEX_ENTRY.size
        offset, at = INDEX_ENTRY.unpack(os.pread(self._index, INDEX_ENTRY.size, position))
        status = os.fstat(self._fd)
        self.size = status.st_size
        # What was written while nobody watched has the time of the last write, as well as we
        # know; the last growth that was seen ended at an offset that is not recorded.
        if status.st_mtime > at + _INTERVAL and status.st_size > offset + 1:
            self._add(offset + 1, status.st_mtime)


def _is_log(entry: os.DirEntry[str]) -> bool:
    named = entry.name.endswith((".out", ".err")) and entry.name != claims.SUPERVISOR_ERR
    return named and entry.is_file(follow_symlinks=False)


def _generation(path: str) -> tuple[int, str]:
    name = os.path.basename(path)
    return (int(name) if name.isdecimal() else -1, name)
