"""What every launcher kind does alike: check a request, quote user text, merge variables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cockpit.errors import UsageError
from cockpit.launchers.plan import Request
from cockpit.protocol import layout, macros
from cockpit.protocol.secretref import SecretRef

RESERVED = (
    layout.MARKER,
    layout.ATTEMPT_DIR_ENV,
    layout.LAUNCHER_PID_ENV,
    layout.GENERATION_ENV,
    layout.SLOTS_ENV,
)
"""Variables by which cockpit knows its processes; a job may not set them."""

NPROC_WORDS = ("auto", "gpu", "cpu")


def check(request: Request) -> None:
    """Raise UsageError for what no node could run, naming what was asked for."""
    given = [word for word in ("script", "module", "command") if getattr(request, word) is not None]
    if len(given) != 1:
        what = " and ".join(given) if given else "neither script, module nor command"
        raise UsageError(
            f"job {request.name!r} has {what}", "give exactly one of script, module and command"
        )
    program = request.script or request.module or (request.command or ("",))[0]
    if not program:
        raise UsageError(f"job {request.name!r} has an empty {given[0]}")
    _check_size(request)
    for text in request.asked:
        if "\0" in text:
            raise UsageError(f"an argument of job {request.name!r} holds a NUL byte: {text!r}")


def _check_size(request: Request) -> None:
    least, most = request.min_nodes, request.max_nodes
    if not 1 <= least <= most:
        raise UsageError(
            f"job {request.name!r} asks for {least}:{most} nodes",
            "nodes is a number from 1 on, or MIN:MAX with MIN not above MAX",
        )
    if len(request.nodes) < least:
        raise UsageError(
            f"job {request.name!r} asks for {least} nodes, "
            f"cluster {request.cluster.name!r} has {len(request.nodes)}"
        )
    ranks = request.nproc_per_node
    if (ranks < 1) if isinstance(ranks, int) else (ranks not in NPROC_WORDS):
        raise UsageError(
            f"job {request.name!r} asks for {ranks!r} processes per node",
            f"nproc_per_node is a number from 1 on, or one of {', '.join(NPROC_WORDS)}",
        )
    if request.max_restarts < 0:
        raise UsageError(f"job {request.name!r} asks for {request.max_restarts} restarts")


def quoted(texts: Iterable[str]) -> tuple[str, ...]:
    """What the user gave, so that it arrives byte for byte."""
    return tuple(macros.escape(text) for text in texts)


def script_path(script: str) -> str:
    """`script` so that it cannot be taken for an option."""
    return f"./{script}" if script.startswith("-") else script


def variables(
    request: Request, defaults: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, SecretRef]]:
    """The job's environment and its secrets, by name.

    Later wins: the launcher kind's defaults, the cluster, the launcher profile, the job. A name
    that is a plain value in one of them and a secret in a later one is a secret, and vice versa.
    """
    env: dict[str, str] = dict(defaults)
    secrets: dict[str, SecretRef] = {}
    layers: tuple[tuple[str, Mapping[str, str], Mapping[str, SecretRef]], ...] = (
        (f"cluster {request.cluster.name!r}", request.cluster.env, request.cluster.secrets),
        (f"launcher {request.launcher.name!r}", request.launcher.env, {}),
        (f"job {request.name!r}", request.env, request.secrets),
    )
    for where, plain, secret in layers:
        _check_names(where, plain, secret)
        env = {name: value for name, value in env.items() if name not in secret} | dict(plain)
        secrets = {n: ref for n, ref in secrets.items() if n not in plain} | dict(secret)
    return env, secrets


def _check_names(where: str, plain: Mapping[str, str], secret: Mapping[str, SecretRef]) -> None:
    for name in (*plain, *secret):
        if not name or "=" in name or "\0" in name:
            raise UsageError(f"{where} sets a variable whose name cannot be: {name!r}")
        if name in RESERVED:
            raise UsageError(f"{where} sets {name}, by which cockpit knows its processes")
    for name, value in plain.items():
        if name in secret:
            raise UsageError(f"{where} sets {name} both as a value and as a secret")
        if "\0" in value:
            raise UsageError(f"the value that {where} gives to {name} holds a NUL byte")
