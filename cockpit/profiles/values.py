"""Is a TOML value what a field's type asks for? The generic half of the check of a file.

`check` walks the types of `types.py` (through msgspec's inspection) beside the parsed values,
reports every mismatch to the document, and goes on; it knows nothing of any single field.
"""

from __future__ import annotations

import datetime
import enum
import re
from typing import Any, Final

import msgspec.inspect as mi

from cockpit.profiles.document import Document
from cockpit.profiles.keys import Path, dotted


class Invalid(enum.Enum):
    """Stands for a value that was reported as wrong, so that nothing else is said about it."""

    INVALID = enum.auto()


INVALID: Final = Invalid.INVALID


def check(expected: mi.Type, value: Any, path: Path, document: Document) -> Any:
    """`value` as the type wants it (lists as tuples), or INVALID after reporting what is wrong.

    In a table of values, only the wrong entries become INVALID.
    """
    words, expected = _unwrap(expected)
    member = _member(expected, value)
    if isinstance(member, mi.VarTupleType):
        if member.min_length and len(value) < member.min_length:
            document.report(path, f"{dotted(path)} is an empty list")
            return INVALID
        items = [
            check(member.item_type, item, (*path, i), document) for i, item in enumerate(value)
        ]
        return INVALID if INVALID in items else tuple(items)
    if isinstance(member, mi.DictType):
        return {
            key: check(member.value_type, item, (*path, key), document)
            for key, item in value.items()
        }
    if member is None or not _within(member, value):
        document.report(
            path,
            f"{dotted(path)} must be {words or describe(expected)}, not {found(value)}",
            _hint(expected, value),
        )
        return INVALID
    return float(value) if isinstance(member, mi.FloatType) else value


def describe(expected: mi.Type) -> str:
    """What belongs there, in words: "a whole number from 1 to 65535"."""
    words, expected = _unwrap(expected)
    if words:
        return words
    if isinstance(expected, mi.UnionType):
        members = [t for t in expected.types if not isinstance(t, mi.NoneType)]
        return " or ".join(describe(member) for member in members)
    if isinstance(expected, mi.LiteralType):
        return "one of " + ", ".join(f'"{value}"' for value in sorted(map(str, expected.values)))
    if isinstance(expected, mi.BoolType):
        return "true or false"
    if isinstance(expected, mi.IntType):
        return "a whole number" + _limits(expected)
    if isinstance(expected, mi.FloatType):
        return "a number" + _limits(expected)
    if isinstance(expected, mi.VarTupleType):
        item = _unwrap(expected.item_type)[1]
        return "a list of strings" if isinstance(item, mi.StrType) else "a list"
    if isinstance(expected, mi.DictType):
        item = _unwrap(expected.value_type)[1]
        kinds = {mi.StrType: " of strings", mi.IntType: " of whole numbers"}
        return "a table" + kinds.get(type(item), "")
    return "a string"


def found(value: Any) -> str:
    """What stands there, in words; a string's text only where it is short and one word."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        text = repr(value)
        return text if len(text) < 30 else "a huge number"
    if isinstance(value, str):
        if not value:
            return "an empty string"
        if "\0" in value:
            return "text with NUL"
        if not value.isprintable():
            return "text with control characters"
        return f'the string "{value}"' if len(value) <= 30 else "a longer string"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, (datetime.date, datetime.time)):
        return "a date or time"
    return type(value).__name__


def _unwrap(expected: mi.Type) -> tuple[str, mi.Type]:
    """The words that the type brings with it, if any, and the type without annotations."""
    words = ""
    while isinstance(expected, mi.Metadata):
        words = words or str((expected.extra or {}).get("expected", ""))
        expected = expected.type
    return words, expected


def _member(expected: mi.Type, value: Any) -> mi.Type | None:
    """The alternative of a type that this kind of value belongs to; None if there is none."""
    if isinstance(expected, mi.UnionType):
        members = (_member(_unwrap(t)[1], value) for t in expected.types)
        return next((member for member in members if member is not None), None)
    if isinstance(value, bool):
        fits = isinstance(expected, mi.BoolType)
    elif isinstance(value, int):
        fits = isinstance(expected, (mi.IntType, mi.FloatType))
    elif isinstance(value, float):
        fits = isinstance(expected, mi.FloatType)
    elif isinstance(value, str):
        fits = isinstance(expected, (mi.StrType, mi.LiteralType))
    elif isinstance(value, list):
        fits = isinstance(expected, mi.VarTupleType)
    else:
        fits = isinstance(value, dict) and isinstance(expected, mi.DictType)
    return expected if fits else None


def _within(member: mi.Type, value: Any) -> bool:
    """Whether a value of the right kind keeps the type's limits."""
    if isinstance(member, (mi.IntType, mi.FloatType)):
        return (
            abs(value) < 2**63  # Neither inf nor nan is.
            and (member.ge is None or value >= member.ge)
            and (member.gt is None or value > member.gt)
            and (member.le is None or value <= member.le)
        )
    if isinstance(member, mi.LiteralType):
        return value in member.values
    if isinstance(member, mi.StrType):
        # fullmatch: in Python, `$` also matches before a newline at the end.
        pattern = (member.pattern or "").removeprefix("^").removesuffix("$")
        return len(value) >= (member.min_length or 0) and (
            not pattern or re.fullmatch(pattern, value) is not None
        )
    return True


def _limits(number: mi.IntType | mi.FloatType) -> str:
    if number.ge is not None and number.le is not None:
        return f" from {number.ge} to {number.le}"
    if number.ge is not None:
        return f", {number.ge} or more"
    return f" above {number.gt}" if number.gt is not None else ""


def _hint(expected: mi.Type, value: Any) -> str:
    if isinstance(expected, mi.UnionType):
        members = [t for t in expected.types if not isinstance(t, mi.NoneType)]
        return _hint(_unwrap(members[0])[1], value) if len(members) == 1 else ""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if isinstance(expected, mi.StrType) and (number or isinstance(value, bool)):
        text = str(value).lower() if isinstance(value, bool) else str(value)
        return f'in quotes: "{text}"'
    if isinstance(expected, (mi.IntType, mi.FloatType)) and isinstance(value, str):
        return "without quotes"
    if isinstance(expected, mi.BoolType) and isinstance(value, str):
        return "true or false, without quotes"
    if isinstance(expected, mi.DictType):
        return "written { NAME = … }"
    return ""
