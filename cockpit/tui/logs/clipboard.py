"""Copying: OSC 52 to the terminal, which may ignore it, and always a file that can be relied on."""

from __future__ import annotations

import asyncio
import base64
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from cockpit.tui.terminal import send

if TYPE_CHECKING:
    from cockpit.tui.app import CockpitApp

CAP = 74_994
"""Encoded bytes that terminals take at most (as k9s has it)."""


async def copy(app: CockpitApp, text: str) -> tuple[Path, bool]:
    """Copy `text`: the file that has it, and whether the terminal was given it, too.

    Raises OSError.
    """
    state = app.settings.state_file
    path = await asyncio.to_thread(keep, text, state.parent if state is not None else None)
    escapes = sequence(text, os.environ)
    send(app, escapes)
    return path, bool(escapes)


def sequence(text: str, environ: Mapping[str, str]) -> str:
    """What makes a terminal take `text` to its clipboard; "" when it is too much for one.

    Inside tmux it goes to tmux itself, and wrapped through it to the terminal around.
    """
    encoded = base64.b64encode(text.encode("utf-8", "replace")).decode()
    if len(encoded) > CAP:
        return ""
    plain = f"\x1b]52;c;{encoded}\x07"
    if not environ.get("TMUX"):
        return plain
    return plain + "\x1bPtmux;" + plain.replace("\x1b", "\x1b\x1b") + "\x1b\\"


def saved_below(folder: Path) -> Path:
    """The folder for copies and saved logs, which only this person can read. Raises OSError."""
    saved = folder / "saved"
    saved.mkdir(mode=0o700, parents=True, exist_ok=True)
    saved.chmod(0o700)
    return saved


def keep(text: str, folder: Path | None) -> Path:
    """Write `text` to a file that only this person can read; its path. Raises OSError.

    Below `folder` it takes the place of what was copied before; without one it is a new file among
    the temporary ones.
    """
    if folder is None:
        handle, name = tempfile.mkstemp(prefix="cockpit-copied-", suffix=".txt")
        path = Path(name)
    else:
        path = saved_below(folder) / "copied.txt"
        path.unlink(missing_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8", errors="replace") as file:
        file.write(text)
    return path
