"""The log of a simulated job: lines that are made up when somebody looks at them.

Time is cut into slots of a tenth of a second; what stands in a slot follows from its number, so a
log of hours takes no memory and looks the same however often it is read.
"""

from __future__ import annotations

import functools
from bisect import bisect_right
from collections.abc import Callable, Sequence
from pathlib import Path

from cockpit.model.logtypes import Finder, LogDocument, Origin, RawLine

SLOT = 0.1
"""Seconds."""
LOOK_BACK = 1_200
"""Slots that a look begins with, and that are added by each look further back."""
MAX_LINES = 10_000

Line = tuple[Origin, float, bytes]
Write = Callable[[int], Sequence[Line]]


class SimulatedLog:
    """Satisfies `LogDocument`. `write` gives the lines of a slot, `slots` how many have passed;
    `origins` are those that can come."""

    notice = "simulated"
    opening = False
    grown = 0

    def __init__(
        self,
        write: Write,
        slots: Callable[[], int],
        origins: Sequence[Origin],
        *,
        selected: frozenset[Origin] | None = None,
        begin: int | None = None,
    ) -> None:
        self._write = functools.lru_cache(maxsize=512)(write)
        self._raw = write
        self._slots = slots
        self.origins = origins
        self.selected = selected
        self._next = self._slot = max(slots() - LOOK_BACK, 0) if begin is None else begin
        self._starts = [0]
        """Number of the first line of each slot from `_slot` on, and the end."""
        self.poll()

    @property
    def first(self) -> int:
        return self._starts[0]

    @property
    def end(self) -> int:
        return self._starts[-1]

    @property
    def complete(self) -> bool:
        return self._slot == 0

    @property
    def size(self) -> int:
        return (self.end - self.first) * 64

    def poll(self) -> bool:
        before = self.end
        for slot in range(self._next, self._slots()):
            self._starts.append(self._starts[-1] + len(self._lines_of(slot)))
            self._next = slot + 1
        return self.end != before

    def _lines_of(self, slot: int) -> Sequence[Line]:
        lines = self._write(slot)
        if self.selected is None:
            return lines
        return [line for line in lines if line[0] in self.selected]

    def lines(self, start: int, stop: int) -> Sequence[RawLine]:
        start = max(start, self.first)
        stop = min(stop, self.end, start + MAX_LINES)
        found: list[RawLine] = []
        place = bisect_right(self._starts, start) - 1
        while start < stop:
            begin, after = self._starts[place], self._starts[place + 1]
            if after > start:
                inside = self._lines_of(self._slot + place)[start - begin : stop - begin]
                found += (RawLine(start + n, *line) for n, line in enumerate(inside))
                start = after
            place += 1
        return found

    def at_time(self, at: float) -> int:
        low, high = self.first, self.end
        while low < high:
            middle = (low + high) // 2
            known = self.lines(middle, middle + 1)[0].at
            if known is not None and known >= at:
                high = middle
            else:
                low = middle + 1
        return low

    def search(self, finder: Finder, start: int, stop: int) -> list[int]:
        found: list[int] = []
        for begin in range(max(start, self.first), min(stop, self.end), MAX_LINES):
            lines = self.lines(begin, min(stop, begin + MAX_LINES))
            found += (line.number for line in lines if finder.line(line.data))
        return found

    def older(self) -> None:
        first = max(self._slot - LOOK_BACK, 0)
        counts = [len(self._lines_of(slot)) for slot in range(first, self._slot)]
        number = self.first
        for count in reversed(counts):
            number -= count
            self._starts.insert(0, number)
        self._slot = first

    def select(self, origins: frozenset[Origin] | None) -> LogDocument:
        return SimulatedLog(
            self._raw, self._slots, self.origins, selected=origins, begin=self._slot
        )

    async def save(self, path: Path) -> int:
        size = 0
        with path.open("wb") as file:
            for begin in range(self.first, self.end, MAX_LINES):
                for line in self.lines(begin, begin + MAX_LINES):
                    where = f"{line.at:.3f} {line.origin.node} rank {line.origin.rank} "
                    size += file.write(where.encode() + line.data + b"\n")
        return size

    def close(self) -> None:
        """Nothing is held."""


