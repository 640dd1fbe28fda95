"""Appends log lines to files at a steady rate, each with the time at which it was written.

python benchmarks/writer.py LINES_PER_SECOND_AND_FILE SECONDS FILE...

Lines are spread evenly over time and files. A line is `MONOTONIC_SECONDS text`, 110 bytes long,
and is written by one write(2), as a rank's unbuffered print is.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence

LINE = 110
PACE = 0.001
"""Seconds between looks at the clock, where lines come faster than that."""


def line(number: int) -> bytes:
    """One line, stamped now."""
    head = b"%.6f step %09d loss 0.123456 " % (time.monotonic(), number)
    return head.ljust(LINE - 1, b"x") + b"\n"


def stamps(data: bytes) -> list[float]:
    """When the lines that begin and end in `data` were written; `data` begins with a line."""
    return [float(data[at : data.index(b" ", at)]) for at in range(0, len(data) - LINE + 1, LINE)]


def write(rate: float, seconds: float, paths: Sequence[str]) -> None:
    files = [os.open(path, os.O_WRONLY | os.O_APPEND) for path in paths]
    interval = 1.0 / (rate * len(files))
    begin = time.monotonic()
    number = 0
    while (now := time.monotonic()) - begin < seconds:
        while begin + number * interval <= now:
            os.write(files[number % len(files)], line(number))
            number += 1
        time.sleep(max(PACE, begin + number * interval - time.monotonic()))


if __name__ == "__main__":
    write(float(sys.argv[1]), float(sys.argv[2]), sys.argv[3:])
