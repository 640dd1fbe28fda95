"""The merge of several documents: for each key of each profile, the nearest file that sets it.

Called by `assembly`. Knows which keys are merged entry by entry, and nothing of what they mean.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

from cockpit.profiles.document import Document
from cockpit.profiles.keys import Path, dotted
from cockpit.profiles.types import Source

BY_ENTRY = frozenset({"env", "secrets", "rdzv_conf", "metrics", "rank_section_timeouts"})
"""Tables whose entries are merged one by one; every other key is replaced whole."""
WHAT = ("script", "module", "command")
"""Exactly one of these says what a job runs; the nearest file that has one decides."""


class Setting(NamedTuple):
    """A value in force, and where it was set."""

    value: Any
    document: Document
    path: Path

    @property
    def source(self) -> Source:
        return self.document.source(self.path)

    def report(self, message: str, hint: str = "", *, item: int | None = None) -> None:
        """Note an error at this setting, or at one item of its list."""
        path = self.path if item is None else (*self.path, item)
        self.document.report(path, f"{dotted(path)}: {message}", hint)


@dataclasses.dataclass
class Profile:
    """Settings of one profile, nearest file first. `document` is the nearest that names it."""

    path: Path
    document: Document
    settings: dict[str, Setting] = dataclasses.field(default_factory=dict)
    entries: dict[str, dict[str, Setting]] = dataclasses.field(default_factory=dict)
    """Of the keys in `BY_ENTRY`."""

    def value(self, key: str, default: Any = None) -> Any:
        setting = self.settings.get(key)
        return default if setting is None else setting.value

    def report(self, message: str, hint: str = "") -> None:
        """Note an error at the profile's header."""
        self.document.report(self.path, f"{dotted(self.path)}: {message}", hint)


def merge(section: str, documents: Sequence[Document]) -> dict[str, Profile]:
    """Profiles of one section by name, from documents that come nearest first."""
    merged: dict[str, Profile] = {}
    for document in documents:
        for name, table in document.sections.get(section, {}).items():
            path: Path = (section, name)
            profile = merged.setdefault(name, Profile(path, document))
            decided = not profile.settings.keys().isdisjoint(WHAT)
            for key, value in table.items():
                if key in BY_ENTRY and isinstance(value, dict):
                    entries = profile.entries.setdefault(key, {})
                    for entry, inner in value.items():
                        place = (*path, key, entry)
                        entries.setdefault(entry, Setting(inner, document, place))
                elif not (decided and key in WHAT):
                    profile.settings.setdefault(key, Setting(value, document, (*path, key)))
    return merged


def merge_single(section: str, documents: Sequence[Document]) -> Profile:
    """A table that is there once, from documents that come nearest first."""
    merged = Profile((section,), documents[0])
    for document in documents:
        for key, value in document.singles.get(section, {}).items():
            merged.settings.setdefault(key, Setting(value, document, (section, key)))
    return merged
