"""The JSON documents that scripts rely on, literally."""

from __future__ import annotations

import json

import pytest

from cockpit.model.documents import (
    cancel_document,
    event_document,
    iso,
    log_document,
    nodes_document,
    ps_document,
    status_document,
)
from cockpit.model.fleet import FleetModel
from cockpit.model.merged import LogLine
from cockpit.model.reports import CancelReport, NodeProof
from cockpit.model.types import Link, LinkState, Node
from tests.model.building import running
from tests.model.scenarios import JOB, ONLINE, T0, fold
from tests.model.test_model_fleet import SAMPLE

CAUSE = {
    "kind": "exit",
    "node": "gpu02",
    "rank": 3,
    "exit_code": 7,
    "signal": None,
    "message": "RuntimeError: boom from rank 3",
    "exception": "RuntimeError",
    "label": None,
    "hint": None,
    "tail": [],
    "alike": 0,
    "generation": 0,
    "at": "2026-01-01T00:00:06.107+00:00",
}


VICTIM = {
    "kind": "exit",
    "exit_code": 1,
    "signal": None,
    "exception": "RuntimeError",
    "label": "another rank went away",
    "hint": "this rank is a victim: look for the one that failed first, or at the network",
    "tail": [],
    "generation": 0,
}


def node_fleet() -> FleetModel:
    fleet = FleetModel(clock=lambda: T0)
    fleet.node("gpu02", "lab", ONLINE)
    fleet.sample("gpu02", "lab", SAMPLE, 100.0)
    return fleet


def test_status_of_a_failed_job() -> None:
    document = status_document(fold("rank_raises"), node_fleet().snapshot().nodes, 101.5)
    nodes = document.pop("nodes")
    victims = document["history"][0].pop("victims")
    assert [(v["rank"], v["node"]) for v in victims] == [(2, "gpu02"), (0, "gpu01"), (1, "gpu01")]
    for victim in victims:
        assert VICTIM.items() <= victim.items()
    assert document == {
        "schema": 1,
        "id": JOB,
        "name": "train",
        "state": "failed",
        "flags": [],
        "cluster": "lab",
        "launcher": "torchrun",
        "kind": "torchrun",
        "command": ["train.py"],
        "attempt": 0,
        "restarts": 0,
        "max_restarts": 3,
        "world_size": 4,
        "exit_code": 7,
        "cause": CAUSE,
        "created_at": "2025-12-31T23:59:59.000+00:00",
        "created_by": "ada@laptop",
        "started_at": "2026-01-01T00:00:00.520+00:00",
        "ended_at": "2026-01-01T00:00:07.300+00:00",
        "cancelled_by": None,
        "finished": None,
        "no_beats": None,
        "can_checkpoint": False,
        "checkpoint": None,
        "steps": None,
        "metrics": [],
        "stalls": [],
        "history": [
            {
                "attempt": 0,
                "generation": 0,
                "started_at": "2026-01-01T00:00:03.004+00:00",
                "ended_at": "2026-01-01T00:00:06.107+00:00",
                "duration": 3.103,
                "world_size": 4,
                "nodes": 2,
                "reason": "failed",
                "by": None,
                "cause": CAUSE,
                "victim_count": 3,
                "counted": False,
            }
        ],
    }
    second = nodes[1]
    assert [gpu["index"] for gpu in second.pop("gpus")] == [0, 1]
    ranks = second.pop("ranks")
    assert second == {
        "name": "gpu02",
        "node_rank": 1,
        "host": "gpu02.lab",
        "link": {
            "state": "online",
            "since": None,
            "why": None,
            "hint": None,
            "rtt": None,
            "clock_offset": None,
        },
        "state": "failed",
        "supervised": True,
        "pid": 20002,
        "generation": 0,
        "exit_code": 1,
        "signal": None,
        "why": None,
        "simulated": False,
        "age": 1.5,
        "swept": [],
        "left": [],
        "notes": [],
    }
    assert ranks[1] == {
        "rank": 3,
        "local_rank": 1,
        "pid": 20101,
        "state": "failed",
        "exit_code": 7,
        "signal": None,
        "message": "RuntimeError: boom from rank 3",
        "stage": "ended",
        "step": None,
        "step_time": None,
        "own_time": None,
        "straggler": False,
        "beats": None,
        "beat_age": None,
        "beat_limit": None,
        "metrics": {},
        "sections": [],
        "monitor_age": None,
        "note": None,
    }
    assert (nodes[0]["gpus"], nodes[0]["age"]) == ([], None)


