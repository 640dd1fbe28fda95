"""Loopback nodes for the benchmarks: real OpenSSH servers, and both ways of reaching them.

Each node has a server, a port, a HOME and so a state folder of its own. `ssh` and cockpit use the
same key and known_hosts, and neither reads a configuration of the user's.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import common  # first: it puts the repository on sys.path

from cockpit.transport.factory import transport_for
from cockpit.transport.link import FollowSink, NodeLink
from tests.harness.sshd import Sshd, cluster

GCM = ("-c", "aes128-gcm@openssh.com")
CURVE = ("-o", "KexAlgorithms=curve25519-sha256")
"""asyncssh's key exchange with these servers; the default of `ssh` costs both sides more."""

__all__ = ["CURVE", "GCM", "Lab", "Sink", "lab", "until", "writing"]


class Lab:
    """Running nodes, all on 127.0.0.1. `root` is on the disk that mirrors are written to."""

    def __init__(self, root: Path, count: int) -> None:
        self.root = root
        sftp = ["Subsystem sftp internal-sftp"]  # for scp
        self.nodes = [Sshd(root, f"n{number:02d}", config_lines=sftp) for number in range(count)]
        for node in self.nodes:
            node.start()
        self.cluster = cluster(self.nodes)

    def ssh(self, node: Sshd, *command: str, options: Sequence[str] = ()) -> list[str]:
        """The argv of `ssh` for a command on `node`."""
        port = ("-p", str(node.port))
        return ["ssh", *self._options(), *options, *port, f"{node.user}@{node.address}", *command]

    def scp(self, node: Sshd, remote: Path, local: Path) -> list[str]:
        """The argv of `scp` for a file of `node`."""
        where = f"{node.user}@{node.address}:{remote}"
        return ["scp", "-q", *self._options(), "-P", str(node.port), where, str(local)]

    def _options(self) -> list[str]:
        given = {
            "IdentityFile": self.nodes[0].client_key,
            "IdentitiesOnly": "yes",
            "UserKnownHostsFile": self.root / "known_hosts",
            "StrictHostKeyChecking": "yes",
            "BatchMode": "yes",
        }
        return ["-F", "none", *(word for k, v in given.items() for word in ("-o", f"{k}={v}"))]

    def link(self, node: Sshd) -> NodeLink:
        """A new link to `node`, as the controller makes them. Not started."""
        return NodeLink(node.name, transport_for(self.cluster, node.node()))

    def file(self, node: Sshd, name: str, content: bytes = b"") -> Path:
        """A file below the state folder of `node`, which is made if needed."""
        path = node.state_dir / "bench" / name
        for folder in (node.state_dir, path.parent):
            folder.mkdir(mode=0o700, exist_ok=True)
        path.write_bytes(content)
        return path

    def relative(self, node: Sshd, path: Path) -> str:
        """`path` as a follow names it."""
        return str(path.relative_to(node.state_dir))

    def close(self) -> None:
        for node in self.nodes:
            node.stop()


@contextmanager
def lab(count: int) -> Iterator[Lab]:
    """`count` nodes in a temporary folder; everything is ended and removed afterwards."""
    root = Path(tempfile.mkdtemp(prefix="cockpit-bench-"))
    made: Lab | None = None
    try:
        made = Lab(root, count)
        yield made
    finally:
        if made is not None:
            made.close()
        shutil.rmtree(root, ignore_errors=True)


class Sink(FollowSink):
    """Does nothing by default."""

    def opened(self, offset: int, size: int) -> None: ...

    def received(self, offset: int, data: bytes) -> None: ...

    def indexed(self, entries: Sequence[tuple[int, float]]) -> None: ...

    def replaced(self) -> None: ...

    def detached(self) -> None: ...


@contextmanager
def writing(
    files: Sequence[Path], rate: float, seconds: float
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that appends lines, `rate` a second per file, for `seconds` or until the end."""
    script = common.REPO / "benchmarks" / "writer.py"
    argv = [sys.executable, str(script), str(rate), str(seconds), *map(str, files)]
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


async def until(condition: Callable[[], bool], what: str, timeout: float = 60.0) -> None:
    """Wait for `condition`; a benchmark that hangs says where."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    while not condition():
        if loop.time() > deadline:
            raise TimeoutError(f"{what}: not within {timeout:.0f} s")
        await asyncio.sleep(0.005)
