"""Xids that the NVIDIA driver writes to the kernel log: errors of a GPU, told by number.

Read by the supervisor once a second, and by the GPU source for what happened before it looked.
Needs the right to read /dev/kmsg; without it there is nothing to tell, and nothing fails.
"""

from __future__ import annotations

import os
import re
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypedDict

    class Xid(TypedDict):
        """`gpu` is its PCI address, as the driver writes it: "0000:3b:00"."""

        gpu: str
        number: int
        message: str


KERNEL_LOG = "/dev/kmsg"
MAX_MESSAGE = 300
_RECORD = 8192
"""The kernel refuses to give a record to a reader with less room (EINVAL)."""
_MOST = 4096
"""Records of one look; what is beyond comes with the next."""
_XID = re.compile(r"NVRM: Xid \((?:PCI:)?([0-9a-fA-F:.]+)\): (\d{1,6}),? ?(.*)")


class XidWatch:
    """What is written from now on; with `history`, also what the log still holds."""

    def __init__(self, path: str = KERNEL_LOG, *, history: bool = False) -> None:
        self._fd = -1
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            os.lseek(self._fd, 0, os.SEEK_SET if history else os.SEEK_END)
        except OSError:
            self.close()

    def poll(self) -> list[Xid]:
        """New ones, oldest first. Never raises, never blocks."""
        return [xid for _, xid in self.logged()]

    def logged(self) -> list[tuple[float, Xid]]:
        """As `poll`, each with its wall-clock time in seconds."""
        found: list[tuple[float, Xid]] = []
        booted = time.time() - time.clock_gettime(time.CLOCK_MONOTONIC)
        for _ in range(_MOST if self._fd >= 0 else 0):
            try:
                data = os.read(self._fd, _RECORD)
            except BrokenPipeError:
                continue  # what was next has been overwritten; the kernel goes on behind it
            except OSError:
                break
            if not data:
                break
            for record in data.decode("utf-8", "replace").split("\n"):
                read = _parse(record, booted)
                if read is not None:
                    found.append(read)
        return found

    def close(self) -> None:
        """Give the descriptor back; `poll` finds nothing from then on."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1


def _parse(record: str, booted: float) -> tuple[float, Xid] | None:
    """A record is "level,sequence,microseconds since boot,flags;text"."""
    head, _, text = record.partition(";")
    match = _XID.search(text)
    if match is None:
        return None
    fields = head.split(",")
    age = int(fields[2]) / 1e6 if len(fields) > 2 and fields[2].isdigit() else 0.0
    gpu, number, rest = match.groups()
    message = rest.strip()[:MAX_MESSAGE]
    return booted + age, {"gpu": gpu, "number": int(number), "message": message}