def test_status_of_a_job_that_beats() -> None:
    cluster = running()
    cluster.beats(
        0, 10.0, 0, {"step": 41, "own": 0.3, "metrics": {"loss": 2.5}},
        {"step": 43, "ft": {"beats": 1, "age": 1.0, "sections": ["step"]}},
    )  # fmt: skip
    cluster.beats(1, 10.0, 0, {"stage": "silent", "age": 31.0, "limit": 30.0}, {"note": "no hook"})
    cluster.stalled(1, 9.0, 0, (2, 10), message="rank 2 has been silent")
    cluster.say(1, "events", 9.5, "stacks", path="stacks/0.json", reason="stall", generation=0)
    job = cluster.job(10.5)
    document = status_document(job)
    ranks = [rank for node in document["nodes"] for rank in node["ranks"]]
    assert [rank["stage"] for rank in ranks] == ["training", "training", "silent", "training"]
    assert (ranks[0]["step"], ranks[0]["step_time"], ranks[0]["own_time"]) == (41, 0.5, 0.3)
    assert (ranks[0]["beat_age"], ranks[0]["metrics"]) == (0.7, {"loss": 2.5})
    assert (ranks[1]["sections"], ranks[1]["monitor_age"]) == (["step"], 1.5)
    assert (ranks[2]["beat_age"], ranks[2]["beat_limit"]) == (31.5, 30.0)
    assert ranks[3]["note"] == "no hook"
    assert document["flags"] == ["stalled"]
    assert document["steps"] == {"min": 10, "max": 43, "spread": 33}
    assert document["metrics"][0] == {
        "name": "loss", "rank": 0, "value": 2.5, "low": 2.5, "high": 2.5,
        "history": [["2026-01-01T00:00:10.000+00:00", 2.5]],
    }  # fmt: skip
    assert document["stalls"] == [
        {
            "attempt": 0, "generation": 0, "node": "gpu02", "node_rank": 1, "ranks": [2],
            "declared_at": "2026-01-01T00:00:09.000+00:00", "recovered_at": None,
            "action": "warn", "message": "rank 2 has been silent", "where": None,
            "stacks": f"jobs/{JOB}/attempts/0/nodes/1/stacks/0.json",
        }
    ]  # fmt: skip
    (listed,) = ps_document([job])["jobs"]
    assert (listed["steps"], listed["step_time"]) == (document["steps"], 0.5)
    assert json.loads(json.dumps(document)) == document


def test_gpus_of_a_node_of_the_same_name_elsewhere_are_not_shown() -> None:
    elsewhere = Node(name="gpu01", cluster="prod", link=Link())
    assert status_document(fold("success"), [elsewhere])["nodes"][0]["gpus"] == []


def test_the_list_of_jobs() -> None:
    assert ps_document([fold("success")]) == {
        "schema": 1,
        "jobs": [
            {
                "id": JOB,
                "name": "train",
                "state": "succeeded",
                "flags": [],
                "cluster": "lab",
                "launcher": "torchrun",
                "nodes": 2,
                "ranks": 4,
                "restarts": 0,
                "steps": None,
                "step_time": None,
                "exit_code": 0,
                "cause": None,
                "created_at": "2025-12-31T23:59:59.000+00:00",
                "started_by": "ada@laptop",
            }
        ],
    }


