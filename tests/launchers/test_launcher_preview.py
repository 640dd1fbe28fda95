"""`run --dry-run` prints everything that a node would be given, and nothing that it would not."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from cockpit.launchers import preview, registry
from cockpit.launchers.plan import Request
from cockpit.launchers.preview import preview_document, preview_text
from cockpit.node.supervise import launching
from cockpit.profiles.types import Cluster, Launcher, NodeSpec


def request(**launcher: Any) -> Request:
    return Request(
        name="llama",
        cluster=Cluster(name="lab"),
        launcher=Launcher(name="careful", **launcher),
        nodes=(NodeSpec(name="a", host="a"), NodeSpec(name="b", host="b")),
        min_nodes=2,
        max_nodes=2,
        nproc_per_node=8,
        script="train.py",
        working_dir="/home/ada",
        metrics={"loss": "loss=(.*)"},
        cfg="fault_tolerance: {}  # ${x}\n" if launcher.get("kind") == "ft" else None,
    )


def document(wanted: Request) -> dict[str, Any]:
    made = preview_document(wanted, registry.plan(wanted), None)
    plan: dict[str, Any] = json.loads(msgspec.json.encode(made))["plan"]
    return plan


def test_files_and_watch_are_part_of_the_document() -> None:
    plan = document(request(kind="ft", on_stall="restart", rank_heartbeat_timeout=60.0))
    assert [node["files"] for node in plan["nodes"]] == [
        ["/home/ada", "${attempt_dir}/ft.yaml", "${attempt_dir}/ft.user.yaml"]
    ] * 2
    section = json.loads(plan["written"]["ft.yaml"])["fault_tolerance"]
    assert section["rank_heartbeat_timeout"] == 60.0
    assert plan["written"]["ft.user.yaml"] == "fault_tolerance: {}  # ${x}\n"
    assert plan["finished_flag"] == "${attempt_dir}/finished"
    assert (plan["watch"]["on_stall"], plan["watch"]["timeout"]) == ("restart", 60.0)
    assert plan["watch"]["metrics"] == {"loss": "loss=(.*)"}


def test_a_kind_without_files_has_none() -> None:
    plan = document(request())
    assert (plan["written"], plan["finished_flag"]) == ({}, None)


def test_variables_that_tell_of_files_are_shown_as_ranks_get_them() -> None:
    assert preview.FINISHED_FLAG_ENV == launching.FINISHED_FLAG_ENV
    wanted = request(kind="ft", job_results_file="/shared/${node_rank}/results")
    envs = [node["env"] for node in document(wanted)["nodes"]]
    assert [env["JOB_RESULTS_FILE"] for env in envs] == ["/shared/0/results", "/shared/1/results"]
    assert {env["FAULT_TOL_FINISHED_FLAG_FILE"] for env in envs} == {"${attempt_dir}/finished"}
    text = preview_text(wanted, registry.plan(wanted), None)
    assert "  JOB_RESULTS_FILE=/shared/1/results\n" in text
    assert "FAULT_TOL_FINISHED_FLAG_FILE=" in text
    own = request(kind="ft", finished_flag_file="/shared/done")
    assert document(own)["nodes"][0]["env"]["FAULT_TOL_FINISHED_FLAG_FILE"] == "/shared/done"
    assert "JOB_RESULTS_FILE" not in document(own)["nodes"][0]["env"]
    assert not {"JOB_RESULTS_FILE", "FAULT_TOL_FINISHED_FLAG_FILE"} & {
        *document(request())["nodes"][0]["env"]
    }


@pytest.mark.parametrize(
    ("launcher", "line"),
    [
        ({}, "first beat no limit, then 10 x the median step, at a stall warn, metrics loss"),
        (
            {"initial_rank_heartbeat_timeout": 600.0, "rank_heartbeat_timeout": 60.0},
            "first beat 600 s, then 60 s, at a stall warn",
        ),
        ({"instrument": False}, "no beats, metrics loss from the logs"),
    ],
)
def test_how_ranks_are_watched_is_one_line(launcher: dict[str, Any], line: str) -> None:
    wanted = request(**launcher)
    assert f"watch: {line}" in preview_text(wanted, registry.plan(wanted), None)


def test_the_text_shows_what_is_written_on_the_nodes() -> None:
    wanted = request(kind="ft")
    text = preview_text(wanted, registry.plan(wanted), None)
    assert "file ${attempt_dir}/ft.user.yaml:\n  fault_tolerance: {}  # ${x}\n" in text
    assert "finished when there is ${attempt_dir}/finished" in text
