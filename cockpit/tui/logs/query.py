"""What is typed to filter or to find in a log, and the tests for lines that it makes. Pure.

Text is sought literally; where it has metacharacters other than brackets and compiles, or stands
between slashes, it is a regular expression. Without a capital it ignores case; `!` before it
inverts it. Lines are tested as they are shown, without escapes; plain lines, which is nearly all,
as the bytes they are.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence

from cockpit.model.logtypes import Finder
from cockpit.text import clean_line

# Brackets alone are no sign of an expression: "[rank0]", "loss (train)".
_META = re.compile(r"[\\^$.|?*+{}]")
_NESTED = re.compile(r"[+*}]\??\)[+*{]")
_NOT_PLAIN = re.compile(rb"[^\x20-\x7e\n]")
MAX_PATTERN = 1000
"""Characters of a pattern that count."""


class Query:
    """A pattern; satisfies `Finder`. `note`: "" or how it was taken."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.note = ""
        self.inverse = text.startswith("!") and len(text) > 1
        wanted = text[self.inverse :][:MAX_PATTERN]
        expression = self._expression(wanted)
        self._literal = not expression
        # "\S" is no capital.
        letters = wanted if self._literal else re.sub(r"\\.", "", wanted)
        self._flags = re.IGNORECASE if letters == letters.lower() else re.RegexFlag(0)
        self._needle = wanted.lower().encode() if self._flags else wanted.encode()
        expression = expression or re.escape(wanted)
        self._in_text = _compiled(expression, self._flags)
        self._in_bytes = _compiled_bytes(expression, self._flags)

    def _expression(self, wanted: str) -> str:
        """The regular expression that is meant, "" for plain text."""
        explicit = len(wanted) > 2 and wanted[0] == wanted[-1] == "/"
        expression = wanted[1:-1] if explicit else wanted
        if not explicit and not _META.search(wanted):
            return ""
        if _NESTED.search(expression):
            self.note = "repeats in repeats can take for ever: taken as plain text"
            return ""
        try:
            _compiled(expression, 0)
        except (re.error, OverflowError, RecursionError):
            self.note = "no regular expression: taken as plain text"
            return ""
        return expression

    def _in_plain(self, data: bytes) -> bool:
        """Whether it is in printable ASCII, the inversion aside."""
        if self._literal:
            return self._needle in (data.lower() if self._flags else data)
        assert self._in_bytes is not None
        return self._in_bytes.search(data) is not None

    def block(self, data: bytes) -> bool:
        if self.inverse or not self._literal or _NOT_PLAIN.search(data):
            # Something that is not shown may stand between the letters of what is sought.
            return True
        return self._in_plain(data)

    def line(self, data: bytes) -> bool:
        if self._in_bytes is not None and _NOT_PLAIN.search(data) is None:
            return self._in_plain(data) is not self.inverse
        return (self._in_text.search(clean_line(data)) is not None) is not self.inverse

    def spots(self, text: str) -> list[tuple[int, int]]:
        """Where it is in a line as it is shown, as pairs of start and end; at most 100."""
        if self.inverse:
            return []
        found = []
        for match in self._in_text.finditer(text):
            if match.end() > match.start():
                found.append(match.span())
                if len(found) == 100:
                    break
        return found


def _compiled(expression: str, flags: int) -> re.Pattern[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what a later Python may read differently
        return re.compile(expression, flags)


def _compiled_bytes(expression: str, flags: int) -> re.Pattern[bytes] | None:
    """The same for ASCII lines; None where it has no meaning in bytes."""
    if not expression.isascii():
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return re.compile(expression.encode(), flags)
    except re.error:
        return None


class Every:
    """Lines that pass all of some finders; without any, every line."""

    def __init__(self, finders: Sequence[Finder]) -> None:
        self._finders = finders

    def block(self, data: bytes) -> bool:
        return all(finder.block(data) for finder in self._finders)

    def line(self, data: bytes) -> bool:
        return all(finder.line(data) for finder in self._finders)
