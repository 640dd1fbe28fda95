"""Real OpenSSH servers on loopback, one per "node", with verbs for what goes wrong with nodes.

Each `Sshd` has its own port, host key, authorized keys and HOME, so `~/.cockpit` differs per node
although all of them are this machine. Works as root and as an ordinary user. Nothing outside the
given folder is written, except sshd's own /run/sshd where root starts it.

    node = Sshd(tmp_path, "n1"); node.start()
    lab = cluster([node])          # a profiles.types.Cluster that reaches it
    node.kill_connections()        # as a dropped link
    node.stop()                    # and everything that was ever started through it
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from cockpit.profiles.types import Cluster, NodeSpec

START_TIMEOUT = 30.0
NODE_ENV = "COCKPIT_TEST_NODE"
"""Marks every process that was started through one of these servers."""


def sshd_path() -> str:
    """Where OpenSSH's server is. Fails the test when it is missing: skipping would hide it."""
    path = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/sbin:" + os.environ["PATH"])
    if path is None:
        pytest.fail(
            "these tests need OpenSSH's sshd: apt-get install openssh-server", pytrace=False
        )
    return path


def make_key(path: Path) -> Path:
    """An ed25519 key pair at `path` and `path`.pub, made unless it is there."""
    if not path.exists():
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", path.name, "-f", str(path)],
            check=True,
            stdin=subprocess.DEVNULL,
        )
    return path


def free_port(address: str = "127.0.0.1") -> int:
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


