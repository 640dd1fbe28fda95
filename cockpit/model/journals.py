"""Reading a node's journal as a follow stream delivers it: bytes at offsets become events.

`JournalReader` is fed by the job model. A resumed stream may repeat bytes: they are dropped by
offset. A hole is refused with `GapError`, never skipped. Lines that cannot be read are counted.
Work is proportional to the new bytes.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from cockpit.model.events import Event, parse, scrub
from cockpit.model.masking import Mask

MAX_LINE = 4 * 1024 * 1024
"""Bytes of one journal line; a longer one is damage and is skipped."""


class GapError(ValueError):
    """Bytes were fed past the end of what is known. Follow again from `expected`."""

    def __init__(self, expected: int, got: int) -> None:
        super().__init__(f"a journal continues at byte {expected}, but byte {got} was delivered")
        self.expected = expected
        self.got = got


class NodeEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event with its origin. `fields` holds cleaned JSON values.

    `journal` is "events" (of the supervisor) or "launcher".
    """

    job: str
    attempt: int
    node_rank: int
    node: str
    journal: str
    seq: int
    at: float
    kind: str
    fields: dict[str, Any]


class Entry(msgspec.Struct, frozen=True):
    """A line of a journal: its record (None for an unknown kind) and all its cleaned fields."""

    event: Event | None
    fields: dict[str, Any]
    seq: int
    at: float
    kind: str


def _decode(line: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(line, type=dict[str, Any])
    except msgspec.DecodeError:
        # The standard library, which nodes write with, also writes lone surrogates.
        return msgspec.convert(json.loads(line), dict[str, Any])


class JournalReader:
    """One journal of one node and attempt, read incrementally."""

    def __init__(self, mask: Mask | None = None) -> None:
        self._mask = mask or Mask()
        self.position = 0
        """Offset of the next byte; where to follow from after a drop."""
        self.unreadable = 0
        """Lines that were no event."""
        self.unknown = 0
        """Events of kinds that this cockpit does not know."""
        self._parts: list[bytes] = []
        self._pending = 0
        self._seen: set[tuple[int, float, str]] = set()

    def feed(self, offset: int, data: bytes) -> list[Entry]:
        """The events that `data`, found at `offset` of the file, completes.

        Raises GapError when bytes before `offset` were never fed.
        """
        if offset > self.position:
            raise GapError(self.position, offset)
        new = data[self.position - offset :]
        if not new:
            return []
        self.position += len(new)
        if b"\n" not in new:
            self._keep(new)
            return []
        lines = new.split(b"\n")
        rest = lines.pop()
        if self._pending <= MAX_LINE:
            lines[0] = b"".join(self._parts) + lines[0]
        else:
            lines[0] = b""
            self.unreadable += 1
        self._parts, self._pending = [], 0
        self._keep(rest)
        return [entry for line in lines if (entry := self._entry(line)) is not None]

    def _keep(self, rest: bytes) -> None:
        if rest:
            self._pending += len(rest)
            if self._pending > MAX_LINE:
                self._parts = []
            else:
                self._parts.append(rest)

    def _entry(self, line: bytes) -> Entry | None:
        if not line.strip():
            return None
        try:
            cleaned = self._mask.fields(scrub(_decode(line)))
            head = msgspec.convert(cleaned, Event)
            event = parse(cleaned)
        except (ValueError, RecursionError):
            self.unreadable += 1
            return None
        identity = (head.seq, head.at, head.kind)
        if identity in self._seen:
            return None
        self._seen.add(identity)
        if event is None:
            self.unknown += 1
        return Entry(event, cleaned, head.seq, head.at, head.kind)
