"""The table of `cockpit nodes`: a line per node, a line per GPU. Pure functions of snapshots.

What is unknown is "n/a", what is old says its age, what is simulated says so, and a GPU that is
lost has no figures.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from cockpit.cli.spans import Line, Span, bar, pad
from cockpit.cli.tables import bytes_text, duration_text
from cockpit.model.types import (
    Gpu,
    GpuProcess,
    Host,
    Job,
    LinkState,
    MigInstance,
    Node,
    Rank,
    Stage,
)
from cockpit.text import count_of

STALE_AFTER = 5.0
"""Seconds after which figures are shown as old."""
MAX_PROCESSES = 4
"""Processes of a GPU that are named; the rest is counted."""
_BAR = 10
_NAME = 20
_MEMORY = 14
_HOT = 85.0
"""°C from which a GPU's temperature is marked; H100s begin to slow down at 87."""
_HEALTH = {"unknown": "dim", "ok": "ok", "warn": "warn", "crit": "bad"}
_MAKERS = ("NVIDIA ", "AMD ", "GeForce ", "Tesla ")


class Work(NamedTuple):
    """Who trains where: jobs by id, and ranks by (cluster, node, pid)."""

    jobs: dict[str, Job]
    ranks: dict[tuple[str, str, int], tuple[Job, Rank]]


def work_of(jobs: Iterable[Job]) -> Work:
    known = {job.id: job for job in jobs}
    ranks = {
        (job.cluster, node.name, rank.pid): (job, rank)
        for job in known.values()
        if not job.state.ended
        for node in job.nodes
        for rank in node.ranks
    }
    return Work(known, ranks)


def nodes_lines(
    nodes: Sequence[Node], jobs: Iterable[Job], now: float, *, plain: bool = False
) -> list[Line]:
    """The whole table. `now` is the monotonic clock of the samples; `plain` draws in ASCII."""
    work = work_of(jobs)
    width = _width(nodes)
    lines: list[Line] = []
    for node in nodes:
        lines += _node(node, work, now, width, plain)
    return lines or [_nobody()]


def fitted_lines(
    nodes: Sequence[Node], jobs: Iterable[Job], now: float, rows: int, *, plain: bool = False
) -> list[Line]:
    """The table for a screen of `rows`: nodes with trouble first, and where there is not room for
    all, a line for each healthy node, then no GPUs of the others either."""
    work, width = work_of(jobs), _width(nodes)
    ordered = sorted(nodes, key=lambda node: _trouble(node, now))
    whole = {id(node): _node(node, work, now, width, plain) for node in ordered}
    short = {id(node): _folded(node, now, width, plain) for node in ordered}
    healthy = [node for node in ordered if _trouble(node, now) is _Trouble.NONE]
    for folded in ([], healthy, ordered):
        fewer = {id(node) for node in folded}
        lines = [
            line for node in ordered for line in (short if id(node) in fewer else whole)[id(node)]
        ]
        if len(lines) <= rows:
            break
    return lines or [_nobody()]


def counted(nodes: Sequence[Node], now: float) -> Line:
    """How many nodes are online, of how many the figures are old, and how many are in trouble."""
    online = sum(1 for node in nodes if _is_online(node))
    spans = [Span(f"{online}/{len(nodes)} nodes online", "ok" if online == len(nodes) else "warn")]
    for count, word, style in (
        (sum(1 for node in nodes if _is_stale(node, now)), "stale", "warn"),
        (sum(1 for node in nodes if node.health == "crit"), "critical", "bad"),
        (sum(1 for node in nodes if node.health == "warn"), "with warnings", "warn"),
    ):
        if count:
            spans += [Span(", "), Span(f"{count} {word}", style)]
    return tuple(spans)


class _Trouble(enum.IntEnum):
    """What a node is shown first for."""

    CRITICAL = 0
    AWAY = 1
    DOUBTFUL = 2
    NONE = 3


def _trouble(node: Node, now: float) -> _Trouble:
    if node.health == "crit":
        return _Trouble.CRITICAL
    if not _is_online(node):
        return _Trouble.AWAY
    if node.health == "warn" or _is_stale(node, now) or any(gpu.state != "ok" for gpu in node.gpus):
        return _Trouble.DOUBTFUL
    return _Trouble.NONE


def _width(nodes: Sequence[Node]) -> int:
    return max((len(f"{node.cluster}/{node.name}") for node in nodes), default=0)


def _nobody() -> Line:
    return (Span("no nodes: name a cluster in cockpit.toml", "dim"),)


def _is_online(node: Node) -> bool:
    return node.link.state is LinkState.ONLINE


def _is_stale(node: Node, now: float) -> bool:
    """It has told of itself, and does not any more."""
    if node.sampled_at is None:
        return False
    return now - node.sampled_at > STALE_AFTER or not _is_online(node)


