"""The launcher kind `command`: what the user asked for, once per node, with nothing around it.

Called through the registry. Nodes are not told of each other; restarts and ranks are the
command's own business.
"""

from __future__ import annotations

from cockpit.errors import UsageError
from cockpit.launchers import common
from cockpit.launchers.plan import Plan, Request
from cockpit.protocol.records import Watch

KIND = "command"


def plan(request: Request) -> Plan:
    """Raises UsageError for what this kind cannot do."""
    common.check(request)
    if request.nproc_per_node not in ("auto", 1):
        raise UsageError(
            f"launcher {request.launcher.name!r} starts one process per node, "
            f"job {request.name!r} asks for {request.nproc_per_node}",
            "use a launcher of kind torchrun or ft to start several ranks per node",
            "nproc_per_node",
        )
    if request.max_restarts:
        raise UsageError(
            f"launcher {request.launcher.name!r} cannot restart job {request.name!r} "
            f"({request.max_restarts} restarts asked for)",
            "use a launcher of kind torchrun or ft, or leave max_restarts out",
            "max_restarts",
        )
    env, secrets = common.variables(request, {"PYTHONUNBUFFERED": "1"})
    return Plan(
        argv=_argv(request),
        env=env,
        secrets=secrets,
        kind=KIND,
        grace=request.launcher.grace,
        max_restarts=0,
        # Nothing beats; its lines may tell figures all the same.
        watch=Watch(instrument=False, metrics=request.metrics),
    )


def _argv(request: Request) -> tuple[str, ...]:
    if request.command is not None:
        return common.quoted((*request.command, *request.args))
    if request.module is not None:
        return ("${python}", "-u", "-m", *common.quoted((request.module, *request.args)))
    script = common.script_path(request.script or "")
    return ("${python}", "-u", *common.quoted((script, *request.args)))
