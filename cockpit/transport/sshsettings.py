"""What a cluster's profile and the user's ssh_config say together about reaching one host.

Reads files, so it runs in threads only; what was read is kept until the files change, keys above
all, since parsing them is the dearest part of a connect. asyncssh is imported here.
"""

from __future__ import annotations

import dataclasses
import getpass
import os
import re
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import asyncssh

from cockpit.errors import AuthenticationError, LinkError
from cockpit.profiles.types import Cluster
from cockpit.text import clean
from cockpit.transport import sshconfig
from cockpit.transport.hostkeys import DEFAULT_FILES, Known, KnownHosts, key_name

DEFAULT_KEYS = ("id_ed25519", "id_ecdsa", "id_rsa", "id_ed25519_sk", "id_ecdsa_sk")
KEEPALIVE_INTERVAL = 5.0
KEEPALIVE_COUNT = 3
WINDOW = 16 * 1024 * 1024
"""Receive window of the agent's channel; at a round trip of 10 ms, 2 MB bound it to 89 MB/s."""
CIPHER = "^aes128-gcm@openssh.com"
"""The cheapest cipher first; the default order after it."""

_SAFE_HOST = re.compile(r"[A-Za-z0-9_.:%\[\]][A-Za-z0-9_.:%\[\]-]*")
_SAFE_USER = re.compile(r"[^\s\x00-\x1f\x7f'\"`$\\;&|<>(){}-][^\s\x00-\x1f\x7f'\"`$\\;&|<>(){}]*")
_HOP = re.compile(
    r"(?:ssh://)?(?:(?P<user>[^@]+)@)?(?:\[(?P<v6>[^\]]+)\]|(?P<host>[^:]+))(?::(?P<port>\d+))?/?"
)

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Hop:
    """A host to go to, as somebody wrote it. None: the ssh_config decides."""

    host: str
    port: int | None = None
    user: str | None = None

    def __str__(self) -> str:
        user = f"{self.user}@" if self.user else ""
        return f"{user}{self.host}" + (f":{self.port}" if self.port else "")


@dataclasses.dataclass(frozen=True)
class Keys:
    """Which keys are offered. `problems` say which ones cannot be, and why."""

    pairs: tuple[Any, ...]
    agent_identities: tuple[bytes, ...] | None
    """Public keys that the agent may be asked for; None: all it has; (): none."""
    problems: tuple[str, ...]
    explicit: bool
    """The profile or the ssh_config names them."""


@dataclasses.dataclass(frozen=True)
class Target:
    """One host, resolved."""

    hop: Hop
    hostname: str
    port: int
    user: str
    key_name: str
    jumps: tuple[Hop, ...]
    proxy_command: bool
    known: Known
    known_files: tuple[str, ...]
    keys: Keys
    config: tuple[str, ...]

    @property
    def address(self) -> str:
        return f"{self.hostname}:{self.port}"

    def __str__(self) -> str:
        port = f":{self.port}" if self.port != 22 else ""
        return f"{self.user}@{self.hostname}{port}"


