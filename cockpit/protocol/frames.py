"""Frames on the one channel between a controller and a node's agent.

A frame is `length:u32 kind:u8 stream:u32 payload`, big-endian; `length` counts the payload only.
Control payloads are UTF-8 JSON, data payloads raw bytes. Both sides speak it over any byte
stream: an SSH channel, a pair of pipes, or memory. This module never does I/O.
"""

from __future__ import annotations

import collections
import enum
import json
import struct
from collections.abc import Iterator

TYPE_CHECKING = False  # typing itself would be a tenth of an agent's start
if TYPE_CHECKING:
    from typing import Any, NamedTuple

HEADER = struct.Struct(">IBI")
OFFSET = struct.Struct(">Q")
INDEX_ENTRY = struct.Struct(">Qd")

PROTOCOL_VERSION = 1
"""Of frames and messages together; the two sides must have the same."""

INITIAL_CREDIT = 4 * 1024 * 1024
"""Bytes that a node may send on a fresh stream before the first CREDIT."""

MAX_PAYLOAD = 16 * 1024 * 1024
"""Bytes. A longer payload means that the byte stream is not ours, or is damaged."""


class Kind(enum.IntEnum):
    """What a frame carries. `stream` is chosen by the controller, unique per connection."""

    HELLO = 1
    """node -> controller, once, stream 0. JSON `messages.Hello`."""
    REQUEST = 2
    """controller -> node. JSON `{"op": …, …}`; `stream` is the id that every answer carries."""
    REPLY = 3
    """node -> controller. JSON result of the request; for streaming requests the opening result."""
    FAIL = 4
    """node -> controller. JSON `messages.Failure`; ends the request and its stream."""
    DATA = 5
    """Raw bytes. node -> controller: `offset:u64` then bytes of the followed file (or of a
    command's output). controller -> node: bytes of an upload, without offset."""
    INDEX = 6
    """node -> controller, before the DATA it describes: `(offset:u64 time:f64)*`, wall clock
    seconds. The byte at `offset` of the followed file was first seen at `time`."""
    END = 7
    """Either direction: nothing more follows on this stream. JSON result, may be `{}`."""
    CREDIT = 8
    """controller -> node: `u64`; the node may send that many more DATA bytes on this stream."""
    EVENT = 9
    """node -> controller: JSON, one item of a subscription (a sample, a change of jobs)."""
    CLOSE = 10
    """controller -> node: stop this stream. The node answers END once it has; where the one answer
    of a request is being made, that answer; nothing when the stream had ended."""


if TYPE_CHECKING:

    class Frame(NamedTuple):
        """One frame, taken apart."""

        kind: int
        stream: int
        payload: bytes
else:
    Frame = collections.namedtuple("Frame", "kind stream payload")


class FrameError(Exception):
    """The byte stream does not hold frames (noise, damage, or another protocol)."""


def encode(kind: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame as bytes. Raises FrameError when `payload` exceeds MAX_PAYLOAD."""
    if len(payload) > MAX_PAYLOAD:
        raise FrameError(f"a payload of {len(payload)} bytes exceeds the limit of {MAX_PAYLOAD}")
    return HEADER.pack(len(payload), kind, stream) + payload


def encode_json(kind: int, stream: int, value: Any) -> bytes:
    """One frame with a compact JSON payload."""
    return encode(kind, stream, json.dumps(value, separators=(",", ":")).encode())


class Decoder:
    """Turns arriving chunks, however they were split, into whole frames.

    Keeps at most one unfinished frame; large payloads are joined once, not per chunk.
    """

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._have = 0
        self._need = HEADER.size

    @property
    def pending(self) -> int:
        """Bytes of an unfinished frame that have arrived."""
        return self._have

    def feed(self, chunk: bytes) -> Iterator[Frame]:
        """Yield every frame that `chunk` completes. Raises FrameError for one that is too long."""
        self._parts.append(chunk)
        self._have += len(chunk)
        if self._have < self._need:
            return
        buffer = b"".join(self._parts) if len(self._parts) > 1 else chunk
        position, end = 0, len(buffer)
        while end - position >= HEADER.size:
            length, kind, stream = HEADER.unpack_from(buffer, position)
            if length > MAX_PAYLOAD:
                raise FrameError(f"a frame announces {length} bytes; the limit is {MAX_PAYLOAD}")
            start = position + HEADER.size
            if end - start < length:
                self._need = HEADER.size + length
                break
            yield Frame(kind, stream, buffer[start : start + length])
            position = start + length
        else:
            self._need = HEADER.size
        rest = buffer[position:]
        self._parts = [rest] if rest else []
        self._have = len(rest)
