"""From a write on a node to the controller: quiet lines, 64 busy nodes, and an idle agent.

python benchmarks/bench_latency.py

Every node is an sshd of its own on loopback, for cockpit and for `ssh host tail -F` alike. The
lines carry the time of their writing; arrival is the call of FollowSink.received, or the return of
the read(2) on the pipe from `ssh`.
"""

from __future__ import annotations

import asyncio
import bisect
import os
import statistics
import subprocess
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from common import cpu_seconds, ms, note, percentile, report, resident_mb, spread
from lab import Lab, Sink, lab, until, writing
from writer import LINE, stamps

from cockpit.controller.core import Controller
from cockpit.controller.sessions import LISTING_INTERVAL, TELEMETRY_INTERVAL
from cockpit.launchers.plan import Request
from cockpit.model.mirror import MirrorStore, MirrorStream, StreamKey
from cockpit.profiles.types import Config, Launcher
from cockpit.transport.link import NodeLink

QUIET_LINES = 400
QUIET_RATE = 25.0
"""Lines a second, which go to both in turn: each is quiet for 80 ms before its next line."""
NODES = 64
RATE = 100.0
"""Lines a second on each of the busy nodes."""
WINDOW = 6.0
WINDOWS = 3
IDLE_SECONDS = 25.0
JOB = "0123456789ab"


class Stamped(Sink):
    """Notes how late each line is. For few lines: it parses on the event loop."""

    def __init__(self) -> None:
        self.late: list[float] = []
        self.open = False

    def opened(self, offset: int, size: int) -> None:
        self.open = True

    def received(self, offset: int, data: bytes) -> None:
        now = time.monotonic()
        self.late += [now - stamp for stamp in stamps(data)]


def read_lines(pipe: int, late: list[float]) -> None:
    """What Stamped does, for the output of `ssh host tail -F`."""
    while data := os.read(pipe, 65536):
        now = time.monotonic()
        late += [now - stamp for stamp in stamps(data)]


async def quiet() -> None:
    with lab(1) as host, ExitStack() as stack:
        node = host.nodes[0]
        mine, other = (host.file(node, name) for name in ("mine.out", "other.out"))
        link = host.link(node)
        await link.start()
        await link.ready(60.0)
        sink = Stamped()
        link.follow(host.relative(node, mine), 0, sink, index=True)
        await until(lambda: sink.open, "the follow")
        tail = stack.enter_context(
            subprocess.Popen(
                host.ssh(node, "tail", "-n", "+1", "-F", str(other)),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
            )
        )
        stack.callback(tail.terminate)
        assert tail.stdout is not None
        late: list[float] = []
        reader = threading.Thread(target=read_lines, args=(tail.stdout.fileno(), late))
        reader.start()
        with writing([mine, other], QUIET_RATE / 2, QUIET_LINES / QUIET_RATE) as writer:
            await asyncio.to_thread(writer.wait)
            await asyncio.sleep(0.5)
        tail.terminate()
        reader.join()
        await link.close()
    skip = QUIET_LINES // 20  # while the connections are new
    ours, theirs = sink.late[skip:], late[skip:]
    if min(len(ours), len(theirs)) < QUIET_LINES / 2 - skip - 2:
        raise RuntimeError(f"lines are missing: {len(ours)}, {len(theirs)}")
    ratio = statistics.median(ours) / statistics.median(theirs)
    report(
        "a quiet line to the controller / ssh tail -F, p50",
        ratio,
        "≤ 2.5",
        ratio <= 2.5,
        f"{ms(ours)} against {ms(theirs)}",
    )


class Mirrored(Sink):
    """Follows into a mirror and notes when what arrived; what it means is worked out later."""

    def __init__(self, mirror: MirrorStream) -> None:
        self.mirror = mirror
        self.arrivals: list[tuple[int, float]] = []
        self.open = False

    def opened(self, offset: int, size: int) -> None:
        self.open = True

    def received(self, offset: int, data: bytes) -> None:
        self.arrivals.append((offset + len(data), time.monotonic()))
        self.mirror.write(offset, data)

    def indexed(self, entries: Sequence[tuple[int, float]]) -> None:
        self.mirror.indexed(entries)

    def late(self, path: Path) -> list[float]:
        """How late each line of `path` was."""
        late = []
        for number, stamp in enumerate(stamps(path.read_bytes())):
            arrival = bisect.bisect_left(self.arrivals, ((number + 1) * LINE, 0.0))
            late.append(self.arrivals[arrival][1] - stamp)
        return late


async def _writes(files: Sequence[Path]) -> None:
    with writing(files, RATE, WINDOW) as writer:
        await asyncio.to_thread(writer.wait)
    await asyncio.sleep(0.2)


