"""Nested ignore files: which entries of a folder they leave out, with git's precedence.

Called by `selection` for `.gitignore` (outside git) and `.cockpitignore` (always). The deepest
file that speaks of an entry decides, in it the last line; below an excluded folder nothing can be
brought back. It reads ignore files and nothing else, each once.
"""

from __future__ import annotations

import os
import stat

from cockpit.packaging.wildmatch import Pattern, parse_line

_BOM = b"\xef\xbb\xbf"


def parse_rules(data: bytes) -> tuple[Pattern, ...]:
    """The patterns of an ignore file's content, in order."""
    lines = data.removeprefix(_BOM).split(b"\n")
    parsed = (parse_line(line.removesuffix(b"\r")) for line in lines)
    return tuple(pattern for pattern in parsed if pattern is not None)


class IgnoreRules:
    """All ignore files of one name below `root`. Paths are relative to `root`, as bytes."""

    def __init__(self, root: bytes, filename: bytes) -> None:
        self._root = root
        self._filename = filename
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
        with open(path, "rb") as file:
            return parse_rules(file.read())
