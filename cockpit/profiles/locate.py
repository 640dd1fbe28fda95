"""Where each key of a TOML text stands. The parser gives values without places; this gives places.

The reader of the configuration files calls `locate` after the text was parsed without error, so
the scanner needs to know where things begin and end, not whether they are valid. It never raises
on a valid text and never hangs on an invalid one.
"""

from __future__ import annotations

import bisect
import re
from typing import NamedTuple

from cockpit.profiles.keys import Path, unescape


class Place(NamedTuple):
    """Line and column of a key or a list's item, both from 1; columns count characters."""

    line: int
    column: int


class Block(NamedTuple):
    """A table's header and the pairs below it, from line `first` to line `last`, both from 1."""

    path: Path
    first: int
    last: int


_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_LITERAL = re.compile(r"'[^'\n]*'?")
_BASIC = re.compile(r'"(?:[^"\\\n]|\\.)*"?')
# A multi-line string ends with three quotes; up to two more belong to its text.
_LONG_LITERAL = re.compile(r"'''(?:.*?'''(?:'{0,2})|.*)", re.DOTALL)
_LONG_BASIC = re.compile(r'"""(?:(?:[^\\]|\\.)*?"""(?:"{0,2})|.*)', re.DOTALL)
_SCALAR = re.compile(r"[^,\]}\n#]*")


def locate(text: str) -> dict[Path, Place]:
    """Every table, key and list item of a TOML text -> where it is named first.

    A table with a header of its own has the place of that header, even if a sub-table's header
    named it before. Tables of an array and items of a list have their index as part of the path.
    """
    scanner = _Scanner(text)
    scanner.scan()
    return scanner.places


def blocks(text: str) -> list[Block]:
    """Every table with a header, in order. Comments and blank lines at its end do not count."""
    scanner = _Scanner(text)
    scanner.scan()
    return scanner.blocks


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._lines = [0, *(match.end() for match in re.finditer("\n", text))]
        self.places: dict[Path, Place] = {}
        self.blocks: list[Block] = []
        self._tables: dict[Path, int] = {}
        """Arrays of tables -> how many tables they have so far."""

    def scan(self) -> None:
        table: Path = ()
        self._skip(_BLANK)
        while self._at < len(self._text):
            start = self._at
            if self._text[start] == "[":
                table = self._header()
                line = self._place(start).line
                self.blocks.append(Block(table, line, line))
            else:
                self._pair(table)
                if self.blocks:
                    end = self._place(self._at).line
                    self.blocks[-1] = self.blocks[-1]._replace(last=end)
            if self._at == start:  # Not TOML: step over it rather than stand still.
                self._at += 1
            self._skip(_BLANK)

    def _header(self) -> Path:
        place = self._place(self._at)
        array = self._text.startswith("[[", self._at)
        self._at += 2 if array else 1
        parts = self._key()
        self._skip(_SPACE)
        self._at += 2 if array else 1
        path: Path = ()
        for part in parts[:-1]:
            path = self._newest((*path, part))
            self.places.setdefault(path, place)
        path = (*path, *parts[-1:])
        if array:
            index = self._tables.get(path, 0)
            self._tables[path] = index + 1
            self.places.setdefault(path, place)
            path = (*path, index)
        self.places[path] = place
        return path

    def _newest(self, path: Path) -> Path:
        """`path`, or the newest table in it if it is an array of tables."""
        count = self._tables.get(path)
        return path if count is None else (*path, count - 1)

    def _pair(self, table: Path) -> None:
        place = self._place(self._at)
        parts = self._key()
        for end in range(1, len(parts) + 1):
            self.places.setdefault((*table, *parts[:end]), place)
        self._skip(_SPACE)
        if self._text.startswith("=", self._at):
            self._at += 1
            self._skip(_SPACE)
            self._value((*table, *parts))

    def _key(self) -> tuple[str, ...]:
        parts: list[str] = []
        while True:
            self._skip(_SPACE)
            start = self._at
            if self._text.startswith('"', start):
                parts.append(unescape(self._skip(_BASIC)[1:-1]))
            elif self._text.startswith("'", start):
                parts.append(self._skip(_LITERAL)[1:-1])
            else:
                parts.append(self._skip(_BARE))
            self._skip(_SPACE)
            if self._at == start or not self._text.startswith(".", self._at):
                return tuple(parts)
            self._at += 1

    def _value(self, path: Path) -> None:
        following = self._text[self._at : self._at + 3]
        if following == '"""':
            self._skip(_LONG_BASIC)
        elif following == "'''":
            self._skip(_LONG_LITERAL)
        elif following[:1] == '"':
            self._skip(_BASIC)
        elif following[:1] == "'":
            self._skip(_LITERAL)
        elif following[:1] == "[":
            self._list(path)
        elif following[:1] == "{":
            self._inline_table(path)
        else:
            self._skip(_SCALAR)

    def _list(self, path: Path) -> None:
        index = 0
        while self._more("]"):
            item = (*path, index)
            self.places[item] = self._place(self._at)
            self._value(item)
            index += 1

    def _inline_table(self, path: Path) -> None:
        while self._more("}"):
            self._pair(path)

    def _more(self, end: str) -> bool:
        """Step over the bracket or comma here and to the next element; False behind the `end`.

        Every call moves on by a character at least, so that nothing loops for ever.
        """
        self._skip(_BLANK)
        if not self._text.startswith(end, self._at):
            self._at += 1
            self._skip(_BLANK)
        if self._text.startswith(end, self._at):
            self._at += 1
            return False
        return self._at < len(self._text)

    def _skip(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        if match is None:
            return ""
        self._at = match.end()
        return match.group()

    def _place(self, at: int) -> Place:
        line = bisect.bisect_right(self._lines, at)
        return Place(line, at - self._lines[line - 1] + 1)
