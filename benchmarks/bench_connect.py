"""32 nodes from nothing to streaming, against bare asyncssh connects and against `ssh host true`.

python benchmarks/bench_connect.py

"Streaming" is the first byte of a followed file from every node, that is connect, bootstrap from
the runtime cached there, agent, request, data. Bare: asyncssh.connect to the same servers, all at
once, with the same cipher, key and known_hosts; for the record also with both parsed beforehand and
every option as cockpit sets it. `ssh`: as many processes side by side.
"""

from __future__ import annotations

import asyncio
import shutil
import statistics
import subprocess
import time

import asyncssh
from common import ms, note, report, spread
from lab import CURVE, Lab, Sink, lab

from cockpit.transport import sshclient, sshsettings
from tests.harness.sshd import Sshd

NODES = 32
RUNS = 9


class First(Sink):
    def __init__(self) -> None:
        self.byte = asyncio.get_running_loop().create_future()

    def received(self, offset: int, data: bytes) -> None:
        if not self.byte.done():
            self.byte.set_result(None)


async def streaming(host: Lab) -> float:
    begin = time.perf_counter()
    links, sinks = [], []
    for node in host.nodes:
        link, sink = host.link(node), First()
        link.follow("bench/log.out", 0, sink, index=True)
        await link.start()
        links.append(link)
        sinks.append(sink)
    await asyncio.wait_for(asyncio.gather(*(sink.byte for sink in sinks)), 120.0)
    took = time.perf_counter() - begin
    await asyncio.gather(*(link.close() for link in links))
    return took


class Bare:
    """asyncssh.connect to every node at once."""

    def __init__(self, host: Lab) -> None:
        self._host = host
        self._key = str(host.nodes[0].client_key)
        self._file = str(host.root / "known_hosts")
        self._keys = asyncssh.load_keypairs([str(host.nodes[0].client_key)])
        self._known = {
            node.port: asyncssh.import_public_key(node.host_public_key) for node in host.nodes
        }

    async def connect(self, *, parsed: bool = False) -> float:
        connect = self._parsed if parsed else self._plain
        begin = time.perf_counter()
        connections = await asyncio.gather(*(connect(node) for node in self._host.nodes))
        took = time.perf_counter() - begin
        for connection in connections:
            connection.close()
        await asyncio.gather(*(connection.wait_closed() for connection in connections))
        return took

    async def _plain(self, node: Sshd) -> asyncssh.SSHClientConnection:
        return await asyncssh.connect(
            node.address,
            node.port,
            username=node.user,
            config=None,
            client_keys=[self._key],
            agent_path=None,
            known_hosts=self._file,
            encryption_algs=sshsettings.CIPHER,
            keepalive_interval=sshsettings.KEEPALIVE_INTERVAL,
        )

    async def _parsed(self, node: Sshd) -> asyncssh.SSHClientConnection:
        trusted: tuple[list[object], ...] = ([self._known[node.port]], [], [], [], [], [], [])
        return await asyncssh.connect(
            node.address,
            node.port,
            username=node.user,
            config=None,
            client_keys=self._keys,
            agent_path=None,
            known_hosts=lambda _host, _address, _port: trusted,
            server_host_key_algs=["ssh-ed25519"],
            x509_trusted_certs=None,
            x509_trusted_cert_paths=None,
            preferred_auth=sshclient.AUTHENTICATION,
            encryption_algs=sshsettings.CIPHER,
            compression_algs=None,
        )


def processes(host: Lab, options: tuple[str, ...] = ()) -> float:
    begin = time.perf_counter()
    running = [
        subprocess.Popen(host.ssh(node, "true", options=options), stdin=subprocess.DEVNULL)
        for node in host.nodes
    ]
    codes = [process.wait() for process in running]
    if any(codes):
        raise RuntimeError(f"ssh ended with {max(codes)}")
    return time.perf_counter() - begin


async def main() -> None:
    with lab(NODES) as host:
        for node in host.nodes:
            host.file(node, "log.out", b"a line\n")
        bare = Bare(host)
        await bare.connect()
        await bare.connect(parsed=True)
        first = [await streaming(host)]
        ours, theirs, parsed, ssh, curve, cpu = [], [], [], [], [], []
        for number in range(1 + RUNS):
            before = time.process_time()
            took = await streaming(host)
            spent = time.process_time() - before
            plain = await bare.connect()
            quick = await bare.connect(parsed=True)
            slow = await asyncio.to_thread(processes, host)
            if number == 0:
                continue  # the warm-up
            ours.append(took)
            cpu.append(spent / NODES)
            theirs.append(plain)
            parsed.append(quick)
            ssh.append(slow)
            if number % 3 == 0:
                curve.append(await asyncio.to_thread(processes, host, CURVE))
        for _ in range(2):
            for node in host.nodes:
                shutil.rmtree(node.state_dir / "runtime")
            first.append(await streaming(host))
    for name, others, bar in (
        ("a bare asyncssh connect of them", theirs, 2.5),
        (f"{NODES} × ssh host true side by side", ssh, 0.5),
    ):
        pairs = zip(ours, others, strict=True)
        ratio = statistics.median([mine / other for mine, other in pairs])
        report(
            f"{NODES} nodes connected and streaming / {name}",
            ratio,
            f"≤ {bar}",
            ratio <= bar,
            f"{ms(ours)} against {ms(others)}",
        )
    ratio = statistics.median([mine / other for mine, other in zip(ours, parsed, strict=True)])
    note(f"bare with everything parsed beforehand: {ms(parsed)}, ratio {ratio:.2f}")
    note(f"controller CPU a node: {spread([1e3 * c for c in cpu], ' ms')}")
    note(f"{NODES} × ssh host true with curve25519: {ms(curve)}")
    ratio = statistics.median(first) / statistics.median(theirs)
    note(f"first-ever connect, runtime not on the nodes: {ms(first)}, {ratio:.1f} × bare")


if __name__ == "__main__":
    asyncio.run(main())
