"""Values of secrets, hidden where a job's own words are shown, saved or told.

A `Mask` belongs to one job and is made by the controller, which knows the values. Whoever hands on
what a job wrote (log lines, events of journals, copies) passes it through; the files that the job
wrote stay as they are. A mask without values costs nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

SHORTEST = 6
"""Characters of a value that is hidden: shorter ones would hide half of any log."""
SHORTEST_PART = 16
"""The same of a part of a line: a key in a file, and seldom a word of it."""
SHOWN = "***"
_BETWEEN = re.compile(r"(?:\\[nrt]|[\s\"'=:,])+")
"""What parts the words of a netrc, an .env or a JSON key file, line breaks of JSON included."""
_WORDS = frozenset(
    ("argv", "command", "error", "evidence", "exception", "hint", "message", "note", "reason",
     "tail")
)  # fmt: skip
"""Fields of events that hold a job's own words; by the others, cockpit finds its way."""


class Mask:
    """Grows with the values that become known; whoever holds it hides them from then on."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._known: set[str] = set()
        self._text: re.Pattern[str] | None = None
        self._data: re.Pattern[bytes] | None = None
        self._longest = 0
        self.add(values)

    def add(self, values: Iterable[str]) -> None:
        """Hide these too. Of a value of several lines, each is hidden, and its long parts."""
        new = {part for value in values for part in _parts(value)} - self._known
        if not new:
            return
        self._known |= new
        # Longer ones first: one value may be the beginning of another.
        forms = sorted({form for line in self._known for form in _forms(line)}, key=len)[::-1]
        data = [form.encode("utf-8", "surrogateescape") for form in forms]
        self._longest = max(map(len, data))
        self._text = re.compile("|".join(map(re.escape, forms)))
        self._data = re.compile(b"|".join(map(re.escape, data)))

    @property
    def empty(self) -> bool:
        """Nothing is hidden."""
        return self._text is None

    def text(self, text: str) -> str:
        return text if self._text is None else self._text.sub(SHOWN, text)

    def data(self, data: bytes) -> bytes:
        """For one line; what comes in pieces goes through a `stream`."""
        return data if self._data is None else self._data.sub(SHOWN.encode(), data)

    def fields(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """An event of a journal with the job's own words masked, however deep they lie."""
        if self._text is None:
            return dict(fields)
        return {key: self._value(value, key in _WORDS) for key, value in fields.items()}

    def stream(self, *, same_size: bool = False) -> MaskedStream:
        """For data that comes in pieces; `same_size` keeps every byte at its offset."""
        return MaskedStream(self._data, self._longest, same_size=same_size)

    def _value(self, value: Any, words: bool) -> Any:
        if isinstance(value, str):
            return self.text(value) if words else value
        if isinstance(value, dict):
            return self.fields(value)
        if isinstance(value, list):
            return [self._value(item, words) for item in value]
        return value


class MaskedStream:
    """Hides values that lie across pieces, too: it holds back what may be a part of one."""

    def __init__(self, pattern: re.Pattern[bytes] | None, longest: int, *, same_size: bool) -> None:
        self._pattern = pattern
        self._longest = longest
        self._same_size = same_size
        self._held = b""

    def feed(self, piece: bytes) -> bytes:
        """What can be handed on now."""
        if self._pattern is None:
            return piece
        return self._hand_on(self._held + piece, self._longest - 1)

    def end(self) -> bytes:
        """The rest; nothing is held afterwards."""
        return self._hand_on(self._held, 0) if self._held else b""

    def _hand_on(self, data: bytes, hold: int) -> bytes:
        assert self._pattern is not None
        stop, position = max(len(data) - hold, 0), 0
        done = []
        for match in self._pattern.finditer(data):
            if match.start() >= stop:
                break
            done.append(data[position : match.start()])
            done.append(b"*" * len(match[0]) if self._same_size else SHOWN.encode())
            position = match.end()
        stop = max(stop, position)
        done.append(data[position:stop])
        self._held = data[stop:]
        return b"".join(done)


def _parts(value: str) -> set[str]:
    """What is hidden of a value: a job reads the key out of a file, and prints it alone."""
    lines = [line.strip() for line in value.splitlines()]
    parts = {line for line in lines if len(line) >= SHORTEST}
    if len(lines) > 1:
        parts |= {
            part for line in lines for part in _BETWEEN.split(line) if len(part) >= SHORTEST_PART
        }
    return parts


def _forms(value: str) -> set[str]:
    """A value as it is written, and as JSON writes it."""
    return {value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
