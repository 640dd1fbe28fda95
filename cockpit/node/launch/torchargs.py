"""Fits torchrun's arguments and environment to the torch that is installed on the node.

Used by the instrumented launcher process before it calls torchrun's main(). Everything up to the
first `--` are torchrun's options, everything after it is the user's and arrives byte for byte.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, MutableMapping
from typing import NamedTuple

NEWER_OPTIONS = ("--shutdown-timeout", "--signals-to-handle")
"""Options that cockpit gives and that older versions of torchrun do not know. Without the second
they handle SIGTERM, SIGINT, SIGHUP and SIGQUIT always; the first cockpit sees to itself."""


class Fitted(NamedTuple):
    arguments: list[str]
    left_out: tuple[str, ...]
    """Names of options that this torchrun does not know."""
    shutdown_timeout: int | None
    """Seconds between SIGTERM and SIGKILL for ranks, as asked for."""


def fit(arguments: list[str], known: Collection[str]) -> Fitted:
    """`arguments` for a torchrun whose option names are `known`."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    options, users = arguments[:end], arguments[end:]
    left_out = tuple(
        name for name in map(option_name, options) if name in NEWER_OPTIONS and name not in known
    )
    timeout = option_value(options, "--shutdown-timeout")
    kept = [option for option in options if option_name(option) not in left_out]
    # With --no-python torch takes the first one as a program and replaces nothing in it.
    first = 2 if "--no-python" in options else 1
    return Fitted(
        arguments=[*kept, *users[:first], *map(escape, users[first:])],
        left_out=left_out,
        shutdown_timeout=int(timeout) if timeout is not None else None,
    )


def escape(argument: str) -> str:
    """torch substitutes its own macros by `string.Template`, in which `$$` stands for `$`."""
    return argument.replace("$", "$$")


def option_name(option: str) -> str:
    return option.partition("=")[0]


def option_value(options: list[str], name: str) -> str | None:
    """The value of the last `name=value`."""
    prefix = name + "="
    values = [option[len(prefix) :] for option in options if option.startswith(prefix)]
    return values[-1] if values else None


def clear_overrides(environ: MutableMapping[str, str]) -> tuple[str, ...]:
    """Remove torchrun's PET_* variables, each of which would stand in for an option; name them."""
    names = tuple(sorted(name for name in environ if name.startswith("PET_")))
    for name in names:
        del environ[name]
    return names


def threads(arguments: list[str], environ: Mapping[str, str]) -> dict[str, str]:
    """One OpenMP thread for each of many ranks, as torchrun would set with a loud warning."""
    ranks = option_value(arguments, "--nproc-per-node") or ""
    if "OMP_NUM_THREADS" in environ or not ranks.isdecimal() or int(ranks) < 2:
        return {}
    return {"OMP_NUM_THREADS": "1"}


def hosts_store(arguments: list[str]) -> bool:
    """Whether this node was told to host the rendezvous store."""
    settings = option_value(arguments, "--rdzv-conf") or ""
    return "is_host=1" in settings.split(",")
