"""The log mirror: for every followed stream a local file with the same offsets as on the node.

The controller writes what streams deliver and asks what is `missing`; `lines` and `merged` read.
Which ranges are held is kept beside the file, so that a later cockpit need not fetch them again.
Receiving does no work per line and memory does not grow with volume. When the local disk fails,
a bounded tail is kept in memory instead and the failure is reported once.
"""

from __future__ import annotations

import collections
import contextlib
import fcntl
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from cockpit.errors import CockpitError
from cockpit.model.descriptors import OPEN, Descriptors
from cockpit.model.frozen import FrozenStream
from cockpit.model.private import make_folder
from cockpit.model.pruning import LIMIT, LOCK, prune
from cockpit.model.ranges import Ranges
from cockpit.model.rangesfile import RangesFile, Unsaved
from cockpit.model.timeindex import TimeIndex
from cockpit.model.unwritten import Unwritten
from cockpit.protocol import layout

MEMORY_TAIL = 4 * 1024 * 1024
"""Bytes of a stream that are kept in memory while the disk takes none."""
_MEMORY_CHUNK = 64 * 1024
BUFFER = 64 * 1024
"""Bytes of a stream, at its end, that wait to be written at once; read from memory till then. Of
many streams fewer wait, see `unwritten`."""
PERSIST_EVERY = 64 * 1024 * 1024
"""Bytes of a stream after which its ranges are written down without being asked."""
_MAX_SLOTS = 64


