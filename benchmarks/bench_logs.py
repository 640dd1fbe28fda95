"""What the log document costs: taking in, remembering, opening, searching.

python benchmarks/bench_logs.py [receive] [ingest] [memory] [open] [search]

`receive` follows real frames of 64 streams in this process; the others write the mirrors
directly. Nothing is drawn here.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from common import alternate, ms, note, report, resident_mb, spread

from cockpit.model.logdoc import LogDoc
from cockpit.model.logtap import Tap
from cockpit.model.merged import MergedLog, Source
from cockpit.model.mirror import MirrorStore, MirrorStream, StreamKey
from cockpit.protocol import frames
from cockpit.transport.session import Session

T = TypeVar("T")

JOB = "0123456789ab"
STREAMS = 64
BURSTS = 20
"""A second, of each stream: as often as a node sends."""
LINE = b"[rank3] epoch 004 step %07d loss 2.345678 lr 3.0e-04 throughput 51234 tok/s\n"


class Supply:
    """Streams of this process."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder = folder
        self.store = MirrorStore(folder)
        self.taps = [self._tap(number) for number in range(count)]

    def _tap(self, rank: int) -> Tap:
        key = StreamKey(job=JOB, attempt=0, node_rank=rank, generation=0, local_rank=0)
        source = Source(
            mirror=self.store.stream(key),
            node=f"gpu{rank:02d}",
            node_rank=rank,
            attempt=0,
            generation=0,
            rank=rank,
            local_rank=0,
            stream="out",
        )
        return Tap(source, lambda _start, _stop: None, lambda: True)

    def refresh(self) -> bool:
        return True

    def join(self) -> None: ...

    def leave(self) -> None: ...

    async def whole(self, taps: Sequence[Tap]) -> list[str]:
        return []

    async def off_loop(self, work: Callable[[], T]) -> T:
        return await asyncio.to_thread(work)


@contextmanager
def supply(count: int) -> Iterator[Supply]:
    with tempfile.TemporaryDirectory(prefix="cockpit-bench-") as folder:
        made = Supply(Path(folder), count)
        yield made
        made.store.close()


