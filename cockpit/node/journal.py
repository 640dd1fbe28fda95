"""Append-only journals: one writer each, one `write(2)` per event, never in the way of training.

The supervisor writes `events.jsonl` with it, the instrumented launcher process `launcher.jsonl`;
agents read both. Writing never raises and never blocks on a full disk: what cannot be written
stays in memory, in order, and goes out with a later event or `flush`.
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import threading
import time
from typing import Any

from cockpit.node import durable, linux
from cockpit.protocol.events import Event

RESERVE = 64 * 1024
"""Bytes that the journals of an attempt set aside: the story of most attempts."""
_TAIL = 64 * 1024


class Journal:
    """The one writer of the journal at `path`. The file is opened by the first event.

    Sequence numbers go on where an earlier writer of the same file stopped; its torn last line
    is fenced off by a newline. May be used from several threads. `reserve`: bytes of disk set
    aside for it where the file system can do that, so that a full disk does not silence it.
    """

    def __init__(self, path: str, reserve: int = 0) -> None:
        self.path = path
        self._reserve = reserve
        self._fd = -1
        self._seq = 0
        self._unwritten: collections.deque[Event] = collections.deque()
        self._rest = b""
        self._lock = threading.Lock()
        self.full = False
        """Whether the newest write failed because the disk, or this user's share, has no room."""

    @property
    def pending(self) -> int:
        """Events that have not reached the file as a whole yet."""
        return len(self._unwritten) + (1 if self._rest else 0)

    def write(self, kind: str, **fields: Any) -> Event:
        """Add an event, stamped now. Returns it; `seq` is given when it reaches the file."""
        event: Event = {"at": time.time(), "mono": time.monotonic(), "kind": kind, **fields}
        with self._lock:
            self._unwritten.append(event)
            self._flush()
        return event

    def flush(self) -> bool:
        """Try again what could not be written. True when nothing is left."""
        with self._lock:
            return self._flush()

    def sync(self) -> None:
        """Flush, and ask the disk to keep it."""
        with self._lock:
            if self._flush() and self._fd >= 0:
                with contextlib.suppress(OSError):
                    os.fsync(self._fd)

    def close(self) -> None:
        with self._lock:
            self._flush()
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1

    def _flush(self) -> bool:
        try:
            if self._fd < 0:
                self._open()
            while self._rest or self._unwritten:
                if not self._rest:
                    event = self._unwritten[0]
                    line = json.dumps({"seq": self._seq, **event}, separators=(",", ":"))
                    self._rest = line.encode() + b"\n"
                    self._seq += 1
                    self._unwritten.popleft()
                # A disk that fills up in the middle of a line takes its rest when it can.
                self._rest = self._rest[os.write(self._fd, self._rest) :]
        except OSError as error:
            self.full = durable.is_full(error)
            return False
        self.full = False
        return True

    def _open(self) -> None:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        fd = os.open(self.path, flags, 0o600)
        try:
            size = os.lseek(fd, 0, os.SEEK_END)
            events = _parse(_read_range(fd, 0, size))
            torn = size > 0 and os.pread(fd, 1, size - 1) != b"\n"
            if self._reserve:
                linux.reserve(fd, self._reserve)
        except OSError:
            os.close(fd)
            raise
        self._fd = fd
        self._seq = max((event["seq"] for event in events), default=-1) + 1
        self._rest = b"\n" if torn else b""


def read(path: str) -> list[Event]:
    """Every whole event of a journal in order; a missing file is an empty journal.

    Torn, empty and unparsable lines are dropped. Raises OSError when the file cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return _parse(file.read())
    except FileNotFoundError:
        return []


def last(path: str) -> Event | None:
    """The newest whole event of a journal, or None; reads only the file's end if it can."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        size = os.lseek(fd, 0, os.SEEK_END)
        start = max(size - _TAIL, 0)
        events = _parse(_read_range(fd, start, size))
        if not events and start:
            events = _parse(_read_range(fd, 0, size))
    finally:
        os.close(fd)
    return events[-1] if events else None


def _read_range(fd: int, start: int, end: int) -> bytes:
    parts = []
    while start < end:
        part = os.pread(fd, end - start, start)
        if not part:
            break
        parts.append(part)
        start += len(part)
    return b"".join(parts)


def _parse(data: bytes) -> list[Event]:
    events = []
    for line in data.split(b"\n"):
        if not line.startswith(b"{"):
            continue
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event.get("seq"), int) and isinstance(event.get("kind"), str):
            events.append(event)
    return events