class Settings:
    """The settings of one cluster. Thread-safe; every method may read files."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._lock = threading.Lock()
        self._kept: dict[tuple[str, ...], tuple[object, Any]] = {}

    @property
    def connect_timeout(self) -> float:
        return self._cluster.connect_timeout

    def config_files(self) -> tuple[str, ...]:
        """The ssh_config files in force. Raises LinkError when one that is named is missing."""
        named = self._cluster.ssh_config
        if named is None:
            default = os.path.expanduser("~/.ssh/config")
            return (default,) if os.access(default, os.R_OK) else ()
        files = tuple(os.path.expanduser(name) for name in named)
        for path in files:
            if not os.access(path, os.R_OK):
                raise LinkError(
                    f"the ssh_config {path} cannot be read",
                    f"correct `ssh_config` of cluster {self._cluster.name}",
                    retry=False,
                )
        return files

    def notes(self, host: str) -> list[str]:
        """Options of the ssh_config that have no effect for `host`."""
        return sshconfig.notes(self.config_files(), host)

    def resolve(self, hop: Hop, *, jump: bool = False) -> Target:
        """Everything about one host; `jump` where it is one of the hosts on the way.

        Raises LinkError when the profile or the ssh_config cannot be obeyed.
        """
        _check(hop)
        config = self.config_files()
        options = _read_config(config, hop)
        files = self._known_files(options)
        name = key_name(options.host, options.host_key_alias)
        return Target(
            hop=hop,
            hostname=options.host,
            port=options.port,
            user=options.username,
            key_name=name,
            jumps=self._jumps(hop, options, jump),
            proxy_command=bool(options.proxy_command) and not self._cluster.proxy_jump,
            known=self._known(files).match(name, options.port),
            known_files=files,
            keys=self._keys(options, jump),
            config=config,
        )

    def _jumps(self, hop: Hop, options: Any, jump: bool) -> tuple[Hop, ...]:
        text = None if jump else self._cluster.proxy_jump
        if text is None:
            text = options.tunnel if isinstance(options.tunnel, str) else None
        if not text or text.lower() == "none":
            return ()
        hops = tuple(parse_hop(part) for part in text.split(","))
        # `Host *` with a ProxyJump also matches the jump host itself.
        return () if any(other.host in (hop.host, options.host) for other in hops) else hops

    def _known_files(self, options: Any) -> tuple[str, ...]:
        if self._cluster.known_hosts:
            return tuple(os.path.expanduser(name) for name in self._cluster.known_hosts)
        configured = [
            name
            for option in ("UserKnownHostsFile", "GlobalKnownHostsFile")
            for name in options.config.get(option, ()) or ()
            if name.lower() != "none"
        ]
        return tuple(os.path.expanduser(name) for name in configured or DEFAULT_FILES)

    def _known(self, files: tuple[str, ...]) -> KnownHosts:
        return self._keep(files, lambda: KnownHosts(files))

    def _keys(self, options: Any, jump: bool) -> Keys:
        configured = tuple(options.config.get("IdentityFile", ()) or ())
        only = bool(options.config.get("IdentitiesOnly"))
        explicit = tuple(os.path.expanduser(name) for name in self._cluster.identity_file)
        if jump and configured:
            explicit = ()
        if explicit:
            return self._keep(("explicit", *explicit), lambda: _load_keys(explicit, True, True))
        if configured:
            # ssh passes over configured keys that do not exist.
            paths = tuple(p for p in map(os.path.expanduser, configured) if os.path.exists(p))
            return self._keep(
                ("configured", str(only), *paths), lambda: _load_keys(paths, only, only)
            )
        home = os.path.expanduser("~/.ssh")
        paths = tuple(p for p in (f"{home}/{n}" for n in DEFAULT_KEYS) if os.path.exists(p))
        return self._keep(("default", *paths), lambda: _load_keys(paths, False, False))

    def _keep(self, key: tuple[str, ...], make: Callable[[], T]) -> T:
        """`make()`, again only when one of the files named in `key` has changed."""
        state = tuple(_signature(name) for name in key)
        with self._lock:
            kept = self._kept.get(key)
            if kept is None or kept[0] != state:
                kept = self._kept[key] = (state, make())
            value: T = kept[1]
            return value


def parse_hop(text: str) -> Hop:
    """`[user@]host[:port]`, with `ssh://` or an IPv6 address in brackets as ssh takes it.

    Raises LinkError when it is none.
    """
    match = _HOP.fullmatch(text.strip())
    if match is None:
        raise LinkError(f"{clean(text)!r} is no jump host: [user@]host[:port]", retry=False)
    port = match["port"]
    hop = Hop(match["v6"] or match["host"], int(port) if port else None, match["user"])
    _check(hop)
    return hop


def _check(hop: Hop) -> None:
    """Refuse what could be taken for an option or a command by a ProxyCommand."""
    if not _SAFE_HOST.fullmatch(hop.host):
        raise LinkError(f"{clean(hop.host)!r} is no host name", retry=False)
    if hop.user is not None and not _SAFE_USER.fullmatch(hop.user):
        raise LinkError(f"{clean(hop.user)!r} is no user name", retry=False)


def _read_config(config: Sequence[str], hop: Hop) -> Any:
    """What the ssh_config says of a host. Only read: it never connects, so it needs no keys and
    no known hosts; `sshclient` connects, with strict ones."""
    nameless = _is_nameless()
    try:
        options = asyncssh.SSHClientConnectionOptions(
            config=list(config) or None,
            host=hop.host,
            port=hop.port if hop.port is not None else (),
            username=hop.user if hop.user is not None else (),
            client_keys=None,
            known_hosts=None,
            x509_trusted_certs=None,
            x509_trusted_cert_paths=None,
        )
    except (ValueError, OSError, asyncssh.Error) as error:
        raise LinkError(f"the ssh_config is wrong: {clean(str(error))}", retry=False) from error
    if nameless and hop.user is None and not options.config.get("User"):
        raise LinkError(
            f"this user id ({os.getuid()}) has no name here to log in with",
            "set USER in the environment, or `user` of the cluster in cockpit.toml",
            retry=False,
        )
    return options


def _is_nameless() -> bool:
    """Whether we run under a user id without a name, as a container may.

    asyncssh wants to know our name also where it logs in under another: it gets the number.
    """
    number = str(os.getuid())
    try:
        return getpass.getuser() == number
    except (KeyError, OSError):
        os.environ["LOGNAME"] = number
        return True


def _load_keys(paths: Sequence[str], explicit: bool, restrict: bool) -> Keys:
    """Read private keys; those that need a passphrase are left to the agent."""
    pairs: list[Any] = []
    problems: list[str] = []
    for_agent: list[bytes] = []
    any_of_agent = not restrict
    for path in paths:
        try:
            pairs += asyncssh.load_keypairs([path])
        except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
            if "assphrase" not in str(error):
                problems.append(f"{path} is no private key: {clean(str(error))}")
                continue
            problems.append(f"{path} needs a passphrase and is offered only if the agent holds it")
            public = _public_half(path)
            if public is None:
                any_of_agent = True
            else:
                for_agent.append(public)
        except FileNotFoundError:
            problems.append(f"{path} does not exist")
        except OSError as error:
            problems.append(f"{path} cannot be read: {error.strerror or error}")
    identities = None if any_of_agent else tuple(for_agent)
    if explicit and not pairs and identities == () and problems:
        raise AuthenticationError(
            "no key can be offered: " + "; ".join(problems), "correct `identity_file`"
        )
    return Keys(tuple(pairs), identities, tuple(problems), explicit)


def _public_half(path: str) -> bytes | None:
    for name in (path + ".pub", path):
        try:
            return asyncssh.read_public_key(name).public_data
        except (OSError, ValueError):
            continue
    return None


def _signature(path: str) -> object:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return (status.st_mtime_ns, status.st_size, status.st_ino)
