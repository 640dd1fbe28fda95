"""Files and lines as people write them: from the folder they are in, or from their home. Pure."""

from __future__ import annotations

import os
from pathlib import Path

from cockpit.profiles.types import Source


def place(source: Source, here: str) -> str:
    """ "./cockpit.toml:3", "~/.config/cockpit/cockpit.toml:8"."""
    return f"{short(Path(source.file), here)}:{source.line}"


def short(path: Path, here: str) -> str:
    """A path below the folder `here` (absolute, "" for none) or below the home in short."""
    for base, word in ((here, "."), (os.path.expanduser("~"), "~")):
        if base not in ("", "/") and path.is_relative_to(base):
            return f"{word}/{path.relative_to(base)}"
    return str(path)
