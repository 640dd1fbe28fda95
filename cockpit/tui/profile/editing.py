"""How a text editor is told to open a file at a line. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

_PLUS = frozenset(
    ("vi", "vim", "nvim", "view", "nano", "pico", "emacs", "emacsclient", "micro", "kak", "joe",
     "jed", "ne", "mg")
)  # fmt: skip
_COLON = frozenset(("hx", "helix", "subl", "zed"))
_GOTO = frozenset(("code", "codium", "cursor"))


def at_line(editor: Sequence[str], file: Path, line: int) -> list[str]:
    """The command line of an editor, `line` counted from 1; unknown editors get the file alone."""
    program = Path(editor[0]).stem
    if line > 0 and program in _PLUS:
        return [*editor, f"+{line}", str(file)]
    if line > 0 and program in _COLON:
        return [*editor, f"{file}:{line}"]
    if line > 0 and program in _GOTO:
        return [*editor, "--wait", "--goto", f"{file}:{line}"]
    return [*editor, str(file)]
