"""Rules that recognise well-known failures by their words: pattern -> cause, hint.

The built-in ones are data, `rules.toml` beside this module; a user's own, `[rules.NAME]` of
cockpit.toml, come before them. `attempts` asks for the label of every cause that is shown. A label
explains; it never changes which rank is blamed.
"""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Iterable
from importlib import resources
from typing import Protocol

import msgspec

from cockpit.errors import UsageError
from cockpit.model import events as ev
from cockpit.model.types import Cause
from cockpit.profiles import patterns
from cockpit.text import clean

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MAX_LINES = 20
"""First lines of a message, and last lines of stderr, in which patterns are searched one by one,
as much of each as `patterns` says: no search may hold up the controller."""
MAX_LABEL = 200
MAX_HINT = 500
_GROUP = re.compile(r"\{(\d)\}")
_EMPTY = re.compile(r" ?\(\)| {2,}")
"""What a group that was not there leaves behind."""
_REMEMBERED = 1024
_NO_SPACE = "No space left on device"
"""What a full file system says where something is left to say it."""


class Pattern(Protocol):
    """What a rule of the user has, see `profiles.types.Rule`."""

    @property
    def name(self) -> str: ...
    @property
    def pattern(self) -> str: ...
    @property
    def cause(self) -> str: ...
    @property
    def hint(self) -> str: ...


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A built-in rule. `cause` and `hint` may hold {0}, what was found, and {1} …, its groups."""

    name: str
    pattern: str
    cause: str
    hint: str = ""
    vague: bool = False
    """It names what is seen and not why; an Xid of the node's GPUs says more."""


class Match(msgspec.Struct, frozen=True):
    """What a rule says of a failure."""

    label: str
    hint: str
    vague: bool = False


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    rules: tuple[Rule, ...]


@functools.cache
def builtin() -> tuple[Rule, ...]:
    """The rules of `rules.toml`, in order."""
    text = (resources.files("cockpit.model") / "rules.toml").read_text("utf-8")
    return msgspec.convert(tomllib.loads(text), _File).rules


class Rules:
    """The rules in force. Raises UsageError for a pattern that `patterns` refuses."""

    def __init__(self, user: Iterable[Pattern] = ()) -> None:
        self._user = [
            (_compiled(rule), Rule(name=rule.name, pattern=rule.pattern, cause=rule.cause,
                                   hint=rule.hint))
            for rule in user
        ]  # fmt: skip
        self.find = functools.lru_cache(_REMEMBERED)(self._find)
        """As `_find`; the same failures are asked for with every change of a job."""

    def _find(self, head: str, tail: tuple[str, ...]) -> Match | None:
        """The first rule for `head` (exception and message), or else for the lines `tail`.

        No pattern reaches over the end of a line.
        """
        texts = (_lines(head)[:MAX_LINES], _lines("\n".join(tail[-MAX_LINES:]))[-MAX_LINES:])
        for rules in (self._user, _compiled_builtin()):
            for lines in texts:
                for pattern, rule in rules:
                    found = next(filter(None, map(pattern.search, lines)), None)
                    if found is not None:
                        return Match(
                            _filled(rule.cause, found, MAX_LABEL),
                            _filled(rule.hint, found, MAX_HINT),
                            rule.vague,
                        )
        return None

    def explain(
        self, cause: Cause, xids: Iterable[ev.Xid] = (), *, no_space: bool = False
    ) -> Cause:
        """`cause` with label and hint. `xids`: what the GPUs of its node reported close to it.

        `no_space`: its node said that the file system of the attempt was full.
        """
        head = cause.message
        if cause.exception and cause.exception not in head:
            head = f"{cause.exception}: {head}"
        match = self.find(head, cause.tail)
        if match is None or match.vague:
            match = next((self._xid(xid) for xid in xids), None) or match
        if no_space and (match is None or match.vague):
            match = self.find(_NO_SPACE, ()) or match
        if match is None:
            return cause
        return msgspec.structs.replace(cause, label=match.label, hint=match.hint)

    def _xid(self, xid: ev.Xid) -> Match:
        found = self.find(f"Xid ({xid.gpu}): {xid.number}, {xid.message}", ())
        if found is None:
            return Match(f"GPU error Xid {xid.number}", "NVIDIA's list of Xids says what it means")
        return found


def _compiled(rule: Pattern) -> re.Pattern[str]:
    try:
        return patterns.check(rule.pattern)
    except UsageError as error:
        raise UsageError(f"rule {rule.name}: {rule.pattern!r}: {error}", error.hint) from error


@functools.cache
def _compiled_builtin() -> list[tuple[re.Pattern[str], Rule]]:
    return [(_compiled(rule), rule) for rule in builtin()]


def _lines(text: str) -> list[str]:
    return [line[: patterns.LINE] for line in text.split("\n") if line]


def _filled(text: str, found: re.Match[str], most: int) -> str:
    """`text` with its groups; a group that does not exist, or is empty, leaves nothing."""

    def group(place: re.Match[str]) -> str:
        number = int(place[1])
        value = found[number] if number <= found.re.groups else None
        return value or ""

    return clean(_EMPTY.sub(" ", _GROUP.sub(group, text)).strip()[:most])
