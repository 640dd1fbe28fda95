"""The table `[keys]`: action ids and the keys that they shall have on the screen.

The check of a file calls it. Which actions and which keys there are, only the screen knows; here
is seen to it that a key is one word and that an id can be one.
"""

from __future__ import annotations

import re
from typing import Any

from cockpit.profiles.document import Document
from cockpit.profiles.keys import Path, dotted
from cockpit.profiles.values import INVALID, found

_SEVERAL = re.compile(r"[^,]+,.*[^,]")


def check_keys(document: Document, path: Path, table: dict[str, Any]) -> dict[str, Any]:
    """Keys by action id, as tuples; INVALID after reporting what is wrong."""
    return {
        action: _bound(document, (*path, action), action, value) for action, value in table.items()
    }


def _bound(document: Document, path: Path, action: str, value: Any) -> Any:
    if isinstance(value, dict):
        inner = next(iter(value), "…")
        document.report(
            path,
            f"{dotted(path)}: an action is named by one key, not by a table",
            f'in quotes: "{action}.{inner}" = …',
        )
        return INVALID
    if not _is_word(action):
        document.report(path, f"{dotted(path)[:60]} is no action", 'such as "job.cancel"')
        return INVALID
    if value in ("", []):
        return ()
    if not isinstance(value, (str, list)):
        document.report(
            path,
            f"{dotted(path)} must be a key or a list of keys, not {found(value)}",
            'such as "ctrl+x"; "" for no key at all',
        )
        return INVALID
    if isinstance(value, str):
        return (value,) if _is_key(document, path, value) else INVALID
    good = [_is_key(document, (*path, index), key) for index, key in enumerate(value)]
    return tuple(value) if all(good) else INVALID


def _is_key(document: Document, path: Path, key: Any) -> bool:
    if isinstance(key, str) and _SEVERAL.fullmatch(key):
        document.report(path, f"{dotted(path)}: one string is one key", 'write ["ctrl+x", "f9"]')
        return False
    if not isinstance(key, str) or not _is_word(key):
        document.report(
            path, f"{dotted(path)} must be the name of a key, not {found(key)}", 'such as "ctrl+x"'
        )
        return False
    return True


def _is_word(text: str) -> bool:
    return 0 < len(text) <= 64 and text.isprintable() and not any(c.isspace() for c in text)
