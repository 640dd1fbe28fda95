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
from tests.model.scenarios import JOB, ONLINE, T0, fold
from tests.model.test_model_fleet import SAMPLE

CAUSE = {
    "kind": "exit",
    "node": "gpu02",
    "rank": 3,
    "exit_code": 7,
    "signal": None,
    "message": "RuntimeError: boom from rank 3",
    "generation": 0,
    "at": "2026-01-01T00:00:06.107+00:00",
}


def node_fleet() -> FleetModel:
    fleet = FleetModel(clock=lambda: T0)
    fleet.node("gpu02", "lab", ONLINE)
    fleet.sample("gpu02", "lab", SAMPLE, 100.0)
    return fleet


def test_status_of_a_failed_job() -> None:
    document = status_document(fold("rank_raises"), node_fleet().snapshot().nodes, 101.5)
    nodes = document.pop("nodes")
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
        "history": [
            {
                "attempt": 0,
                "generation": 0,
                "started_at": "2026-01-01T00:00:03.004+00:00",
                "ended_at": "2026-01-01T00:00:06.107+00:00",
                "world_size": 4,
                "nodes": 2,
                "reason": "failed",
                "cause": CAUSE,
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
        "step": None,
        "beats": None,
        "beat_age": None,
        "metrics": {},
    }
    assert (nodes[0]["gpus"], nodes[0]["age"]) == ([], None)


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
        "processes": [{"pid": 4242, "user": "ada", "memory": 69 << 30}],
    }
    assert first["host"]["cpus"] == 64
    assert (first["age"], first["simulated"], first["gpu_error"]) == (2.25, False, None)
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
