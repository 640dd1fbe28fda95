"""What documents need of whoever follows a job's log streams. The controller satisfies it.

A `Tap` is one stream: it hands on what arrives, after the mirror took it, to every document that
listens, and is asked for earlier bytes. A `Supply` is the taps of a job.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from cockpit.model.logtypes import Origin
from cockpit.model.merged import Source

T = TypeVar("T")


class Listener(Protocol):
    """One document's part in a stream."""

    def opened(self, offset: int, *, inside: bool) -> None:
        """Bytes come from `offset` on; `inside`: that may lie in the middle of a line."""

    def received(self, offset: int, data: bytes) -> None:
        """The mirror took these bytes."""

    def replaced(self) -> None:
        """The file is another one now; its bytes come from 0 on."""


class Tap:
    """One stream as documents hear of it.

    `fetch(start, stop)` has missing bytes brought into the mirror, in the background;
    `reachable` says whether its node can be asked now.
    """

    def __init__(
        self,
        source: Source,
        fetch: Callable[[int, int], None],
        reachable: Callable[[], bool],
    ) -> None:
        self.source = source
        self.mirror = source.mirror
        self.origin = Origin(
            source.node,
            source.node_rank,
            source.rank,
            source.local_rank,
            source.stream,
            source.attempt,
            source.generation,
        )
        self.fetch = fetch
        self.reachable = reachable
        self.begun: int | None = None
        """Where the bytes began that were asked for first; None while nobody has said."""
        self.listeners: list[Listener] = []
        self._next = 0

    def since(self, offset: int) -> float:
        """The time of the byte at `offset`; lines that are newer begin after it."""
        at = self.mirror.index.at(offset)
        return float("-inf") if at is None else at - self.source.skew

    def opened(self, offset: int, size: int) -> None:
        """The node sends from `offset` on, now or again; the file has `size` bytes."""
        self.mirror.expect(size)
        self._next = offset
        if self.begun is None:
            self.begun = offset
        for listener in self.listeners:
            listener.opened(offset, inside=offset > 0)

    def begin(self, offset: int) -> None:
        """Documents begin at `offset`, for the node cannot be asked now."""
        self.begun = offset
        for listener in self.listeners:
            listener.opened(offset, inside=offset > 0)

    def received(self, offset: int, data: bytes) -> None:
        """Bytes of the stream, in order."""
        if offset > self._next:
            # A follow never skips what the node still has: a jump is a head that was thrown away.
            self.mirror.drop(self._next, offset)
        self._next = offset + len(data)
        self.mirror.write(offset, data)
        for listener in self.listeners:
            listener.received(offset, data)

    def replaced(self) -> None:
        """The file shrank or is another one: reading starts anew from 0."""
        self._next = 0
        self.mirror.reset()
        for listener in self.listeners:
            listener.replaced()


class Supply(Protocol):
    """The log streams of one job while documents are open."""

    @property
    def taps(self) -> Sequence[Tap]:
        """Grows at its end."""

    @property
    def folder(self) -> Path:
        """Where documents may keep unlinked files."""

    def refresh(self) -> bool:
        """Take in streams that appeared since; False while some are left, which are seen to between
        polls. Cheap when there are none."""

    def join(self) -> None:
        """One more document reads."""

    def leave(self) -> None:
        """One document less; after the last one nothing is followed any more."""

    async def whole(self, taps: Sequence[Tap]) -> list[str]:
        """Fetch every byte that the nodes have of these streams; what could not be had, as text."""

    async def off_loop(self, work: Callable[[], T]) -> T:
        """Run `work`, which touches no mirror, in a thread."""
