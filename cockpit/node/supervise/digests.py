"""The file `beats.jsonl`: digests of the beats over the whole attempt, below a fixed size.

Written by the supervisor, followed by agents like a journal. A full disk costs digests and
nothing else: nothing here raises, waits, or keeps what could not be written.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from typing import Any

from cockpit.node import durable, journal

LIMIT = 1024 * 1024
"""Bytes that the file never exceeds."""
_KEEP = 4
"""The newest one in so many digests is kept whole when the file is thinned."""
_FEW = 4
_MONO = re.compile(rb'"mono":([0-9.e+-]+)')


class Digests:
    """The one writer of the file at `path`; sequence numbers go on where another one stopped."""

    def __init__(self, path: str, limit: int = LIMIT) -> None:
        self._path = path
        self._limit = limit
        self._fd = -1
        self._seq = 0
        self._torn = False

    def write(self, generation: int, ranks: list[dict[str, Any]], mono: float) -> bool:
        """Add a digest of the state at `mono`; False when it is lost."""
        event = {
            "at": time.time() - (time.monotonic() - mono),
            "mono": mono,
            "kind": "beats",
            "generation": generation,
            "ranks": ranks,
        }
        try:
            self._add(event)
        except OSError:
            return False
        return True

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _add(self, event: dict[str, Any]) -> None:
        if self._fd < 0:
            self._open()
        line = json.dumps({"seq": self._seq, **event}, separators=(",", ":")).encode() + b"\n"
        data = b"\n" + line if self._torn else line
        size = os.lseek(self._fd, 0, os.SEEK_END)
        while size and size + len(data) > self._limit:
            size = self._thin()
        written = os.write(self._fd, data)
        self._torn = written < len(data)
        self._seq += 1

    def _open(self) -> None:
        last = journal.last(self._path)
        fd = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        size = os.lseek(fd, 0, os.SEEK_END)
        self._torn = size > 0 and os.pread(fd, 1, size - 1) != b"\n"
        self._seq = max(self._seq, last["seq"] + 1 if last is not None else 0)
        self._fd = fd

    def _thin(self) -> int:
        """Keep half of the older digests, evenly over time; returns the file's new size."""
        with open(self._path, "rb") as file:
            lines = [line for line in file.read().split(b"\n") if line.startswith(b"{")]
        kept = _thinned(lines)
        data = b"".join(line + b"\n" for line in kept)
        temporary = durable.temporary_name(self._path)
        fd = os.open(temporary, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _write_whole(fd, data)
            os.rename(temporary, self._path)
        except OSError:
            os.close(fd)
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        os.close(self._fd)
        self._fd, self._torn = fd, False
        return len(data)


def _thinned(lines: list[bytes]) -> list[bytes]:
    """Fewer of these digests: the newest as they are, the older ones spread over their time."""
    older, newest = lines[: -len(lines) // _KEEP], lines[-len(lines) // _KEEP :]
    if len(older) < _FEW:
        return lines[(len(lines) + 1) // 2 :]
    times = [_mono(line) for line in older]
    pause = (times[-1] - times[0]) * 2 / len(older)
    kept: list[bytes] = []
    due = times[0]
    for line, at in zip(older, times):
        if at >= due and len(kept) <= len(older) // 2:
            kept.append(line)
            due = max(due + pause, at)
    return kept + newest


def _mono(line: bytes) -> float:
    match = _MONO.search(line)
    return float(match.group(1)) if match is not None else 0.0


def _write_whole(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]