def _node(node: Node, work: Work, now: float, width: int, plain: bool) -> list[Line]:
    stale = _is_stale(node, now)
    lines = [_header(node, _sample_age(node, now), width, stale=stale)]
    lines += _reasons(node, stale=stale, plain=plain)
    for gpu in node.gpus:
        lines += _gpu(node, gpu, work, stale=stale, plain=plain)
    if node.gpu_error and not node.gpus and node.gpu_stalled is None:
        lines.append((Span(f"  no GPU figures: {node.gpu_error}", "dim"),))
    return lines


def _folded(node: Node, now: float, width: int, plain: bool) -> list[Line]:
    """A node without a line for each GPU."""
    stale = _is_stale(node, now)
    gpus = f"  {count_of(len(node.gpus), 'GPU')} not shown" if node.gpus else ""
    header = _header(node, _sample_age(node, now), width, Span(gpus, "dim"), stale=stale)
    return [header, *_reasons(node, stale=stale, plain=plain)]


def _reasons(node: Node, *, stale: bool, plain: bool) -> list[Line]:
    style = "bad" if node.health == "crit" else "warn"
    lines: list[Line] = [
        (Span(f"  {'!' if plain else '✖'} {reason}", "dim" if stale else style),)
        for reason in node.health_reasons
    ]
    if not _is_online(node) and node.link.hint:
        lines.append((Span(f"  hint: {node.link.hint}", "dim"),))
    return lines


def _sample_age(node: Node, now: float) -> float | None:
    return None if node.sampled_at is None else max(now - node.sampled_at, 0.0)


def _header(node: Node, age: float | None, width: int, *more: Span, stale: bool) -> Line:
    """`more` stands before the figures of the machine."""
    online = _is_online(node)
    link = node.link.state.value
    if node.link.why and not online:
        link += f": {node.link.why}"
    spans = [
        Span(pad(f"{node.cluster}/{node.name}", width), "strong"),
        Span("  "),
        Span(link, "ok" if online else "bad"),
    ]
    if node.sampled_at is not None:
        spans += [Span("  "), Span(node.health, "dim" if stale else _HEALTH[node.health])]
    # Before the figures: the end of the line is cut off on a narrow terminal.
    if age is not None:
        words = f"stale, {_age(age)} old" if stale else f"{_age(age)} ago"
        spans += [Span("  "), Span(words, "warn" if stale else "dim")]
    elif online:
        spans.append(Span("  no sample yet", "dim"))
    if node.simulated:
        spans += [Span("  "), Span("simulated GPUs", "warn")]
    spans += more
    if node.host is not None:
        parts = _host(node.host)
        spans.append(Span("  " + " · ".join(parts), "dim" if stale else ""))
    if node.driver and not node.simulated:
        cuda = f", CUDA {node.cuda}" if node.cuda else ""
        spans.append(Span(f" · driver {node.driver}{cuda}", "dim"))
    return tuple(spans)


def _host(host: Host) -> list[str]:
    parts = []
    if host.cpu_percent is not None:
        parts.append(f"cpu {host.cpu_percent:.0f}%" + (f" of {host.cpus}" if host.cpus else ""))
    elif host.cpus is not None:
        parts.append(f"{host.cpus} cpus")
    if host.load1 is not None:
        parts.append(f"load {host.load1:.1f}")
    parts.append(f"mem {_part_of(host.memory_used, host.memory_total)}")
    if host.swap_used:
        parts.append(f"swap {bytes_text(host.swap_used)}")
    if host.disk_free is not None:
        parts.append(f"disk {bytes_text(host.disk_free)} free")
    if host.disk_read is not None and host.disk_written is not None:
        parts.append(f"io r {bytes_text(host.disk_read)}/s w {bytes_text(host.disk_written)}/s")
    if host.network_in is not None and host.network_out is not None:
        parts.append(f"net in {bytes_text(host.network_in)}/s out {bytes_text(host.network_out)}/s")
    if host.temperature is not None:
        parts.append(f"{host.temperature:.0f}°C")
    if host.blocked:
        parts.append(f"{host.blocked} blocked")
    return parts


def _gpu(node: Node, gpu: Gpu, work: Work, *, stale: bool, plain: bool) -> list[Line]:
    tone = "dim" if stale else ""
    head = Span(f"  {gpu.index:>2} {pad(_short(gpu.name), _NAME)}  ", tone)
    if gpu.state != "ok":
        why = gpu.error if gpu.error.lower() not in ("", f"gpu is {gpu.state}") else ""
        text = f"{gpu.state.upper()}{': ' + why if why else ''}"
        return [(head, Span(text, "dim" if stale else "bad"), *_notes(gpu, stale=stale))]
    used = _share(gpu.memory_used, gpu.memory_total)
    busy = None if gpu.utilization is None else gpu.utilization / 100
    clock = "n/a" if gpu.sm_clock is None else f"{gpu.sm_clock} MHz"
    limit = "" if gpu.power_limit is None else f"/{gpu.power_limit:.0f}"
    power = "n/a" if gpu.power is None else f"{gpu.power:.0f}{limit} W"
    hot = gpu.temperature is not None and gpu.temperature >= _HOT
    line = (
        head,
        Span(f"{bar(busy, _BAR, plain=plain)} {_percent(gpu.utilization)}  ", tone),
        Span(bar(used, _BAR, plain=plain) + " ", tone),
        Span(pad(_part_of(gpu.memory_used, gpu.memory_total), _MEMORY, right=True), tone),
        Span(f"  {power:>9}", tone),
        Span(f"  {_degrees(gpu.temperature):>5}", "warn" if hot and not stale else tone),
        Span(f"  {clock:>8}", tone),
        *_notes(gpu, stale=stale),
        *_users(node, gpu.processes, work, stale=stale),
    )
    return [line, *(_instance(item, tone, plain=plain) for item in gpu.mig)]


