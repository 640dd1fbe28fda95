"""The documents that a node keeps: jobs, plans, process identities. Frozen, plain dataclasses.

The controller writes them through the agent, every later controller reads them back; so they
hold all that a restart or an attach from another machine needs, and never a secret's value.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Union

from cockpit.protocol.secretref import SecretRef

SCHEMA = 1


@dataclasses.dataclass(frozen=True)
class ProcessId:
    """A process that cannot be confused with a later one of the same number.

    `start_ticks` is field 22 of /proc/<pid>/stat, `boot_id` that of the running kernel.
    """

    pid: int
    start_ticks: int
    boot_id: str


@dataclasses.dataclass(frozen=True)
class CodeRef:
    """A packed working directory: sha256 of the archive, its bytes, its number of files."""

    digest: str
    size: int
    files: int


@dataclasses.dataclass(frozen=True)
class Watch:
    """How the ranks of a job are watched on each node. Times in seconds.

    `initial_timeout`: until the first beat, None is no limit. `timeout`: between beats, None is
    ten times the median step, never under 120 s. `on_stall` is "warn", "restart" or "cancel".
    A restart after a stall costs none of `max_restarts` unless `count_restarts`; after
    `max_stall_restarts` of them the attempt is ended. `metrics`: name -> regular expression whose
    first group is a number in a line of a rank's log.
    """

    instrument: bool = True
    initial_timeout: Union[float, None] = None
    timeout: Union[float, None] = None
    interval: float = 1.0
    on_stall: str = "warn"
    count_restarts: bool = False
    max_stall_restarts: int = 10
    metrics: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class JobRecord:
    """One thing the user asked to run, immutable; `job.json` on every node of the job.

    `argv` is what each node runs and may hold macros (`macros.py`); `command` is what the user
    asked for, for people. `min_nodes`/`max_nodes` count nodes. `nproc_per_node` is a number or
    "auto" (one rank per GPU, else one), "gpu", "cpu". `working_dir` is the controller's path;
    with `code` None the job runs in that very path on the node (`sync = false`). `files` are
    written into the attempt's folder before the start: path below it -> text, in which macros are
    replaced. `finished_flag` is a path on the node (macros allowed) that training creates when it
    has really finished, "" for none; the supervisor tells it to the job in the environment, as
    FAULT_TOL_FINISHED_FLAG_FILE. Values of `env` hold no macros.
    """

    id: str
    name: str
    created_at: float
    created_by: str
    cluster: str
    launcher: str
    kind: str
    min_nodes: int
    max_nodes: int
    nproc_per_node: Union[int, str]
    command: tuple[str, ...]
    argv: tuple[str, ...]
    env: dict[str, str]
    secrets: dict[str, SecretRef]
    working_dir: str
    code: CodeRef | None
    max_restarts: int
    grace: float
    """Seconds between the one SIGTERM and SIGKILL of a cancel."""
    log_limit: int = 0
    """Bytes a log stream may keep on the node; 0 is no limit."""
    watch: Watch = Watch()
    files: dict[str, str] = dataclasses.field(default_factory=dict)
    finished_flag: str = ""
    schema: int = SCHEMA


@dataclasses.dataclass(frozen=True)
class Member:
    """One node of an attempt, as every node of the attempt knows it.

    `host` is where SSH goes, `addr` where training traffic goes.
    """

    node_rank: int
    name: str
    host: str
    addr: str


@dataclasses.dataclass(frozen=True)
class AttemptRecord:
    """One gang start on one node; `plan.json` in the attempt's folder. No secret values.

    `macros` are the values for the job's argv on this node.
    """

    job: str
    attempt: int
    node_rank: int
    members: tuple[Member, ...]
    macros: dict[str, str]
    created_at: float
    created_by: str
    nproc_per_node: int
    schema: int = SCHEMA


def to_builtins(record: Any) -> dict[str, Any]:
    """A record as JSON-ready dictionaries and lists."""
    return dataclasses.asdict(record)


def _tuple_of_strings(value: Any) -> tuple[str, ...]:
    return tuple(str(item) for item in value)


def process_id(value: dict[str, Any]) -> ProcessId:
    return ProcessId(int(value["pid"]), int(value["start_ticks"]), str(value["boot_id"]))


def watch(value: dict[str, Any]) -> Watch:
    """Read the `watch` of a `job.json`; what is missing is as in Watch()."""
    known = {field.name for field in dataclasses.fields(Watch)}
    return Watch(**{name: item for name, item in value.items() if name in known})


def job_record(value: dict[str, Any]) -> JobRecord:
    """Read a `job.json`. Keys of a newer cockpit are ignored; missing ones raise KeyError."""
    code = value["code"]
    return JobRecord(
        id=value["id"],
        name=value["name"],
        created_at=value["created_at"],
        created_by=value["created_by"],
        cluster=value["cluster"],
        launcher=value["launcher"],
        kind=value["kind"],
        min_nodes=value["min_nodes"],
        max_nodes=value["max_nodes"],
        nproc_per_node=value["nproc_per_node"],
        command=_tuple_of_strings(value["command"]),
        argv=_tuple_of_strings(value["argv"]),
        env=dict(value["env"]),
        secrets={
            name: SecretRef(
                env=ref.get("env"),
                cmd=_tuple_of_strings(ref["cmd"]) if ref.get("cmd") is not None else None,
                file=ref.get("file"),
            )
            for name, ref in value["secrets"].items()
        },
        working_dir=value["working_dir"],
        code=CodeRef(code["digest"], code["size"], code["files"]) if code else None,
        max_restarts=value["max_restarts"],
        grace=value["grace"],
        log_limit=value.get("log_limit", 0),
        watch=watch(value.get("watch") or {}),
        files=dict(value.get("files") or {}),
        finished_flag=str(value.get("finished_flag") or ""),
        schema=value["schema"],
    )


def attempt_record(value: dict[str, Any]) -> AttemptRecord:
    """Read a `plan.json`."""
    return AttemptRecord(
        job=value["job"],
        attempt=value["attempt"],
        node_rank=value["node_rank"],
        members=tuple(
            Member(m["node_rank"], m["name"], m["host"], m["addr"]) for m in value["members"]
        ),
        macros=dict(value["macros"]),
        created_at=value["created_at"],
        created_by=value["created_by"],
        nproc_per_node=value["nproc_per_node"],
        schema=value["schema"],
    )
