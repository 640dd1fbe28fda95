"""The launcher kind `torchrun`: torchrun's own main() under cockpit's instrumentation, per node.

Called through the registry.
"""

from __future__ import annotations

from cockpit.launchers import common, elastic
from cockpit.launchers.plan import Plan, Request

KIND = "torchrun"

ENV = {
    # Without it torch hands the store of the dead generation to the next one, which then connects
    # to addresses of dead ranks: 0 of 5 restarts came up, 5 of 5 with it (torch 2.13, gloo).
    "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
    "PYTHONUNBUFFERED": "1",
}


def plan(request: Request) -> Plan:
    """Raises UsageError for what torchrun cannot do."""
    common.check(request)
    env, secrets = common.variables(request, ENV)
    return Plan(
        argv=(
            "${python}",
            "-u",
            elastic.WRAPPER,
            *_options(request),
            # Nothing behind it is taken for an abbreviation of one of torchrun's options.
            "--",
            *elastic.program(request),
        ),
        env=env,
        secrets=secrets,
        kind=KIND,
        grace=request.launcher.grace,
        max_restarts=request.max_restarts,
        watch=elastic.watch(request),
    )


def _options(request: Request) -> tuple[str, ...]:
    launcher = request.launcher
    static = launcher.rdzv_backend == "static"
    options = (
        *elastic.size(request),
        *(elastic.static(request) if static else elastic.c10d(request)),
        # Without it ranks may be told to meet at "localhost".
        "--local-addr=${node_addr}",
        f"--max-restarts={request.max_restarts}",
        f"--monitor-interval={launcher.monitor_interval:g}",
        # Not SIGHUP, which must not end what outlives its terminal.
        "--signals-to-handle=SIGTERM,SIGINT",
        f"--shutdown-timeout={elastic.shutdown_timeout(launcher.grace)}",
        "--redirects=3",
        # Only where our own log files cannot be installed.
        "--log-dir=${attempt_dir}/logs/torch",
    )
    return (*options, "--no-python") if request.command is not None else options
