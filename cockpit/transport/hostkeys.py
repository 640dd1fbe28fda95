"""Which host keys are known: one lookup for connecting, for explaining and for `cockpit trust`.

Matches as OpenSSH does: by name (HostKeyAlias, or the host name in lower case), with the port
where it is not 22, else by the bare name. A line that cannot be read is skipped. asyncssh is
imported here: load this module off the event loop.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence

import asyncssh

DEFAULT_FILES = (
    "~/.ssh/known_hosts",
    "~/.ssh/known_hosts2",
    "/etc/ssh/ssh_known_hosts",
    "/etc/ssh/ssh_known_hosts2",
)
DEFAULT_PORT = 22

_PLAIN = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
)
_CERTIFICATE = "-cert-v01@openssh.com"


@dataclasses.dataclass(frozen=True)
class Known:
    """What the files say of one host."""

    keys: tuple[asyncssh.SSHKey, ...] = ()
    authorities: tuple[asyncssh.SSHKey, ...] = ()
    revoked: tuple[asyncssh.SSHKey, ...] = ()
    files: tuple[str, ...] = ()
    """Where they were looked up."""

    @property
    def fingerprints(self) -> tuple[str, ...]:
        return tuple(f"{key_type(key)} {fingerprint(key)}" for key in self.keys)

    def algorithms(self) -> list[str]:
        """Host key algorithms to ask for: known types first, so that a server with several keys
        shows the one we can check; then all others, so that a changed type is seen as such."""
        known = {algorithm.decode() for key in self.keys for algorithm in key.sig_algorithms}
        ordered = sorted(_PLAIN, key=lambda name: (name not in known, _PLAIN.index(name)))
        certificates = [name + _CERTIFICATE for name in _PLAIN] if self.authorities else []
        return certificates + ordered


class KnownHosts:
    """The content of some known_hosts files. `files` are those that exist."""

    def __init__(self, files: Sequence[str]) -> None:
        self._hosts = asyncssh.SSHKnownHosts()
        self.files: list[str] = []
        for name in files:
            path = os.path.expanduser(name)
            try:
                with open(path, encoding="utf-8", errors="replace") as file:
                    lines = file.readlines()
            except OSError:
                continue
            self.files.append(path)
            for line in lines:
                try:
                    self._hosts.load(line)
                except ValueError:
                    continue  # as OpenSSH does: one bad line spoils no others

    def match(self, name: str, port: int) -> Known:
        """What is known of a host under `name` (see `key_name`)."""
        found = self._match(entry_name(name, port))
        if port != DEFAULT_PORT and not (found.keys or found.authorities):
            found = self._match(name)
        return found

    def _match(self, entry: str) -> Known:
        keys, authorities, revoked = self._hosts.match(entry, "", None)[:3]
        return Known(tuple(keys), tuple(authorities), tuple(revoked), tuple(self.files))


def key_name(host: str, alias: str | None = None) -> str:
    """The name under which a host's keys are kept."""
    return alias or host.lower()


def entry_name(name: str, port: int) -> str:
    """As known_hosts writes it: the bare name on port 22, else `[name]:port`."""
    return name if port == DEFAULT_PORT else f"[{name}]:{port}"


def fingerprint(key: asyncssh.SSHKey) -> str:
    """`SHA256:…`, as ssh-keygen -l shows it."""
    return key.get_fingerprint("sha256")


def key_type(key: asyncssh.SSHKey) -> str:
    return key.get_algorithm()
