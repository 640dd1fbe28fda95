"""One stream in one document: how far it was taken in, and what of it the document shows.

`logdoc` makes one for each `Tap`. What arrives goes straight to the scanner; what the mirror held
before, and what came out of turn, is pulled from there.
"""

from __future__ import annotations

from cockpit.model.logscan import CHUNK, Scanner, Stretch
from cockpit.model.logtap import Tap
from cockpit.model.merged import PATIENCE


class Lane:
    """One stream in one document."""

    def __init__(self, number: int, tap: Tap, fresh: list[Stretch], touched: set[Lane]) -> None:
        source = tap.source
        self.number = number
        self.tap = tap
        self.order = source.order
        self._touched = touched
        self.scanner = Scanner(number, source.order, source.skew, source.mirror.index, fresh)
        self.begun = False
        """It is known where it begins."""
        self.goal = 0
        """Bytes that the node is known to have."""
        self.low = 0
        """Bytes from here on were asked for, and are there but for what is lost."""
        self.floor: int | None = None
        """Offset of the first line in the document; None while it has none."""
        self.lost = 0
        """Bytes of holes that were stepped over although nobody said that they are gone."""
        self.hole_since: float | None = None
        self.progress = 0.0
        """When bytes last came."""
        tap.listeners.append(self)
        if tap.begun is not None:
            self._begin(tap.begun, inside=tap.begun > 0)

    def _begin(self, offset: int, *, inside: bool) -> None:
        self.begun = True
        self.goal = self.tap.mirror.expected
        self.low = offset
        self.scanner.position = self.scanner.line = offset
        self.scanner.aligning = inside
        self._touched.add(self)

    # From the tap

    def opened(self, offset: int, *, inside: bool) -> None:
        self.goal = self.tap.mirror.expected
        if not self.begun:
            self._begin(offset, inside=inside)
        self._touched.add(self)

    def received(self, offset: int, data: bytes) -> None:
        scanner = self.scanner
        if offset == scanner.position:
            scanner.feed(data)
            if scanner.line == scanner.position >= self.goal and not scanner.grown:
                return  # mostly: whole lines, and all that there is
        self._touched.add(self)

    def replaced(self) -> None:
        self.scanner.skip(0)
        self.low, self.floor = 0, 0
        self._touched.add(self)

    # For the document

    @property
    def behind(self) -> bool:
        """The mirror or the node is known to hold bytes that were not taken in yet."""
        mirror = self.tap.mirror
        return self.scanner.position < max(mirror.expected, mirror.end)

    @property
    def unfinished(self) -> bool:
        """It ends with bytes that make no whole line yet."""
        scanner = self.scanner
        return not scanner.shown and not scanner.aligning and scanner.line < scanner.position

    def end_of(self, start: int) -> int | None:
        """Where the line from `start` on ends (so far) that outgrew what its run knows of it."""
        scanner = self.scanner
        if scanner.shown and scanner.line == start:
            return scanner.position
        return scanner.ends.get(start)

    def pull(self, now: float) -> bool:
        """Take in what the mirror holds, a chunk of it; False when there is nothing to take.

        A hole that is not filled in time (the node dropped those bytes) is stepped over.
        """
        scanner, mirror = self.scanner, self.tap.mirror
        data = mirror.read(scanner.position, CHUNK)
        if data:
            scanner.feed(data)
            self.hole_since = None
            self.progress = now
            return True
        if scanner.position >= mirror.end:
            return False
        if self.hole_since is None:
            self.hole_since = now
        dropped = mirror.is_dropped(scanner.position)
        if dropped or now - self.hole_since > PATIENCE:
            hole = mirror.holes(scanner.position, mirror.end)[0]
            if not dropped:
                self.lost += hole[1] - hole[0]
            scanner.skip(hole[1])
            self.hole_since = None
            return True
        return False

    def leave(self) -> None:
        if self in self.tap.listeners:
            self.tap.listeners.remove(self)
