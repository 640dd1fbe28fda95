"""Filters of lists: `text`, `two words`, `/regular expression/`, `!` before any of them inverts.

Pure. Text is found anywhere and without regard to case; of several words all must be there.
"""

from __future__ import annotations

import re


class Sift:
    """One filter. `error` says what is wrong with a regular expression, which then hides nothing;
    else it is ""."""

    def __init__(self, pattern: str = "") -> None:
        self.pattern = pattern.strip()
        self.error = ""
        self._inverse = self.pattern.startswith("!")
        text = self.pattern[1:].lstrip() if self._inverse else self.pattern
        self._words: list[str] = []
        self._expression: re.Pattern[str] | None = None
        if text.startswith("/"):
            expression = text[1:].removesuffix("/")
            try:
                self._expression = re.compile(expression, re.IGNORECASE) if expression else None
            except re.error as error:
                self.error = f"not a regular expression: {error}"
        else:
            self._words = text.casefold().split()

    def __bool__(self) -> bool:
        """Whether anything could be hidden by it."""
        return bool(self._words) or self._expression is not None

    def matches(self, text: str) -> bool:
        """Whether what this text describes is to be shown."""
        if not self:
            return True
        if self._expression is not None:
            found = self._expression.search(text) is not None
        else:
            folded = text.casefold()
            found = all(word in folded for word in self._words)
        return found is not self._inverse
