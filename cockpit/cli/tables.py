"""Plain-text tables for people: jobs, one job in full, nodes. Pure functions of snapshots."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence

from cockpit.model.types import Cause, Gpu, Job, JobNode, LinkState, Node


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Left-aligned columns, two spaces apart."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (header, *rows)
    )


def bytes_text(count: float | None) -> str:
    """1.4 GB; "n/a" for None."""
    if count is None:
        return "n/a"
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def duration_text(seconds: float | None) -> str:
    """1:02:03 or 2:03; "--" for None."""
    if seconds is None:
        return "--"
    minutes, rest = divmod(max(int(seconds), 0), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d{hours:02}:{minutes:02}:{rest:02}"
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def moment_text(at: float | None) -> str:
    """Local date and time; "--" for None."""
    return "--" if at is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def describe(cause: Cause) -> str:
    """A cause as one line: who, where, what."""
    who = f"rank {cause.rank}" if cause.rank is not None else ""
    where = f"on {cause.node}" if cause.node else ""
    what = ""
    if cause.kind == "exit" and cause.exit_code is not None:
        what = f"exited with {cause.exit_code}"
        if cause.message in (f"exit code {cause.exit_code}", f"exited with code {cause.exit_code}"):
            return " ".join(part for part in (who, where, what) if part)
    elif cause.kind == "oom":
        what = "ran out of memory"
    head = " ".join(part for part in (who, where, what) if part)
    return f"{head}: {cause.message}" if head and cause.message else head or cause.message


def runtime(job: Job, now: float) -> float | None:
    if job.started_at is None:
        return None
    return (job.ended_at or now) - job.started_at


def ps_table(jobs: Sequence[Job]) -> str:
    """The listing of `cockpit ps`."""
    if not jobs:
        return "no jobs (`cockpit ps --all` shows ended ones)"
    now = time.time()
    rows = []
    for job in jobs:
        flags = "".join(f" {flag}" for flag in job.flags)
        rows.append(
            (
                job.id,
                job.name,
                job.state.value + flags,
                str(len(job.nodes)),
                str(job.world_size or "--"),
                duration_text(runtime(job, now)),
                str(job.restarts),
                job.cluster,
                job.launcher,
                job.created_by,
            )
        )
    header = ("ID", "NAME", "STATE", "NODES", "RANKS", "RUNTIME", "RST", "CLUSTER", "LAUNCHER",
              "STARTED BY")  # fmt: skip
    return table(header, rows)


def status_text(job: Job) -> str:
    """Everything about one job, first cause first."""
    now = time.time()
    exit_code = "" if job.exit_code is None else f", exit code {job.exit_code}"
    flags = f" ({', '.join(job.flags)})" if job.flags else ""
    lines = [f"{job.name}  {job.id}  {job.state.value}{exit_code}{flags}"]
    if job.cause is not None:
        head = "first cause" if job.state.ended else "last restart"
        lines.append(f"{head}: {describe(job.cause)}")
    if job.cancelled_by:
        lines.append(f"cancelled by {job.cancelled_by}")
    nodes = str(job.min_nodes) if job.min_nodes == job.max_nodes else (
        f"{job.min_nodes}:{job.max_nodes}"
    )  # fmt: skip
    lines += [
        f"command: {shlex.join(job.command)}",
        f"cluster {job.cluster}, launcher {job.launcher} ({job.kind}), {nodes} nodes,"
        f" {job.world_size} ranks, restarts {job.restarts} (at most {job.max_restarts} an attempt)",
        f"started {moment_text(job.started_at)} by {job.created_by}, ended"
        f" {moment_text(job.ended_at)}, runtime {duration_text(runtime(job, now))}",
        "",
    ]
    lines += _node_lines(job.nodes)
    if job.history:
        lines += ["", "history:"]
        rows = [
            (
                f"{item.attempt}.{item.generation}",
                moment_text(item.started_at),
                duration_text(None if item.ended_at is None else item.ended_at - item.started_at),
                f"{item.world_size} on {item.nodes}",
                item.reason or "running",
                describe(item.cause) if item.cause is not None else "",
            )
            for item in job.history
        ]
        lines.append(
            table(("GEN", "STARTED", "TOOK", "RANKS ON NODES", "ENDED", "FIRST CAUSE"), rows)
        )
    return "\n".join(lines)


def _node_lines(nodes: Sequence[JobNode]) -> list[str]:
    rows = []
    notes = []
    for node in nodes:
        link = node.link.state.value
        if node.link.why and node.link.state is not LinkState.ONLINE:
            link += f" ({node.link.why})"
        rows.append((node.name, str(node.node_rank), node.state.value, link, "", "", "", ""))
        for rank in node.ranks:
            end = ""
            if rank.signal is not None:
                end = f"signal {rank.signal}"
            elif rank.exit_code is not None:
                end = f"exit {rank.exit_code}"
            rows.append(
                ("", "", "", "", str(rank.rank), str(rank.pid), rank.state.value,
                 f"{end} {rank.message}".strip())
            )  # fmt: skip
        notes += [f"{node.name}: {note}" for note in node.notes]
        notes += [f"{node.name}: swept {p.pid} {p.command}" for p in node.swept]
        notes += [f"{node.name}: STILL THERE {p.pid} {p.command}" for p in node.left]
    header = ("NODE", "RANK", "STATE", "LINK", "WORLD RANK", "PID", "STATE", "END")
    return [table(header, rows), *notes]


def nodes_table(nodes: Sequence[Node], now: float) -> str:
    """The listing of `cockpit nodes`. `now` is the monotonic clock of the samples."""
    rows = []
    for node in nodes:
        rows.append(_node_row(node, now))
        rows += [_gpu_row(node, gpu) for gpu in node.gpus]
        if node.gpu_error and not node.gpus:
            rows.append(("", "", f"no GPU figures: {node.gpu_error}", "", "", "", ""))
    return table(("NODE", "LINK", "", "UTIL", "MEMORY", "POWER TEMP", "USED BY"), rows)


def _node_row(node: Node, now: float) -> tuple[str, ...]:
    host = node.host
    load = memory = ""
    if host is not None:
        load = "" if host.load1 is None else f"load {host.load1:.1f}/{host.cpus}"
        memory = f"{bytes_text(host.memory_used)} of {bytes_text(host.memory_total)}"
    age = "" if node.sampled_at is None else f"{now - node.sampled_at:.0f} s ago"
    link = node.link.state.value
    return (f"{node.cluster}/{node.name}", link, load, "", memory, "", age)


def _gpu_row(node: Node, gpu: Gpu) -> tuple[str, ...]:
    name = gpu.name
    if node.simulated and "simulated" not in name.lower():
        name += " (simulated)"
    if gpu.state != "ok":
        name += f" [{gpu.state}]"

    def figure(value: float | None, unit: str) -> str:
        return "n/a" if value is None else f"{value:.0f} {unit}"

    users = ", ".join(f"{p.user or '?'}:{p.pid} {bytes_text(p.memory)}" for p in gpu.processes)
    return (
        "",
        f"gpu {gpu.index}",
        name,
        figure(gpu.utilization, "%"),
        f"{bytes_text(gpu.memory_used)} of {bytes_text(gpu.memory_total)}",
        f"{figure(gpu.power, 'W')} {figure(gpu.temperature, '°C')}",
        users,
    )
