"""A long log from a node to the mirror on this disk, against `ssh cat > file` and `scp`.

python benchmarks/bench_throughput.py

All move the same file over the same sshd onto the same disk, in turn; cockpit and `ssh` with
aes128-gcm, `scp` as it is and, for the record, with aes128-gcm too. The link is open beforehand, as
it is in a running cockpit, so what `ssh host true` takes is taken off the time of the others.
"""

from __future__ import annotations

import asyncio
import resource
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from common import cpu_seconds, note, report, spread, wall
from lab import GCM, Lab, Sink, lab

from cockpit.model.mirror import MirrorStore, MirrorStream, StreamKey
from cockpit.transport.link import NodeLink
from tests.harness.sshd import Sshd

SIZE = 1_000_000_000
RUNS = 5
JOB = "0123456789ab"


def log_like(size: int) -> bytes:
    """Lines as training writes them; compressible, but nothing here compresses."""
    lines = [
        b"[rank3] epoch %03d step %07d loss %.6f lr 3.0e-04 throughput %d tok/s\n"
        % (number // 1000, number, 4.0 / (1 + number), 51_000 + number % 977)
        for number in range(14_000)
    ]
    block = b"".join(lines)
    return block * (size // len(block))


class Copy(Sink):
    """Follows into a mirror, as the controller's log does."""

    def __init__(self, mirror: MirrorStream, size: int) -> None:
        self._mirror = mirror
        self._size = size
        self.done = asyncio.get_running_loop().create_future()

    def received(self, offset: int, data: bytes) -> None:
        self._mirror.write(offset, data)
        if offset + len(data) >= self._size and not self.done.done():
            self.done.set_result(time.perf_counter())

    def indexed(self, entries: Sequence[tuple[int, float]]) -> None:
        self._mirror.indexed(entries)


class Runs:
    """Seconds and CPU seconds of the runs of one way to copy."""

    def __init__(self) -> None:
        self.wall: list[float] = []
        self.client: list[float] = []
        self.node: list[float] = []


async def follow(host: Lab, link: NodeLink, log: Path, size: int, number: int, runs: Runs) -> None:
    store = MirrorStore(host.root / "mirror")
    mirror = store.stream(StreamKey(job=JOB, attempt=number, node_rank=0))
    assert link.hello is not None
    agent = link.hello.pid
    sink = Copy(mirror, size)
    client, node, begin = time.process_time(), cpu_seconds(agent), time.perf_counter()
    following = link.follow(host.relative(host.nodes[0], log), 0, sink, index=True)
    end = await asyncio.wait_for(sink.done, 120.0)
    runs.wall.append(end - begin)
    runs.client.append(time.process_time() - client)
    runs.node.append(cpu_seconds(agent) - node)
    following.close()
    if mirror.missing(0, size):
        raise RuntimeError("the mirror has holes")
    store.remove(JOB)
    store.close()


def command(run: Callable[[], float], runs: Runs, overhead: float) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    runs.wall.append(run() - overhead)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    runs.client.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def cat(host: Lab, node: Sshd, log: Path, target: Path) -> float:
    with target.open("wb") as file:
        begin = time.perf_counter()
        subprocess.run(
            host.ssh(node, "cat", str(log), options=GCM),
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=file,
        )
        return time.perf_counter() - begin


async def main() -> None:
    with lab(1) as host:
        node = host.nodes[0]
        log = host.file(node, "log.out", log_like(SIZE))
        size = log.stat().st_size
        target = host.root / "copy"
        link = host.link(node)
        await link.start()
        await link.ready(60.0)
        ours, ssh, scp, scp_gcm = Runs(), Runs(), Runs(), Runs()
        connect = statistics.median(
            [await asyncio.to_thread(wall, host.ssh(node, "true", options=GCM)) for _ in range(5)]
        )

        def by_ssh() -> None:
            command(lambda: cat(host, node, log, target), ssh, connect)
            if target.stat().st_size != size:
                raise RuntimeError("ssh copied something else")
            target.unlink()

        def by_scp(runs: Runs, options: Sequence[str]) -> None:
            argv = host.scp(node, log, target)
            command(lambda: wall([argv[0], *options, *argv[1:]]), runs, connect)
            target.unlink()

        for number in range(1 + RUNS):
            await follow(host, link, log, size, number, ours)
            await asyncio.to_thread(by_ssh)
            await asyncio.to_thread(by_scp, scp, ())
            await asyncio.to_thread(by_scp, scp_gcm, GCM)
        await link.close()
    for runs in (ours, ssh, scp, scp_gcm):
        for values in (runs.wall, runs.client, runs.node):
            del values[:1]  # the warm-up
    ways = {"mirror": ours, "ssh": ssh, "scp": scp, "scp with aes128-gcm": scp_gcm}
    rates = {name: [size / 1e6 / took for took in runs.wall] for name, runs in ways.items()}
    for name, runs in ways.items():
        client = spread([cpu / size * 1e9 for cpu in runs.client])
        note(f"{name}: {spread(rates[name])} MB/s, client CPU {client} s/GB")
    note(f"agent CPU {spread([cpu / size * 1e9 for cpu in ours.node])} s/GB")
    for name, bar in (("ssh", 0.6), ("scp", 1.2)):
        pairs = zip(rates["mirror"], rates[name], strict=True)
        ratio = statistics.median([mine / other for mine, other in pairs])
        report(f"log bytes to the mirror / {name}", ratio, f"≥ {bar}", ratio >= bar)


if __name__ == "__main__":
    asyncio.run(main())
