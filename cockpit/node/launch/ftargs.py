"""Fits ft_launcher's arguments to the version of nvidia-resiliency-ext that is on the node.

Used by the instrumented launcher process. Cockpit gives options the names of the newest version;
older ones have other names for some and lack others. Which an installed version has is asked of
its own parser. Everything up to the first `--` are ft_launcher's options, the rest is the user's.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from cockpit.node.launch import torchargs

CONFIG = "--ft-cfg-path"
NIC_MONITOR = "--ft-enable-nic-monitor"
CYCLE_INFO = "--ft-cycle-info-dir"
RESULTS = "--job-results"
"""Not ft_launcher's: the file to which cockpit adds the outcome."""
STOP_TIMEOUT = "--workers-stop-timeout"

OPTIONAL = frozenset((NIC_MONITOR, CYCLE_INFO))
"""Nothing is lost where a version does not know them: it has no such thing to turn off, or the
instrumentation tells the same."""


class Options(NamedTuple):
    """Our own argument list, taken apart."""

    given: dict[str, str]
    """By name, in order; "" for one without a value."""
    users: list[str]
    """From the first `--` on."""


def parse(arguments: list[str]) -> Options:
    end = arguments.index("--") if "--" in arguments else len(arguments)
    given: dict[str, str] = {}
    for option in arguments[:end]:
        name, _, value = option.partition("=")
        given[name] = value
    return Options(given, arguments[end:])


def fit(options: Options, known: Collection[str]) -> torchargs.Fitted:
    """`options` for an ft_launcher whose option names are `known`."""
    arguments, left_out = [], []
    for name, value in options.given.items():
        if name == RESULTS:
            continue
        fitting = next((other for other in names(name) if other in known), None)
        if fitting is not None:
            arguments.append(f"{fitting}={value}" if value else fitting)
        elif name not in OPTIONAL:
            left_out.append(name)
    timeout = options.given.get(STOP_TIMEOUT)
    # The user's part is torch's business, and the same as under torchrun.
    no_python = ["--no-python"] if "--no-python" in options.given else []
    users = torchargs.fit([*no_python, *options.users], known).arguments[len(no_python) :]
    return torchargs.Fitted(
        arguments=[*arguments, *users],
        left_out=tuple(left_out),
        shutdown_timeout=int(timeout) if timeout else None,
    )


def names(name: str) -> tuple[str, ...]:
    """What an option is called in one version or another, newest first."""
    if not name.startswith("--ft-"):
        return (name,)
    words = name[len("--ft-") :]
    underscored = words.replace("-", "_")
    older = (f"--ft-{underscored}", f"--ft-param-{underscored}", f"--ft-param-{words}")
    return (name, *older, "--fault-tol-cfg-path") if name == CONFIG else (name, *older)
