"""Whether this node's supervisor has kept stacks since the ranks of a generation began.

Asked by the launcher process before ranks that hang are ended: what they were doing is lost then.
The supervisor writes one numbered file for each time; nothing is read of it here but its name.
"""

from __future__ import annotations

import os

from cockpit.protocol import layout

_SUFFIX = ".json"


class KeptStacks:
    """Of one attempt, whose folder is `attempt_dir`."""

    def __init__(self, attempt_dir: str) -> None:
        self._folder = os.path.join(attempt_dir, layout.STACKS)
        self._before = -1

    def generation_begins(self) -> None:
        self._before = self._newest()

    def of_this_generation(self) -> bool:
        return self._newest() > self._before

    def _newest(self) -> int:
        """The highest number, -1 for none or where the folder cannot be read."""
        try:
            names = os.listdir(self._folder)
        except OSError:
            return -1
        stems = (name[: -len(_SUFFIX)] for name in names if name.endswith(_SUFFIX))
        return max((int(stem) for stem in stems if stem.isdecimal()), default=-1)
