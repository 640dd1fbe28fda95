"""The JSON documents that scripts may rely on, made from snapshots. Schema 1.

Plain dictionaries, ready for `json.dumps`. Times are ISO 8601 in UTC, durations seconds, memory
bytes, power watts, temperatures °C. The command line prints them; nothing here reads them back.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from cockpit.model.figures import step_time_of
from cockpit.model.merged import LogLine
from cockpit.model.reports import CancelReport
from cockpit.model.stragglers import gpu_stragglers, mark
from cockpit.model.types import (
    Cause,
    Checkpoint,
    Gpu,
    Job,
    JobNode,
    Leftover,
    Link,
    Metric,
    Node,
    Rank,
    Stall,
)

SCHEMA = 1
Document = dict[str, Any]


def iso(at: float | None) -> str | None:
    """Wall-clock seconds as "2026-01-31T12:00:00.000+00:00"; None for no or an absurd time."""
    if at is None:
        return None
    try:
        moment = datetime.datetime.fromtimestamp(at, datetime.timezone.utc)
    except (OverflowError, ValueError, OSError):
        return None
    return moment.isoformat(timespec="milliseconds")


def status_document(job: Job, nodes: Iterable[Node] = (), now: float | None = None) -> Document:
    """`status --json`. `nodes`: those of the fleet, for the GPUs of the job's nodes.

    With their telemetry, ranks whose GPU stands apart are marked as stragglers too.
    """
    nodes = list(nodes)
    job = mark(job, gpu_stragglers(job, nodes))
    machines = {node.name: node for node in nodes if node.cluster == job.cluster}
    return {
        "schema": SCHEMA,
        "id": job.id,
        "name": job.name,
        "state": job.state.value,
        "flags": list(job.flags),
        "cluster": job.cluster,
        "launcher": job.launcher,
        "kind": job.kind,
        "command": list(job.command),
        "attempt": job.attempt,
        "restarts": job.restarts,
        "max_restarts": job.max_restarts,
        "world_size": job.world_size,
        "exit_code": job.exit_code,
        "cause": cause(job.cause),
        "created_at": iso(job.created_at),
        "created_by": job.created_by,
        "started_at": iso(job.started_at),
        "ended_at": iso(job.ended_at),
        "cancelled_by": job.cancelled_by or None,
        "finished": job.finished,
        "no_beats": job.no_beats or None,
        "can_checkpoint": job.can_checkpoint,
        "checkpoint": _checkpoint(job.checkpoint),
        "steps": steps(job),
        "metrics": [_metric(metric) for metric in job.metrics],
        "stalls": [stall(item) for item in job.stalls],
        "nodes": [_job_node(node, machines, now) for node in job.nodes],
        "history": [
            {
                "attempt": item.attempt,
                "generation": item.generation,
                "started_at": iso(item.started_at),
                "ended_at": iso(item.ended_at),
                "duration": _duration(item.started_at, item.ended_at),
                "world_size": item.world_size,
                "nodes": item.nodes,
                "reason": item.reason or None,
                "by": item.by or None,
                "cause": cause(item.cause),
                "victims": [cause(victim) for victim in item.victims],
                "victim_count": item.victim_count,
                "counted": item.counted,
            }
            for item in job.history
        ],
    }


def _checkpoint(item: Checkpoint | None) -> Document | None:
    if item is None or item.step is None:
        return None
    return {
        "step": item.step,
        "generation": item.generation,
        "by": item.by,
        "at": iso(item.at),
        "ranks": list(item.ranks),
        "saved": [{"rank": rank, "step": step} for rank, step in item.saved],
        "void": item.void or None,
    }


def steps(job: Job) -> Document | None:
    """How far the ranks are, None where nothing counts steps."""
    known = job.steps
    if known is None:
        return None
    return {"min": known[0], "max": known[1], "spread": known[1] - known[0]}


def stall(item: Stall) -> Document:
    """A stall, in `status --json` and in the events of `run --json`."""
    return {
        "attempt": item.attempt,
        "generation": item.generation,
        "node": item.node,
        "node_rank": item.node_rank,
        "ranks": list(item.ranks),
        "declared_at": iso(item.at),
        "recovered_at": iso(item.recovered_at),
        "action": item.action,
        "message": item.message,
        "where": item.where or None,
        "stacks": item.stacks or None,
    }


def _metric(metric: Metric) -> Document:
    return {
        "name": metric.name,
        "rank": metric.rank,
        "value": _figure(metric.value),
        "low": _figure(metric.low),
        "high": _figure(metric.high),
        "history": [[iso(at), _figure(value)] for at, value in metric.history],
    }


def _figure(value: float) -> float | str:
    """JSON has no word for NaN and infinity: they are the texts "nan", "inf", "-inf"."""
    return value if math.isfinite(value) else str(value)


def _duration(start: float, end: float | None) -> float | None:
    return None if end is None else round(max(end - start, 0.0), 3)


def cause(value: Cause | None) -> Document | None:
    if value is None:
        return None
    return {
        "kind": value.kind,
        "node": value.node or None,
        "rank": value.rank,
        "exit_code": value.exit_code,
        "signal": value.signal,
        "message": value.message,
        "exception": value.exception or None,
        "label": value.label or None,
        "hint": value.hint or None,
        "tail": list(value.tail),
        "alike": value.alike,
        "generation": value.generation,
        "at": iso(value.at),
    }


def ps_document(jobs: Iterable[Job]) -> Document:
    """`ps --json`."""
    return {
        "schema": SCHEMA,
        "jobs": [
            {
                "id": job.id,
                "name": job.name,
                "state": job.state.value,
                "flags": list(job.flags),
                "cluster": job.cluster,
                "launcher": job.launcher,
                "nodes": len(job.nodes),
                "ranks": sum(len(node.ranks) for node in job.nodes),
                "restarts": job.restarts,
                "steps": steps(job),
                "step_time": step_time_of(job),
                "exit_code": job.exit_code,
                "cause": cause(job.cause),
                "created_at": iso(job.created_at),
                "started_by": job.created_by,
            }
            for job in jobs
        ],
    }


def nodes_document(nodes: Iterable[Node], now: float) -> Document:
    """`nodes --json`. `now` is the controller's monotonic clock, as in `Node.sampled_at`."""
    return {
        "schema": SCHEMA,
        "nodes": [
            {
                "name": node.name,
                "cluster": node.cluster,
                "link": _link(node.link),
                "host": None if node.host is None else msgspec.to_builtins(node.host),
                "gpus": [_gpu(gpu) for gpu in node.gpus],
                "gpu_error": node.gpu_error or None,
                "gpu_stalled": node.gpu_stalled,
                "driver": node.driver or None,
                "cuda": node.cuda or None,
                "user": node.user or None,
                "health": node.health,
                "health_reasons": list(node.health_reasons),
                "simulated": node.simulated,
                "age": _age(node, now),
            }
            for node in nodes
        ],
    }


