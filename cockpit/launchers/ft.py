"""The launcher kind `ft`: ft_launcher of nvidia-resiliency-ext under cockpit's instrumentation.

Called through the registry. Options have the names of the newest version; the wrapper on the node
fits them to the version that it finds. The configuration is a file of ours, in which every limit
stands, since versions differ in what an absent one means; what a profile sets beyond its defaults
is an option too, and beats the file of its `cfg_path`.
"""

from __future__ import annotations

import json
from typing import Any

from cockpit.launchers import common, elastic
from cockpit.launchers.plan import Plan, Request
from cockpit.profiles.types import Launcher
from cockpit.protocol import macros

KIND = "ft"

CONFIG = "ft.yaml"
USER_CONFIG = "ft.user.yaml"
FINISHED = "${attempt_dir}/finished"

OPTIONS = {
    "workload_check_interval": "--ft-workload-check-interval",
    "initial_rank_heartbeat_timeout": "--ft-initial-rank-heartbeat-timeout",
    "rank_heartbeat_timeout": "--ft-rank-heartbeat-timeout",
    "rank_section_timeouts": "--ft-rank-section-timeouts",
    "rank_out_of_section_timeout": "--ft-rank-out-of-section-timeout",
    "rank_termination_signal": "--ft-rank-termination-signal",
    "log_level": "--ft-log-level",
}
"""By the key of the profile and of the configuration, which are the same."""


def plan(request: Request) -> Plan:
    """Raises UsageError for what ft_launcher cannot do."""
    common.check(request)
    launcher = request.launcher
    env, secrets = common.variables(
        request, {"PYTHONUNBUFFERED": "1", "FT_LAUNCHER_LOGLEVEL": launcher.log_level}
    )
    files = {CONFIG: macros.escape(_config(launcher))}
    if request.cfg is not None:
        files[USER_CONFIG] = macros.escape(request.cfg)
    return Plan(
        argv=(
            "${python}",
            "-u",
            elastic.WRAPPER,
            "--ft",
            *_options(request),
            # Nothing behind it is taken for an abbreviation of one of ft_launcher's options.
            "--",
            *elastic.program(request),
        ),
        env=env,
        secrets=secrets,
        kind=KIND,
        grace=launcher.grace,
        max_restarts=request.max_restarts,
        watch=elastic.watch(request),
        files=files,
        finished_flag=launcher.finished_flag_file or FINISHED,
    )


def _options(request: Request) -> tuple[str, ...]:
    launcher = request.launcher
    seconds = elastic.shutdown_timeout(launcher.grace)
    options = [
        *elastic.size(request),
        *elastic.c10d(request),
        # Without it ranks may be told to meet at "localhost".
        "--local-addr=${node_addr}",
        # Zero too: nothing is left to a default.
        f"--max-restarts={request.max_restarts}",
        f"--monitor-interval={launcher.monitor_interval:g}",
        # Between SIGTERM and SIGKILL at a cancel, 1800 s by default, and before a restart.
        f"--term-timeout={seconds}",
        f"--workers-stop-timeout={seconds}",
        "--redirects=3",
        # Only where our own log files cannot be installed.
        "--log-dir=${attempt_dir}/logs/torch",
        f"--ft-cfg-path=${{attempt_dir}}/{CONFIG}",
        # An option with a default of its own in some versions, so that no file can turn it off.
        "--ft-enable-nic-monitor=False",
        "--ft-cycle-info-dir=${attempt_dir}/cycles",
        *(
            f"{option}={_text(value)}"
            for key, option in OPTIONS.items()
            if (value := getattr(launcher, key)) != getattr(_DEFAULTS, key)
        ),
    ]
    if launcher.job_results_file is not None:
        options.append(f"--job-results={launcher.job_results_file}")
    if request.command is not None:
        options.append("--no-python")
    return tuple(options)


def _config(launcher: Launcher) -> str:
    """The configuration as JSON, which is YAML: nodes need no library to read ours."""
    values: dict[str, Any] = {key: getattr(launcher, key) for key in OPTIONS}
    values["enable_nic_monitor"] = False
    return json.dumps({"fault_tolerance": values}, indent=1) + "\n"


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ",".join(f"{macros.escape(name)}:{_text(limit)}" for name, limit in value.items())
    return f"{value:.15g}" if isinstance(value, float) else str(value)


_DEFAULTS = Launcher(name="")
