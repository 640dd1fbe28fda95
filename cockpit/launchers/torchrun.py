"""The launcher kind `torchrun`: torchrun's own main() under cockpit's instrumentation, per node.

Called through the registry. One road for one node and for many: a c10d rendezvous that node
rank 0 hosts, on a port probed there, under an id that no other attempt has.
"""

from __future__ import annotations

import math

from cockpit.errors import UsageError
from cockpit.launchers import common
from cockpit.launchers.plan import Plan, Request

KIND = "torchrun"

ENV = {
    # Without it torch hands the store of the dead generation to the next one, which then connects
    # to addresses of dead ranks: 0 of 5 restarts came up, 5 of 5 with it (torch 2.13, gloo).
    "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
    "PYTHONUNBUFFERED": "1",
}

RENDEZVOUS = {
    # A node that died is missed after interval times attempts. Not less than torch's own 15 s,
    # since torch compares the wall clocks of different nodes for it, and a start bears 10 s.
    "keep_alive_interval": 3,
    "keep_alive_max_attempt": 5,
}
LAST_CALL = 5
"""Seconds that an elastic rendezvous waits for more nodes once it has enough; torch's own is 30."""

RENDEZVOUS_KEYS = frozenset(
    (
        "close_timeout",
        "heartbeat_timeout",
        "join_timeout",
        "keep_alive_interval",
        "keep_alive_max_attempt",
        "last_call_timeout",
        "read_timeout",
    )
)
"""What a profile may override. torch takes unknown keys in silence, so they are refused here."""


def plan(request: Request) -> Plan:
    """Raises UsageError for what torchrun cannot do."""
    common.check(request)
    env, secrets = common.variables(request, ENV)
    return Plan(
        argv=(
            "${python}",
            "-u",
            "${runtime}/cockpit/node/elastic.py",
            *_options(request),
            # Nothing behind it is taken for an abbreviation of one of torchrun's options.
            "--",
            *_program(request),
        ),
        env=env,
        secrets=secrets,
        kind=KIND,
        grace=request.launcher.grace,
        max_restarts=request.max_restarts,
    )


def _options(request: Request) -> tuple[str, ...]:
    launcher = request.launcher
    least, most = request.min_nodes, request.max_nodes
    options = (
        f"--nnodes={least}" if least == most else f"--nnodes={least}:{most}",
        "--nproc-per-node=${nproc_per_node}",
        "--rdzv-backend=c10d",
        # torch splits at the last colon, so an IPv6 address needs no brackets.
        "--rdzv-endpoint=${head_node_ip}:${rdzv_port}",
        "--rdzv-id=${job}.${attempt}",
        f"--rdzv-conf={_rendezvous(request)}",
        # Without it ranks may be told to meet at "localhost".
        "--local-addr=${node_addr}",
        f"--max-restarts={request.max_restarts}",
        f"--monitor-interval={launcher.monitor_interval:g}",
        # Not SIGHUP, which must not end what outlives its terminal.
        "--signals-to-handle=SIGTERM,SIGINT",
        f"--shutdown-timeout={shutdown_timeout(launcher.grace)}",
        "--redirects=3",
        # Only where our own log files cannot be installed.
        "--log-dir=${attempt_dir}/logs/torch",
    )
    return (*options, "--no-python") if request.command is not None else options


def _program(request: Request) -> tuple[str, ...]:
    if request.command is not None:
        return common.quoted((*request.command, *request.args))
    worker = "${runtime}/cockpit/node/worker.py"
    if request.module is not None:
        return (worker, "-m", *common.quoted((request.module, *request.args)))
    script = common.script_path(request.script or "")
    return (worker, *common.quoted((script, *request.args)))


def _rendezvous(request: Request) -> str:
    launcher = request.launcher
    for key in launcher.rdzv_conf:
        if key not in RENDEZVOUS_KEYS:
            raise UsageError(
                f"launcher {launcher.name!r} sets rdzv_conf.{key}, which is not for a profile",
                f"known keys: {', '.join(sorted(RENDEZVOUS_KEYS))}",
            )
    settings: dict[str, int] = {"join_timeout": launcher.join_timeout, **RENDEZVOUS}
    if request.min_nodes < request.max_nodes:
        settings["last_call_timeout"] = LAST_CALL
    settings |= launcher.rdzv_conf
    return ",".join(("is_host=${is_head}", *(f"{k}={v}" for k, v in settings.items())))


def shutdown_timeout(grace: float) -> int:
    """Whole seconds that torchrun gives its ranks, so that it is done within `grace` seconds.

    A fifth of the grace, at least 0.5 s and at most 5 s, is left for torchrun itself. Below
    1 s nothing whole is left, and ranks get SIGKILL at once.
    """
    margin = min(max(grace / 5, 0.5), 5.0)
    return max(math.floor(grace - margin), 1 if grace > 1 else 0)
