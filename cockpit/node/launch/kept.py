"""Whether this node's supervisor has just kept the stacks of the ranks of a generation.

Asked by the launcher process before ranks that hang are ended: what they were doing is lost then.
The supervisor writes one numbered file for each time; nothing is read of it here but its name and
its time. Older files are of a stall that these ranks have recovered from.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from cockpit.protocol import layout

RECENT = 10.0
"""Seconds within which a node that declared a stall has asked for its end: its stacks count."""
_SUFFIX = ".json"


class KeptStacks:
    """Of one attempt, whose folder is `attempt_dir`. `clock` is that of the file system."""

    def __init__(self, attempt_dir: str, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._folder = os.path.join(attempt_dir, layout.STACKS)
        self._before = -1

    def generation_begins(self) -> None:
        self._before = self._newest()

    def just_now(self) -> bool:
        """Whether there are some of this generation that are not older than RECENT."""
        newest = self._newest()
        if newest <= self._before:
            return False
        try:
            kept_at = os.stat(os.path.join(self._folder, f"{newest}{_SUFFIX}")).st_mtime
        except OSError:
            return False
        # A clock that was set back leaves files of the future: how old they are is not known.
        return abs(self._clock() - kept_at) <= RECENT

    def _newest(self) -> int:
        """The highest number, -1 for none or where the folder cannot be read."""
        try:
            names = os.listdir(self._folder)
        except OSError:
            return -1
        stems = (name[: -len(_SUFFIX)] for name in names if name.endswith(_SUFFIX))
        return max((int(stem) for stem in stems if stem.isdecimal()), default=-1)