def log_document(line: LogLine) -> Document:
    """One line of `logs --json` and `run --json`."""
    return {
        "type": "log",
        "node": line.node,
        "rank": line.rank,
        "local_rank": line.local_rank,
        "stream": line.stream,
        "attempt": line.attempt,
        "generation": line.generation,
        "offset": line.offset,
        "at": iso(line.at),
        "text": line.text,
    }


def event_document(kind: str, job: Job, *, at: float | None = None, **fields: Any) -> Document:
    """One event of a job as a whole, with the job's state; `at` is the controller's wall clock."""
    return {
        "type": "event",
        "event": kind,
        "job": job.id,
        "name": job.name,
        "attempt": job.attempt,
        "state": job.state.value,
        "flags": list(job.flags),
        "restarts": job.restarts,
        "exit_code": job.exit_code,
        "cause": cause(job.cause),
        "at": iso(at),
        **fields,
    }


def cancel_document(job: Job, report: CancelReport) -> Document:
    """`cancel --json`: what had to be swept, and what is left, on each node."""
    return {
        "schema": SCHEMA,
        "id": job.id,
        "name": job.name,
        "proven": report.proven,
        "proof": report.proof,
        "nodes": [
            {
                "name": node.name,
                "swept": [_leftover(process) for process in node.swept],
                "left": [_leftover(process) for process in node.left],
                "unreachable": node.unreachable or None,
            }
            for node in report.nodes
        ],
    }


def _job_node(node: JobNode, machines: Mapping[str, Node], now: float | None) -> Document:
    machine = machines.get(node.name)
    return {
        "name": node.name,
        "node_rank": node.node_rank,
        "host": node.host,
        "link": _link(node.link),
        "state": node.state.value,
        "supervised": node.supervised,
        "pid": node.pid,
        "generation": node.generation,
        "exit_code": node.exit_code,
        "signal": node.signal,
        "why": node.why or None,
        "ranks": [_rank(rank) for rank in node.ranks],
        "gpus": [] if machine is None else [_gpu(gpu) for gpu in machine.gpus],
        "simulated": machine is not None and machine.simulated,
        "age": None if machine is None or now is None else _age(machine, now),
        "swept": [_leftover(process) for process in node.swept],
        "left": [_leftover(process) for process in node.left],
        "notes": list(node.notes),
    }


def _rank(rank: Rank) -> Document:
    return {
        "rank": rank.rank,
        "local_rank": rank.local_rank,
        "pid": rank.pid,
        "state": rank.state.value,
        "exit_code": rank.exit_code,
        "signal": rank.signal,
        "message": rank.message or None,
        "stage": rank.stage.value,
        "step": rank.step,
        "step_time": rank.step_time,
        "own_time": rank.own_time,
        "straggler": rank.straggler,
        "beats": rank.beats,
        "beat_age": rank.beat_age,
        "beat_limit": rank.beat_limit,
        "metrics": {name: _figure(value) for name, value in rank.metrics.items()},
        "sections": list(rank.sections),
        "monitor_age": rank.monitor_age,
        "note": rank.note or None,
    }


def _gpu(gpu: Gpu) -> Document:
    document: Document = msgspec.to_builtins(gpu)
    for name, value in document.items():
        if isinstance(value, tuple):
            document[name] = list(value)
    document["xids"] = [{"number": xid.number, "at": iso(xid.at)} for xid in gpu.xids]
    return document


def _leftover(process: Leftover) -> Document:
    return {"pid": process.pid, "command": process.command}


def _link(link: Link) -> Document:
    return {
        "state": link.state.value,
        "since": iso(link.since) if link.since else None,
        "why": link.why or None,
        "hint": link.hint or None,
        "rtt": link.rtt,
        "clock_offset": link.clock_offset,
    }


def _age(node: Node, now: float) -> float | None:
    return None if node.sampled_at is None else round(max(now - node.sampled_at, 0.0), 3)
