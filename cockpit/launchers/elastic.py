"""What the kinds share whose launcher process is torch's elastic agent: rendezvous, ranks, watch.

Called by the modules of those kinds. One road for one node and for many: a rendezvous that node
rank 0 hosts, on a port probed there, under an id that no other attempt has.
"""

from __future__ import annotations

import math

from cockpit.errors import UsageError
from cockpit.launchers import common
from cockpit.launchers.plan import Request
from cockpit.protocol import macros
from cockpit.protocol.records import Watch

WRAPPER = "${runtime}/cockpit/node/elastic.py"
WORKER = "${runtime}/cockpit/node/rank/worker.py"

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


def size(request: Request) -> tuple[str, ...]:
    """How many nodes and ranks."""
    least, most = request.min_nodes, request.max_nodes
    return (
        f"--nnodes={least}" if least == most else f"--nnodes={least}:{most}",
        "--nproc-per-node=${nproc_per_node}",
    )


def c10d(request: Request) -> tuple[str, ...]:
    """How nodes meet through a store that node rank 0 hosts."""
    return (
        "--rdzv-backend=c10d",
        # torch splits at the last colon, so an IPv6 address needs no brackets.
        "--rdzv-endpoint=${head_node_ip}:${rdzv_port}",
        f"--rdzv-id={_rendezvous_id(request)}",
        f"--rdzv-conf={_rendezvous(request)}",
    )


def static(request: Request) -> tuple[str, ...]:
    """How nodes meet that know each other's number beforehand. Raises UsageError where they do
    not, and for what such a rendezvous cannot do.
    """
    launcher = request.launcher
    where = f"launcher {launcher.name!r} has a static rendezvous"
    if request.min_nodes != request.max_nodes:
        raise UsageError(
            f"{where}, job {request.name!r} asks for {request.min_nodes}:{request.max_nodes} nodes",
            'ask for one number of nodes, or use rdzv_backend = "c10d"',
            "nodes",
        )
    if launcher.rdzv_conf:
        raise UsageError(f"{where}, which reads no rdzv_conf", "remove it")
    if launcher.on_stall == "restart" and request.max_nodes > 1:
        raise UsageError(
            f"{where}, through which several nodes cannot agree on a restart",
            'use rdzv_backend = "c10d", or another on_stall',
        )
    return (
        "--rdzv-backend=static",
        "--node-rank=${node_rank}",
        "--master-addr=${head_node_ip}",
        "--master-port=${rdzv_port}",
        f"--rdzv-id={_rendezvous_id(request)}",
        f"--rdzv-conf=timeout={launcher.join_timeout}",
    )


def program(request: Request) -> tuple[str, ...]:
    """What the launcher process starts for each rank: our worker, or a program as it is."""
    if request.command is not None:
        return common.quoted((*request.command, *request.args))
    if request.module is not None:
        return (WORKER, "-m", *common.quoted((request.module, *request.args)))
    script = common.script_path(request.script or "")
    return (WORKER, *common.quoted((script, *request.args)))


def watch(request: Request) -> Watch:
    """How the ranks are watched on each node."""
    launcher = request.launcher
    return Watch(
        instrument=launcher.instrument,
        initial_timeout=launcher.initial_rank_heartbeat_timeout,
        timeout=launcher.rank_heartbeat_timeout,
        interval=launcher.workload_check_interval,
        on_stall=launcher.on_stall,
        count_restarts=launcher.count_stall_restarts,
        max_stall_restarts=launcher.max_stall_restarts,
        metrics=request.metrics,
    )


def shutdown_timeout(grace: float) -> int:
    """Whole seconds that ranks are given, so that the launcher process is done within `grace`.

    A fifth of the grace, at least 0.5 s and at most 5 s, is left for the launcher process itself.
    Below 1 s nothing whole is left, and ranks get SIGKILL at once.
    """
    margin = min(max(grace / 5, 0.5), 5.0)
    return max(math.floor(grace - margin), 1 if grace > 1 else 0)


def _rendezvous_id(request: Request) -> str:
    name = request.launcher.rdzv_id
    return "${job}.${attempt}" if name is None else f"{macros.escape(name)}.${{attempt}}"


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
