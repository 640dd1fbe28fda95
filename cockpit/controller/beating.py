"""Follows one journal of beats into a job's model. Made by `tracking`, one per attempt and node.

While an attempt runs, from the beginning of the file and for ever; of one that has ended, its tail
once. The file is thinned now and then and replaced by the result, and is read anew then. Nothing
here decides how a job stands.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cockpit.model.jobs import JobModel
from cockpit.model.nodes import BEATS
from cockpit.transport.link import Follow, NodeLink

TAIL = 256 * 1024
"""Bytes that are read of the beats of an attempt that has ended."""


class BeatsSink:
    """`changed` is called after every digest, and when the sink has caught up."""

    def __init__(
        self,
        model: JobModel,
        attempt: int,
        node_rank: int,
        *,
        changed: Callable[[], None],
        ended: bool,
    ) -> None:
        self._model = model
        self._where = (attempt, node_rank)
        self._changed = changed
        self._ended = ended
        self._road: tuple[NodeLink, str] | None = None
        self._follow: Follow | None = None
        self._position = 0
        self._until: int | None = None
        self.caught_up = False
        """What the file held when it was opened was read."""

    def start(self, link: NodeLink, path: str) -> None:
        """Begin; `path` is below the node's state_dir."""
        self._road = (link, path)
        self._follow = link.follow(path, -TAIL if self._ended else 0, self)

    def finish(self) -> None:
        """The attempt has ended: its last digests are written. Read on to the end, once."""
        if self._ended or self._road is None:
            return
        self._ended = True
        self.close()
        link, path = self._road
        self._follow = link.follow(path, self._position, self)

    def close(self) -> None:
        if self._follow is not None:
            self._follow.close()
            self._follow = None

    def opened(self, offset: int, size: int) -> None:
        self._model.beats_from(*self._where, offset)
        # A file that is shorter than what was read of it was replaced; that is told next.
        self._until = size if offset <= size else None
        self._read_to(offset)

    def received(self, offset: int, data: bytes) -> None:
        self._model.feed(*self._where, BEATS, offset, data)
        self._changed()
        self._read_to(offset + len(data))

    def replaced(self) -> None:
        """What was read stays true; the thinned file repeats a part of it."""
        self._until = None
        self._position = 0

    def indexed(self, entries: Sequence[tuple[int, float]]) -> None:
        """Journals have no time index."""

    def detached(self) -> None:
        """The follow resumes by itself."""

    def _read_to(self, position: int) -> None:
        self._position = position
        if self._until is None or position < self._until:
            return
        if self._ended:
            self.close()
        if not self.caught_up:
            self.caught_up = True
            self._changed()
