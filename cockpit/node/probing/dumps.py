"""Reads the stacks of a Python process as faulthandler and py-spy write them.

Pure functions of text, called by `stacks`. faulthandler's format is that of CPython 3.9 to 3.14:
threads from newest to oldest with a blank line between them, names from 3.14 on, other than ASCII
escaped. What is not a thread or a frame ("Extension modules:", the C stack of 3.14, "  ..." for
what was left out) is stepped over. Sizes are bounded; text is not made harmless here.
"""

from __future__ import annotations

import json
import re

TYPE_CHECKING = False  # typing itself would be a tenth of an agent's start
if TYPE_CHECKING:
    from typing import Any

    Thread = dict[str, Any]
    """{name, main: bool, frames: [{file, line, function}]}, innermost frame first."""
    Frame = dict[str, Any]

MAX_THREADS = 64
MAX_FRAMES = 100
MAX_TEXT = 300
"""Characters of a file, function or thread name."""

MAIN = "MainThread"

_THREAD = re.compile(
    r"(Current thread|Thread) 0x[0-9a-f]+(?: \[(.*)\])? \(most recent call first\):"
)
_FRAME = re.compile(r'  File (?:"(.*)"|\?\?\?), line (\d+|\?\?\?) in (.*)')
_ESCAPE = re.compile(r"\\x([0-9a-f]{2})|\\u([0-9a-f]{4})|\\U([0-9a-f]{8})")
_OWN = re.compile(r"/cockpit/node/(?:\w+/)?\w+\.py$")
_RUNPY = re.compile(r"(?:^|/)runpy\.py$|^<frozen runpy>$")


def faulthandler(text: str) -> list[Thread]:
    """The threads of the newest dump in `text`, main thread first; [] when there is none.

    The main thread is the "current" one, which took the signal; failing that, the oldest.
    """
    found: list[Thread] = []
    frames: list[Frame] = []
    blank = True
    for line in text.split("\n"):
        header = _THREAD.fullmatch(line)
        if header is not None:
            # Inside a dump, threads have a blank line between them: without one, a dump begins.
            if not blank:
                found = []
            frames = []
            name = _unescape(header[2] or "")
            found.append({"name": name, "main": header[1] != "Thread", "frames": frames})
        elif found and (match := _FRAME.fullmatch(line)):
            number = int(match[2]) if match[2].isdigit() else 0
            frames.append(_frame(_unescape(match[1] or "???"), number, _unescape(match[3])))
        blank = not line
    if found and not any(thread["main"] for thread in found):
        found[-1]["main"] = True
    return _bounded(found)


def pyspy(data: bytes) -> list[Thread]:
    """The threads in what `py-spy dump --json` wrote, main thread first. Raises ValueError."""
    found = []
    try:
        for thread in json.loads(data):
            frames = [
                # Qualified from Python 3.11 on; faulthandler has the last part only.
                _frame(str(f["filename"]), int(f["line"]), str(f["name"]).rpartition(".")[2])
                for f in thread["frames"][:MAX_FRAMES]
            ]
            main = thread["os_thread_id"] == thread["pid"]
            found.append({"name": thread["thread_name"] or "", "main": main, "frames": frames})
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"py-spy wrote threads that cannot be read: {error!r}") from error
    return _bounded(found)


def _frame(file: str, line: int, function: str) -> Frame:
    return {"file": file[:MAX_TEXT], "line": line, "function": function[:MAX_TEXT]}


def _bounded(threads: list[Thread]) -> list[Thread]:
    threads.sort(key=lambda thread: not thread["main"])
    for thread in threads:
        name = MAIN if thread["main"] else thread["name"]
        thread["name"] = name[:MAX_TEXT]
        thread["frames"] = _users(thread["frames"])[:MAX_FRAMES]
    return threads[:MAX_THREADS]


def _users(frames: list[Frame]) -> list[Frame]:
    """`frames` without what started the user's script: our worker and runpy, outermost."""
    end = len(frames)
    while end and (_OWN.search(frames[end - 1]["file"]) or _RUNPY.search(frames[end - 1]["file"])):
        end -= 1
    return frames[:end] or frames


def _unescape(text: str) -> str:
    """faulthandler's ASCII as the name that it stands for."""

    def letter(match: re.Match[str]) -> str:
        number = int(match[1] or match[2] or match[3], 16)
        if 0xD800 <= number <= 0xDFFF or number > 0x10FFFF:
            return match[0]
        return chr(number)

    return _ESCAPE.sub(letter, text) if "\\" in text else text
