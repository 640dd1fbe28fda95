"""One configuration file while it is read: its text, where its keys stand, what is wrong with it.

`read` parses a file and never raises for what the file holds; every defect becomes a Problem of
the document. What the values mean is checked elsewhere.
"""

from __future__ import annotations

import dataclasses
import os
import re
import sys
from pathlib import Path
from typing import Any, Literal

from cockpit.errors import Problem
from cockpit.profiles import keys
from cockpit.profiles.locate import Place, locate
from cockpit.profiles.types import Source

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MAX_BYTES = 1024 * 1024
"""A larger file is no cockpit.toml; it is refused before it fills the memory."""

_WHERE = re.compile(r"\s*\(at (?:line (\d+), column (\d+)|end of document)\)")


@dataclasses.dataclass
class Document:
    """A file (or the built-in profiles, `file` "") and the problems found in it so far.

    `base`: folder that relative paths in this file start from. `sections`: checked values by
    section, profile and key; `singles`: by table and key, of tables that are there once.
    `unread`: nothing is known of what the file would say.
    """

    file: str
    base: str
    data: dict[str, Any] = dataclasses.field(default_factory=dict)
    places: dict[keys.Path, Place] = dataclasses.field(default_factory=dict)
    sections: dict[str, dict[str, dict[str, Any]]] = dataclasses.field(default_factory=dict)
    singles: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    problems: list[Problem] = dataclasses.field(default_factory=list)
    unread: bool = False

    def report(
        self,
        path: keys.Path,
        message: str,
        hint: str = "",
        level: Literal["error", "warning"] = "error",
    ) -> None:
        """Note a problem at `path`, on the line of the nearest key that has one."""
        place = self.place(path)
        self.problems.append(
            Problem(
                message=message,
                file=self.file,
                key=keys.dotted(path),
                line=place.line,
                column=place.column,
                hint=hint,
                level=level,
            )
        )

    def place(self, path: keys.Path) -> Place:
        while path:
            if path in self.places:
                return self.places[path]
            path = path[:-1]
        return Place(0, 0)

    def source(self, path: keys.Path) -> Source:
        return Source(file=self.file, line=self.place(path).line)


def read(file: Path, base: str) -> Document:
    """Read and parse a file. On a defect the document has no data and says why."""
    document = Document(str(file), base, unread=True)
    try:
        with open(file, "rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except OSError as error:
        hint = "name an existing file" if isinstance(error, FileNotFoundError) else ""
        reason = error.strerror or type(error).__name__
        document.report((), f"the file cannot be read: {reason}", hint)
        return document
    parse(document, raw)
    return document


def parse(document: Document, raw: bytes) -> None:
    """Fill `data` and `places` from a file's bytes, or report why that cannot be done."""
    if len(raw) > MAX_BYTES:
        document.report((), f"the file is larger than {MAX_BYTES} bytes", "is it a cockpit.toml?")
        return
    try:
        text = raw.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        document.problems.append(
            Problem("the file is not UTF-8 text", document.file, line=line, hint="save it as UTF-8")
        )
        return
    try:
        document.data = tomllib.loads(text)
        document.places = locate(text)
        document.unread = False
    except tomllib.TOMLDecodeError as error:
        document.problems.append(_syntax_problem(document.file, text, str(error)))
    except RecursionError:
        document.report((), "the file nests lists or tables too deeply")


def _syntax_problem(file: str, text: str, message: str) -> Problem:
    """The parser's "Invalid value (at line 3, column 5)" with its place taken out of the words."""
    match = _WHERE.search(message)
    if match is None:
        return Problem(f"no valid TOML: {message}", file)
    if match.group(1):
        line, column = int(match.group(1)), int(match.group(2))
    else:
        line, column = text.count("\n") + 1, len(text) - text.rfind("\n")
    return Problem(
        f"no valid TOML: {message[: match.start()]}",
        file,
        line=line,
        column=column,
        hint=_syntax_hint(text, line),
    )


def _syntax_hint(text: str, line: int) -> str:
    lines = text.split("\n")
    wrong = lines[line - 1] if line <= len(lines) else ""
    if re.match(r"\s*[\w.-]+\s*=\s*[A-Za-z~/]", wrong) and not re.search(
        r"=\s*(true|false|inf|nan)\b", wrong
    ):
        return 'text stands in quotes: key = "text"'
    return ""


def folder_of(file: Path) -> str:
    """The folder that a file's relative paths start from, absolute."""
    return os.path.dirname(os.path.abspath(file))
