"""Packs working directories beside the event loop, and again only when something changed in them.

Used by the launch pad, which shows a plan after every key that is pressed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from cockpit import packaging
from cockpit.packaging import Package

Say = Callable[[str], None]


class _Packed(NamedTuple):
    stamp: str
    package: Package


class Packer:
    """Remembers the newest package of each folder. One folder is read at a time."""

    def __init__(self) -> None:
        self._packed: dict[str, _Packed] = {}
        self._lock = asyncio.Lock()

    async def pack(self, folder: str, say: Say) -> Package:
        """The folder as it is now; `say` hears when it has to be read. Raises PackagingError.

        A thread cannot be stopped: given up, the work is finished for whoever asks next.
        """
        return await asyncio.shield(asyncio.ensure_future(self._pack(folder, say)))

    async def _pack(self, folder: str, say: Say) -> Package:
        async with self._lock:
            path = Path(folder)
            stamp = await asyncio.to_thread(packaging.stamp, path)
            known = self._packed.get(folder)
            if known is not None and known.stamp == stamp:
                return known.package
            say(f"packing {folder}…")
            package = await asyncio.to_thread(packaging.pack, path)
            self._packed[folder] = _Packed(stamp, package)
            return package
