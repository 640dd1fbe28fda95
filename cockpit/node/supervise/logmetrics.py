"""A process that looks for figures in the logs of ranks: `loss = 'loss[=: ]+([0-9.]+)'`.

Started by the supervisor's `metricfeed` in an interpreter of its own, since a regular expression
may take for ever on an unlucky line. Reads orders from stdin and tells changes on stdout, one JSON
document a line; ends with its stdin, and with the supervisor. It only reads logs, at the lowest
priority, and only their newest part when they grow too fast: it is the last value that counts.

Orders: {"patterns": {name: regular expression}} first, then {"follow": n, "files": [[local rank,
absolute path]]} per generation. Answers: {"follow": n, "read": bytes, "values": [[local rank,
name, number]]} at each change and every SIGN seconds, {"refused": [name, why]}.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import select
import signal
import stat
import time
from typing import Any

from cockpit.node import linux

POLL = 0.25
"""Seconds between two looks at the logs, hence between two answers."""
SIGN = 2.0
"""Seconds between two signs of life."""
LINE = 64 * 1024
"""Bytes of a line that are searched."""

_CHUNK = 1024 * 1024
_BACKLOG = 4 * _CHUNK
_END = re.compile(rb"[\r\n]")
_NICE = 10


def main(argv: list[str]) -> None:
    """`argv`: the folder of the runtime, the supervisor's pid."""
    linux.die_with_parent(int(argv[1]))
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        os.nice(_NICE)
    Searcher(0, 1).run()


class Searcher:
    """`orders`, `answers`: descriptors."""

    def __init__(self, orders: int, answers: int) -> None:
        self._orders = orders
        self._answers = answers
        self._rest = b""
        self._patterns: list[tuple[str, re.Pattern[str]]] = []
        self._tails: list[Tail] = []
        self._number = -1
        self._told = 0.0

    def run(self) -> None:
        """Until the end of the orders; what was written until then is still searched."""
        due = 0.0
        open_ = True
        while open_:
            ready, _, _ = select.select([self._orders], [], [], max(due - time.monotonic(), 0.0))
            if ready:
                data = os.read(self._orders, 65536)
                open_ = bool(data)
                *lines, self._rest = (self._rest + data).split(b"\n")
                for line in lines:
                    self._obey(json.loads(line))
            if time.monotonic() >= due:
                self._look()
                due = time.monotonic() + POLL
        self._drain()

    def _obey(self, order: dict[str, Any]) -> None:
        for name, pattern in order.get("patterns", {}).items():
            try:
                compiled = re.compile(pattern)
            except (re.error, RecursionError, OverflowError) as error:
                self._say({"refused": [name, str(error)]})
                continue
            if compiled.groups:
                self._patterns.append((name, compiled))
            else:
                self._say({"refused": [name, "it has no group that would hold the number"]})
        if "follow" in order:
            self._drain()
            for tail in self._tails:
                tail.close()
            self._number = order["follow"]
            self._tails = [Tail(path, local_rank) for local_rank, path in order["files"]]

    def _drain(self) -> None:
        """What the logs end with: nobody looks at them again."""
        for _ in range(_BACKLOG // _CHUNK + 1):
            self._look()

    def _look(self) -> None:
        """Search what is new, and tell what it changes."""
        changes: dict[tuple[int, str], float] = {}
        for tail in self._tails:
            for name, value in last_values(tail.lines(), self._patterns).items():
                if not same(tail.values.get(name), value):
                    tail.values[name] = changes[tail.local_rank, name] = value
        if changes or time.monotonic() - self._told >= SIGN:
            self._told = time.monotonic()
            values = [[rank, name, value] for (rank, name), value in changes.items()]
            read = sum(tail.position for tail in self._tails)
            self._say({"follow": self._number, "read": read, "values": values})

    def _say(self, answer: dict[str, Any]) -> None:
        data = json.dumps(answer).encode() + b"\n"
        while data:
            data = data[os.write(self._answers, data) :]


def same(before: float | None, value: float) -> bool:
    """Whether a value is no news; NaN is equal to NaN here."""
    return before == value or (before is not None and math.isnan(before) and math.isnan(value))


def last_values(
    lines: list[bytes], patterns: list[tuple[str, re.Pattern[str]]]
) -> dict[str, float]:
    """The newest value of each pattern that is found at all, looking from the end."""
    found: dict[str, float] = {}
    waiting = list(patterns)
    for line in reversed(lines):
        if not waiting:
            break
        text = line.decode("utf-8", "replace")
        for item in list(waiting):
            name, pattern = item
            match = pattern.search(text)
            # Whatever looks like a number but is none is no hit.
            with contextlib.suppress(ValueError, TypeError):
                if match is not None:
                    found[name] = float(match.group(1))
                    waiting.remove(item)
    return found


class Tail:
    """The complete lines of one growing file; a `\\r` ends a line too, as progress bars use it."""

    def __init__(self, path: str, local_rank: int) -> None:
        self.local_rank = local_rank
        self.position = 0
        self.values: dict[str, float] = {}
        self._path = path
        self._fd = -1
        self._line = b""
        """The beginning of a line that is not complete."""

    def lines(self) -> list[bytes]:
        """What has been completed since the last call; [] for what cannot be read."""
        try:
            return self._lines()
        except OSError:
            return []

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _lines(self) -> list[bytes]:
        if self._fd < 0 and not self._open():
            return []
        size = os.lseek(self._fd, 0, os.SEEK_END)
        if size < self.position:
            self.position, self._line = 0, b""
        skipped = size - self.position > _BACKLOG
        if skipped:
            self.position, self._line = size - _CHUNK, b""
        data = os.pread(self._fd, min(size - self.position, _CHUNK), self.position)
        self.position += len(data)
        *lines, rest = _END.split(data)
        if not lines:
            self._line = (self._line + rest)[:LINE]
            return []
        first, self._line = self._line + lines[0], rest[:LINE]
        # The line into which a skip led has lost its beginning.
        found = lines[1:] if skipped else [first, *lines[1:]]
        return [line[:LINE] for line in found if line]

    def _open(self) -> bool:
        # A rank may have put anything here; O_NONBLOCK keeps a FIFO from holding us.
        fd = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            return False
        self._fd = fd
        return True