def _instance(instance: MigInstance, tone: str, *, plain: bool) -> Line:
    share = _share(instance.memory_used, instance.memory_total)
    memory = _part_of(instance.memory_used, instance.memory_total)
    text = f"     {pad(_short(instance.name), _NAME)}  {' ' * (_BAR + 7)}"
    return (Span(f"{text}{bar(share, _BAR, plain=plain)} {memory:>{_MEMORY}}", tone),)


def _notes(gpu: Gpu, *, stale: bool) -> list[Span]:
    """What is out of the ordinary with a GPU, and what its links carry."""
    notes = list(gpu.throttle or ())
    if gpu.xids:
        numbers = dict.fromkeys(str(xid.number) for xid in gpu.xids)
        notes.append(f"Xid {','.join(numbers)}")
    if gpu.ecc_uncorrected:
        notes.append(f"ECC {gpu.ecc_uncorrected}")
    spans = [Span("  " + " ".join(notes), "dim" if stale else "warn")] if notes else []
    links = gpu.nvlink
    if links is not None and (links.tx or links.rx):
        spans.append(
            Span(f"  nvlink tx {bytes_text(links.tx)}/s rx {bytes_text(links.rx)}/s", "dim")
        )
    if gpu.slow_age is not None:
        spans.append(Span(f"  (users as of {_age(gpu.slow_age)} ago)", "warn"))
    return spans


def _users(
    node: Node, processes: Sequence[GpuProcess], work: Work, *, stale: bool
) -> Iterable[Span]:
    for number, process in enumerate(processes[:MAX_PROCESSES]):
        yield Span(", " if number else "  ", "dim")
        text, style = _user(node, process, work)
        yield Span(f"{text} {bytes_text(process.memory)}", "dim" if stale else style)
    if len(processes) > MAX_PROCESSES:
        yield Span(f", {len(processes) - MAX_PROCESSES} more", "dim")


def _user(node: Node, process: GpuProcess, work: Work) -> tuple[str, str]:
    """A process in words, and its style: ours, a foreign user's (marked with "!"), or neither."""
    known = work.ranks.get((node.cluster, node.name, process.pid))
    if known is not None:
        return _rank(*known)
    job = work.jobs.get(process.job)
    command = f" {process.command}" if process.command else ""
    who = f"{process.user or 'hidden'}:{process.pid}"
    if job is not None:
        return f"{job.name} {who}", "own"
    if node.user and process.user != node.user:
        return f"!{who}{command}", "warn"
    return f"{who}{command}", ""


def _rank(job: Job, rank: Rank) -> tuple[str, str]:
    text = f"{job.name} r{rank.rank}"
    if rank.stage is Stage.NONE:
        return text, "own"
    if rank.stage is Stage.SILENT:
        age = "" if rank.beat_age is None else f" {_age(rank.beat_age)}"
        step = "" if rank.step is None else f" at step {rank.step}"
        return f"{text} SILENT{age}{step}", "bad"
    step = "" if rank.step is None else f" step {rank.step}"
    slow = " straggler" if rank.straggler else ""
    return f"{text} {rank.stage.value}{step}{slow}", "warn" if rank.straggler else "own"


def _short(name: str) -> str:
    for maker in _MAKERS:
        name = name.removeprefix(maker)
    return name or "?"


def _percent(value: float | None) -> str:
    return " n/a" if value is None else f"{value:3.0f}%"


def _degrees(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.0f}°C"


def _share(used: float | None, total: float | None) -> float | None:
    return used / total if used is not None and total else None


def _part_of(used: float | None, total: float | None) -> str:
    """70.0/85.5 GB; "n/a" where neither is known."""
    if used is None and total is None:
        return "n/a"
    if used is None or total is None:
        return f"{bytes_text(used)}/{bytes_text(total)}"
    whole, _, unit = bytes_text(total).partition(" ")
    share = used / total if total else 0.0
    return f"{float(whole) * share:.1f}/{whole} {unit}"


def _age(seconds: float) -> str:
    """0.4 s, 12 s, then minutes and hours."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    return f"{seconds:.0f} s" if seconds < 120 else duration_text(seconds)
