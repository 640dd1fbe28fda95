"""Dotted keys: `clusters."gpu.lab".user` as people write it, and the path of parts it stands for.

Used wherever a place in a configuration is named: problems, sources, edits. Pure functions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from cockpit.errors import UsageError

Path = tuple[str | int, ...]
"""Keys of tables and indexes of lists, from the top of a document."""

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_PART = re.compile(r"""[ \t]*(?:([A-Za-z0-9_-]+)|"((?:[^"\\]|\\.)*)"|'([^']*)')[ \t]*""")
_ESCAPE = re.compile(r"\\(u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|x[0-9A-Fa-f]{2}|.)")
_ESCAPED = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", "e": "\x1b"}
_CONTROL = re.compile(r'[\x00-\x1f\x7f"\\]')


def quote(part: str) -> str:
    """One part of a dotted key as TOML writes it: bare where that is possible."""
    if _BARE.fullmatch(part):
        return part
    return '"' + _CONTROL.sub(_escaped, part) + '"'


def dotted(path: Iterable[str | int]) -> str:
    """`("clusters", "a.b", "nodes", 2)` -> `clusters."a.b".nodes[2]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{quote(part)}" if text else quote(part)
    return text


def split(key: str) -> tuple[str, ...]:
    """The parts of a dotted key, quoted ones unquoted. Raises UsageError if it is none."""
    parts: list[str] = []
    at = 0
    while True:
        match = _PART.match(key, at)
        if match is None:
            break
        bare, basic, literal = match.groups()
        parts.append(bare if bare is not None else literal if basic is None else unescape(basic))
        at = match.end()
        if at == len(key):
            return tuple(parts)
        if key[at] != ".":
            break
        at += 1
    raise UsageError(
        f"{key!r} is no key of a configuration",
        'write it as in TOML: clusters.lab.user, or clusters."gpu.lab".user',
    )


def unescape(text: str) -> str:
    """What the inside of a TOML basic string (one line) stands for."""

    def character(match: re.Match[str]) -> str:
        code = match.group(1)
        if len(code) > 1:
            return chr(int(code[1:], 16))
        return _ESCAPED.get(code, code)

    return _ESCAPE.sub(character, text) if "\\" in text else text


def _escaped(match: re.Match[str]) -> str:
    character = match.group(0)
    return f"\\{character}" if character in '"\\' else f"\\u{ord(character):04X}"
