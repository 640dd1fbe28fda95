"""Checks of the preflight: the address, the interfaces and the name that training traffic uses.

Called by `preflight` in a thread. Whether others can reach this node is `reach`'s to find out.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import struct
from collections.abc import Mapping

from cockpit.node.checks.checks import Check, check, within

NAME_TIMEOUT = 2.0
"""Seconds to look up a name; a broken resolver takes tens of them."""
INTERFACES = ("NCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME", "TP_SOCKET_IFNAME")
"""Variables that name interfaces."""
NET = "/sys/class/net"
INFINIBAND = "/sys/class/infiniband"
_SIOCGIFADDR = 0x8915


def address(addr: str) -> list[Check]:
    """`addr`, a name or an address, is one of this machine's own."""
    try:
        found = within(
            NAME_TIMEOUT,
            lambda: socket.getaddrinfo(addr, None, type=socket.SOCK_STREAM),
        )
    except (OSError, UnicodeError) as error:
        message = f"its own training address {addr} cannot be looked up: {error}"
        return [check("address", "crit", message, _address_hint())]
    if found is None:
        message = f"looking up its own training address {addr} takes over {NAME_TIMEOUT:.0f} s"
        return [check("address", "warn", message, "set `addr` of the node to a numeric address")]
    family, _, _, _, place = found[0]
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((place[0], 0, *place[2:]))
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL:
            message = f"its training address {addr} is on none of its interfaces"
            return [check("address", "crit", message, _address_hint())]
        message = f"its training address {addr} cannot be used: {error.strerror}"
        return [check("address", "unknown", message)]
    return [check("address", "ok", f"training address {addr}")]


def interfaces(env: Mapping[str, str], gpus: int) -> list[Check]:
    """What NCCL_SOCKET_IFNAME and its like name is there and is up."""
    checks = []
    for variable in INTERFACES:
        wanted = env.get(variable, "")
        if not wanted:
            continue
        names = matching(variable, wanted, [name for _, name in socket.if_nameindex()])
        hint = f"its interfaces are {_own_addresses()}; set {variable} in cockpit.toml to fit"
        if not names:
            # A job without GPUs does not ask NCCL.
            level = "warn" if variable.startswith("NCCL") and not gpus else "crit"
            message = f"{variable}={wanted} matches no interface"
            checks.append(check("interface", level, message, hint))
            continue
        down = [name for name in names if _read(f"{NET}/{name}/operstate") == "down"]
        if len(down) == len(names):
            message = f"{variable}={wanted}: {', '.join(down)} is down"
            checks.append(check("interface", "crit", message, hint))
        else:
            checks.append(check("interface", "ok", f"{variable}={wanted} is there"))
    return checks


def matching(variable: str, wanted: str, there: list[str]) -> list[str]:
    """The interfaces that `wanted` stands for. NCCL: prefixes; `=` exact names; `^` all others."""
    names = [name.partition(":")[0] for name in wanted.lstrip("^=").split(",")]
    if not variable.startswith("NCCL"):
        return [name for name in there if name in wanted.split(",")]
    exact = "=" in wanted[:2]
    hits = [
        name
        for name in there
        if any(name == want if exact else name.startswith(want) for want in names if want)
    ]
    return [name for name in there if name not in hits] if wanted.startswith("^") else hits


def host_name(addr: str, env: Mapping[str, str]) -> list[Check]:
    """The machine's own name leads to an address that others can use.

    gloo listens where it leads to, unless GLOO_SOCKET_IFNAME is set.
    """
    name = socket.gethostname()
    if env.get("GLOO_SOCKET_IFNAME"):
        return [check("hostname", "ok", "not needed, GLOO_SOCKET_IFNAME is set")]
    hint = f"correct {name} in /etc/hosts there, or set GLOO_SOCKET_IFNAME for the cluster"
    try:
        found = within(
            NAME_TIMEOUT, lambda: socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
        )
    except (OSError, UnicodeError) as error:
        message = f"its own name {name} cannot be looked up: {error}"
        return [check("hostname", "warn", message, hint)]
    if found is None:
        message = f"looking up its own name {name} takes over {NAME_TIMEOUT:.0f} s"
        return [check("hostname", "warn", message, hint)]
    addresses = sorted({str(place[0]) for _, _, _, _, place in found})
    if all(_is_loopback(item) for item in addresses) and not _is_loopback(addr):
        message = f"its own name {name} leads to {addresses[0]}, where no other node reaches gloo"
        return [check("hostname", "warn", message, hint)]
    return [check("hostname", "ok", f"{name} is {', '.join(addresses)}")]


def infiniband() -> tuple[str, list[Check]]:
    """Active ports with their rates as one text ("8 × 400 Gb/sec"), and the ports that are not."""
    active: list[str] = []
    checks = []
    for device in _list(INFINIBAND):
        for port in _list(f"{INFINIBAND}/{device}/ports"):
            folder = f"{INFINIBAND}/{device}/ports/{port}"
            state = _read(f"{folder}/state").partition(": ")[2]
            if state == "ACTIVE":
                active.append(_read(f"{folder}/rate").partition(" (")[0])
            elif "Disabled" not in _read(f"{folder}/phys_state"):
                message = f"port {port} of {device} is {state or 'in an unknown state'}"
                checks.append(check("infiniband", "warn", message, "look at its cable: ibstat"))
    rates = ", ".join(f"{active.count(rate)} × {rate}" for rate in sorted(set(active)))
    if active:
        checks.append(check("infiniband", "ok", f"active ports: {rates}"))
    return rates, checks


def _address_hint() -> str:
    return f"set `addr` of this node in cockpit.toml to one of its own: {_own_addresses()}"


def _own_addresses() -> str:
    """`eth0 10.0.0.5, ib0 10.1.0.5`"""
    shown = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        for _, name in socket.if_nameindex():
            question = struct.pack("256s", os.fsencode(name)[:15])
            with contextlib.suppress(OSError):  # an interface without an address
                answer = fcntl.ioctl(asked.fileno(), _SIOCGIFADDR, question)
                shown.append(f"{name} {socket.inet_ntoa(answer[20:24])}")
    return ", ".join(shown) or "none"


def _is_loopback(addr: str) -> bool:
    return addr.startswith("127.") or addr in ("::1", "localhost")


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""


def _list(path: str) -> list[str]:
    try:
        return sorted(os.listdir(path))
    except OSError:
        return []
