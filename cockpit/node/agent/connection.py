"""Both directions of the channel to the controller: frames in, frames out, and whose turn it is.

The agent owns one. Output has two lanes: control frames (answers, telemetry) overtake bulk frames
(log data and whatever must stay behind it). Bulk is made only when there is room for it: sources
are asked for one chunk each, in turn, so that one chatty file starves nobody and little is queued.
What is in no hurry waits a moment for something to go with, since the controller pays per packet.
Nothing here blocks.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections import deque
from collections.abc import Callable

from cockpit.node.agent.loop import BROKEN, WRITE, Loop, Timer
from cockpit.protocol import frames

TYPE_CHECKING = False  # typing itself would be a tenth of an agent's start
if TYPE_CHECKING:
    from typing import Any, Protocol

    class Source(Protocol):
        """Something that has bulk output whenever there is room for it."""

        def produce(self) -> bool:
            """Queue at most CHUNK bytes; True while more could follow at once. Never raises."""


CHUNK = 256 * 1024
"""Bytes that a source may queue in one turn."""
QUEUE_LIMIT = 256 * 1024
"""Bytes of queued bulk output from which on no source is asked for more. One chunk: its memory is
reused for the next one, which doubles the throughput against a queue of four."""
BATCH = 256 * 1024
"""Bytes of bulk handed to one writev; a control frame waits for one batch at most."""
BUFFERS = 512
"""Buffers in one writev; the kernel takes up to 1024."""
CONGESTED = 512 * 1024
"""Bytes of unsent control frames above which periodic senders skip a turn."""
PATIENCE = 0.08
"""Seconds that a frame which is in no hurry waits for others to go with; less than lies between two
samples, so that no sample is overtaken by the next."""
ROUNDS = 4
"""Times that output is filled and flushed before the loop looks at its input again."""
READ_SIZE = 64 * 1024
PIPE_SIZE = 1024 * 1024
_F_SETPIPE_SZ = 1031


def json_payload(value: Any) -> bytes:
    """Compact JSON; whatever is no text (names with stray bytes) shows as question marks."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "replace")


