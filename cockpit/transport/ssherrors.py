"""What asyncssh and the operating system report about a connection, as errors for people.

One text per reason; each names the node and, where it is another, the address. asyncssh is
imported here.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import socket

import asyncssh

from cockpit.errors import AuthenticationError, HostKeyError, LinkError
from cockpit.text import clean
from cockpit.transport.hostkeys import entry_name, fingerprint, key_type
from cockpit.transport.sshsettings import KEEPALIVE_COUNT, KEEPALIVE_INTERVAL, Target

_ERRNO = re.compile(r"\[Errno (\d+)\]")
_TOO_MANY = "Too many authentication failures"


class Progress:
    """How far a connect came, and what it saw; filled in by the client's callbacks."""

    def __init__(self) -> None:
        self.connected = False
        self.offered: asyncssh.SSHKey | None = None
        self.authority: asyncssh.SSHKey | None = None
        self.methods: tuple[str, ...] = ()
        self.banner = ""
        self.authenticating = False


def explain(node: str, target: Target, progress: Progress, error: BaseException) -> LinkError:
    """The LinkError for `error`, which ended an attempt to connect to `target`."""
    where = node if target.hop.host == node else f"{node} ({target})"
    if isinstance(error, LinkError):
        return error
    if isinstance(error, asyncio.TimeoutError):
        return _timed_out(where, target, progress)
    if isinstance(error, asyncssh.HostKeyNotVerifiable):
        return host_key_error(node, target, progress, str(error))
    if isinstance(error, asyncssh.PermissionDenied):
        return _denied(where, target, progress, "")
    if isinstance(error, asyncssh.ChannelOpenError):
        return _jump_failed(where, target, error)
    if isinstance(error, asyncssh.DisconnectError):
        return _disconnected(where, target, progress, error)
    if isinstance(error, OSError):
        return _system(where, target, error)
    return LinkError(f"{where}: connecting failed: {clean(str(error)) or repr(error)}")


def named(node: str, error: LinkError) -> LinkError:
    """`error` with the node's name in front of its message."""
    error.message = f"{node}: {error.message}"
    return error


def lost(node: str, error: BaseException | None) -> LinkError:
    """The LinkError for an established connection that ended."""
    text = clean(str(error)) if error is not None else ""
    if "keepalive" in text:
        silent = KEEPALIVE_INTERVAL * (KEEPALIVE_COUNT + 1)
        return LinkError(f"{node}: no sign of life for {silent:.0f} s")
    return LinkError(f"{node}: the connection is lost" + (f": {text}" if text else ""))


def was_turned_away(error: BaseException, progress: Progress) -> bool:
    """A busy sshd (MaxStartups) closes connections before it has said who it is."""
    return not progress.authenticating and (
        isinstance(error, (ConnectionResetError, BrokenPipeError))
        or type(error) is asyncssh.ConnectionLost
    )


def host_key_error(node: str, target: Target, progress: Progress, text: str) -> HostKeyError:
    """Unknown, changed and revoked keys, told apart by our own lookup."""
    key, name = progress.offered, entry_name(target.key_name, target.port)
    if "revoked" in text:
        return HostKeyError(
            f"{node}: the host key of {name} is marked as revoked in known_hosts",
            "do not connect; ask whoever runs this machine",
            changed=True,
        )
    if key is None:
        authority = progress.authority
        shown = f" (signed by {fingerprint(authority)})" if authority is not None else ""
        return HostKeyError(
            f"{node}: the host certificate of {name} is not accepted{shown}: {clean(text)}",
            "check the @cert-authority lines of known_hosts",
            changed=False,
        )
    offered = f"{key_type(key)} {fingerprint(key)}"
    if target.known.keys:
        file = f" -f '{target.known.files[0]}'" if len(target.known.files) == 1 else ""
        return HostKeyError(
            f"{node}: the host key of {name} has CHANGED: it shows {offered}, "
            f"known is {', '.join(target.known.fingerprints)}",
            "somebody may be listening in, or the machine was reinstalled. Ask whoever runs it; "
            f"if the new key is right, remove the old one with `ssh-keygen -R '{name}'{file}` and "
            f"then run `cockpit trust {node}`",
            changed=True,
        )
    return HostKeyError(
        f"{node}: the host key of {name} is not known yet: {offered}",
        f"`cockpit trust {node}` shows it and stores it after a yes",
        changed=False,
    )