def test_the_list_of_nodes() -> None:
    fleet = node_fleet()
    fleet.node("gpu03", "lab", Link(state=LinkState.UNREACHABLE, since=T0, why="timed out"))
    document = nodes_document(fleet.snapshot().nodes, 102.25)
    first, second = document["nodes"]
    assert document["schema"] == 1
    assert first["gpus"][0] == {
        "index": 0,
        "name": "NVIDIA H100",
        "uuid": "GPU-1",
        "state": "ok",
        "utilization": 97.0,
        "memory_used": 70 << 30,
        "memory_total": 80 << 30,
        "power": 650.5,
        "power_limit": 700.0,
        "temperature": 61.0,
        "sm_clock": 1980,
        "error": "",
        "memory_utilization": None,
        "memory_temperature": None,
        "sm_clock_max": None,
        "throttle": None,
        "ecc_uncorrected": None,
        "ecc_uncorrected_total": None,
        "remapped_rows": None,
        "recovery_action": None,
        "nvlink": None,
        "pcie": None,
        "slow_age": None,
        "processes": [{"pid": 4242, "user": "ada", "memory": 69 << 30, "command": "", "job": ""}],
        "xids": [],
        "mig": [],
    }
    assert first["host"]["cpus"] == 64
    assert (first["age"], first["simulated"], first["gpu_error"]) == (2.25, False, None)
    assert (first["health"], first["health_reasons"]) == (
        "crit",
        ["gpu 1: lost", "0.0 GB of disk left"],
    )
    assert second == {
        "name": "gpu03",
        "cluster": "lab",
        "link": {
            "state": "unreachable",
            "since": "2026-01-01T00:00:00.000+00:00",
            "why": "timed out",
            "hint": None,
            "rtt": None,
            "clock_offset": None,
        },
        "host": None,
        "gpus": [],
        "gpu_error": None,
        "gpu_stalled": None,
        "driver": None,
        "cuda": None,
        "user": None,
        "health": "unknown",
        "health_reasons": [],
        "simulated": False,
        "age": None,
    }


def test_a_log_line() -> None:
    line = LogLine(
        node="gpu01", node_rank=0, rank=3, local_rank=1, stream="err", attempt=0, generation=2,
        offset=77, at=T0 + 0.25, text="hello",
    )  # fmt: skip
    assert log_document(line) == {
        "type": "log",
        "node": "gpu01",
        "rank": 3,
        "local_rank": 1,
        "stream": "err",
        "attempt": 0,
        "generation": 2,
        "offset": 77,
        "at": "2026-01-01T00:00:00.250+00:00",
        "text": "hello",
    }


def test_an_event_of_the_job() -> None:
    assert event_document("ended", fold("rank_raises"), at=T0, node="x") == {
        "type": "event",
        "event": "ended",
        "job": JOB,
        "name": "train",
        "attempt": 0,
        "state": "failed",
        "flags": [],
        "restarts": 0,
        "exit_code": 7,
        "cause": CAUSE,
        "at": "2026-01-01T00:00:00.000+00:00",
        "node": "x",
    }


def test_the_proof_of_a_cancel() -> None:
    job = fold("cancelled_with_sweep")

    first, second = job.nodes
    report = CancelReport(
        job=JOB,
        nodes=(
            NodeProof(name=first.name, unreachable="timed out"),
            NodeProof(name=second.name, swept=second.swept),
        ),
    )
    assert cancel_document(job, report) == {
        "schema": 1,
        "id": JOB,
        "name": "train",
        "proven": False,
        "proof": "nothing of it is left on 1 of 2 nodes, 2 processes had to be swept; "
        "gpu01 could not be asked (timed out)",
        "nodes": [
            {"name": "gpu01", "swept": [], "left": [], "unreachable": "timed out"},
            {
                "name": "gpu02",
                "swept": [
                    {"pid": 20555, "command": "tensorboard --logdir runs"},
                    {"pid": 20556, "command": "evil"},
                ],
                "left": [],
                "unreachable": None,
            },
        ],
    }


@pytest.mark.parametrize("at", [None, 1e300, -1e300, float("nan"), float("inf")])
def test_a_time_that_is_none_is_null_and_no_error(at: float | None) -> None:
    assert iso(at) is None


def test_every_document_is_json() -> None:
    job = fold("cancelled_with_sweep")
    fleet = node_fleet().snapshot()
    for document in (
        status_document(job, fleet.nodes, 1.0),
        ps_document([job]),
        nodes_document(fleet.nodes, 1.0),
    ):
        assert json.loads(json.dumps(document)) == document


def test_a_metric_that_is_no_number_leaves_the_document_valid_json() -> None:
    cluster = running(1, 2)
    cluster.beats(0, 9.0, 0, {"metrics": {"loss": 1.5}})
    cluster.beats(0, 10.0, 0, {"metrics": {"loss": "nan", "norm": "inf"}})
    document = status_document(cluster.job(10.0))
    text = json.dumps(document, allow_nan=False)
    assert json.loads(text) == document
    loss, norm = document["metrics"][:2]
    assert (loss["value"], loss["low"], norm["value"]) == ("nan", "nan", "inf")
    assert [value for _, value in loss["history"]] == [1.5, "nan"]
    assert document["nodes"][0]["ranks"][0]["metrics"] == {"loss": "nan", "norm": "inf"}