class Scribe:
    """What a job of `world` ranks writes: `lines` in each slot, and tracebacks where it failed.

    `nodes`: names by node rank. `began`: wall clock of slot 0. `failures`: wall clocks at which
    ranks fell, with the words of each.
    """

    def __init__(
        self,
        nodes: Sequence[str],
        gpus: int,
        began: float,
        lines: int,
        step_time: float,
        failures: Callable[[], Sequence[tuple[float, int, tuple[str, ...]]]],
    ) -> None:
        self._nodes = nodes
        self._gpus = gpus
        self._began = began
        self._lines = lines
        self._step_time = step_time
        self._failures = failures
        self._origins: dict[tuple[int, str], Origin] = {}

    def origins(self) -> list[Origin]:
        """All streams, in order of ranks."""
        world = len(self._nodes) * self._gpus
        launcher = [
            Origin(name, number, None, None, "err", 0, None)
            for number, name in enumerate(self._nodes)
        ]
        return [*launcher, *(self._origin(r, s) for r in range(world) for s in ("out", "err"))]

    def _origin(self, rank: int, stream: str) -> Origin:
        known = self._origins.get((rank, stream))
        if known is None:
            place, local = divmod(rank, self._gpus)
            known = Origin(self._nodes[place], place, rank, local, stream, 0, 0)
            self._origins[rank, stream] = known
        return known

    def write(self, slot: int) -> Sequence[Line]:
        """The lines of a slot."""
        at = self._began + slot * SLOT
        for when, rank, words in self._failures():
            since = at - when
            if 0 <= since < SLOT * 20:
                return self._fall(at, round(since / SLOT), rank, words)
            if 0 <= since < SLOT * 80:
                return [] if since < SLOT * 70 else self._again(at)
        world = len(self._nodes) * self._gpus
        step = int(slot * SLOT / self._step_time)
        made: list[Line] = []
        for number in range(self._lines):
            rank = (slot * self._lines + number) * 7 % world
            when = at + number * SLOT / self._lines
            made.append((self._origin(rank, "out"), when, self._ordinary(step, rank, number)))
        if slot % 10 == 3:
            made[-1] = (self._origin(0, "err"), made[-1][1], _progress(step))
        if slot % 97 == 41:
            rank = slot * 13 % world
            slow = b"\x1b[33mWARNING\x1b[0m slow all_reduce: %d ms, bucket %d" % (
                700 + slot % 300,
                slot % 40,
            )
            made[0] = (self._origin(rank, "err"), at, slow)
        return made

    def _ordinary(self, step: int, rank: int, number: int) -> bytes:
        return b"\x1b[32mINFO\x1b[0m step=%d loss=%.4f lr=3.0e-04 tok/s=%.2fM rank=%d" % (
            step,
            1.72 + (step * 7 + rank) % 97 / 900,
            3.9 + number % 7 / 100,
            rank,
        )

    def _fall(self, at: float, part: int, first: int, words: tuple[str, ...]) -> Sequence[Line]:
        """Twenty slots in which rank after rank prints the traceback."""
        world = len(self._nodes) * self._gpus
        ranks = min(world, 4)
        made: list[Line] = []
        for number in range(ranks):
            rank = (first + part * ranks + number) % world
            for text in words or ("killed",):
                made.append((self._origin(rank, "err"), at + number * 0.02, text.encode()))
        return made

    def _again(self, at: float) -> Sequence[Line]:
        return [
            (
                Origin(self._nodes[0], 0, None, None, "err", 0, None),
                at,
                b"[rank0] \x1b[33mworkers are being restarted\x1b[0m from /fs/ckpt/[latest]",
            )
        ]


def _progress(step: int) -> bytes:
    """A bar that was drawn three times over itself."""
    done = step % 100
    parts = [
        b"\rEpoch 3: %3d%%|%s%s|" % (n, b"#" * (n // 5), b" " * (20 - n // 5))
        for n in (max(done - 2, 0), max(done - 1, 0), done)
    ]
    return b"".join(parts)
