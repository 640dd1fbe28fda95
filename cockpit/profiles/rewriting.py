"""A TOML text with one key set or deleted, and everything else as it was. Pure text to text.

New keys and whole tables are placed by line, so that no comment changes its neighbour; a value
that is there already is replaced through tomlkit, which keeps its spacing and comments. `edit`
makes sure that the outcome says what was wanted.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from cockpit.profiles.checking import KEYS, SINGLES
from cockpit.profiles.keys import dotted, quote
from cockpit.profiles.locate import Block, blocks

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# tomlkit takes longer to import than all the rest of this room: only an edit pays for it.

_PROFILE = 2
"""Depth of a profile, `clusters.lab`: a table with a header. What lies deeper stands on one line
unless it has a header already."""
_ONCE = frozenset({*SINGLES, KEYS})
"""Tables without a name, which have their header one level higher."""

Parts = tuple[str, ...]


def with_value(text: str, parts: Parts, value: Any) -> str:
    """`text` with a key set. Raises ValueError if something above the key is no table."""
    data = tomllib.loads(text)
    there = _depth(data, parts)
    if there < len(parts):
        return _with_new(text, parts, there, value)
    present = _get(data, parts)
    if isinstance(present, Mapping) and isinstance(value, Mapping):
        for name, inner in value.items():
            text = with_value(text, (*parts, name), inner)
        for name in present:
            if name not in value:
                text = without(text, (*parts, name))
        return text
    return _with_replaced(text, parts, value)


def without(text: str, parts: Parts) -> str:
    """`text` less a key or a table. Raises KeyError if it has none of that name."""
    data = tomllib.loads(text)
    if _depth(data, parts) < len(parts):
        raise KeyError(dotted(parts))
    doomed = [block for block in blocks(text) if block.path[: len(parts)] == parts]
    if doomed:
        return _without_blocks(text, doomed)
    import tomlkit

    document = tomlkit.parse(text)
    table: Any = document
    for part in parts[:-1]:
        table = table[part]
    del table[parts[-1]]
    return tomlkit.dumps(document)


def _depth(data: Any, parts: Parts) -> int:
    """How many of the parts lead to something. Raises ValueError at something that is no table."""
    for depth, part in enumerate(parts):
        if not isinstance(data, Mapping):
            raise ValueError(f"{dotted(parts[:depth])} is no table")  # noqa: TRY004
        if part not in data:
            return depth
        data = data[part]
    return len(parts)


def _get(data: Any, parts: Parts) -> Any:
    for part in parts:
        data = data[part]
    return data


def _with_new(text: str, parts: Parts, there: int, value: Any) -> str:
    """Add a key of which only the first `there` parts exist."""
    lines = text.split("\n")
    depth = 1 if parts[0] in _ONCE else _PROFILE
    if there < depth <= len(parts):
        table = _nested(value, parts[depth:])
        if isinstance(table, Mapping):
            gap = [""] if any(line.strip() for line in lines) else []
            while lines and not lines[-1].strip():
                lines.pop()
            pairs = [_pair(name, inner) for name, inner in table.items()]
            return "\n".join([*lines, *gap, f"[{dotted(parts[:depth])}]", *pairs, ""])
    block = next((b for b in blocks(text) if b.path == parts[:there]), None)
    if block is not None:
        lines.insert(block.last, _pair(parts[there], _nested(value, parts[there + 1 :])))
        return "\n".join(lines)
    import tomlkit

    document = tomlkit.parse(text)
    _get(document, parts[:there])[parts[there]] = _item(_nested(value, parts[there + 1 :]))
    return tomlkit.dumps(document)


def _with_replaced(text: str, parts: Parts, value: Any) -> str:
    import tomlkit
    from tomlkit.items import Array

    document = tomlkit.parse(text)
    table: Any = _get(document, parts[:-1])
    present = table[parts[-1]]
    if isinstance(present, Array) and isinstance(value, Sequence) and not isinstance(value, str):
        _update_list(present, list(value))
    else:
        table[parts[-1]] = _item(value)
    return tomlkit.dumps(document)


def _without_blocks(text: str, doomed: Sequence[Block]) -> str:
    """Comments between tables stay, for they may be about others; of two blank lines one goes."""
    lines = text.split("\n")
    for block in reversed(doomed):
        here = block.first - 1
        del lines[here : block.last]
        if 0 < here < len(lines) and not lines[here - 1].strip() and not lines[here].strip():
            del lines[here]
    return "\n".join(lines)


def _update_list(array: Any, wanted: list[Any]) -> None:
    """Make `array` hold what is wanted, touching only items that differ: others keep comments."""
    old, new = [repr(item) for item in array.unwrap()], [repr(item) for item in wanted]
    steps = difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    for step, start, end, new_start, new_end in reversed(steps):
        if step == "equal":
            continue
        common = min(end - start, new_end - new_start)
        for offset in range(common):
            array[start + offset] = _item(wanted[new_start + offset])
        for index in reversed(range(start + common, end)):
            del array[index]
        for offset in range(common, new_end - new_start):
            array.insert(start + offset, _item(wanted[new_start + offset]))


def _nested(value: Any, parts: Parts) -> Any:
    for part in reversed(parts):
        value = {part: value}
    return value


def _pair(key: str, value: Any) -> str:
    return f"{quote(key)} = {_item(value).as_string()}"


def _item(value: Any) -> Any:
    """A value as tomlkit writes it on one line."""
    import tomlkit

    if isinstance(value, Mapping):
        table = tomlkit.inline_table()
        for name, inner in value.items():
            table[name] = _item(inner)
        return table
    if isinstance(value, (list, tuple)):
        array = tomlkit.array()
        for inner in value:
            array.append(_item(inner))
        return array
    return tomlkit.item(value)
