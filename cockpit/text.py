"""The one place where text from nodes is made harmless, before anything shows it.

Log lines, node and GPU names, user names, exception messages: all are hostile until they went
through `clean`. What comes out holds no control character, no escape sequence, no bidirectional
or zero-width formatting; it is safe on a terminal and inside JSON. Markup is the caller's
business: hand the result to widgets as Text or Content, never as a string with markup.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

MAX_LINE = 16 * 1024
"""Characters of a line that are shown; the rest is counted."""

# CSI, OSC (up to BEL or ST), DCS/SOS/PM/APC (up to ST), two-byte escapes, and their C1 forms.
_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
    r"|(?:\x1b\]|\x9d)[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|(?:\x1b[PX^_]|[\x90\x98\x9e\x9f])[^\x1b\x9c]*(?:\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]?"
)
_TAB = 8
_VERB = re.compile(r" (?:accepted|did|does|gave|has|is|takes|took)\b")


def _inert(character: str) -> str:
    category = unicodedata.category(character)
    if category in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"):
        return "\ufffd" if category in ("Cs", "Cn", "Co") else ""
    return character


def clean(text: str) -> str:
    """`text` as one printable line.

    Escape sequences and control characters go, tabs become spaces, and a carriage return keeps
    only what was written after the last one (as a terminal would show a progress bar).
    """
    if text.isprintable():
        return text
    text = _ESCAPES.sub("", text)
    if "\r" in text:
        text = text.rstrip("\r").rpartition("\r")[2]
    if "\t" in text:
        text = text.expandtabs(_TAB)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _inert(c) for c in text)


def clean_line(data: bytes, limit: int = MAX_LINE) -> str:
    """A log line's bytes (without its newline) as safe text, cut after `limit` characters.

    Invalid UTF-8 becomes U+FFFD. A cut line ends with "… (+N bytes)".
    """
    # Four bytes are the most that one character takes; the slice bounds the work on a huge line.
    bound = limit * 4
    if len(data) > bound and b"\r" in data:
        data = data.rstrip(b"\r").rpartition(b"\r")[2]
    text = clean(data[:bound].decode("utf-8", "replace"))
    if len(text) <= limit and len(data) <= bound:
        return text
    shown = text[:limit]
    rest = max(len(data) - len(shown.encode("utf-8", "replace")), 1)
    return f"{shown}… (+{rest} bytes)"


def after_name(name: str, message: str) -> str:
    """`message` for a place that has just named what it is about.

    "n1: refused" and "n1 (ada@n1): refused" become "refused", "n1 does not answer" becomes "it
    does not answer"; anything else stays as it is.
    """
    if not message.startswith(name):
        return message
    rest = re.sub(r"^ \([^)]*\)", "", message[len(name) :])
    if rest.startswith(": "):
        return rest[2:]
    return f"it{rest}" if _VERB.match(rest) else message


def count_of(number: int, thing: str) -> str:
    """ "1 node", "2 nodes"."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def ranges(numbers: Iterable[int]) -> str:
    """ "0-2, 4" """
    spans: list[list[int]] = []
    for number in sorted(set(numbers)):
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in spans)
