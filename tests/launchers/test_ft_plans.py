"""What the kind ft renders. The same plans run for real in tests/node."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cockpit.errors import UsageError
from cockpit.launchers import registry
from cockpit.launchers.plan import Plan, Request
from cockpit.profiles.types import Cluster, Launcher, NodeSpec
from cockpit.protocol import macros
from cockpit.protocol.records import Watch


def plan(*, launcher: dict[str, Any] | None = None, **changes: Any) -> Plan:
    given = {
        "name": "llama",
        "cluster": Cluster(name="lab"),
        "launcher": Launcher(name="careful", **{"kind": "ft", **(launcher or {})}),
        "nodes": tuple(NodeSpec(name=f"gpu{n}", host=f"gpu{n}") for n in range(4)),
        "min_nodes": 2,
        "max_nodes": 2,
        "nproc_per_node": 8,
        "working_dir": "/home/ada/llama",
    }
    if not {"script", "module", "command"} & changes.keys():
        given["script"] = "train.py"
    return registry.plan(Request(**{**given, **changes}))


def config(made: Plan) -> dict[str, Any]:
    section: dict[str, Any] = json.loads(made.files["ft.yaml"])["fault_tolerance"]
    return section


def test_ft_launcher_is_started_like_this() -> None:
    made = plan(args=("--lr", "${HOME}"), max_restarts=3)
    assert made.argv == (
        "${python}",
        "-u",
        "${runtime}/cockpit/node/elastic.py",
        "--ft",
        "--nnodes=2",
        "--nproc-per-node=${nproc_per_node}",
        "--rdzv-backend=c10d",
        "--rdzv-endpoint=${head_node_ip}:${rdzv_port}",
        "--rdzv-id=${job}.${attempt}",
        "--rdzv-conf=is_host=${is_head},join_timeout=600,"
        "keep_alive_interval=3,keep_alive_max_attempt=5",
        "--local-addr=${node_addr}",
        "--max-restarts=3",
        "--monitor-interval=0.1",
        "--term-timeout=25",
        "--workers-stop-timeout=25",
        "--redirects=3",
        "--log-dir=${attempt_dir}/logs/torch",
        "--ft-cfg-path=${attempt_dir}/ft.yaml",
        "--ft-enable-nic-monitor=False",
        "--ft-cycle-info-dir=${attempt_dir}/cycles",
        "--",
        "${runtime}/cockpit/node/rank/worker.py",
        "train.py",
        "--lr",
        "$${HOME}",
    )
    assert made.env == {"PYTHONUNBUFFERED": "1", "FT_LAUNCHER_LOGLEVEL": "INFO"}
    assert (made.kind, made.grace, made.max_restarts) == ("ft", 30.0, 3)
    assert made.finished_flag == "${attempt_dir}/finished"


def test_every_limit_stands_in_the_file_since_versions_differ_in_what_an_absent_one_means() -> None:
    assert config(plan()) == {
        "workload_check_interval": 1.0,
        "initial_rank_heartbeat_timeout": None,
        "rank_heartbeat_timeout": None,
        "rank_section_timeouts": {},
        "rank_out_of_section_timeout": None,
        "rank_termination_signal": "SIGKILL",
        "log_level": "INFO",
        "enable_nic_monitor": False,
    }


def test_what_the_profile_sets_is_in_the_file_and_an_option_that_beats_every_file() -> None:
    made = plan(
        launcher={
            "initial_rank_heartbeat_timeout": 1234567.5,
            "rank_heartbeat_timeout": 60.0,
            "workload_check_interval": 2.5,
            "rank_section_timeouts": {"step": 10.0, "save ${x}": 0.5},
            "rank_out_of_section_timeout": 9.0,
            "rank_termination_signal": "SIGTERM",
            "log_level": "DEBUG",
            "job_results_file": "/r/${job}",
            "finished_flag_file": "/f/${attempt}",
            "rdzv_id": "mine",
        }
    )
    assert {
        "--ft-initial-rank-heartbeat-timeout=1234567.5",
        "--ft-rank-heartbeat-timeout=60",
        "--ft-workload-check-interval=2.5",
        "--ft-rank-section-timeouts=step:10,save $${x}:0.5",
        "--ft-rank-out-of-section-timeout=9",
        "--ft-rank-termination-signal=SIGTERM",
        "--ft-log-level=DEBUG",
        "--job-results=/r/${job}",
        "--rdzv-id=mine.${attempt}",
    } <= set(made.argv)
    written = json.loads(macros.substitute(made.files["ft.yaml"], {}))["fault_tolerance"]
    assert written["rank_section_timeouts"] == {"step": 10.0, "save ${x}": 0.5}
    assert written["rank_heartbeat_timeout"] == 60.0
    assert made.finished_flag == "/f/${attempt}"
    assert made.env["FT_LAUNCHER_LOGLEVEL"] == "DEBUG"


def test_the_users_file_is_sent_along_byte_for_byte() -> None:
    text = "fault_tolerance:\n  safety_factor: 3  # ${not_a_macro}\n"
    sent = plan(cfg=text).files
    assert set(sent) == {"ft.yaml", "ft.user.yaml"}
    assert macros.substitute(sent["ft.user.yaml"], {}) == text


def test_every_macro_of_the_plan_is_one_that_nodes_know() -> None:
    made = plan(nproc_per_node="auto", launcher={"job_results_file": "${attempt_dir}/r"})
    for item in (*made.argv, *made.files.values(), made.finished_flag):
        macros.substitute(item, macros.NAMES)


def test_ranks_are_watched_as_the_profile_says() -> None:
    launcher = {
        "initial_rank_heartbeat_timeout": 600.0,
        "rank_heartbeat_timeout": 60.0,
        "workload_check_interval": 2.0,
        "on_stall": "restart",
        "count_stall_restarts": True,
        "max_stall_restarts": 2,
    }
    expected = Watch(
        initial_timeout=600.0,
        timeout=60.0,
        interval=2.0,
        on_stall="restart",
        count_restarts=True,
        max_stall_restarts=2,
        metrics={"loss": "(.)"},
    )
    for kind in ("ft", "torchrun"):
        assert plan(launcher={"kind": kind, **launcher}, metrics={"loss": "(.)"}).watch == expected
    assert plan(launcher={"instrument": False}).watch == Watch(instrument=False)


def test_under_the_kind_command_nothing_beats_but_lines_may_tell_figures() -> None:
    made = plan(launcher={"kind": "command"}, nproc_per_node="auto", metrics={"loss": "(.)"})
    assert made.watch == Watch(instrument=False, metrics={"loss": "(.)"})
    assert (made.files, made.finished_flag) == ({}, "")


STATIC = {"kind": "torchrun", "rdzv_backend": "static"}


def test_a_static_rendezvous_names_the_head_and_the_nodes_own_number() -> None:
    argv = plan(launcher={**STATIC, "join_timeout": 60}).argv
    assert argv[argv.index("--rdzv-backend=static") :][:6] == (
        "--rdzv-backend=static",
        "--node-rank=${node_rank}",
        "--master-addr=${head_node_ip}",
        "--master-port=${rdzv_port}",
        "--rdzv-id=${job}.${attempt}",
        "--rdzv-conf=timeout=60",
    )


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"launcher": STATIC, "max_nodes": 3}, "asks for 2:3 nodes"),
        ({"launcher": {**STATIC, "rdzv_conf": {"read_timeout": 1}}}, "reads no rdzv_conf"),
        ({"launcher": {**STATIC, "on_stall": "restart"}}, "cannot agree on a restart"),
    ],
)
def test_a_static_rendezvous_refuses_what_it_cannot_do(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(UsageError, match=match):
        plan(**changes)
