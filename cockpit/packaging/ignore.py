"""Nested ignore files: which entries of a folder they leave out, with git's precedence.

Called by `selection` for `.gitignore` (outside git) and `.cockpitignore` (always). The deepest
file that speaks of an entry decides, in it the last line; below an excluded folder nothing can be
brought back. It reads ignore files and nothing else, each once.

What a pattern matches is pathspec's word. It differs from git in what ordinary ignore files do
not hold. POSIX classes such as [[:digit:]], a "[" or an escape inside brackets, brackets that are
never closed, and three or more stars in a row are left out with a warning, as is all that
pathspec refuses. Without one, [!a] may match a slash in a pattern that has slashes, and white
space other than blanks at the end of a line is dropped (git: belongs to the name).
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import pathspec

from cockpit.text import clean

_BOM = b"\xef\xbb\xbf"
_DIFFERENT = re.compile(rb"(?<!\\)\[[^]]*(?:[\\[]|--|&&|~~|\|\||$)|\*\*\*")
"""What pathspec would match otherwise than git, without a word."""

Warn = Callable[[str], None]


class Pattern(NamedTuple):
    """What a line asks for. `negated`: it brings back what an earlier line excluded."""

    regex: re.Pattern[bytes]
    negated: bool
    directories_only: bool
    basename_only: bool

    def matches(self, path: bytes, *, is_dir: bool) -> bool:
        """Whether the line speaks of `path` itself, relative to the ignore file's folder."""
        if self.directories_only and not is_dir:
            return False
        if self.basename_only:
            path = path.rpartition(b"/")[2]
        found = self.regex.search(path)
        # The only group is the end of a folder's name: what lies below a match is not asked here.
        return found is not None and found.lastindex is None


def parse_rules(data: bytes, complain: Callable[[int, bytes], None]) -> tuple[Pattern, ...]:
    """The patterns of an ignore file's content, in order.

    `complain(number, line)` hears of each line that cannot be taken; numbers start at 1.
    """
    return tuple(_patterns(data.removeprefix(_BOM).split(b"\n"), complain))


def _patterns(lines: list[bytes], complain: Callable[[int, bytes], None]) -> Iterator[Pattern]:
    for number, raw in enumerate(lines, 1):
        line = raw.removesuffix(b"\r")
        if not line.endswith(b"\\ "):
            line = line.rstrip(b" ")
        if line.startswith(b"#"):
            continue
        body = line.removesuffix(b"/")
        folders_only = body != line
        if folders_only and body.endswith(b" "):
            body = body[:-1] + b"\\ "
        patterns = _compiled(body)
        if patterns is None:
            complain(number, line)
            continue
        for pattern in patterns:
            if pattern.include is not None and pattern.regex is not None:
                yield Pattern(pattern.regex, not pattern.include, folders_only, b"/" not in body)


def _compiled(body: bytes) -> Sequence[pathspec.RegexPattern] | None:
    """The patterns of a line (one or none); None when they would not mean what git means."""
    if _DIFFERENT.search(body):
        return None
    try:
        return pathspec.GitIgnoreSpec.from_lines([body]).patterns
    except (ValueError, re.error):
        return None


class IgnoreRules:
    """All ignore files of one name below `root`. Paths are relative to `root`, as bytes."""

    def __init__(self, root: bytes, filename: bytes, warn: Warn) -> None:
        self._root = root
        self._filename = filename
        self._warn = warn
        self._rules: dict[bytes, tuple[Pattern, ...]] = {}
        self._excluded_folders: dict[bytes, bool] = {b"": False}

    def excludes(self, path: bytes, *, is_dir: bool) -> bool:
        """Whether `path`, none of whose parents is excluded, is left out."""
        folder = path
        while folder:
            folder = folder.rpartition(b"/")[0]
            inner = path[len(folder) + 1 :] if folder else path
            for pattern in reversed(self._of(folder)):
                if pattern.matches(inner, is_dir=is_dir):
                    return not pattern.negated
        return False

    def excludes_file(self, path: bytes) -> bool:
        """Whether the file `path` or one of its parents is left out."""
        parent = path.rpartition(b"/")[0]
        return self._excludes_folder(parent) or self.excludes(path, is_dir=False)

    def _excludes_folder(self, path: bytes) -> bool:
        known = self._excluded_folders.get(path)
        if known is None:
            parent = path.rpartition(b"/")[0]
            known = self._excludes_folder(parent) or self.excludes(path, is_dir=True)
            self._excluded_folders[path] = known
        return known

    def _of(self, folder: bytes) -> tuple[Pattern, ...]:
        rules = self._rules.get(folder)
        if rules is None:
            rules = self._rules[folder] = self._read(folder)
        return rules

    def _read(self, folder: bytes) -> tuple[Pattern, ...]:
        """OSError other than "there is none" is the caller's: unread rules ship secrets."""
        path = os.path.join(self._root, folder, self._filename)
        try:
            # A symbolic link is no ignore file (as in git): its target may lie anywhere.
            if not stat.S_ISREG(os.lstat(path).st_mode):
                return ()
        except (FileNotFoundError, NotADirectoryError):
            return ()

        def complain(number: int, line: bytes) -> None:
            where = clean(os.fsdecode(os.path.join(folder, self._filename)))
            words = clean(line.decode("utf-8", "replace"))
            self._warn(f"{where}:{number}: the pattern {words!r} is not understood; left out")

        with open(path, "rb") as file:
            return parse_rules(file.read(), complain)