class Clock:
    """Moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Writer:
    """All streams go on by one burst at a time."""

    def __init__(self, lines: int, begin: float = 1_700_000_000.0) -> None:
        self.block = b"".join(LINE % number for number in range(lines))
        self.lines = lines
        self.at = begin
        self.offset = 0

    def burst(self, taps: Sequence[Tap]) -> None:
        """The next bytes of every stream arrive."""
        self.at += 1 / BURSTS
        for number, tap in enumerate(taps):
            tap.mirror.indexed([(self.offset, self.at + number * 1e-4)])
            tap.received(self.offset, self.block)
        self.offset += len(self.block)


def ingest() -> None:
    """60,000 lines/s, and a million, as CPU of one core; beside it a merge that decodes lines."""
    for rate, bar in ((60_000, 6.0), (1_000_000, 20.0)):
        shares = []
        for _ in range(5):
            with supply(STREAMS) as made:
                clock = Clock()
                document = LogDoc(made, clock=clock)
                for tap in made.taps:
                    tap.opened(0, 0)
                writer = Writer(rate // STREAMS // BURSTS)
                seconds = 10 if rate < 100_000 else 3
                begin = time.process_time()
                for _ in range(seconds * BURSTS):
                    writer.burst(made.taps)
                    clock.now += 1 / BURSTS
                    document.poll()
                    end = document.end
                    document.lines(end - 40, end)
                shares.append((time.process_time() - begin) / seconds * 100)
                document.close()
        figure = statistics.median(shares)
        what = f"{rate:,} lines/s into mirrors and document, % of a core"
        report(what, figure, f"≤ {bar:g}", figure <= bar, spread(shares))
    with supply(STREAMS) as made:
        log = MergedLog([tap.source for tap in made.taps])
        writer = Writer(60_000 // STREAMS // BURSTS)
        clock, begin = Clock(), time.process_time()
        for _ in range(5 * BURSTS):
            writer.burst(made.taps)
            clock.now += 1 / BURSTS
            log.take(clock.now)
        share = (time.process_time() - begin) / 5 * 100
        note(f"60,000 lines/s through a merge that decodes each line: {share:.1f} % of a core")


_MEMORY = """
import sys
sys.path[:0] = [{folder!r}]
import bench_logs
bench_logs.remember({lines})
"""


def remember(lines: int) -> None:
    """In a process of its own: print the resident memory with that many lines."""
    with supply(STREAMS) as made:
        clock = Clock()
        document = LogDoc(made, clock=clock)
        for tap in made.taps:
            tap.opened(0, 0)
        writer = Writer(48)
        while document.end < lines:
            writer.burst(made.taps)
            clock.now += 0.2
            document.poll()
        document.lines(document.end - 100, document.end)
        gc.collect()
        print(resident_mb(os.getpid()), document.end)


def memory() -> None:
    """Ten million lines beside hardly any."""

    def run(lines: int) -> float:
        folder = str(Path(__file__).parent)
        code = _MEMORY.format(folder=folder, lines=lines)
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        return float(done.stdout.split()[0])

    many, few = alternate(lambda: run(10_000_000), lambda: run(10_000), runs=3, warmup=0)
    more = statistics.median(many) - statistics.median(few)
    report("10 million lines beyond an empty log, MB", more, "≤ 10", more <= 10.0,
           f"{spread(many)} against {spread(few)} MB")  # fmt: skip


def opening() -> None:
    """A log of 2 GB and one of 2 MB, mirrored long ago, to the first 40 lines."""
    with tempfile.TemporaryDirectory(prefix="cockpit-bench-") as name:
        folder = Path(name)
        sizes = {"big": 2_000_000_000, "small": 2_000_000}
        block = b"".join(LINE % number for number in range(20_000))
        for what, size in sizes.items():
            store = MirrorStore(folder / what)
            mirror = store.stream(StreamKey(job=JOB, attempt=0, node_rank=0, generation=0,
                                            local_rank=0))  # fmt: skip
            at = 1_700_000_000.0
            for offset in range(0, size, len(block)):
                mirror.indexed([(offset, at)])
                mirror.write(offset, block)
                at += 1.0
            store.close()

        def open_(what: str) -> float:
            begin = time.perf_counter()
            made = Supply(folder / what, 1)
            (tap,) = made.taps
            clock = Clock()
            document = LogDoc(made, clock=clock)
            mirror: MirrorStream = tap.mirror
            tap.opened(mirror.end - 256 * 1024, mirror.end)
            while not document.end:
                clock.now += 0.05
                document.poll()
            assert len(document.lines(document.end - 40, document.end)) == 40
            took = time.perf_counter() - begin
            document.close()
            made.store.close()
            return took

        big, small = alternate(lambda: open_("big"), lambda: open_("small"), runs=9)
        ratio = statistics.median(big) / statistics.median(small)
        report("open 2 GB / 2 MB", ratio, "≤ 1.2", ratio <= 1.2, f"{ms(big)} against {ms(small)}")


class Literal:
    """Finds a literal, as the screen does."""

    def __init__(self, word: bytes) -> None:
        self.word = word

    def block(self, data: bytes) -> bool:
        return self.word in data

    def line(self, data: bytes) -> bool:
        return self.word in data


class Regex:
    """Finds a pattern."""

    def __init__(self, pattern: bytes) -> None:
        self._found = re.compile(pattern).search

    def block(self, data: bytes) -> bool:
        return self._found(data) is not None

    def line(self, data: bytes) -> bool:
        return self._found(data) is not None


def find(document: LogDoc, finder: Any) -> float:
    """Seconds to look at the whole document."""
    begin = time.perf_counter()
    found: list[int] = []
    for start in range(document.first, document.end, 100_000):
        stop = min(start + 100_000, document.end)
        found += document.search(finder, start, stop)
    if len(found) != 1:
        raise RuntimeError(f"found {found}")
    return time.perf_counter() - begin


def grep(files: Sequence[str], *arguments: str) -> float:
    """Seconds that grep takes for the mirrored files."""
    begin = time.perf_counter()
    argv = ["grep", "-h", *arguments, *files]
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, env={"LC_ALL": "C"})
    return time.perf_counter() - begin


def search() -> None:
    """A rare word and a pattern in 400 MB of 64 merged streams, and of one, against grep."""
    for count in (STREAMS, 1):
        with supply(count) as made:
            clock = Clock()
            document = LogDoc(made, clock=clock)
            for tap in made.taps:
                tap.opened(0, 0)
            writer = Writer(48 if count > 1 else 3000)
            size = 0
            while size < 400_000_000:
                writer.burst(made.taps)
                size += len(writer.block) * count
                clock.now += 0.2
                document.poll()
            needle = b"NCCL WARN timeout\n"
            made.taps[0].received(writer.offset, needle)
            for _ in range(5):
                clock.now += 0.2
                document.poll()
            files = sorted(str(path) for path in made.folder.rglob("*.out"))

            for what, finder, arguments in (
                ("literal", Literal(b"NCCL WARN"), ("-F", "NCCL WARN")),
                ("regex", Regex(rb"NCCL (WARN|INFO) [a-z]+"), ("-E", "NCCL (WARN|INFO) [a-z]+")),
            ):
                ours, other = alternate(
                    functools.partial(find, document, finder),
                    functools.partial(grep, files, *arguments),
                    runs=3,
                )
                rate = size / 1e6 / statistics.median(ours)
                ratio = statistics.median(other) / statistics.median(ours)
                bar = 0.05 if count > 1 else 0.2
                report(f"{what} search of {count} streams / grep -F -E", ratio, f"≥ {bar}",
                       ratio >= bar, f"{rate:.0f} MB/s, {document.end:,} lines")  # fmt: skip
            document.close()


class _Pipe:
    """A channel that leads nowhere."""

    def write(self, data: bytes) -> None: ...

    async def drained(self) -> None: ...

    async def close(self) -> None: ...


async def _receive() -> None:
    from cockpit.transport.standing import Follow

    with supply(STREAMS) as made:
        clock = Clock()
        document = LogDoc(made, clock=clock)
        sessions = []
        for tap in made.taps:
            session = Session("node", lambda _error: None)
            session.attach(_Pipe())
            sink = _Sink(tap)
            follow = Follow("x", -1, sink, index=True, forget=lambda: None)
            follow.bind(session)
            session.received(frames.encode_json(frames.Kind.REPLY, 1, {"offset": 0, "size": 0}))
            sessions.append(session)
        writer = Writer(60_000 // STREAMS // BURSTS)
        seconds = 10
        before = resource.getrusage(resource.RUSAGE_SELF)
        for _ in range(seconds * BURSTS):
            index = frames.encode(
                frames.Kind.INDEX, 1, frames.INDEX_ENTRY.pack(writer.offset, writer.at)
            )
            data = frames.encode(
                frames.Kind.DATA, 1, frames.OFFSET.pack(writer.offset) + writer.block
            )
            for session in sessions:
                session.received(index + data)
            writer.offset += len(writer.block)
            writer.at += 1 / BURSTS
            clock.now += 1 / BURSTS
            document.poll()
        after = resource.getrusage(resource.RUSAGE_SELF)
        took = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        share = took / seconds * 100
        report("60,000 lines/s from frames to document, % of a core", share, "≤ 6", share <= 6.0,
               f"{document.end:,} lines")  # fmt: skip
        document.close()


class _Sink:
    """As the controller's."""

    def __init__(self, tap: Tap) -> None:
        self.opened = tap.opened
        self.received = tap.received
        self.indexed = tap.mirror.indexed
        self.replaced = tap.replaced

    def detached(self) -> None: ...


def receive() -> None:
    """Decoded frames through session, follow, tap and mirror into the document."""
    asyncio.run(_receive())


PARTS = {
    "receive": receive, "ingest": ingest, "memory": memory, "open": opening, "search": search,
}  # fmt: skip

if __name__ == "__main__":
    for part in sys.argv[1:] or PARTS:
        PARTS[part]()
