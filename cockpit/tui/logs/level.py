"""How bad a log line is, by what it says: errors, warnings, and the rest. Pure.

That a line was written to stderr says nothing: most loggers write everything there.
"""

from __future__ import annotations

import enum
import re

HEAD = 4096
"""Bytes of a line that are looked at."""


class Level(enum.IntEnum):
    """What a level filter lets through; each lets the ones above it through, too."""

    ALL = 0
    WARNING = 1
    ERROR = 2


# Python's logging, glog as PyTorch writes it ("[E1120 12:03:49.1 ProcessGroup…"), NCCL, JSON.
_ERROR = re.compile(
    rb"\b(?:ERROR|CRITICAL|FATAL)\b|Traceback \(most recent|[a-z](?:Error|Exception)\b"
    rb"|\b[Ee]rror: |\[[EF] |(?:^|[\s\[:])[EF]\d{4} \d\d:\d\d|Fatal Python error"
    rb"|Segmentation fault|CUDA error|level[\"']?\s?[=:]\s?[\"']?(?:error|critical|fatal)"
)
_WARNING = re.compile(
    rb"\bWARN(?:ING)?\b|\b[Ww]arning: |[a-z]Warning\b|\[W |(?:^|[\s\[:])W\d{4} \d\d:\d\d"
    rb"|level[\"']?\s?[=:]\s?[\"']?warn"
)
# One of these is in every line that the expression above it finds: what can be sought at once.
_ERROR_HINTS = (
    b"ERROR", b"CRITICAL", b"FATAL", b"Traceback", b"Error", b"Exception", b"error", b"[E ",
    b"[F ", b"Segmentation", b"level",
)  # fmt: skip
_WARNING_HINTS = (b"WARN", b"arning", b"[W ", b"level")
_HINTS = _ERROR_HINTS + _WARNING_HINTS
_GLOG = re.compile(rb"[EFW]\d{4} \d\d:\d\d")


def _hinted(data: bytes, hints: tuple[bytes, ...]) -> bool:
    for hint in hints:  # `any` takes twice as long, and every line comes by here
        if hint in data:
            return True
    return _GLOG.search(data) is not None


def level_of(data: bytes) -> Level:
    """The level of a line as it was written."""
    head = data[:HEAD]
    if not _hinted(head, _HINTS):
        return Level.ALL
    if _ERROR.search(head):
        return Level.ERROR
    return Level.WARNING if _WARNING.search(head) else Level.ALL


class LevelFinder:
    """Finds lines that are at least this bad."""

    def __init__(self, least: Level) -> None:
        self._least = least
        self._hints = _HINTS if least is Level.WARNING else _ERROR_HINTS

    def block(self, data: bytes) -> bool:
        return _hinted(data, self._hints)

    def line(self, data: bytes) -> bool:
        return level_of(data) >= self._least
