"""Recorded journals as tests use them: `journals/*.jsonl`, one file per scenario.

A line is {attempt, node_rank, journal, event}. `launcher_size` of an `ended` event is filled in
here with the real size, so that scenarios stay editable.
"""

from __future__ import annotations

import json
from pathlib import Path

from cockpit.model.jobs import JobModel
from cockpit.model.types import Job
from cockpit.protocol.records import AttemptRecord, JobRecord, Member
from cockpit.transport.base import Link, LinkState

FOLDER = Path(__file__).parent / "journals"
NAMES = sorted(path.stem for path in FOLDER.glob("*.jsonl"))
T0 = 1767225600.0
JOB = "0123456789ab"
ONLINE = Link(state=LinkState.ONLINE)

Where = tuple[int, int, str]


def record(
    min_nodes: int = 2, max_nodes: int | None = None, kind: str = "torchrun", **fields: object
) -> JobRecord:
    values: dict[str, object] = {
        "id": JOB,
        "name": "train",
        "created_at": T0 - 1.0,
        "created_by": "ada@laptop",
        "cluster": "lab",
        "launcher": kind,
        "kind": kind,
        "min_nodes": min_nodes,
        "max_nodes": max_nodes or min_nodes,
        "nproc_per_node": 2,
        "command": ("train.py",),
        "argv": ("python", "train.py"),
        "env": {},
        "secrets": {},
        "working_dir": "/home/ada/code",
        "code": None,
        "max_restarts": 3,
        "grace": 3.0,
    }
    return JobRecord(**(values | fields))  # type: ignore[arg-type]


def plan(nodes: int, attempt: int = 0, node_rank: int = 0) -> AttemptRecord:
    members = tuple(
        Member(rank, f"gpu0{rank + 1}", f"gpu0{rank + 1}.lab", f"10.0.0.{rank + 1}")
        for rank in range(nodes)
    )
    return AttemptRecord(JOB, attempt, node_rank, members, {}, T0 - 0.5, "ada@laptop", 2)


def elastic(name: str) -> JobRecord:
    """The record that fits a scenario."""
    if name in ("third_node_joins", "elastic_node_drops_out"):
        return record(2, 3)
    return record()


def journals(name: str) -> dict[Where, bytes]:
    """The bytes of every journal of a scenario."""
    lines = [json.loads(line) for line in (FOLDER / f"{name}.jsonl").read_text().splitlines()]
    found: dict[Where, list[dict[str, object]]] = {}
    for line in lines:
        where = (line["attempt"], line["node_rank"], line["journal"])
        found.setdefault(where, []).append(line["event"])

    def encode(events: list[dict[str, object]]) -> bytes:
        return b"".join(json.dumps(event).encode() + b"\n" for event in events)

    sizes = {where[:2]: len(encode(e)) for where, e in found.items() if where[2] == "launcher"}
    for (attempt, node_rank, journal), events in found.items():
        for event in events:
            if journal == "events" and event.get("launcher_size") == -1:
                event["launcher_size"] = sizes.get((attempt, node_rank), 0)
    return {where: encode(events) for where, events in found.items()}


def model(name: str, job: JobRecord | None = None) -> JobModel:
    """A model of the scenario's job with its plans, to which no journal was fed yet."""
    result = JobModel(job or elastic(name))
    wheres = journals(name)
    for attempt in {where[0] for where in wheres}:
        nodes = max(where[1] for where in wheres if where[0] == attempt) + 1
        result.plan(plan(nodes, attempt))
        for rank in range(nodes):
            result.link(f"gpu0{rank + 1}", ONLINE)
    return result


def fold(name: str, job: JobRecord | None = None) -> Job:
    """The final snapshot of a scenario."""
    result = model(name, job)
    for (attempt, node_rank, journal), data in journals(name).items():
        result.feed(attempt, node_rank, journal, 0, data)
    return result.snapshot(T0 + 1000.0)


def line(kind: str, seq: int, at: float, **fields: object) -> bytes:
    """One journal line."""
    event = {"seq": seq, "at": T0 + at, "mono": 1.0 + at, "kind": kind, **fields}
    return json.dumps(event).encode() + b"\n"
