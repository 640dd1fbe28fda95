"""Virtual nodes: SSH servers on loopback that cockpit runs itself, for the demo and for tests.

Each node has its own host key, its own home folder and its own port; commands run as ordinary
processes of this machine. The road to such a node is the very road to a real one: asyncssh, host
key check, bootstrap, agent. GPUs of a virtual node are made up and say so.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from cockpit.profiles.types import Cluster, NodeSpec
from cockpit.transport.ptyshell import PtyShell, login_shell
from cockpit.transport.shell import ShellRequest

if TYPE_CHECKING:
    import asyncssh

ADDRESS = "127.0.0.1"
_CHUNK = 256 * 1024
SIMULATED_GPUS = "COCKPIT_SIMULATE_GPUS"


class VirtualNode(msgspec.Struct, frozen=True, kw_only=True):
    """One running server."""

    name: str
    port: int
    home: Path


class VirtualCluster:
    """A handful of virtual nodes below one folder, with the keys to reach them."""

    def __init__(self, root: Path, names: Sequence[str], *, gpus: int = 0) -> None:
        self._root = root
        self._names = tuple(names)
        self._gpus = gpus
        self._servers: list[asyncssh.SSHAcceptor] = []
        self._children: set[asyncio.subprocess.Process] = set()
        self.nodes: tuple[VirtualNode, ...] = ()

    @property
    def known_hosts(self) -> Path:
        return self._root / "known_hosts"

    @property
    def client_key(self) -> Path:
        return self._root / "client_key"

    async def start(self) -> None:
        """Make keys and start listening. Raises OSError when loopback has no free port."""
        authorized, hosts = await asyncio.to_thread(self._make_keys)
        import asyncssh  # loaded by then, off the loop

        nodes, known = [], []
        for name, home, key in hosts:
            server = await asyncssh.listen(
                ADDRESS,
                0,
                server_host_keys=[key],
                authorized_client_keys=authorized,
                process_factory=self._handler(home),
                encoding=None,
                line_editor=False,
                agent_forwarding=False,
                x11_forwarding=False,
            )
            self._servers.append(server)
            port = server.get_port()
            public = key.export_public_key().decode().strip()
            known.append(f"[{ADDRESS}]:{port} {public}\n")
            nodes.append(VirtualNode(name=name, port=port, home=home))
        await asyncio.to_thread(self.known_hosts.write_text, "".join(known))
        self.nodes = tuple(nodes)

    def _make_keys(
        self,
    ) -> tuple[asyncssh.SSHAuthorizedKeys, list[tuple[str, Path, asyncssh.SSHKey]]]:
        """Whom to let in, and each node's name, home folder and host key."""
        import asyncssh

        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        client = asyncssh.generate_private_key("ssh-ed25519")
        _write_private(self.client_key, client.export_private_key())
        authorized = asyncssh.import_authorized_keys(client.export_public_key().decode())
        hosts = []
        for name in self._names:
            home = self._root / name
            home.mkdir(mode=0o700, exist_ok=True)
            hosts.append((name, home, asyncssh.generate_private_key("ssh-ed25519")))
        return authorized, hosts

    def cluster(self, name: str, *, python: str) -> Cluster:
        """The profile by which these nodes are reached."""
        return Cluster(
            name=name,
            executor="ssh",
            nodes=tuple(
                NodeSpec(name=node.name, host=ADDRESS, addr=ADDRESS, port=node.port)
                for node in self.nodes
            ),
            identity_file=(str(self.client_key),),
            ssh_config=(),
            known_hosts=(str(self.known_hosts),),
            python=python,
            state_dir="~/.cockpit",
        )

    def _handler(self, home: Path) -> Callable[[asyncssh.SSHServerProcess[bytes]], Awaitable[None]]:
        async def serve(process: asyncssh.SSHServerProcess[bytes]) -> None:
            await self._run(process, home)

        return serve

    async def _run(self, process: asyncssh.SSHServerProcess[bytes], home: Path) -> None:
        environ = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("COCKPIT_", "SSH_", "PET_", "TORCHELASTIC_"))
        }
        environ["HOME"] = str(home)
        if self._gpus:
            environ[SIMULATED_GPUS] = str(self._gpus)
        if process.get_terminal_type() is not None:
            await _serve_shell(process, environ, home)
            return
        if process.command is None:
            process.stderr.write(b"a shell on a virtual node needs a terminal\n")
            process.exit(1)
            return
        child = await asyncio.create_subprocess_exec(
            "/bin/sh",
            "-c",
            process.command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environ,
            cwd=home,
            start_new_session=True,
        )
        self._children = {each for each in self._children if each.returncode is None}
        self._children.add(child)
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        feeding = asyncio.create_task(_feed(process, child.stdin))
        try:
            await asyncio.gather(
                _drain(child.stdout, process.stdout), _drain(child.stderr, process.stderr)
            )
            process.exit(await child.wait())
        finally:
            feeding.cancel()
            if child.returncode is not None:
                self._children.discard(child)  # else `close` waits for its end

    async def close(self) -> None:
        """Stop listening, drop connections, end the agents; jobs are none of its business."""
        for server in self._servers:
            server.close()
        await asyncio.gather(*(server.wait_closed() for server in self._servers))
        for child in list(self._children):
            if child.returncode is None:
                # Not child.send_signal: it reaps behind asyncio's back. The pid is safe to use,
                # since nobody but asyncio has waited for it.
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child.pid, signal.SIGHUP)
                await child.wait()


async def _serve_shell(
    process: asyncssh.SSHServerProcess[bytes], environ: dict[str, str], home: Path
) -> None:
    """A command, or a login shell, on a pseudo-terminal."""
    import asyncssh

    columns, rows, *_ = process.get_terminal_size()
    received = process.stdout.write
    term = process.get_terminal_type() or "dumb"
    request = ShellRequest(term, columns, rows, "", received)
    argv = ["/bin/sh", "-c", process.command] if process.command else login_shell(str(home))
    shell = await PtyShell.start(argv, environ, str(home), request)

    async def type_in() -> None:
        while True:
            try:
                data = await process.stdin.read(_CHUNK)
            except asyncssh.TerminalSizeChanged as change:
                shell.resize(change.width, change.height)
            except (asyncssh.BreakReceived, asyncssh.SignalReceived):
                continue
            except OSError:
                return
            else:
                if not data:
                    return
                shell.write(data)

    typing = asyncio.ensure_future(type_in())
    ending = asyncio.ensure_future(shell.ended())
    try:
        await asyncio.wait({typing, ending}, return_when=asyncio.FIRST_COMPLETED)
        if ending.done():
            process.exit(ending.result())
    finally:
        typing.cancel()
        ending.cancel()
        await shell.close()


async def _feed(process: asyncssh.SSHServerProcess[bytes], target: asyncio.StreamWriter) -> None:
    """Carry the client's bytes into a command; its end, or a lost connection, closes stdin."""
    try:
        while data := await process.stdin.read(_CHUNK):
            target.write(data)
            await target.drain()
    except OSError:
        # The command went away, or the connection broke: both end its input.
        return
    finally:
        target.close()


async def _drain(source: asyncio.StreamReader, target: asyncssh.SSHWriter[bytes]) -> None:
    """Carry a command's output to the client for as long as there is one."""
    connected = True
    while data := await source.read(_CHUNK):
        if not connected:
            continue
        try:
            target.write(data)
            await target.drain()
        except OSError:
            connected = False


def _write_private(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with open(descriptor, "wb") as file:
        file.write(content)
