"""Writes a whole merged log to a file, each line with its time and origin. Used by `logdoc`.

What is to be written is settled at once; the work itself is done by the function that `save`
returns, which touches no mirror and may run in a thread. Memory does not grow with the log.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from cockpit.errors import CockpitError
from cockpit.model.descriptors import Descriptors
from cockpit.model.frozen import FrozenStream
from cockpit.model.logscan import CHUNK, Stretch, scan
from cockpit.model.masking import Mask
from cockpit.model.merged import Source
from cockpit.model.private import write_all

OPEN_FILES = 64
_BLOCK = 1024 * 1024
_BUFFERS = 16 * 1024 * 1024


def save(sources: Sequence[Source], path: Path, mask: Mask | None = None) -> Callable[[], int]:
    """What writes every line that is held of `sources` now, and returns the bytes written.

    `mask` hides values in them. It raises CockpitError when the file cannot be written; then there
    is no half of it.
    """
    files = Descriptors(OPEN_FILES)
    streams = [source.mirror.frozen(files) for source in sources]
    return lambda: _save(sources, streams, files, path, mask or Mask())


def _save(
    sources: Sequence[Source],
    streams: Sequence[FrozenStream],
    files: Descriptors,
    path: Path,
    mask: Mask,
) -> int:
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    written = 0
    try:
        fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            for block in _blocks(sources, streams, mask):
                write_all(fd, block)
                written += len(block)
        finally:
            os.close(fd)
        os.replace(beside, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        raise CockpitError(
            f"cannot save the log as {path}: {error.strerror}",
            "give another place with `save PATH`; nothing was left there",
        ) from error
    finally:
        files.close()
    return written


def _blocks(
    sources: Sequence[Source], streams: Sequence[FrozenStream], mask: Mask
) -> Iterator[bytes]:
    parts: list[bytes] = []
    size = 0
    words = [_words(source) for source in sources]
    for stretch in _merged(sources, streams):
        prefix = _stamp(stretch.at) + words[stretch.lane]
        start, left = stretch.start, stretch.size
        masked = mask.stream()
        parts.append(prefix)
        while left > 0:
            data = streams[stretch.lane].read(start, min(left, _BLOCK))
            if not data:
                break  # the disk failed; the mirrors report it
            start, left = start + len(data), left - len(data)
            # The newline at the end of the lines begins no line.
            body = data[:-1] if left == 0 and data.endswith(b"\n") else data
            body = masked.feed(body)
            text = body.replace(b"\n", b"\n" + prefix)
            parts.append(text)
            size += len(text) + len(prefix)
        parts.append(masked.end().replace(b"\n", b"\n" + prefix))
        parts.append(b"\n")
        if size >= _BLOCK:
            yield b"".join(parts)
            parts, size = [], 0
    yield b"".join(parts)


def _merged(sources: Sequence[Source], streams: Sequence[FrozenStream]) -> Iterator[Stretch]:
    chunk = min(CHUNK, max(_BUFFERS // max(len(sources), 1), 16 * 1024))
    return heapq.merge(
        *(
            _stretches(source, stream, number, chunk)
            for number, (source, stream) in enumerate(zip(sources, streams, strict=True))
        )
    )


def _stretches(source: Source, stream: FrozenStream, lane: int, chunk: int) -> Iterator[Stretch]:
    for found in scan(stream, lane, source.order, source.skew, 0, stream.end, chunk):
        yield from found


def _stamp(at: float) -> bytes:
    """Local time; "-" where it is not known."""
    if not 0 < at < 1e11:
        return b"- "
    text = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
    return f"{text}.{int(at % 1 * 1000):03d} ".encode()


def _words(source: Source) -> bytes:
    """Whose lines they are."""
    who = "launcher" if source.rank is None else f"rank {source.rank}"
    return f"{source.node} {who} {source.stream} ".encode()