class Sshd:
    """One node: an sshd on `address`, below `root`/`name`. `root` is shared by the nodes of a test.

    `env` is what sessions see besides HOME; `config_lines` come first in sshd_config, so they
    win over the defaults here. `port` 0 takes a free one, which stays the same across restarts.
    """

    def __init__(
        self,
        root: Path,
        name: str,
        address: str = "127.0.0.1",
        *,
        port: int = 0,
        config_lines: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.root = root
        self.name = name
        self.address = address
        self.port = port
        self.config_lines = list(config_lines)
        self.mark = uuid.uuid4().hex
        self.folder = root / name
        self.home = self.folder / "home"
        self.home.mkdir(parents=True, exist_ok=True)
        self.env = {**(env or {}), "HOME": str(self.home), NODE_ENV: self.mark}
        self.log = self.folder / "sshd.log"
        self.user = getpass.getuser()
        self.host_key = make_key(self.folder / "host_key")
        self.client_key = make_key(root / "client_key")
        self.authorized_keys = self.folder / "authorized_keys"
        if not self.authorized_keys.exists():
            self.authorize(self.client_key)
        self._listener: subprocess.Popen[bytes] | None = None
        self._sessions: set[int] = set()

    # What it is

    @property
    def state_dir(self) -> Path:
        """Where `~/.cockpit` of this node lies."""
        return self.home / ".cockpit"

    @property
    def host_public_key(self) -> str:
        """`TYPE BASE64`, as known_hosts has it."""
        return " ".join((self.folder / "host_key.pub").read_text().split()[:2])

    @property
    def known_hosts_line(self) -> str:
        host = self.address if self.port == 22 else f"[{self.address}]:{self.port}"
        return f"{host} {self.host_public_key}\n"

    def node(self, **changes: Any) -> NodeSpec:
        """This node for a profile. `changes` override fields of the NodeSpec."""
        fields: dict[str, Any] = {
            "name": self.name,
            "host": self.address,
            "addr": self.address,
            "port": self.port,
            **changes,
        }
        return NodeSpec(**fields)

    def authorize(self, *keys: Path) -> None:
        """Let exactly these private keys in."""
        lines = [Path(f"{key}.pub").read_text() for key in keys]
        self.authorized_keys.write_text("".join(lines))

    def new_host_key(self) -> None:
        """Another host key, as a reinstalled machine has. Takes effect at the next start."""
        for path in (self.host_key, Path(f"{self.host_key}.pub")):
            path.unlink()
        make_key(self.host_key)

    # Running

    @property
    def running(self) -> bool:
        return self._listener is not None and self._listener.poll() is None

    def start(self) -> Sshd:
        """Listen. Returns itself once connections are accepted."""
        if self.running:
            return self
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        fixed = self.port != 0
        for _ in range(100):
            if not fixed:
                self.port = free_port(self.address)
            if self._try_start():
                return self
            if fixed and "already in use" not in self._log_tail():
                break
            time.sleep(0.1)
        where = f"{self.address}:{self.port}"
        pytest.fail(f"sshd {self.name} does not start on {where}:\n{self._log_tail()}")

    def _try_start(self) -> bool:
        config = self.folder / "sshd_config"
        config.write_text(self._config())
        with self.log.open("ab") as log:
            begin = log.tell()
            self._listener = subprocess.Popen(
                [sshd_path(), "-D", "-e", "-f", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline:
            with self.log.open("rb") as log:
                log.seek(begin)
                if b"Server listening on" in log.read():
                    return True
            if self._listener.poll() is not None:
                return False
            time.sleep(0.005)
        self._listener.kill()
        self._listener.wait()
        return False

    def _config(self) -> str:
        env = " ".join(f'"{name}={value}"' for name, value in self.env.items())
        return "\n".join(
            [
                *self.config_lines,
                f"ListenAddress {self.address}:{self.port}",
                f'HostKey "{self.host_key}"',
                f'AuthorizedKeysFile "{self.authorized_keys}"',
                f"SetEnv {env}",
                "PidFile none",
                "UsePAM no",
                "StrictModes no",
                "PermitRootLogin prohibit-password",
                "PasswordAuthentication no",
                "KbdInteractiveAuthentication no",
                "PrintMotd no",
                "LogLevel VERBOSE",
                "",
            ]
        )

    def _log_tail(self) -> str:
        return self.log.read_text(errors="replace")[-2000:] if self.log.exists() else ""

    def stop_listening(self) -> None:
        """Refuse new connections; those that are open live on."""
        if self._listener is None:
            return
        self._sessions |= set(self._session_pids())
        self._listener.send_signal(signal.SIGCONT)
        self._listener.kill()
        self._listener.wait()
        self._listener = None

    def stop(self) -> None:
        """End the server, its connections, and every process that was started through it."""
        self.stop_listening()
        self.kill_connections()
        self.power_off()

    def power_off(self) -> None:
        """SIGKILL every process of this node but the listening server (a job's processes too)."""
        deadline = time.monotonic() + START_TIMEOUT
        while pids := self.processes():
            for pid in pids:
                _signal(pid, signal.SIGKILL)
            if time.monotonic() > deadline:
                raise TimeoutError(f"processes of node {self.name} survive SIGKILL: {pids}")
            time.sleep(0.01)

    # Faults

    def kill_connections(self) -> int:
        """SIGKILL the processes that serve open connections, not what they started.

        Returns how many there were.
        """
        pids = self._session_pids()
        for pid in pids:
            _signal(pid, signal.SIGKILL)
        self._sessions.clear()
        return len(pids)

    def pause(self) -> None:
        """Freeze the server and its connections: TCP stays up, nobody answers."""
        if self._listener is not None:
            self._listener.send_signal(signal.SIGSTOP)
        for pid in self._session_pids():
            _signal(pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Undo `pause`."""
        for pid in self._session_pids():
            _signal(pid, signal.SIGCONT)
        if self._listener is not None:
            self._listener.send_signal(signal.SIGCONT)

    # What runs

    def processes(self) -> list[int]:
        """Pids of all processes that carry this node's mark in their environment."""
        needle = f"{NODE_ENV}={self.mark}".encode()
        found = []
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            with contextlib.suppress(OSError), open(f"/proc/{entry}/environ", "rb") as file:
                if needle in file.read().split(b"\0") and _state(int(entry)) not in "ZX":
                    found.append(int(entry))
        return found

    def connections(self) -> int:
        """Number of server processes that serve connections now."""
        return len(self._session_pids())

    def _session_pids(self) -> list[int]:
        known = {pid for pid in self._sessions if _is_sshd(pid)}
        waiting = list(known)
        if self._listener is not None:
            waiting.append(self._listener.pid)
        while waiting:
            for pid in _children(waiting.pop()):
                if pid not in known and _is_sshd(pid):
                    known.add(pid)
                    waiting.append(pid)
        return sorted(known)


def cluster(
    sshds: Sequence[Sshd], *, name: str = "lab", trust: bool = True, **changes: Any
) -> Cluster:
    """A Cluster of these nodes: key, user, no ssh_config, and known_hosts in their root folder.

    `trust=False` leaves known_hosts as it is. `changes` override fields of the Cluster.
    """
    first = sshds[0]
    known_hosts = first.root / "known_hosts"
    if trust:
        known_hosts.write_text("".join(sshd.known_hosts_line for sshd in sshds))
    fields: dict[str, Any] = {
        "name": name,
        "executor": "ssh",
        "nodes": tuple(sshd.node() for sshd in sshds),
        "user": first.user,
        "identity_file": (str(first.client_key),),
        "ssh_config": (),
        "known_hosts": (str(known_hosts),),
        **changes,
    }
    return Cluster(**fields)


@pytest.fixture
def make_sshd(tmp_path: Path) -> Iterator[Callable[..., Sshd]]:
    """Start servers by name: `make_sshd("n1", config_lines=[...])`; all are stopped at the end."""
    made: list[Sshd] = []

    def make(name: str = "n1", address: str = "127.0.0.1", **options: Any) -> Sshd:
        sshd = Sshd(tmp_path / "sshd", name, address, **options)
        made.append(sshd)
        return sshd.start()

    yield make
    for sshd in made:
        sshd.stop()


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _children(pid: int) -> list[int]:
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            return [int(word) for word in file.read().split()]
    except OSError:
        return []


def _state(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0]
    except OSError:
        return "X"


def _is_sshd(pid: int) -> bool:
    # A forked session keeps the name of its program; what it executes takes another.
    try:
        with open(f"/proc/{pid}/comm") as file:
            return file.read().startswith("sshd") and _state(pid) not in "ZX"
    except OSError:
        return False
