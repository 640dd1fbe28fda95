"""Reading a node's journal of beats: bytes at offsets become digests, each once.

Fed by `nodes`. Unlike the other journals this one may begin anywhere (a tail is enough) and be
replaced by a thinned copy of itself, which is why digests are told apart by their numbers and
missing bytes are no error. There are many of them, so the common case is decoded in one go.
"""

from __future__ import annotations

import json

import msgspec

from cockpit.model.events import Beats, parse, scrub

MAX_LINE = 1024 * 1024
"""Bytes of one digest; a longer one is damage and is skipped."""

_decoder = msgspec.json.Decoder(Beats)


class DigestReader:
    """One journal of beats of one node and attempt, read incrementally."""

    def __init__(self) -> None:
        self.position = 0
        """Offset of the next byte."""
        self.unreadable = 0
        """Lines that were no digest."""
        self._pending = b""
        self._torn = False
        """The line that is being read has lost its beginning, or is too long."""
        self._last_seq = -1
        self._last_at = float("-inf")

    def begin(self, offset: int) -> None:
        """What comes next was found at `offset`: a tail, or 0 in a file that replaced this one."""
        if offset != self.position:
            self.position = offset
            self._pending, self._torn = b"", offset > 0

    def feed(self, offset: int, data: bytes) -> list[Beats]:
        """The digests that `data`, found at `offset` of the file, completes."""
        if offset > self.position:
            self.begin(offset)
        new = data[self.position - offset :]
        self.position += len(new)
        *lines, rest = new.split(b"\n")
        found: list[Beats] = []
        for line in lines:
            if not self._torn:
                digest = self._digest(self._pending + line)
                if digest is not None:
                    found.append(digest)
            self._pending, self._torn = b"", False
        self._pending += b"" if self._torn else rest
        if len(self._pending) > MAX_LINE:
            self._pending, self._torn = b"", True
            self.unreadable += 1
        return found

    def _digest(self, line: bytes) -> Beats | None:
        if not line.strip():
            return None
        digest: Beats | None
        try:
            digest = _decoder.decode(line)
            if not _sound(digest):
                digest = _slowly(line)
        except (msgspec.DecodeError, RecursionError):
            digest = _slowly(line)
        if digest is None:
            self.unreadable += 1
            return None
        # A file that was replaced repeats old digests. One that an orphaned numbering makes look
        # old, but that was stamped later than any, is new all the same.
        if digest.seq <= self._last_seq and digest.at <= self._last_at:
            return None
        self._last_seq = digest.seq
        self._last_at = max(self._last_at, digest.at)
        return digest


def _sound(digest: Beats) -> bool:
    """Every text can be shown as it is."""
    texts = [digest.kind]
    for rank in digest.ranks:
        texts += (rank.note, *rank.metrics)
        if rank.ft is not None:
            texts += rank.ft.sections
    return "".join(texts).isprintable() and digest.kind == "beats"


def _slowly(line: bytes) -> Beats | None:
    """What the standard library writes and msgspec refuses (NaN), and what has to be cleaned."""
    try:
        event = parse(scrub(json.loads(line)))
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None
    return event if isinstance(event, Beats) else None