class Connection:
    """Frames over two descriptors, which it owns from now on.

    `received` gets every frame. `closed` is called once, with None when the other side has gone
    or with a FrameError when it does not speak frames.
    """

    def __init__(
        self,
        loop: Loop,
        incoming: int,
        outgoing: int,
        received: Callable[[frames.Frame], None],
        closed: Callable[[frames.FrameError | None], None],
    ) -> None:
        self._loop = loop
        self._incoming = incoming
        self._outgoing = outgoing
        self._received = received
        self._closed = closed
        self._open = True
        self._decoder = frames.Decoder()
        self._control: deque[bytes] = deque()
        self._control_bytes = 0
        self._patient: list[bytes] = []
        """Control frames that wait for others to go with, PATIENCE seconds at most."""
        self._patience: Timer | None = None
        self._bulk: deque[tuple[bytes, ...]] = deque()
        self._bulk_bytes = 0
        self._batch: list[bytes | memoryview] = []
        self._blocked = False
        self._ready: deque[Source] = deque()
        self._scheduled: set[int] = set()
        os.set_blocking(outgoing, False)
        _enlarge(outgoing)
        loop.watch(incoming, self._readable)
        loop.watch(outgoing, self._output_broken, BROKEN)

    @property
    def congested(self) -> bool:
        """The controller does not keep up with control frames; skip what can be skipped."""
        return self._control_bytes > CONGESTED

    def send(
        self,
        kind: int,
        stream: int,
        value: Any,
        *,
        after_data: bool = False,
        patient: bool = False,
    ) -> None:
        """Queue a JSON frame; `after_data` keeps it behind the bulk that is queued already,
        `patient` lets it wait for other frames, up to PATIENCE seconds."""
        frame = frames.encode(kind, stream, json_payload(value))
        if after_data:
            self._queue_bulk((frame,), len(frame))
        elif self._open:
            self._control_bytes += len(frame)
            if not patient:
                self._control.append(frame)
                return
            self._patient.append(frame)
            if self._patience is None:
                self._patience = self._loop.later(PATIENCE, self._wait_no_longer)

    def send_data(self, stream: int, offset: int, data: bytes) -> None:
        """Queue a DATA frame. `data` is not copied."""
        length = frames.OFFSET.size + len(data)
        header = frames.HEADER.pack(length, frames.Kind.DATA, stream) + frames.OFFSET.pack(offset)
        self._queue_bulk((header, data), len(header) + len(data))

    def send_index(self, stream: int, entries: list[tuple[int, float]]) -> None:
        """Queue an INDEX frame for the data that is queued next."""
        payload = b"".join([frames.INDEX_ENTRY.pack(*entry) for entry in entries])
        frame = frames.encode(frames.Kind.INDEX, stream, payload)
        self._queue_bulk((frame,), len(frame))

    def schedule(self, source: Source) -> None:
        """Let `source` produce when it is its turn; harmless if it is waiting for it already."""
        if id(source) not in self._scheduled:
            self._scheduled.add(id(source))
            self._ready.append(source)

    def pump(self) -> bool:
        """Move output on. True when it should be called again without waiting."""
        for _ in range(ROUNDS):
            if self._blocked or not self._open:
                return False
            self._fill()
            self._flush()
            if not self._ready:
                break
        return bool(self._ready) and not self._blocked and self._open

    def _fill(self) -> None:
        while self._ready and self._bulk_bytes < QUEUE_LIMIT:
            source = self._ready.popleft()
            self._scheduled.discard(id(source))
            if source.produce():
                self.schedule(source)

    def _queue_bulk(self, buffers: tuple[bytes, ...], length: int) -> None:
        if self._open:
            self._bulk.append(buffers)
            self._bulk_bytes += length

    def _wait_no_longer(self) -> None:
        """What was patient goes now, in front of what was queued after it."""
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        self._control.extendleft(reversed(self._patient))
        self._patient.clear()

    def _take_batch(self) -> None:
        if self._patient and (self._control or self._bulk):
            self._wait_no_longer()
        while self._control and len(self._batch) < BUFFERS:
            frame = self._control.popleft()
            self._control_bytes -= len(frame)
            self._batch.append(frame)
        taken = 0
        while self._bulk and taken < BATCH and len(self._batch) < BUFFERS:
            buffers = self._bulk.popleft()
            self._batch.extend(buffers)
            taken += sum(map(len, buffers))
        self._bulk_bytes -= taken

    def _flush(self) -> None:
        """Write until nothing is queued or the descriptor takes no more."""
        while True:
            if not self._batch:
                self._take_batch()
                if not self._batch:
                    return
            try:
                self._drop(os.writev(self._outgoing, self._batch))
            except BlockingIOError:
                self._blocked = True
                self._loop.watch(self._outgoing, self._writable, WRITE)
                return
            except OSError:
                self._close(None)  # the reader is gone; nobody is left to be told
                return

    def _drop(self, written: int) -> None:
        """Forget the first `written` bytes of the batch."""
        whole = 0
        for buffer in self._batch:
            if len(buffer) > written:
                break
            written -= len(buffer)
            whole += 1
        del self._batch[:whole]
        if written:
            self._batch[0] = memoryview(self._batch[0])[written:]

    def _writable(self) -> None:
        self._blocked = False
        self._loop.watch(self._outgoing, self._output_broken, BROKEN)

    def _output_broken(self) -> None:
        self._close(None)

    def _readable(self) -> None:
        try:
            chunk = os.read(self._incoming, READ_SIZE)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        if not chunk:
            self._close(None)
            return
        try:
            for frame in self._decoder.feed(chunk):
                self._received(frame)
        except frames.FrameError as error:
            self._close(error)

    def _close(self, error: frames.FrameError | None) -> None:
        if not self._open:
            return
        self._open = False
        self._loop.unwatch(self._incoming)
        self._loop.unwatch(self._outgoing)
        self._closed(error)


def _enlarge(fd: int) -> None:
    """A roomy pipe means fewer switches between us and sshd; what is no pipe stays as it is."""
    import fcntl

    with contextlib.suppress(OSError):
        fcntl.fcntl(fd, _F_SETPIPE_SZ, PIPE_SIZE)
