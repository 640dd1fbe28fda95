"""A log on its way out of the screen: to the clipboard, to a file, to a pager. No widgets."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path

import platformdirs

from cockpit.model.logtypes import RawLine
from cockpit.text import clean_line
from cockpit.tui.draw.words import fine_clock_time
from cockpit.tui.logs.clipboard import saved_below
from cockpit.tui.logs.drawing import label_of
from cockpit.tui.logs.rows import MOST, LogRows

MOST_PAGED = 100_000
"""Lines that a pager gets."""


def as_text(lines: Sequence[RawLine]) -> str:
    """Lines as they are copied: with their streams where they are of several."""
    several = len({line.origin for line in lines}) > 1
    texts = [clean_line(line.data) for line in lines]
    if several:
        labels = [label_of(line.origin) for line in lines]
        width = max(map(len, labels))
        texts = [f"{label:{width}} {text}" for label, text in zip(labels, texts, strict=True)]
    return "\n".join(texts) + ("\n" if len(texts) > 1 else "")


def free_path(job_id: str) -> Path:
    """Where to save a job's log: a file that does not exist yet, in the folder of what is saved,
    which only this person can read. Raises OSError.

    It is not the current folder: that may be the code which the next run takes to the nodes.
    """
    stem = re.sub(r"[^\w.-]", "_", job_id).lstrip(".") or "log"
    folder = saved_below(platformdirs.user_state_path("cockpit"))
    path = folder / f"{stem}.log"
    number = 2
    while path.exists():
        path = folder / f"{stem}-{number}.log"
        number += 1
    return path


def written(path: Path) -> int:
    """Bytes that are in a file so far."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


async def write_shown(rows: LogRows, cursor: int, path: str) -> int:
    """Write the shown lines around the cursor to `path`; how many stand above the cursor's.

    They are clean text with time and stream: a pager is as easily fooled as a terminal.
    """
    before = rows.before(cursor, MOST_PAGED // 2)
    numbers = [*reversed(before), *rows.after(cursor, MOST_PAGED - len(before))]
    for start in range(0, len(numbers), MOST // 10):
        part = numbers[start : start + MOST // 10]
        found = rows.lines(part)
        shown = [found[number] for number in part if number in found]
        text = "".join(
            f"{fine_clock_time(line.at)} {label_of(line.origin)} | {clean_line(line.data)}\n"
            for line in shown
        )
        await asyncio.to_thread(_append, path, text)
    return len(before)


def _append(path: str, text: str) -> None:
    with open(path, "a", encoding="utf-8", errors="replace") as file:
        file.write(text)
