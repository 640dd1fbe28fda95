"""A form for one profile, without its widgets: its fields, what they mean, what would be written.

A form is about what ONE file says: its texts are what stands there, its placeholders what is in
force otherwise. Only keys whose text was changed are written, so everything else of the file stays.
Pure; `formdialog` shows it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import msgspec.inspect as mi

from cockpit.errors import Problem
from cockpit.profiles import check_values, descriptions, key_of
from cockpit.profiles.checking import KEYS, SECTIONS, SINGLES, fields
from cockpit.profiles.keys import dotted
from cockpit.profiles.values import describe
from cockpit.profiles.written import Written
from cockpit.text import clean
from cockpit.tui import keymap
from cockpit.tui.actions.base import Action
from cockpit.tui.profile.desk import FileChoice, Key, ProfileDesk
from cockpit.tui.profile.rows import SINGULAR, plain
from cockpit.tui.profile.text import choices, field_text, field_value, shape

_EMPTY: tuple[object, ...] = (None, msgspec.NODEFAULT, "", (), {})
UNBOUND = "none"
"""What is typed to leave an action without a key."""
LATE = "In force at the next start."
"""Of what the screen reads when it begins: `[screen]`, `[notify]` and `[keys]`."""
_KEYS_TYPE = mi.VarTupleType(item_type=mi.StrType())


class Field(NamedTuple):
    """A line of a form. `placeholder`: what is in force while nothing is typed."""

    key: str
    doc: str
    expected: mi.Type
    placeholder: str = ""
    offers: tuple[str, ...] = ()


class Change(NamedTuple):
    """What would be written, and what is wrong with it by field; the name is "name"."""

    values: dict[Key, object]
    removed: list[Key]
    errors: dict[str, str]

    @property
    def nothing(self) -> bool:
        return not self.values and not self.removed


@dataclasses.dataclass(frozen=True)
class Form:
    """`name` is "" for a new profile, and for tables that have none. `copied`: texts to begin
    with, of a profile that is duplicated."""

    title: str
    section: str
    name: str
    new: bool
    fields: tuple[Field, ...]
    written: tuple[Written, ...]
    files: tuple[FileChoice, ...]
    here: str = ""
    """The folder that paths are seen from."""
    taken: frozenset[str] = frozenset()
    copied: Mapping[str, str] = dataclasses.field(default_factory=dict)
    troubles: Callable[[str, Sequence[str]], str] = lambda _, __: ""
    """Of `[keys]`: what the screen has against these keys for an action."""

    def file_of(self) -> int:
        """The file that is offered first: the nearest one that says something of the profile."""
        for index in range(len(self.files)):
            if not self.new and self._table(index):
                return index
        return 0

    def texts(self, file: int) -> dict[str, str]:
        """What stands in a file now, by key."""
        table = self._table(file)
        return {field.key: self._text(table.get(field.key)) for field in self.fields}

    def _text(self, value: object) -> str:
        if self.section == KEYS and value in ("", []):
            return UNBOUND
        return clean(field_text(value)).strip()

    def _table(self, file: int) -> Mapping[str, object]:
        if self.new:
            return {}
        path = self.files[file].path
        found = next((each for each in self.written if each.file == path), None)
        return found.table(self.section, self.name) if found is not None else {}

    def error(self, key: str, text: str, file: int) -> str:
        """What is wrong with a text; "" when nothing is."""
        if not text:
            return ""
        try:
            value = self._value(key, text, file)
        except ValueError as error:
            return str(error)
        name = (self.name or "new") if self.section in SECTIONS else ""
        problem: Problem | None = check_values(self.section, name, {key: value}).get(key)
        if problem is not None:
            return _words(problem)
        if self.section == KEYS and isinstance(value, list):
            return self.troubles(key, value)
        return ""

    def _value(self, key: str, text: str, file: int) -> object:
        if self.section == KEYS and text == UNBOUND:
            return []
        expected = next(field.expected for field in self.fields if field.key == key)
        return field_value(text, expected, self._table(file).get(key))

    def change(self, texts: Mapping[str, str], file: int, name: str = "") -> Change:
        """What these texts, in this file, come to. `name`: of a new profile."""
        made = Change({}, [], {})
        if self.new:
            wrong = self.name_error(name)
            if wrong:
                made.errors["name"] = wrong
        path = self._path(name)
        before, table = self.texts(file), self._table(file)
        for field in self.fields:
            text = texts.get(field.key, "").strip()
            if text == before[field.key]:
                continue
            where: Key = (*path, field.key)
            wrong = self.error(field.key, text, file)
            if wrong:
                made.errors[field.key] = wrong
            elif text:
                made.values[where] = self._value(field.key, text, file)
            elif field.key in table:
                made.removed.append(where)
        if self.new and not made.values and not made.errors:
            made.values[path] = {}
        return made

    def _path(self, name: str) -> Key:
        if self.section not in SECTIONS:
            return (self.section,)
        return (self.section, name if self.new else self.name)

    def name_error(self, name: str) -> str:
        if not name:
            return "it needs a name"
        if name in self.taken:
            return f"there is a {SINGULAR[self.section]} of this name already"
        problem = check_values(self.section, name, {}).get("")
        return _words(problem) if problem is not None else ""

    def field_errors(self, problems: Sequence[Problem], name: str) -> dict[str, str]:
        """Problems of a refused change at the fields that they are about; "" takes the others."""
        keys = {field.key for field in self.fields}
        here = dotted(self._path(name))
        found: dict[str, str] = {}
        for problem in problems:
            key = key_of(self.section, problem)
            if problem.key.startswith((f"{here}.", f"{here}[")) and key in keys:
                found.setdefault(key, _words(problem))
            else:
                found[""] = f"{found.get('', '')}\n{problem}".strip()
        return found


def _words(problem: Problem) -> str:
    """Without the key, which stands beside it anyway."""
    message = problem.message.removeprefix(problem.key).lstrip(": ")
    # A form needs no quotes.
    return (
        f"{message} ({problem.hint})" if problem.hint and "quotes" not in problem.hint else message
    )


def profile_form(
    desk: ProfileDesk,
    section: str,
    name: str = "",
    *,
    new: bool = False,
) -> Form:
    """For a profile, or for `[screen]` and `[notify]`. With `new`, `name` is the one to copy."""
    config = desk.config
    record = SECTIONS.get(section) or SINGLES[section]
    docs = descriptions(record)
    profile = getattr(config, section)
    profile = profile.get(name) if section in SECTIONS else profile
    offers = {
        "cluster": tuple(config.clusters),
        "launcher": tuple(config.launchers),
    }
    made = []
    for key, field in fields(record).items():
        late = LATE if section in SINGLES else ""
        help_text = " ".join(part for part in (docs[key], _hint(field.type), late) if part)
        known = offers.get(key, ()) if section == "jobs" else ()
        made.append(
            Field(
                key,
                help_text,
                field.type,
                _placeholder(field, None if new or profile is None else getattr(profile, key)),
                choices(field.type) or known,
            )
        )
    word = SINGULAR.get(section, section)
    title = f"[{section}]" if section in SINGLES else f"{word} {name}"
    if new:
        title = f"a new {word}, as {name} is" if name else f"a new {word}"
    return Form(
        title=title,
        section=section,
        name="" if new else name,
        new=new,
        fields=tuple(made),
        written=tuple(desk.written),
        files=tuple(desk.files),
        here=desk.here,
        taken=frozenset(getattr(config, section)) if section in SECTIONS else frozenset(),
        copied=_copied(desk.written, section, name) if new and name else {},
    )


def _copied(written: Sequence[Written], section: str, name: str) -> dict[str, str]:
    """What the files say of a profile, the nearest first: what they do not say, no copy says."""
    texts: dict[str, str] = {}
    for each in written:
        for key, value in each.table(section, name).items():
            texts.setdefault(key, clean(field_text(value)).strip())
    return texts


def _hint(expected: mi.Type) -> str:
    how = shape(expected)
    return f"Typed as {how}." if how else ""


def _placeholder(field: mi.Field, value: Any) -> str:
    """What is in force while nothing is typed, or else what could be typed."""
    default = field.default
    if default is msgspec.NODEFAULT and field.default_factory is not msgspec.NODEFAULT:
        default = field.default_factory()
    given = default if value is None else value
    return describe(field.type) if given in _EMPTY else field_text(plain(given))


def key_form(
    desk: ProfileDesk,
    actions: Sequence[Action],
    action_id: str,
) -> Form:
    """For the keys of one action."""
    action = next((each for each in actions if each.id == action_id), None)
    usual = " ".join(action.keys) if action is not None else ""
    title = action.title if action is not None else "no action is called so"
    field = Field(
        action_id,
        f'{title}. One or several keys, such as ctrl+x f9; "{UNBOUND}" for no key at all. {LATE}',
        _KEYS_TYPE,
        usual or "no key",
    )

    def troubles(key: str, wanted: Sequence[str]) -> str:
        found = keymap.build(actions, {**desk.config.keys, key: list(wanted)}).troubles
        return next((t.message for t in found if t.action == key), "")

    return Form(
        title=f"keys of {action_id}",
        section=KEYS,
        name="",
        new=False,
        fields=(field,),
        written=tuple(desk.written),
        files=tuple(desk.files),
        here=desk.here,
        troubles=troubles,
    )