def _timed_out(where: str, target: Target, progress: Progress) -> LinkError:
    if progress.connected:
        return LinkError(
            f"{where} accepted the connection but did not finish the SSH login in time",
            "the machine may be overloaded or frozen",
        )
    return LinkError(
        f"{where} did not answer in time at {target.address}",
        "is it switched on, and does a firewall let SSH through?",
    )


def _denied(where: str, target: Target, progress: Progress, detail: str) -> AuthenticationError:
    keys = target.keys
    names = [os.path.basename(clean(str(pair.get_comment() or ""))) for pair in keys.pairs]
    offered = [name or "a key" for name in names]
    if keys.agent_identities != () and os.environ.get("SSH_AUTH_SOCK"):
        offered.append("keys of the agent")
    message = f"{where} does not accept our login as {target.user} ("
    message += f"offered: {', '.join(offered)}" if offered else "there was no key to offer"
    message += f"; {detail})" if detail else ")"
    hints = [*keys.problems]
    if progress.banner:
        hints.append(f"the server says: {progress.banner}")
    others = [m for m in progress.methods if m in ("password", "keyboard-interactive")]
    if progress.methods and not {"publickey", "gssapi-with-mic"} & set(progress.methods):
        hints.append(f"it only takes {' or '.join(others) or 'other methods'}: cockpit uses keys")
    if not hints:
        hints.append(
            f"check that `ssh {target}` works without a password; set `user` or `identity_file`"
        )
    return AuthenticationError(message, "; ".join(hints))


def _disconnected(
    where: str, target: Target, progress: Progress, error: asyncssh.DisconnectError
) -> LinkError:
    text = clean(str(error))
    if _TOO_MANY in text:
        return _denied(where, target, progress, "too many keys were tried; set `identity_file`")
    if isinstance(error, asyncssh.KeyExchangeFailed):
        return LinkError(
            f"{where}: no common SSH algorithms: {text}",
            "the server is very old or very strict",
            retry=False,
        )
    if isinstance(error, (asyncssh.ProtocolError, asyncssh.ProtocolNotSupported)):
        return LinkError(
            f"{where}: what answers at {target.address} does not speak SSH: {text}", retry=False
        )
    if isinstance(error, asyncssh.ConnectionLost):
        when = "during the login" if progress.authenticating else "before the login"
        return LinkError(
            f"{where}: the server closed the connection {when}",
            "it may be overloaded, or refuse this address for a while after failed logins",
        )
    return LinkError(f"{where}: the server ended the connection: {text}")


def _jump_failed(where: str, target: Target, error: asyncssh.ChannelOpenError) -> LinkError:
    way = ", ".join(map(str, target.jumps))
    reason = clean(str(error.reason)) or "no reason was given"
    if error.code == asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED:
        return LinkError(
            f"{where}: the jump host {way} does not forward to {target.address}: {reason}",
            "AllowTcpForwarding must be on there",
            retry=False,
        )
    return LinkError(f"{where}: the jump host {way} cannot reach {target.address}: {reason}")


def _system(where: str, target: Target, error: OSError) -> LinkError:
    if isinstance(error, socket.gaierror):
        return LinkError(
            f"{where}: the name {target.hostname} cannot be resolved: {error.strerror}",
            "check the name in the profile, DNS, and /etc/hosts",
        )
    numbers = {error.errno} if error.errno else {int(n) for n in _ERRNO.findall(str(error))}
    if errno.ECONNREFUSED in numbers:
        return LinkError(
            f"{where}: connection refused at {target.address}",
            "no SSH server listens there; check the port, or whether the machine is still booting",
        )
    if numbers & {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN}:
        return LinkError(
            f"{where}: there is no route to {target.address}",
            "is this machine online, and on the right network or VPN?",
        )
    if errno.ETIMEDOUT in numbers:
        return LinkError(f"{where} did not answer in time at {target.address}")
    return LinkError(f"{where}: connecting to {target.address} failed: {clean(str(error))}")
