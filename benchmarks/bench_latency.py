"""From a write on a node to the controller: quiet lines, 64 busy nodes, and an idle agent.

python benchmarks/bench_latency.py [quiet] [busy] [idle]

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
import sys
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
WARM_UP = 1.5
WINDOW = 6.0
ROUNDS = 3
IDLE_SECONDS = 20.0
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
            arrival = bisect.bisect_left(self.arrivals, ((number + 1) * LINE,))
            late.append(self.arrivals[arrival][1] - stamp)
        return late


async def _write(files: Sequence[Path], seconds: float = WINDOW) -> None:
    with writing(files, RATE, seconds) as writer:
        await asyncio.to_thread(writer.wait)
    await asyncio.sleep(0.2)


async def busy() -> None:
    """In turn, since the kernel allows a user 128 inotify instances unless told otherwise."""
    ours: list[float] = []
    theirs: list[float] = []
    late: list[float] = []
    with lab(NODES) as host:
        for number in range(ROUNDS):
            mine = [host.file(node, f"{number}.mine") for node in host.nodes]
            ours.append(await _busy_links(host, number, mine, late))
            other = [host.file(node, f"{number}.other") for node in host.nodes]
            theirs.append(await _busy_tails(host, other))
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


async def _busy_links(host: Lab, number: int, files: Sequence[Path], late: list[float]) -> float:
    """CPU seconds of this process during WINDOW; how late the lines were goes to `late`."""
    links, sinks, store = await _follow_all(host, number, files)
    await until(lambda: all(sink.open for sink in sinks), "the follows")
    await _write(files, WARM_UP)
    warm = [sink.arrivals[-1][0] // LINE for sink in sinks]
    before = time.process_time()
    await _write(files)
    took = time.process_time() - before
    await asyncio.gather(*(link.close() for link in links))
    store.close()
    for sink, path, skip in zip(sinks, files, warm, strict=True):
        late += sink.late(path)[skip:]
    return took


async def _busy_tails(host: Lab, files: Sequence[Path]) -> float:
    """CPU seconds of all the `ssh` clients during WINDOW; each writes to a file, as a mirror is."""
    copies = [host.root / f"{node.name}.copy" for node in host.nodes]
    tails = []
    try:
        for node, path, copy in zip(host.nodes, files, copies, strict=True):
            argv = host.ssh(node, "tail", "-n", "+1", "-F", str(path))
            with copy.open("wb") as target:
                tails.append(subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=target))

        def level() -> bool:
            pairs = zip(files, copies, strict=True)
            return all(path.stat().st_size == copy.stat().st_size for path, copy in pairs)

        await _write(files, WARM_UP)
        await until(level, "the tails")
        pids = [tail.pid for tail in tails]
        before = cpu_seconds(*pids)
        await _write(files)
        took = cpu_seconds(*pids) - before
        await until(level, "the tails")
        return took
    finally:
        for tail in tails:
            tail.terminate()
        for tail in tails:
            tail.wait()


async def _follow_all(
    host: Lab, attempt: int, files: Sequence[Path]
) -> tuple[list[NodeLink], list[Mirrored], MirrorStore]:
    """A link to every node as the controller has it, one file of each followed into a mirror."""
    store = MirrorStore(host.root / "mirror")
    links, sinks = [], []
    for number, (node, path) in enumerate(zip(host.nodes, files, strict=True)):
        link = host.link(node)
        link.subscribe("watch_jobs", lambda event: None, interval=LISTING_INTERVAL)
        sink = Mirrored(store.stream(StreamKey(job=JOB, attempt=attempt, node_rank=number)))
        link.follow(host.relative(node, path), 0, sink, index=True)
        links.append(link)
        sinks.append(sink)
    await asyncio.gather(*(link.start() for link in links))
    await asyncio.gather(*(link.ready(120.0) for link in links))
    return links, sinks, store


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
    for topic in (quiet, busy, idle):
        if not sys.argv[1:] or topic.__name__ in sys.argv[1:]:
            asyncio.run(topic())
