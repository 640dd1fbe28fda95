"""One line of an ignore file as a compiled pattern, byte for byte as git reads it.

Called by `ignore`. Git matches bytes, not characters, and knows POSIX classes, escapes inside
brackets and lines that can never match; general-purpose libraries differ from it in those, and a
pattern that means something else than to git ships a file that was meant to stay. Only a line's
own meaning lives here: which file it came from and which line wins is the caller's business.
"""

from __future__ import annotations

import dataclasses
import re
import string

_NEVER = re.compile(rb"(?!)")
_SLASH = ord("/")

_CLASSES = {
    b"alnum": string.ascii_letters + string.digits,
    b"alpha": string.ascii_letters,
    b"blank": " \t",
    b"cntrl": "".join(map(chr, (*range(32), 127))),
    b"digit": string.digits,
    b"graph": "".join(map(chr, range(33, 127))),
    b"lower": string.ascii_lowercase,
    b"print": "".join(map(chr, range(32, 127))),
    b"punct": string.punctuation,
    b"space": string.whitespace,
    b"upper": string.ascii_uppercase,
    b"xdigit": string.hexdigits,
}


@dataclasses.dataclass(frozen=True)
class Pattern:
    """What a line asks for. `negated`: it brings back what an earlier line excluded."""

    regex: re.Pattern[bytes]
    negated: bool
    directories_only: bool
    basename_only: bool

    def matches(self, path: bytes, *, is_dir: bool) -> bool:
        """Whether the line speaks of `path` itself (relative to the ignore file's folder, with
        "/" between its parts and none at its end). What lies below a match is not asked here."""
        if self.directories_only and not is_dir:
            return False
        if self.basename_only:
            path = path.rpartition(b"/")[2]
        return self.regex.fullmatch(path) is not None


def parse_line(line: bytes) -> Pattern | None:
    """The pattern of one line without its newline; None for comments and blank lines."""
    line = _without_trailing_spaces(line.partition(b"\0")[0])
    if not line or line.startswith(b"#"):
        return None
    negated = line.startswith(b"!")
    if negated:
        line = line[1:]
    directories_only = line.endswith(b"/")
    if directories_only:
        line = line[:-1]
    basename_only = b"/" not in line
    if line.startswith(b"/"):
        line = line[1:]
    return Pattern(_compile(line), negated, directories_only, basename_only)


def _without_trailing_spaces(line: bytes) -> bytes:
    end = i = 0
    while i < len(line):
        if line[i : i + 1] == b"\\":
            i += 1
            end = min(i + 1, len(line))
        elif line[i : i + 1] != b" ":
            end = i + 1
        i += 1
    return line[:end]


def _compile(glob: bytes) -> re.Pattern[bytes]:
    parts: list[bytes] = []
    i = 0
    while i < len(glob):
        char = glob[i : i + 1]
        if char == b"*":
            i = _stars(glob, i, parts)
        elif char == b"?":
            parts.append(b"[^/]")
            i += 1
        elif char == b"[":
            found = _bracket(glob, i)
            if found is None:
                return _NEVER
            members, i = found
            parts.append(_any_of(members))
        else:
            if char == b"\\":
                i += 1
                char = glob[i : i + 1]
                if not char:
                    return _NEVER
            parts.append(re.escape(char))
            i += 1
    return re.compile(b"".join(parts), re.DOTALL) if glob else _NEVER


def _stars(glob: bytes, start: int, parts: list[bytes]) -> int:
    """Translate the run of stars at `start`; returns the index after what was used."""
    end = start
    while glob[end : end + 1] == b"*":
        end += 1
    opens = start == 0 or glob[start - 1 : start] == b"/"
    if end - start >= 2 and opens:
        if end == len(glob):
            parts.append(b".*")
            return end
        if glob[end : end + 1] == b"/":
            parts.append(b"(?:.*/)?")
            return end + 1
    parts.append(b"[^/]*")
    return end


def _bracket(glob: bytes, start: int) -> tuple[set[int], int] | None:
    """The bytes that the bracket expression at `start` accepts, and the index after it.

    None if it is malformed: such a pattern matches nothing at all.
    """
    i = start + 1
    negated = glob[i : i + 1] in (b"!", b"^")
    if negated:
        i += 1
    members: set[int] = set()
    low = 0  # the byte that a following "-" would start a range from; 0 is none
    first = True
    while first or glob[i : i + 1] != b"]":
        first = False
        if i >= len(glob):
            return None
        char = glob[i]
        if char == ord("\\"):
            i += 1
            if i >= len(glob):
                return None
            char = low = glob[i]
            members.add(char)
        elif char == ord("-") and low and glob[i + 1 : i + 2] not in (b"", b"]"):
            i += 1
            if glob[i] == ord("\\"):
                i += 1
                if i >= len(glob):
                    return None
            members.update(range(low, glob[i] + 1))
            low = 0
        elif glob[i : i + 2] == b"[:":
            close = glob.find(b"]", i + 2)
            if close < 0:
                return None
            if close == i + 2 or glob[close - 1 : close] != b":":
                members.add(char)
                low = char
            else:
                named = _CLASSES.get(glob[i + 2 : close - 1])
                if named is None:
                    return None
                members.update(named.encode("ascii"))
                low = 0
                i = close
        else:
            members.add(char)
            low = char
        i += 1
    if negated:
        members = set(range(256)) - members
    return members - {_SLASH}, i + 1


def _any_of(members: set[int]) -> bytes:
    if not members:
        return b"(?!)"
    return b"[" + b"".join(b"\\x%02x" % byte for byte in sorted(members)) + b"]"
