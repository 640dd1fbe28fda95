"""Names of machines: ranges such as `gpu[01-04,07].lab`, and what may be handed to SSH as a host.

Called by the reader of the configuration and by commands that take hosts. Pure functions.
"""

from __future__ import annotations

import re
from itertools import product

from cockpit.errors import UsageError

MAX_HOSTS = 4096
"""Hosts that one pattern may stand for; more is a slip of the finger."""

MAX_LENGTH = 255
"""Characters of a host name."""

_FORBIDDEN = re.compile(r"""[\s'"`$\\;&<>|(){}\[\],]""")
_BRACKETED = re.compile(r"\[([0-9A-Fa-f:.%\w]+)\](?::(.*))?")
_RANGE = re.compile(r"([0-9]{1,18})(?:-([0-9]{1,18}))?")


def expand_hosts(pattern: str) -> list[str]:
    """`gpu[01-04,07].lab` -> gpu01.lab … gpu04.lab, gpu07.lab, in the order as written.

    Several brackets make every combination, the last one running fastest. A leading zero pads:
    `[08-10]` is 08, 09, 10. Raises UsageError on anything that is no range or no host name, and
    on more than `MAX_HOSTS` hosts.
    """
    pieces: list[list[str]] = []
    total = 1
    for literal, bracket in _split(pattern):
        pieces.append([literal])
        if bracket is None:
            continue
        alternatives = [_numbers(item.strip(), pattern) for item in bracket.split(",")]
        total *= sum(len(numbers) for numbers, _ in alternatives)
        if total > MAX_HOSTS:
            raise UsageError(
                f"{pattern!r} stands for more than {MAX_HOSTS} hosts", "check the range"
            )
        pieces.append([f"{n:0{width}d}" for numbers, width in alternatives for n in numbers])
    hosts = ["".join(parts) for parts in product(*pieces)]
    check_host(hosts[-1])
    return hosts


def check_host(host: str) -> None:
    """Raises UsageError unless `host` can be handed to SSH as a host name and nothing else."""
    if not host:
        raise UsageError("a host name is empty")
    if len(host) > MAX_LENGTH:
        raise UsageError(f"{host[:40]!r}… is no host name: it is longer than {MAX_LENGTH}")
    if host.startswith("-"):
        raise UsageError(
            f"{host!r} is no host name: it starts with a dash", "ssh would take it as an option"
        )
    if not host.isprintable():
        raise UsageError(f"{host!r} is no host name: it holds a control character")
    if "@" in host:
        user, _, rest = host.rpartition("@")
        raise UsageError(
            f"{host!r} is no host name: it holds a user",
            f'write {{ host = "{rest}", user = "{user}" }}, or `user` for the whole cluster',
        )
    if host.count(":") == 1:
        name, _, port = host.partition(":")
        raise UsageError(
            f"{host!r} is no host name: it holds a port",
            f'write {{ host = "{name}", port = {port or 22} }}, or `port` for the whole cluster',
        )
    match = _FORBIDDEN.search(host)
    if match is not None:
        raise UsageError(
            f"{host!r} is no host name: it holds {match.group()!r}",
            "one host or range to a string; IPv6 addresses stand without brackets",
        )


def check_user(user: str) -> None:
    """Raises UsageError unless `user` can be handed to SSH as a login name and nothing else."""
    if not user or user.startswith("-") or not user.isprintable() or _FORBIDDEN.search(user):
        raise UsageError(f"{user!r} is no login name", "letters, digits and . _ - @ are fine")


def check_proxy_jump(value: str) -> None:
    """Raises UsageError unless `value` is `[user@]host[:port]`, several separated by commas."""
    for hop in value.split(","):
        user, at, rest = hop.strip().rpartition("@")
        if at:
            check_user(user)
        host, port = _host_and_port(rest)
        if port is not None and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            raise UsageError(f"{hop.strip()!r}: {port!r} is no port", "a number from 1 to 65535")
        check_host(host)


def _host_and_port(text: str) -> tuple[str, str | None]:
    bracketed = _BRACKETED.fullmatch(text)
    if bracketed is not None:
        return bracketed.group(1), bracketed.group(2)
    if text.count(":") == 1:
        host, _, port = text.partition(":")
        return host, port
    return text, None


def _split(pattern: str) -> list[tuple[str, str | None]]:
    """Literal texts, each with the inside of the bracket that follows it (None at the end)."""
    result: list[tuple[str, str | None]] = []
    rest = pattern
    while rest or not result:
        literal, opened, tail = rest.partition("[")
        bracket, closed, rest = tail.partition("]")
        if "]" in literal or "[" in bracket or (opened and not closed):
            raise UsageError(
                f"{pattern!r}: its brackets do not match", "a range is written gpu[01-04,07].lab"
            )
        result.append((literal, bracket if opened else None))
    return result


def _numbers(item: str, pattern: str) -> tuple[range, int]:
    """The numbers of one item of a bracket, and their width."""
    match = _RANGE.fullmatch(item)
    if match is None:
        raise UsageError(
            f"{pattern!r}: {item!r} is no number and no range of numbers",
            "a range is written gpu[01-04,07].lab; IPv6 addresses stand without brackets",
        )
    low, high = match.group(1), match.group(2) or match.group(1)
    padded = any(len(end) > 1 and end.startswith("0") for end in (low, high))
    if padded and len(low) != len(high):
        raise UsageError(
            f"{pattern!r}: the ends of {item!r} are not padded alike",
            "with leading zeros both ends have the same number of digits",
        )
    if int(high) < int(low):
        raise UsageError(f"{pattern!r}: {item!r} runs backwards", f"write {high}-{low}")
    return range(int(low), int(high) + 1), len(low) if padded else 0
