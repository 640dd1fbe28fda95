"""What a job's log is to those who read it: numbered lines of many streams, in order of time.

A document never holds lines as objects: it knows where they lie and reads what is asked for, so
that ten million of them cost next to nothing. The controller makes documents of the mirrored
streams; replays, demos and tests make them of what they have.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol


class Origin(NamedTuple):
    """The stream that a line comes from. `rank`, `local_rank` and `generation` are None for what
    a launcher process wrote; `stream` is "out" or "err"."""

    node: str
    node_rank: int
    rank: int | None
    local_rank: int | None
    stream: str
    attempt: int
    generation: int | None


class RawLine(NamedTuple):
    """One line as it was written, without its newline. `at` is the node's wall clock less its
    skew, in seconds; None where it is not known. `data` is hostile: nothing in it was cleaned."""

    number: int
    origin: Origin
    at: float | None
    data: bytes


class Finder(Protocol):
    """A test for lines that can say cheaply of a whole block that nothing in it will pass."""

    def block(self, data: bytes) -> bool:
        """False only if no line in `data` (whole lines) passes."""

    def line(self, data: bytes) -> bool:
        """Whether this line passes."""


class LogDocument(Protocol):
    """Lines `first` … `end` - 1. The number of a line never changes while the document is open;
    `first` grows smaller, below zero, too, when earlier lines were fetched.

    Everything but `save` returns at once, with a bounded amount of work.
    """

    @property
    def first(self) -> int: ...
    @property
    def end(self) -> int: ...
    @property
    def complete(self) -> bool:
        """It begins with the first line of every stream that the nodes still have."""

    @property
    def opening(self) -> bool:
        """What was there when it was opened is still being taken in."""

    @property
    def grown(self) -> int:
        """How often lines that were given before became longer: unfinished ones, still written."""

    @property
    def origins(self) -> Sequence[Origin]:
        """Every stream of the job that is known, whether it is selected or not."""

    @property
    def selected(self) -> frozenset[Origin] | None:
        """The streams that are shown; None: all."""

    @property
    def size(self) -> int:
        """Bytes of the lines that are held."""

    @property
    def notice(self) -> str:
        """ "" or what a reader has to know: what is being fetched, bytes that are lost."""

    def poll(self) -> bool:
        """Take in what has arrived; True when `first`, `end`, `notice` or `grown`
        changed."""

    def lines(self, start: int, stop: int) -> Sequence[RawLine]:
        """The lines [start, stop) that are held, at most 10,000 of them."""

    def at_time(self, at: float) -> int:
        """The number of the first line that was written at `at` (wall clock) or later."""

    def search(self, finder: Finder, start: int, stop: int) -> list[int]:
        """Numbers of the lines in [start, stop) that pass, in order. The caller slices."""

    def older(self) -> None:
        """Ask for earlier lines than `first`; they come in a later `poll`. Idempotent."""

    def select(self, origins: frozenset[Origin] | None) -> LogDocument:
        """Another document of the same job that shows only these streams, None for all."""

    async def save(self, path: Path) -> int:
        """Write every line of the selected streams from the first byte on to `path`, each with
        its time and origin; bytes written. Raises CockpitError."""

    def close(self) -> None:
        """Stop following. Never raises; idempotent."""
