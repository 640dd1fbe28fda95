"""The rows and lines of the Node view: one machine in full. Pure: a node in, rows out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from cockpit.model.doctor import Finding, Level
from cockpit.model.types import Host, Job, LinkState
from cockpit.text import count_of
from cockpit.tui.draw.spans import Line, Span, join, line
from cockpit.tui.draw.words import (
    HEALTH,
    JOB,
    LEVEL,
    LINK,
    clock_time,
    runtime,
    size_of,
    span_of_time,
)
from cockpit.tui.fleet.condition import NodeItem
from cockpit.tui.fleet.nodegpus import NONE, SEPARATOR, degrees, said
from cockpit.tui.house.happenings import Happening
from cockpit.tui.widgets.grid import Column, Row, cell

JOB_COLUMNS = (
    Column("JOBS HERE", 16, grow=1),
    Column("STATE", 11),
    Column("RANKS", 9),
    Column("RUNTIME", 8, drop=1),
    Column("STEP", 8, drop=2),
    Column("STARTED BY", 14, drop=3),
)
LINK_COLUMNS = (Column("LINK", 12), Column("WHAT HAPPENED", 20, grow=1))
DOCTOR_COLUMNS = (Column("DOCTOR", 12), Column("FINDINGS", 20, grow=1))


class Note(NamedTuple):
    """A row of two cells."""

    key: str
    head: str
    tone: str
    text: str
    text_tone: str = ""


def title(item: NodeItem) -> Line:
    """Which machine this is and whether it can be reached."""
    node = item.node
    glyph, tone = LINK[node.link.state]
    parts = [
        (Span(" Node ", "title"), Span(node.name, "strong"), Span(f" of {node.cluster}", "dim")),
        said("simulated" if node.simulated else "", "warn"),
        (Span(f"{glyph} {node.link.state.value} {span_of_time(item.away)}", tone),),
    ]
    if item.age is not None and item.stale:
        parts.append((Span(f"? last sample {span_of_time(item.age)} ago", "warn"),))
    models = sorted({gpu.name for gpu in node.gpus if gpu.name})
    if node.gpus:
        parts.append(said(f"{len(node.gpus)} × {', '.join(models) or 'GPU'}"))
    parts.append(said(f"driver {node.driver}" if node.driver else "", "dim"))
    parts.append(said(f"CUDA {node.cuda}" if node.cuda else "", "dim"))
    return Line(join(parts, SEPARATOR))


def host_lines(item: NodeItem) -> tuple[Line, ...]:
    """Three lines about the machine itself, the most important first."""
    host = item.node.host
    if host is None:
        return (line(Span(" nothing is known of the host yet", "dim")),)
    tone = "stale" if item.stale else ""
    first = [
        said(f"cpu {_percent(host.cpu_percent)} of {host.cpus or '?'} cores", tone),
        said("" if host.load1 is None else f"load {host.load1:.1f}", tone),
        said(f"memory {_of(host.memory_used, host.memory_total)}", tone),
        said(_swap(host), "stale" if item.stale else "warn" if host.swap_used else ""),
        said(_blocked(host.blocked or 0), "warn"),
    ]
    second = [
        said("" if host.disk_free is None else f"disk {_disk(host)}", tone),
        said("" if host.disk_read is None else f"read {size_of(host.disk_read)}/s", tone),
        said("" if host.disk_written is None else f"write {size_of(host.disk_written)}/s", tone),
        said("" if host.network_in is None else f"net in {size_of(host.network_in)}/s", tone),
        said("" if host.network_out is None else f"out {size_of(host.network_out)}/s", tone),
    ]
    link = item.node.link
    third = [
        said("" if host.temperature is None else f"host at {degrees(host.temperature)}", tone),
        said("" if host.uptime is None else f"up {span_of_time(host.uptime)}", tone),
        said(f"agent of {item.node.user}" if item.node.user else "", "dim"),
        said("" if link.rtt is None else f"round trip {link.rtt * 1000:.0f} ms", tone),
        said("" if link.clock_offset is None else f"clock {link.clock_offset:+.3f} s", tone),
    ]
    lead = Span(" ")
    return tuple(Line((lead, *join(parts, SEPARATOR))) for parts in (first, second, third))


def _blocked(count: int) -> str:
    return f"{count} blocked process{'es' if count > 1 else ''}" if count else ""


def _percent(value: float | None) -> str:
    return NONE if value is None else f"{value:.0f}%"


def _of(used: float | None, total: float | None) -> str:
    shown = NONE if used is None else size_of(used)
    return shown if total is None else f"{shown}/{size_of(total)}"


def _swap(host: Host) -> str:
    return f"swap {_of(host.swap_used, host.swap_total)}" if host.swap_total else ""


def _disk(host: Host) -> str:
    free = size_of(host.disk_free or 0)
    return f"{free} free" + (f" of {size_of(host.disk_total)}" if host.disk_total else "")


def health_line(item: NodeItem) -> Line:
    """Why the node cannot be reached or is not well, or that all is well."""
    node = item.node
    if node.link.why:
        hint = f" — {node.link.hint}" if node.link.hint else ""
        glyph, tone = LINK[node.link.state]
        return line(Span(f" {glyph} {node.link.why}", tone), Span(hint, "dim"))
    if node.health in HEALTH:
        glyph, tone = HEALTH[node.health]
        return line(Span(f" {glyph} {'; '.join(node.health_reasons)}", tone))
    if node.gpu_error:
        return line(Span(f" ▲ no GPU figures: {node.gpu_error}", "warn"))
    if node.health == "unknown":
        return line(Span(" · its health is not known yet", "stale"))
    return line(
        Span(" ● healthy", "ok"), Span(" by its last sample" if item.stale else "", "stale")
    )


def job_row(job: Job, node: str, now: float) -> Row:
    glyph, tone = JOB[job.state]
    ranks = [rank for place in job.nodes if place.name == node for rank in place.ranks]
    numbers = [rank.rank for rank in ranks]
    steps = [rank.step for rank in ranks if rank.step is not None]
    ran = runtime(job, now)
    return Row(
        (
            cell(job.name),
            cell(f"{glyph} {job.state.value}", tone),
            cell(f"{min(numbers)}–{max(numbers)}" if numbers else NONE),
            cell(NONE if ran is None else span_of_time(ran)),
            cell(str(min(steps)) if steps else NONE),
            cell(job.created_by, "dim"),
        )
    )


def link_notes(item: NodeItem, happenings: Sequence[Happening]) -> list[Note]:
    """The link as it is, its last error, and what happened to the node, newest first."""
    link = item.node.link
    glyph, tone = LINK[link.state]
    tries = f", {count_of(link.attempts, 'failed attempt')}" if link.attempts else ""
    word = f"{link.state.value} for {span_of_time(item.away)}{tries}"
    notes = [Note("now", f"{glyph} now", tone, word, tone)]
    if link.why:
        notes.append(Note("why", "last error", "dim", link.why, "bad"))
    if link.hint:
        notes.append(Note("hint", "hint", "dim", link.hint))
    if link.state in (LinkState.UNREACHABLE, LinkState.RECONNECTING):
        notes.append(Note("retry", "r", "key", "tries again right now"))
    for number, event in enumerate(reversed(happenings)):
        if event.cluster == item.node.cluster and event.node == item.node.name:
            notes.append(
                Note(f"{event.at}/{number}", clock_time(event.at), "dim", event.text, event.tone)
            )
    return notes


def finding_note(finding: Finding, number: int) -> Note:
    glyph, tone = LEVEL[finding.level]
    hint = f" — {finding.hint}" if finding.hint else ""
    quiet = "dim" if finding.level is Level.OK else ""
    return Note(str(number), f"{glyph} {finding.check}", tone, finding.message + hint, quiet)


def note_row(note: Note) -> Row:
    return Row((cell(note.head, note.tone), cell(note.text, note.text_tone)))