class StreamKey(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """A log stream: of one rank in one generation, or of a launcher process (both None)."""

    job: str
    attempt: int
    node_rank: int
    generation: int | None = None
    local_rank: int | None = None
    stream: str = "out"
    """"out" or "err"."""

    @property
    def path(self) -> str:
        """Relative path of the mirror's file. Raises ValueError for a job id that is none."""
        if not layout.JOB_ID.fullmatch(self.job) or self.stream not in ("out", "err"):
            raise ValueError(f"not a log stream: {self}")
        folder = f"{self.job}/{int(self.attempt)}/{int(self.node_rank)}"
        if self.generation is None or self.local_rank is None:
            return f"{folder}/launcher.{self.stream}"
        return f"{folder}/{int(self.generation)}/{int(self.local_rank)}.{self.stream}"


class _Saved(msgspec.Struct, frozen=True, kw_only=True):
    """The file with what a mirror holds. `boot` is the machine's, for `clean` see `close`."""

    ranges: list[tuple[int, int]]
    inode: int = 0
    boot: str = ""
    clean: bool = False
    schema: int = 1


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


class MirrorStream:
    """One stream's mirror. Made by `MirrorStore.stream`.

    `end` is the highest offset held. `index` says when bytes were written.
    """

    def __init__(
        self,
        path: Path,
        files: Descriptors,
        boot: str,
        on_problem: Callable[[str], None],
        unwritten: Unwritten,
    ) -> None:
        self._path = str(path)
        self._ranges_file = RangesFile(Path(f"{path}.ranges"))
        self._unwritten = unwritten
        self._buffer = bytearray()
        self._buffered = 0
        """Offset of the first byte in the buffer."""
        self._files = files
        self._boot = boot
        self._problem = on_problem
        self._held = Ranges()
        self._dropped = Ranges()
        self._memory: collections.deque[tuple[int, bytearray]] = collections.deque()
        self._in_memory = 0
        self._unsaved = 0
        self._dirty = False
        self._ready = False
        self.inode = 0
        self.expected = 0
        """Size of the stream on the node when it was last heard of."""
        self.ended = False
        """Nothing will be added to the stream any more: set by whoever follows it, once the
        attempt has ended on the node or the generation has a successor."""
        self.index = TimeIndex(f"{self._path}.idx", files, on_problem)
        self._load()

    # -- writing -------------------------------------------------------------------------------

    def write(self, offset: int, data: bytes) -> None:
        """Keep `data`, found at `offset` of the stream. Never raises for a failing disk."""
        if not data:
            return
        if offset != self._buffered + len(self._buffer):
            self.flush()
        if not self._buffer:
            self._buffered = offset
        self._buffer += data
        self._unwritten.held(self, len(data))
        if len(self._buffer) >= BUFFER:
            self.flush()

    def flush(self) -> None:
        """Write out what waits in memory."""
        if self._buffer:
            data = self._take_buffer()
            self._write(self._buffered, data)

    def _take_buffer(self) -> bytearray:
        data, self._buffer = self._buffer, bytearray()
        self._unwritten.written(self, len(data))
        return data

    def _write(self, offset: int, data: bytearray) -> None:
        written = 0
        try:
            self._make_folder()
            fd = self._files.get(self._path)
            view = memoryview(data)
            while written < len(data):
                written += os.pwrite(fd, view[written:], offset + written)
        except OSError as error:
            self._problem(f"cannot write the log mirror {self._path}: {error.strerror}")
            self._remember(offset + written, bytes(memoryview(data)[written:]))
        if written:
            self._held.add(offset, offset + written)
            self._dirty = True
            self._unsaved += written
            if self._unsaved >= PERSIST_EVERY:
                self.persist()

    def _remember(self, offset: int, data: bytes) -> None:
        cut = max(len(data) - MEMORY_TAIL, 0)
        offset, data = offset + cut, data[cut:]
        self._in_memory += len(data)
        if self._memory:
            start, newest = self._memory[-1]
            if start + len(newest) == offset and len(newest) < _MEMORY_CHUNK:
                newest += data
                data = b""
        if data:
            self._memory.append((offset, bytearray(data)))
        while self._in_memory > MEMORY_TAIL and len(self._memory) > 1:
            self._in_memory -= len(self._memory.popleft()[1])

    def indexed(self, entries: Sequence[tuple[int, float]]) -> None:
        """Take in (offset, wall time) pairs of the node's time index, repeated ones too."""
        if not self._ready:
            try:
                self._make_folder()
            except OSError as error:
                self._problem(f"cannot write the log mirror {self._path}: {error.strerror}")
        self.index.add(entries)

    def _make_folder(self) -> None:
        if not self._ready:
            make_folder(Path(self._path).parent)
            self._ready = True

    def expect(self, size: int, inode: int = 0) -> None:
        """The node's file has `size` bytes and that inode; another inode is another file."""
        if inode and self.inode and inode != self.inode:
            self.reset()
        if inode and inode != self.inode:
            self.inode = inode
            self._dirty = True
        self.expected = max(self.expected, size)

    def reset(self) -> None:
        """Forget everything: the file on the node was replaced."""
        self._held, self._dropped = Ranges(), Ranges()
        self._memory.clear()
        self._take_buffer()
        self._in_memory = self.inode = self.expected = 0
        self.index.reset()
        with contextlib.suppress(OSError):
            os.truncate(self._path, 0)
        self._dirty = True
        self.persist()

    # -- reading -------------------------------------------------------------------------------

    @property
    def end(self) -> int:
        end = self._held.end
        if self._buffer:
            end = max(end, self._buffered + len(self._buffer))
        if self._memory:
            end = max(end, max(offset + len(data) for offset, data in self._memory))
        return end

    @property
    def held(self) -> tuple[tuple[int, int], ...]:
        """Ranges [start, end) that can be read, in order."""
        return self._all_held().all()

    def missing(self, start: int, end: int) -> list[tuple[int, int]]:
        """The parts of [start, end) that are not held and that the node may still have."""
        ranges = self._all_held()
        for dropped in self._dropped.all():
            ranges.add(*dropped)
        return ranges.missing(start, end)

    def holes(self, start: int, end: int) -> list[tuple[int, int]]:
        """The parts of [start, end) that cannot be read, dropped ones too."""
        return self._all_held().missing(start, end)

    def drop(self, start: int, end: int) -> None:
        """The node has thrown these bytes away (its log limit): nobody need wait for them."""
        if start < end:
            self._dropped.add(start, end)

    @property
    def dropped(self) -> int:
        """Bytes that the node is known to have thrown away."""
        if not self._dropped.end:
            return 0
        return sum(end - start for start, end in self._dropped.all())

    def is_dropped(self, offset: int) -> bool:
        """The byte at `offset` was thrown away by the node."""
        return self._dropped.until(offset) > offset

    def _all_held(self) -> Ranges:
        ranges = self._held.copy()
        ranges.add(self._buffered, self._buffered + len(self._buffer))
        for offset, data in self._memory:
            ranges.add(offset, offset + len(data))
        return ranges

    def read(self, start: int, length: int) -> bytes:
        """The bytes held from `start` on, `length` at most, up to the first hole."""
        parts: list[bytes] = []
        end = start + length
        while start < end:
            part = self._read_file(start, end) or self._read_memory(start, end)
            if not part:
                break
            parts.append(part)
            start += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _read_file(self, start: int, end: int) -> bytes:
        stop = min(end, self._held.until(start))
        if stop <= start:
            return b""
        try:
            return os.pread(self._files.get(self._path), stop - start, start)
        except OSError as error:
            self._problem(f"cannot read the log mirror {self._path}: {error.strerror}")
            return b""

    def _read_memory(self, start: int, end: int) -> bytes:
        first = self._buffered
        if first <= start < first + len(self._buffer):
            return bytes(self._buffer[start - first : end - first])
        for offset, data in self._memory:
            if offset <= start < offset + len(data):
                return bytes(data[start - offset : end - offset])
        return b""

    def frozen(self, files: Descriptors) -> FrozenStream:
        """What is held now, to be read with `files` in another thread."""
        self.flush()
        self.index.flush()
        return FrozenStream(self._path, self._held.copy(), files)

    # -- keeping -------------------------------------------------------------------------------

    def persist(self, *, clean: bool = False) -> None:
        """Write down which ranges are held, atomically; cheap when nothing changed."""
        unsaved = self.unsaved(clean=clean)
        if unsaved is not None and (error := unsaved.write()) is not None:
            unsaved.failed(error)

    def unsaved(self, *, clean: bool = False) -> Unsaved | None:
        """As `persist`, but what is left to write is returned, for a thread; None for nothing."""
        self.flush()
        self.index.flush()
        if not (self._dirty or clean) or not self._ready:
            return None
        saved = _Saved(
            ranges=list(self._held.all()), inode=self.inode, boot=self._boot, clean=clean
        )
        self._dirty, self._unsaved = False, 0
        file = self._ranges_file
        return Unsaved(file, file.order(), msgspec.json.encode(saved), self._not_saved)

    def _not_saved(self, error: OSError) -> None:
        self._dirty = True
        self._problem(f"cannot keep the log mirror {self._path}: {error.strerror}")

    def close(self) -> None:
        """Make what is held safe for a later cockpit, also after a power cut."""
        self.flush()
        if self._ready and self._held.end:
            with contextlib.suppress(OSError):
                os.fdatasync(self._files.get(self._path))
                self.persist(clean=True)
        self._ranges_file.close()
        self.index.flush()
        self._files.drop(self._path)
        self.index.close()

    def _load(self) -> None:
        try:
            saved = msgspec.json.decode(Path(f"{self._path}.ranges").read_bytes(), type=_Saved)
            size = os.stat(self._path).st_size
        except (OSError, msgspec.DecodeError):
            self.index.reset()
            return
        self._ready = True
        # After a crash of the machine the ranges may tell of bytes that never reached the disk.
        if not saved.clean and (not self._boot or saved.boot != self._boot):
            self.index.reset()
            return
        self.inode = saved.inode
        for start, end in saved.ranges:
            if 0 <= start < min(end, size):
                self._held.add(start, min(end, size))


class MirrorStore:
    """All mirrors of one cockpit below `root`.

    Cockpits that run at the same time take different slots (folders), and a later one takes the
    first that is free, with everything it holds; all of them together keep to `limit` bytes by
    dropping the mirrors of old jobs (`pruning`). `on_problem` is called once, with the first
    thing that the disk refused.
    """

    def __init__(
        self,
        root: Path,
        on_problem: Callable[[str], None] | None = None,
        *,
        limit: int = LIMIT,
    ) -> None:
        self.problem = ""
        """The first failure of the local disk, for people; "" while all is well."""
        self._on_problem = on_problem
        self._files = Descriptors()
        self._unwritten = Unwritten()
        self._boot = _boot_id()
        self._streams: dict[StreamKey, MirrorStream] = {}
        self._lock = -1
        self.folder = self._take_slot(root)
        if self._lock >= 0:
            prune(root, self.folder, limit)

    def _take_slot(self, root: Path) -> Path:
        for number in range(_MAX_SLOTS):
            folder = root / str(number)
            try:
                make_folder(folder)
                lock = os.open(folder / LOCK, OPEN, 0o600)
            except OSError as error:
                # Everything goes on in memory.
                self._report(f"cannot keep logs in {folder}: {error.strerror}")
                return folder
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(lock)
                continue
            self._lock = lock
            return folder
        raise CockpitError(
            f"cannot keep logs in {root}: {_MAX_SLOTS} cockpits use it already",
            "close some of them",
        )

    def _report(self, problem: str) -> None:
        if not self.problem:
            self.problem = problem
            if self._on_problem is not None:
                self._on_problem(problem)

    def stream(self, key: StreamKey) -> MirrorStream:
        """The mirror of one stream, the same object for the same key. Raises ValueError."""
        stream = self._streams.get(key)
        if stream is None:
            path = self.folder / key.path
            stream = MirrorStream(path, self._files, self._boot, self._report, self._unwritten)
            self._streams[key] = stream
        return stream

    def unsaved(self) -> list[Unsaved]:
        """What is left to write of what every mirror holds, for a thread; call it now and then."""
        left = (stream.unsaved() for stream in self._streams.values())
        return [each for each in left if each is not None]

    def remove(self, job: str) -> None:
        """Delete every mirror of a job. Raises ValueError for an id that is none."""
        if not layout.JOB_ID.fullmatch(job):
            raise ValueError(f"not a job id: {job!r}")
        for key in [key for key in self._streams if key.job == job]:
            self._streams.pop(key).close()
        shutil.rmtree(self.folder / job, ignore_errors=True)

    def close(self) -> None:
        """Persist everything and give the slot free. Idempotent."""
        for stream in self._streams.values():
            stream.close()
        self._streams.clear()
        self._files.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
