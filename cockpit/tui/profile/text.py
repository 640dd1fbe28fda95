"""Values of profiles as one line of text, and back. Pure.

In a form, a list is words as a shell splits them and a table is NAME=VALUE words; what does not
fit that, such as a table of nodes, is written as in TOML. In the list of effective values all is
written as in TOML. Whether a value makes sense is the profiles room's to say.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec.inspect as mi

from cockpit.profiles import looks_secret
from cockpit.profiles.keys import quote

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HIDDEN = "••••••"
"""What is shown for a value that looks like a secret."""

_BARE = re.compile(r"[^\s'\"\\\[{][^\s'\"\\]*")


def toml_text(value: object) -> str:
    """As TOML writes it on one line; values of variables that look secret are hidden."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, Mapping):
        pairs = [f"{quote(str(key))} = {toml_text(hidden(str(key), value[key]))}" for key in value]
        return "{ " + ", ".join(pairs) + " }" if pairs else "{}"
    if isinstance(value, Sequence):
        return "[" + ", ".join(toml_text(item) for item in value) + "]"
    return str(value)


def hidden(name: str, value: object) -> object:
    """The value of a variable as it may be shown."""
    return HIDDEN if isinstance(value, str) and value and looks_secret(name) else value


def field_text(value: object) -> str:
    """As it is typed into a form; "" for None."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping) and value:
        if all(isinstance(inner, (str, int, float)) for inner in value.values()):
            words = [f"{name}={_plain(hidden(name, inner))}" for name, inner in value.items()]
            return " ".join(_word(word) for word in words)
    elif isinstance(value, Sequence) and value and all(isinstance(item, str) for item in value):
        return " ".join(_word(item) for item in value)
    return toml_text(value)


def _plain(value: object) -> str:
    return value if isinstance(value, str) else toml_text(value)


def _word(text: str) -> str:
    return text if _BARE.fullmatch(text) else shlex.quote(text)


def field_value(text: str, expected: mi.Type, before: object = None) -> object:
    """What a text in a form stands for. `before` is the value that was there: what was hidden of
    it stays. Raises ValueError with words for people."""
    kinds = _kinds(expected)
    if mi.BoolType in kinds and text in ("true", "false"):
        return text == "true"
    if mi.VarTupleType in kinds:
        return _toml(text) if text.startswith("[") else _words(text)
    if mi.DictType in kinds:
        return _unhidden(_toml(text) if text.startswith("{") else _pairs(text, kinds), before)
    return _number(text) if kinds & {mi.IntType, mi.FloatType} else text


def choices(expected: mi.Type) -> tuple[str, ...]:
    """The words that a key may say, where they are few."""
    found: list[str] = []
    for member in _members(expected):
        if isinstance(member, mi.LiteralType):
            found += [str(value) for value in member.values]
        elif isinstance(member, mi.BoolType):
            found += ["true", "false"]
    return tuple(found)


def shape(expected: mi.Type) -> str:
    """How a value is typed, where that is not plain: for the help of a form."""
    kinds = _kinds(expected)
    if mi.DictType in kinds:
        return "NAME=VALUE words, or { NAME = … }"
    return "words, or [ … ]" if mi.VarTupleType in kinds else ""


def _members(expected: mi.Type) -> list[mi.Type]:
    while isinstance(expected, mi.Metadata):
        expected = expected.type
    if isinstance(expected, mi.UnionType):
        return [member for each in expected.types for member in _members(each)]
    return [expected]


def _kinds(expected: mi.Type) -> set[type]:
    """The kinds of values that a type takes; of a table, also those of its values."""
    members = _members(expected)
    kinds: set[type] = {type(member) for member in members}
    for member in members:
        if isinstance(member, mi.DictType):
            kinds |= _kinds(member.value_type)
    return kinds


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise ValueError(f"a quote has no end: {text!r}") from error


def _pairs(text: str, kinds: set[type]) -> dict[str, object]:
    pairs: dict[str, object] = {}
    for word in _words(text):
        name, equals, value = word.partition("=")
        if not equals:
            raise ValueError(f"{word!r} is not NAME=VALUE")
        pairs[name] = _number(value) if kinds & {mi.IntType, mi.FloatType} else value
    return pairs


def _number(text: str) -> object:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _toml(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}\n")["value"]
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"no valid TOML: {error}") from error


def _unhidden(value: object, before: object) -> object:
    if isinstance(value, dict) and isinstance(before, Mapping):
        return {
            name: before.get(name, inner) if inner == HIDDEN else inner
            for name, inner in value.items()
        }
    return value
