"""A connection killed under load: how soon the log goes on, and whether every byte is there.

python benchmarks/bench_resume.py [KILLS]

One log grows by 6,400 lines a second. The server's processes for the connection are killed, a
hundred times; the time runs from the kill to the first byte that arrives over the new connection.
In turn with `ssh host true` to the same server. After each resumption the mirror is compared with
the log, byte by byte, up to where it is.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Sequence

from common import ms, note, report, wall
from lab import CURVE, Sink, lab, until, writing

from cockpit.model.mirror import MirrorStore, MirrorStream, StreamKey
from cockpit.transport.link import STEADY

KILLS = 100
RATE = 6400.0
CURVE_EVERY = 10


class Resumed(Sink):
    """Follows into a mirror and notes the first byte of each connection."""

    def __init__(self, mirror: MirrorStream) -> None:
        self.mirror = mirror
        self.next = 0
        self.jumps = 0
        """Times that bytes did not continue where the last ones ended."""
        self.resumed = asyncio.Event()
        self.at = 0.0
        self._waiting = True

    def detached(self) -> None:
        self._waiting = True

    def received(self, offset: int, data: bytes) -> None:
        if self._waiting:
            self._waiting = False
            self.at = time.perf_counter()
            self.resumed.set()
        self.jumps += offset != self.next
        self.next = offset + len(data)
        self.mirror.write(offset, data)

    def indexed(self, entries: Sequence[tuple[int, float]]) -> None:
        self.mirror.indexed(entries)


async def main(kills: int) -> None:
    ours: list[float] = []
    default: list[float] = []
    curve: list[float] = []
    exact = 0
    with lab(1) as host:
        node = host.nodes[0]
        log = host.file(node, "log.out")
        store = MirrorStore(host.root / "mirror")
        mirror = store.stream(StreamKey(job="0123456789ab", attempt=0, node_rank=0))
        sink = Resumed(mirror)
        link = host.link(node)
        link.follow(host.relative(node, log), 0, sink, index=True)
        await link.start()
        checked = 0
        with writing([log], RATE, 3600.0), log.open("rb") as source:
            await asyncio.wait_for(sink.resumed.wait(), 60.0)
            for number in range(kills):
                begin = time.perf_counter()
                default.append(await asyncio.to_thread(wall, host.ssh(node, "true")))
                if number % CURVE_EVERY == 0:
                    argv = host.ssh(node, "true", options=CURVE)
                    curve.append(await asyncio.to_thread(wall, argv))
                # A connection that did not last is tried again with a pause.
                await asyncio.sleep(max(0.05, STEADY + 0.05 - (time.perf_counter() - begin)))
                sink.resumed.clear()
                begin = time.perf_counter()
                if not node.kill_connections():
                    raise RuntimeError("there was no connection to kill")
                await asyncio.wait_for(sink.resumed.wait(), 60.0)
                ours.append(sink.at - begin)
                jumps, sink.jumps = sink.jumps, 0
                written = source.read(mirror.end - checked)
                same = mirror.read(checked, len(written)) == written
                exact += same and not jumps and len(written) == mirror.end - checked
                checked += len(written)
        await until(lambda: mirror.end == log.stat().st_size, "the rest of the log")
        whole = mirror.read(0, mirror.end) == log.read_bytes()
        await link.close()
        store.close()
    ratio = statistics.median(ours) / statistics.median(default)
    report(
        "killed connection to first resumed byte / ssh host true",
        ratio,
        "≤ 0.6",
        ratio <= 0.6,
        f"{ms(ours)} against {ms(default)}",
    )
    note(f"with curve25519 `ssh host true` takes {ms(curve)}")
    report(
        f"kills of {kills} after which the log goes on byte-exact",
        exact,
        f"= {kills}, and the whole log",
        exact == kills and whole,
        f"{log_size(checked)} compared",
    )


def log_size(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if sys.argv[1:] else KILLS))