async def busy() -> None:
    with lab(NODES) as host, ExitStack() as stack:
        mine = [host.file(node, "mine.out") for node in host.nodes]
        other = [host.file(node, "other.out") for node in host.nodes]
        links, sinks, store = await _follow_all(host, mine)
        stack.callback(store.close)
        tails = []
        for node, path in zip(host.nodes, other, strict=True):
            copy = stack.enter_context((host.root / f"{node.name}.copy").open("wb"))
            argv = host.ssh(node, "tail", "-n", "+1", "-F", str(path))
            tails.append(subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=copy))
        try:
            await until(lambda: all(sink.open for sink in sinks), "the follows")
            await _writes(other)  # until every tail runs; what this costs is not counted
            await until(
                lambda: all(
                    (host.root / f"{node.name}.copy").stat().st_size == path.stat().st_size
                    for node, path in zip(host.nodes, other, strict=True)
                ),
                "the tails",
            )
            await _writes(mine)
            warm = [len(sink.arrivals) for sink in sinks]
            pids = [tail.pid for tail in tails]
            ours, theirs = [], []
            for _ in range(WINDOWS):
                before = time.process_time()
                await _writes(mine)
                ours.append(time.process_time() - before)
                before = cpu_seconds(*pids)
                await _writes(other)
                theirs.append(cpu_seconds(*pids) - before)
        finally:
            for tail in tails:
                tail.terminate()
            for tail in tails:
                tail.wait()
        await asyncio.gather(*(link.close() for link in links))
        late = _late(sinks, mine, warm)
    p50, p99 = percentile(late, 0.5), percentile(late, 0.99)
    report(
        f"a line of {NODES} nodes × {RATE:.0f} lines/s to the controller, p99 ms",
        p99 * 1e3,
        "< 60",
        p99 < 0.060,
        f"p50 {p50 * 1e3:.1f} ms, worst {max(late) * 1e3:.1f} ms of {len(late)} lines",
    )
    ratio = statistics.median([x / y for x, y in zip(ours, theirs, strict=True)])
    report(
        f"CPU of the controller / CPU of {NODES} × ssh tail -F",
        ratio,
        "≤ 0.6",
        ratio <= 0.6,
        f"{spread([100 * x / WINDOW for x in ours])} % of a core against "
        f"{spread([100 * x / WINDOW for x in theirs])} %",
    )


async def _follow_all(
    host: Lab, files: Sequence[Path]
) -> tuple[list[NodeLink], list[Mirrored], MirrorStore]:
    """A link to every node as the controller has it, one file of each followed into a mirror."""
    store = MirrorStore(host.root / "mirror")
    links, sinks = [], []
    for number, (node, path) in enumerate(zip(host.nodes, files, strict=True)):
        link = host.link(node)
        link.subscribe("watch_jobs", lambda event: None, interval=LISTING_INTERVAL)
        sink = Mirrored(store.stream(StreamKey(job=JOB, attempt=0, node_rank=number)))
        link.follow(host.relative(node, path), 0, sink, index=True)
        links.append(link)
        sinks.append(sink)
    await asyncio.gather(*(link.start() for link in links))
    await asyncio.gather(*(link.ready(120.0) for link in links))
    return links, sinks, store


def _late(sinks: Sequence[Mirrored], files: Sequence[Path], warm: Sequence[int]) -> list[float]:
    """Of all lines that came after the first `warm` arrivals of each sink."""
    late: list[float] = []
    for sink, path, skip in zip(sinks, files, warm, strict=True):
        late += sink.late(path)[sink.arrivals[skip - 1][0] // LINE :]
    return late


async def idle() -> None:
    """A running job's journals, 8 logs, the listing and telemetry; and nothing happens."""
    with lab(1) as host:
        node = host.nodes[0]
        launcher = Launcher(name="plain", kind="command")
        config = Config(clusters={"lab": host.cluster}, launchers={"plain": launcher}, jobs={})
        state = host.root / "controller"
        async with Controller(config, state_root=state, telemetry=True) as controller:
            controller.open(["lab"])
            request = Request(
                name="idle",
                cluster=host.cluster,
                launcher=launcher,
                nodes=host.cluster.nodes,
                min_nodes=1,
                max_nodes=1,
                nproc_per_node=1,
                command=("sleep", "3600"),
                working_dir=str(host.root),
            )
            job = await controller.launch(request, archive=None)
            log = controller.log(job)
            link = next(iter(controller._sessions.links.values()))
            for number in range(8):
                path = host.file(node, f"{number}.out", b"a line\n")
                link.follow(host.relative(node, path), 0, Sink(), index=True)
            await asyncio.sleep(3.0)
            assert link.hello is not None
            agent = link.hello.pid
            before = cpu_seconds(agent)
            await asyncio.sleep(IDLE_SECONDS)
            share = (cpu_seconds(agent) - before) / IDLE_SECONDS
            memory = resident_mb(agent)
            log.close()
            await controller.cancel(job)
    report("an idle agent, % of a core", 100 * share, "≤ 0.5", share <= 0.005)
    report("an idle agent, resident MB", memory, "≤ 25", memory <= 25)
    note(f"listing every {LISTING_INTERVAL:g} s, telemetry every {TELEMETRY_INTERVAL:g} s")


if __name__ == "__main__":
    asyncio.run(quiet())
    asyncio.run(busy())
    asyncio.run(idle())
