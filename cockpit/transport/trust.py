"""Fetch host keys to show them to a person, and store those that they accepted.

`cockpit trust` asks; nothing here ever decides. A changed key is shown and never stored: removing
the old one is a step that a person takes themselves.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import os
import secrets
import stat
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal

import msgspec

from cockpit.errors import HostKeyError, LinkError
from cockpit.profiles.types import Cluster, NodeSpec
from cockpit.transport.factory import cluster_ssh

if TYPE_CHECKING:
    from cockpit.transport.sshclient import Dialer
    from cockpit.transport.sshsettings import Hop

State = Literal["known", "unknown", "changed", "unreachable"]


class OfferedKey(msgspec.Struct, frozen=True, kw_only=True):
    """The host key that a node, or a jump host on the way to it, has shown."""

    node: str
    """The node's name, or "jump host X"."""
    host: str
    """As known_hosts writes it: "gpu01.lab", "[127.0.0.1]:2222"."""
    state: State
    key_type: str = ""
    fingerprint: str = ""
    """`SHA256:…`"""
    known: tuple[str, ...] = ()
    """Type and fingerprint of the keys that known_hosts has for this host."""
    key: str = ""
    """`TYPE BASE64`"""
    file: str = ""
    """The known_hosts file to which it would be added."""
    why: str = ""
    """What went wrong where it is unreachable; a remark otherwise."""


async def scan(cluster: Cluster, nodes: Sequence[NodeSpec]) -> list[OfferedKey]:
    """The host keys of `nodes`, jump hosts first, each host once; logs in to jump hosts only.

    A node behind a jump host that is not trusted yet comes out as unreachable: store the jump
    host's key and scan again. Never raises LinkError.
    """
    dialer = await cluster_ssh(cluster).dialer()
    from cockpit.transport.sshsettings import Hop

    hops = [
        (node.name, Hop(node.host, node.port or cluster.port, node.user or cluster.user))
        for node in nodes
    ]
    return await _Scanner(dialer).scan(hops)


def write(path: str, keys: Iterable[OfferedKey]) -> int:
    """Add keys to a known_hosts file, at once or not at all. Returns how many were added.

    The file (0600) and its folder (0700) are made if needed; names are hashed if the file's are.
    Raises HostKeyError for a key that is not in state "unknown" or "known" (known ones are passed
    over), OSError when the file cannot be written. Blocks on disk.
    """
    wanted = list(keys)
    for offered in wanted:
        if offered.state not in ("unknown", "known"):
            raise HostKeyError(
                f"{offered.node}: a host key that is {offered.state} cannot be stored",
                f"remove the old key first: ssh-keygen -R '{offered.host}'",
                changed=offered.state == "changed",
            )
    added = [offered for offered in wanted if offered.state == "unknown"]
    if not added:
        return 0
    # A link, as dotfile managers make, is followed; what it points to is replaced.
    path = os.path.realpath(os.path.expanduser(path))
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    try:
        with open(path, "rb") as file:
            content = file.read()
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
    except FileNotFoundError:
        content, mode = b"", 0o600
    if content and not content.endswith(b"\n"):
        content += b"\n"
    hashed = any(line.startswith(b"|1|") for line in content.splitlines())
    for offered in added:
        name = _hashed(offered.host) if hashed else offered.host
        content += f"{name} {offered.key}\n".encode()
    _replace(path, content, mode)
    return len(added)


def remember(keys: Iterable[OfferedKey]) -> dict[str, int]:
    """Store the unknown ones among these keys, each in its file; how many went to which.

    Raises OSError. Blocks on disk.
    """
    unknown = [offered for offered in keys if offered.state == "unknown"]
    files = sorted({offered.file for offered in unknown})
    return {file: write(file, [o for o in unknown if o.file == file]) for file in files}


class _Scanner:
    """One scan: every host once, whatever leads to it."""

    def __init__(self, dialer: Dialer) -> None:
        self._dialer = dialer
        self._jumps: dict[Hop, asyncio.Task[OfferedKey]] = {}

    async def scan(self, hops: Sequence[tuple[str, Hop]]) -> list[OfferedKey]:
        nodes = await asyncio.gather(*(self._offered(name, hop, None) for name, hop in hops))
        return [task.result() for task in self._jumps.values()] + nodes

    async def _offered(self, name: str, hop: Hop, way: tuple[Hop, ...] | None) -> OfferedKey:
        """The key of `hop`; `way` is set where it is a jump host: the ones before it."""
        jump = way is not None
        try:
            target = await self._dialer.resolve(name, hop, jump=jump)
            hops = way or target.jumps
            for position, before in enumerate(hops):
                offered = await self._jump(before, hops[:position])
                if offered.state != "known":
                    raise LinkError(f"its {offered.node} is not trusted yet")  # noqa: TRY301
            return await self._fetch(name, hop, hops, jump)
        except LinkError as error:
            return OfferedKey(node=name, host=hop.host, state="unreachable", why=error.message)

    async def _jump(self, hop: Hop, before: tuple[Hop, ...]) -> OfferedKey:
        if hop not in self._jumps:
            work = self._offered(f"jump host {hop.host}", hop, before)
            self._jumps[hop] = asyncio.get_running_loop().create_task(work)
        return await self._jumps[hop]

    async def _fetch(self, name: str, hop: Hop, way: tuple[Hop, ...], jump: bool) -> OfferedKey:
        from cockpit.transport import hostkeys
        from cockpit.transport.sshclient import host_key

        target, key = await host_key(self._dialer, name, hop, way, jump=jump)
        known = target.known
        state: State = "unknown"
        why = ""
        if key in known.revoked:
            state, why = "changed", "marked as revoked in known_hosts"
        elif key in known.keys:
            state = "known"
        elif known.keys:
            state = "changed"
        elif known.authorities:
            state, why = "known", "vouched for by a certificate authority in known_hosts"
        return OfferedKey(
            node=name,
            host=hostkeys.entry_name(target.key_name, target.port),
            state=state,
            key_type=hostkeys.key_type(key),
            fingerprint=hostkeys.fingerprint(key),
            known=known.fingerprints,
            key=" ".join(key.export_public_key().decode().split()[:2]),
            file=target.known_files[0],
            why=why,
        )


def _hashed(host: str) -> str:
    """A host name as `ssh-keygen -H` writes it."""
    salt = secrets.token_bytes(20)
    digest = hmac.new(salt, host.encode(), hashlib.sha1).digest()
    return "|1|" + "|".join(base64.b64encode(part).decode() for part in (salt, digest))


def _replace(path: str, content: bytes, mode: int) -> None:
    temporary = f"{path}.{secrets.token_hex(8)}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
