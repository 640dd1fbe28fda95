"""What each configuration file says by itself, before anything is merged: for those who edit.

The effective values are in `Config`; here is which file sets a key, what exactly stands there, and
what a later file says that has no effect. Never raises for what a file holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cockpit.errors import Problem, UsageError
from cockpit.profiles import document as documents
from cockpit.profiles.checking import KEYS, SINGLES, check_document
from cockpit.profiles.document import Document
from cockpit.profiles.keys import split
from cockpit.profiles.types import Source


class Written(NamedTuple):
    """One file as it stands on the disk: `data` as the parser gives it, {} where it cannot be read.

    `lines`: parts of a key -> the line that names it.
    """

    file: Path
    data: Mapping[str, Any]
    lines: Mapping[tuple[str | int, ...], int]

    def table(self, section: str, name: str = "") -> Mapping[str, Any]:
        """What the file says of a profile, or in a table without a name; {} when nothing."""
        found = self.data.get(section, {})
        if isinstance(found, Mapping) and name:
            found = found.get(name, {})
        return found if isinstance(found, Mapping) else {}

    def source(self, *parts: str) -> Source | None:
        """Where the file sets a key; None when it does not."""
        line = self.lines.get(parts)
        return None if line is None else Source(file=str(self.file), line=line)


def read_written(files: Sequence[Path]) -> tuple[Written, ...]:
    """These files, nearest first. Blocks on disk."""
    read = []
    for file in files:
        document = documents.read(file, documents.folder_of(file))
        lines = {path: place.line for path, place in document.places.items()}
        read.append(Written(file, document.data, lines))
    return tuple(read)


def check_values(section: str, name: str, values: Mapping[str, Any]) -> dict[str, Problem]:
    """What is wrong with single values of a profile (of a table, with `name` ""), by key; the name
    itself is "". What only shows in the whole is not looked for."""
    table: dict[str, Any] = dict(values)
    document = Document("", "/", data={section: table if not name else {name: table}})
    check_document(document)
    depth = 1 if section in SINGLES or section == KEYS else 2
    found: dict[str, Problem] = {}
    for problem in document.problems:
        if problem.level != "error":
            continue
        key = _part(problem.key, depth)
        found.setdefault(key, problem)
    return found


def key_of(section: str, problem: Problem) -> str:
    """The key inside a profile of `section` that a problem is about; "" for the whole."""
    return _part(problem.key, 1 if section in SINGLES or section == KEYS else 2)


def _part(key: str, depth: int) -> str:
    # An index, `nodes[2]`, belongs to the key before it.
    plain = key.split("[", 1)[0]
    try:
        parts = split(plain)
    except UsageError:
        return ""
    return parts[depth] if len(parts) > depth else ""
