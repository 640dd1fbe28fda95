"""What the screen remembers from one day to the next: view, theme, sort, filters, commands.

It lies in a state file of its own, never in a person's cockpit.toml. A file that cannot be read or
written costs nothing but the memory.
"""

from __future__ import annotations

import contextlib
import json
import threading
from pathlib import Path
from typing import Any

from cockpit.model.private import make_folder, write_atomic

HISTORY = 200
"""Commands that are remembered."""
MAX_BYTES = 256 * 1024


class Memory:
    """`values` is JSON: theme, view, clusters, commands, and per view what it wants."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._written = _pack({})
        self._frozen: bytes | None = None
        self._writing = threading.Lock()
        self.values: dict[str, Any] = {}

    def load(self) -> None:
        """Read the file; what is no memory is none."""
        if self._path is None:
            return
        with contextlib.suppress(OSError, ValueError):
            if self._path.stat().st_size <= MAX_BYTES:
                found = json.loads(self._path.read_text("utf-8"))
                if isinstance(found, dict):
                    self.values = found
                    self._written = _pack(found)

    @property
    def changed(self) -> bool:
        """There is something that the file does not have."""
        return _pack(self.values) != self._written

    def freeze(self) -> bool:
        """Take down what a `save` in a thread shall write; True when the file does not have it.

        Called by whoever changes the values, which no thread can look at meanwhile.
        """
        self._frozen = _pack(self.values)
        return self._frozen != self._written

    def save(self) -> None:
        """Write what was frozen last, or else what there is now, if the file does not have it.

        May run in several threads: none of them writes anything older than what is there. A full
        disk costs the memory and nothing else.
        """
        with self._writing:
            data = self._frozen if self._frozen is not None else _pack(self.values)
            if self._path is None or data == self._written:
                return
            with contextlib.suppress(OSError):
                make_folder(self._path.parent)
                write_atomic(self._path, data)
                self._written = data

    def text(self, key: str) -> str:
        """A remembered text, "" without one."""
        value = self.values.get(key)
        return value if isinstance(value, str) else ""

    def view(self, name: str) -> dict[str, Any]:
        """What a view remembered."""
        views = self.values.get("views")
        found = views.get(name) if isinstance(views, dict) else None
        return found if isinstance(found, dict) else {}

    def set_view(self, name: str, memory: dict[str, Any]) -> None:
        views = self.values.get("views")
        if not isinstance(views, dict):
            views = self.values["views"] = {}
        if memory:
            views[name] = memory
        else:
            views.pop(name, None)

    @property
    def commands(self) -> list[str]:
        """Lines that were typed, oldest first."""
        found = self.values.get("commands")
        return [each for each in found if isinstance(each, str)] if isinstance(found, list) else []

    def add_command(self, line: str) -> None:
        kept = [each for each in self.commands if each != line]
        self.values["commands"] = [*kept, line][-HISTORY:]


def _pack(values: dict[str, Any]) -> bytes:
    return json.dumps(values, indent=1, sort_keys=True).encode()
