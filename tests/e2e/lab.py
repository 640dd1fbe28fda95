"""A person's desk for end-to-end tests: real sshds as nodes, a cockpit.toml, the real command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.harness.sshd import Sshd

REPO = Path(__file__).resolve().parents[2]
PLAIN = ("run", "-c", "lab", "-l", "plain")
"""Starts a plain command; its one rank is the launcher process itself."""
TIMEOUT = 150.0
"""Seconds that a command may take on a busy machine."""


class Lab:
    """`nodes` real sshds on loopback, and `cockpit` as a person starts it, with its own disk."""

    def __init__(self, folder: Path, nodes: Sequence[Sshd], python: str = sys.executable) -> None:
        self.folder = folder
        self.nodes = list(nodes)
        self.code = folder / "code"
        self.code.mkdir(parents=True, exist_ok=True)
        self.config = folder / "cockpit.toml"
        self.controller = folder / "controller"
        known_hosts = folder / "known_hosts"
        known_hosts.write_text("".join(node.known_hosts_line for node in self.nodes))
        entries = ",\n  ".join(
            f'{{ name = "{n.name}", host = "{n.address}", addr = "{n.address}", port = {n.port} }}'
            for n in self.nodes
        )
        self.config.write_text(
            f"""
[clusters.lab]
executor = "ssh"
nodes = [
  {entries},
]
identity_file = ["{self.nodes[0].client_key}"]
ssh_config = []
known_hosts = ["{known_hosts}"]
connect_timeout = 20.0
python = "{python}"

[launchers.quick]
kind = "torchrun"
grace = 3.0

[launchers.plain]
kind = "command"
grace = 3.0
"""
        )

    def script(self, text: str, name: str = "train.py") -> Path:
        path = self.code / name
        path.write_text(text)
        return path

    def environ(self, **more: str) -> dict[str, str]:
        environ = {k: v for k, v in os.environ.items() if not k.startswith("COCKPIT_CONTROLLER")}
        return {
            **environ,
            "PYTHONPATH": str(REPO),
            "COCKPIT_CONFIG": str(self.config),
            "COCKPIT_CONTROLLER_DIR": str(self.controller),
            **more,
        }

    def start(self, *words: str, **more: str) -> subprocess.Popen[str]:
        """`cockpit WORDS` in the background, in the folder of the code."""
        return subprocess.Popen(
            [sys.executable, "-m", "cockpit", *words],
            cwd=self.code,
            env=self.environ(**more),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            start_new_session=True,
        )

    def run(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        """`cockpit WORDS` to its end."""
        process = self.start(*words, **more)
        try:
            out, err = process.communicate(timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            raise AssertionError(f"cockpit {words} did not end:\n{out}\n{err}") from None
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def detached(self, *words: str) -> str:
        """Start a plain command and leave it; the id of the job."""
        done = self.run(*PLAIN, "--detach", *words)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def status(self, job: str) -> dict[str, Any]:
        done = self.run("status", "--json", job)
        assert done.returncode == 0, done.stderr
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    def forget(self) -> None:
        """Another machine: nothing of what this controller kept on disk."""
        self.controller = self.folder / f"controller-{time.monotonic_ns()}"

    def state_dirs(self) -> list[Path]:
        """Where each node keeps its jobs."""
        return [node.state_dir for node in self.nodes]

    def printed(self, job: str, text: str) -> int:
        """How many streams of the job printed `text`; cheaper to wait for than any command."""
        logs = f"jobs/{job}/attempts/*/nodes/*/logs/**/*.out"
        found = [log for node in self.nodes for log in node.state_dir.glob(logs)]
        return sum(text.encode() in log.read_bytes() for log in found)

    @staticmethod
    def environment(pid: int) -> dict[str, str]:
        """The environment that a process was started with."""
        with open(f"/proc/{pid}/environ", "rb") as file:
            pairs = (entry.partition(b"=") for entry in file.read().split(b"\0") if entry)
            return {name.decode(): value.decode(errors="replace") for name, _, value in pairs}

    def processes(self, job: str) -> list[int]:
        """Pids of living processes that carry the job's marker, by our own scan of /proc."""
        needle = f"COCKPIT_ATTEMPT={job}/".encode()
        found = []
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                with open(f"/proc/{entry}/environ", "rb") as file:
                    environ = file.read()
                with open(f"/proc/{entry}/stat", "rb") as file:
                    state = file.read().rpartition(b")")[2].split()[0]
            except OSError:
                continue
            if needle in environ and state not in (b"Z", b"X"):
                found.append(int(entry))
        return found


def until(what: Callable[[], Any], timeout: float = 60.0, pause: float = 0.1) -> Any:
    """Call `what` until it returns something true."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        began = time.monotonic()
        result = what()
        if result:
            return result
        # A question that costs much is not asked all the time: what it waits for needs the cores.
        time.sleep(max(pause, time.monotonic() - began))
    raise AssertionError(f"{what} did not become true within {timeout} s")
