"""Launcher processes started as a supervisor would: rendered plan, macros, attempt folders.

Each "node" is an address of its own on loopback with an attempt folder of its own; the runtime is
a copy of exactly what is shipped to nodes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from cockpit.launchers import registry
from cockpit.launchers.plan import Request
from cockpit.node import journal
from cockpit.profiles.types import Cluster, Launcher, NodeSpec
from cockpit.protocol import layout, macros

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
TIMEOUT = 150.0
JOB = "0123456789ab"
SLOTS = "slots"


def make_runtime(folder: pathlib.Path) -> pathlib.Path:
    """What a node has: the package's root, protocol/ and node/, nothing else of the house."""
    package = folder / "cockpit"
    package.mkdir(parents=True)
    shutil.copy(REPOSITORY / "cockpit" / "__init__.py", package)
    for room in ("protocol", "node"):
        shutil.copytree(
            REPOSITORY / "cockpit" / room,
            package / room,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    return folder


@dataclasses.dataclass
class Node:
    """One running launcher process and what it leaves."""

    process: subprocess.Popen[bytes]
    folder: pathlib.Path

    def events(self, kind: str = "") -> list[dict[str, Any]]:
        every = journal.read(str(self.folder / layout.LAUNCHER_EVENTS))
        return [event for event in every if not kind or event["kind"] == kind]

    def log(self, generation: int, local_rank: int, stream: str = "out") -> str:
        return (self.folder / layout.rank_log(generation, local_rank, stream)).read_text()

    def launcher_log(self) -> str:
        return (self.folder / "launcher.err").read_text()

    def pids(self, generation: int) -> list[int]:
        for event in self.events("generation"):
            if event["generation"] == generation:
                return [rank["process"]["pid"] for rank in event["ranks"]]
        return []

    def wait(self) -> int:
        return self.process.wait(TIMEOUT)


def request(script: pathlib.Path | str | None, *args: str, **changes: Any) -> Request:
    """A two-node, two-rank torchrun job; `launcher` may hold fields of its Launcher."""
    launcher = Launcher(name="torchrun", **changes.pop("launcher", {}))
    given = {
        "name": "job",
        "cluster": Cluster(name="lab"),
        "launcher": launcher,
        "nodes": tuple(NodeSpec(name=name, host=name) for name in ("a", "b", "c")),
        "min_nodes": 2,
        "max_nodes": 2,
        "nproc_per_node": 2,
        "script": str(script) if script is not None else None,
        "args": args,
        "working_dir": "/nowhere",
        "max_restarts": launcher.max_restarts,
    }
    return Request(**{**given, **changes})


class Nodes(list[Node]):
    """The nodes of one attempt; those that have not been started can join later."""

    def __init__(
        self,
        wanted: Request,
        runtime: pathlib.Path,
        folder: pathlib.Path,
        environ: Mapping[str, str],
        *,
        slots: bool = False,
    ) -> None:
        super().__init__()
        self._slots = slots
        self._wanted = wanted
        self._plan = registry.plan(wanted)
        self._runtime = runtime
        self._folder = folder
        self._environ = environ
        self._port = free_port()

    def join(self) -> Node:
        """Start the launcher process of the next node."""
        node_rank = len(self)
        attempt_dir = self._folder / str(node_rank)
        attempt_dir.mkdir()
        values = {
            "python": sys.executable,
            "runtime": str(self._runtime),
            "attempt_dir": str(attempt_dir),
            "head_node_ip": "127.0.0.1",
            "node_addr": f"127.0.0.{node_rank + 1}",
            "node_rank": str(node_rank),
            "num_nodes": str(self._wanted.max_nodes),
            "nproc_per_node": str(self._wanted.nproc_per_node),
            "rdzv_port": str(self._port),
            "is_head": "1" if node_rank == 0 else "0",
            "job": JOB,
            "attempt": "0",
        }
        for name, text in self._plan.files.items():
            (attempt_dir / name).write_text(macros.substitute(text, values))
        env = {
            **os.environ,
            **self._plan.env,
            "GLOO_SOCKET_IFNAME": "lo",
            layout.MARKER: layout.marker(JOB, 0, node_rank),
            layout.ATTEMPT_DIR_ENV: str(attempt_dir),
            **self._environ,
        }
        if self._slots:
            (attempt_dir / SLOTS).mkdir()
            env[layout.SLOTS_ENV] = str(attempt_dir / SLOTS)
        argv = [macros.substitute(item, values) for item in self._plan.argv]
        node = Node(start(argv, env, attempt_dir, self._folder), attempt_dir)
        self.append(node)
        return node


@contextlib.contextmanager
def launched(
    wanted: Request,
    runtime: pathlib.Path,
    folder: pathlib.Path,
    *,
    environ: Mapping[str, str] | None = None,
    first: int | None = None,
    slots: bool = False,
) -> Iterator[Nodes]:
    """The plan of `wanted` running on `first`, else all, of its nodes; all are ended afterwards.

    With `slots` the ranks beat, into SLOTS below each node's folder.
    """
    nodes = Nodes(wanted, runtime, folder, environ or {}, slots=slots)
    try:
        for _ in range(wanted.max_nodes if first is None else first):
            nodes.join()
        yield nodes
    finally:
        for node in nodes:
            stop(node)


def start(
    argv: Sequence[str], env: Mapping[str, str], attempt_dir: pathlib.Path, cwd: pathlib.Path
) -> subprocess.Popen[bytes]:
    with (
        open(attempt_dir / "launcher.out", "wb") as out,
        open(attempt_dir / "launcher.err", "wb") as err,
    ):
        return subprocess.Popen(
            argv,
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )


def stop(node: Node) -> None:
    if node.process.poll() is None:
        node.process.kill()
        node.process.wait(TIMEOUT)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def until(condition: Callable[[], Any], what: str, timeout: float = TIMEOUT) -> Any:
    """The first true value of `condition`; fails the test when there is none in time."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"not within {timeout:.0f} s: {what}")


def is_gone(pid: int) -> bool:
    """Dead, reaped or not."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] in ("Z", "X")
    except OSError:
        return True


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    os.kill(pid, number)
