"""The GPUs of the Node view: a row each, with their instances and processes. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from cockpit.model.types import Gpu, GpuProcess, Job, MigInstance, Node
from cockpit.tui.draw.spans import Line, Span, join, line
from cockpit.tui.draw.words import clock_time, size_of, span_of_time
from cockpit.tui.fleet.gauges import COOL, HOT, fraction
from cockpit.tui.widgets.bars import heat, level, percent
from cockpit.tui.widgets.grid import Cell, Column, Row, cell

SEPARATOR = Span(" · ", "dim")
NONE = "--"

GPU_COLUMNS = (
    Column("GPU", 7),
    Column("STATE", 8),
    Column("UTIL", 7),
    Column("MEMORY", 13),
    Column("POWER", 9, drop=1),
    Column("TEMP", 5, drop=2),
    Column("SM CLOCK", 9, drop=3),
    Column("HELD DOWN BY", 12, grow=1, drop=4),
    Column("ECC", 6, drop=5),
    Column("ROWS", 9, drop=7),
    Column("NVLINK", 9, drop=6),
    Column("PCIE", 6, drop=8),
)


class GpuRow(NamedTuple):
    """A GPU, or a process or a MIG instance of it. `number`: what it is called on the screen."""

    key: str
    gpu: Gpu
    stale: bool
    process: GpuProcess | None = None
    mig: MigInstance | None = None
    foreign: bool = False
    job: str = ""


def gpu_rows(node: Node, stale: bool, jobs: Sequence[Job]) -> Iterator[GpuRow]:
    """One row per GPU, its instances and processes under it."""
    names = {job.id: job.name for job in jobs}
    for gpu in node.gpus:
        yield GpuRow(f"{gpu.index}", gpu, stale)
        for mig in gpu.mig:
            yield GpuRow(f"{gpu.index}/mig{mig.index}", gpu, stale, mig=mig)
        for process in gpu.processes:
            yield GpuRow(
                f"{gpu.index}/{process.pid}",
                gpu,
                stale,
                process=process,
                foreign=bool(node.user and process.user and process.user != node.user),
                job=names.get(process.job, process.job),
            )


def gpu_row(item: GpuRow) -> Row:
    if item.process is not None:
        return _process_row(item, item.process)
    if item.mig is not None:
        return _mig_row(item, item.mig)
    gpu, stale = item.gpu, item.stale
    used = fraction(gpu.memory_used, gpu.memory_total)
    drawn = fraction(gpu.power, gpu.power_limit)
    warmth = None if gpu.temperature is None else (gpu.temperature - COOL) / (HOT - COOL)
    busy = None if gpu.utilization is None else gpu.utilization / 100
    state, tone = ("● ok", "ok") if gpu.state == "ok" else (f"✖ {gpu.state}", "bad")
    return Row(
        (
            cell(f"gpu {gpu.index}", "stale" if stale else "strong"),
            cell("? old" if stale else state, "stale" if stale else tone),
            Cell((_bar(busy, stale), _figure(f" {percent(busy)}", busy, stale))),
            Cell((_bar(used, stale), _figure(" " + _memory(gpu), used, stale))),
            Cell((_figure(_power(gpu), drawn, stale),)),
            Cell((_figure(degrees(gpu.temperature), warmth, stale),)),
            cell(_clock(gpu), "stale" if stale else ""),
            _throttle(gpu, stale),
            _errors(gpu, stale),
            _rows(gpu, stale),
            _nvlink(gpu, stale),
            cell(_pcie(gpu), "stale" if stale else "dim"),
        )
    )


def _bar(value: float | None, stale: bool) -> Span:
    if value is None:
        return Span("·", "stale")
    return Span(level(value), "stale" if stale else heat(value))


def _figure(text: str, value: float | None, stale: bool) -> Span:
    return Span(text, "stale" if stale or value is None else heat(value))


def _memory(gpu: Gpu) -> str:
    used = NONE if gpu.memory_used is None else size_of(gpu.memory_used)
    return used if gpu.memory_total is None else f"{used}/{size_of(gpu.memory_total)}"


def _power(gpu: Gpu) -> str:
    drawn = NONE if gpu.power is None else f"{gpu.power:.0f}"
    return f"{drawn}W" if gpu.power_limit is None else f"{drawn}/{gpu.power_limit:.0f}W"


def degrees(value: float | None) -> str:
    return NONE if value is None else f"{value:.0f}°C"


def _clock(gpu: Gpu) -> str:
    now = NONE if gpu.sm_clock is None else str(gpu.sm_clock)
    return now if gpu.sm_clock_max is None else f"{now}/{gpu.sm_clock_max}"


def _throttle(gpu: Gpu, stale: bool) -> Cell:
    if gpu.throttle is None:
        return cell(NONE, "stale")
    if not gpu.throttle:
        return cell("nothing", "stale" if stale else "dim")
    words = " ".join(word.replace("_", " ") for word in gpu.throttle)
    # Being at the power limit is what a busy GPU does.
    harmless = set(gpu.throttle) <= {"power_cap"}
    return cell(words, "stale" if stale else "" if harmless else "warn")


def _errors(gpu: Gpu, stale: bool) -> Cell:
    if gpu.ecc_uncorrected is None:
        return cell(NONE, "stale")
    tone = "bad" if gpu.ecc_uncorrected else "dim"
    mark = "✖ " if gpu.ecc_uncorrected else ""
    return cell(f"{mark}{gpu.ecc_uncorrected}", "stale" if stale else tone)


def _rows(gpu: Gpu, stale: bool) -> Cell:
    rows = gpu.remapped_rows
    if rows is None:
        return cell(NONE, "stale")
    count = (rows.correctable or 0) + (rows.uncorrectable or 0)
    if rows.failed:
        return cell(f"✖ {count} full", "bad")
    if rows.pending:
        return cell(f"▲ {count} +1", "warn")
    return cell(str(count), "stale" if stale else "dim")


def _nvlink(gpu: Gpu, stale: bool) -> Cell:
    link = gpu.nvlink
    if link is None or link.active is None:
        return cell(NONE, "stale")
    total = "" if link.total is None else f"/{link.total}"
    down = link.total is not None and link.active < link.total
    errors = f" ✖{link.errors}" if link.errors else ""
    tone = "stale" if stale else "warn" if down or errors else "dim"
    return cell(f"{link.active}{total}{errors}", tone)


def _pcie(gpu: Gpu) -> str:
    if gpu.pcie is None or gpu.pcie.gen is None:
        return NONE
    return f"{gpu.pcie.gen}x{gpu.pcie.width}" if gpu.pcie.width is not None else str(gpu.pcie.gen)


def _process_row(item: GpuRow, process: GpuProcess) -> Row:
    tone = "stale" if item.stale else "dim"
    memory = NONE if process.memory is None else size_of(process.memory)
    spans = [
        Span("  └ ", "dim"),
        Span(f"{process.pid:<8}", tone),
        Span(process.user or "hidden user", "warn" if item.foreign else tone),
        Span(f"  {memory}  ", "stale" if item.stale else ""),
    ]
    if item.job:
        spans.append(Span(f"{item.job}  ", "accent"))
    if item.foreign:
        spans.append(Span("not ours  ", "warn"))
    spans.append(Span(process.command, tone))
    return Row((Cell(tuple(spans), columns=len(GPU_COLUMNS)),))


def _mig_row(item: GpuRow, mig: MigInstance) -> Row:
    used = NONE if mig.memory_used is None else size_of(mig.memory_used)
    total = "" if mig.memory_total is None else f"/{size_of(mig.memory_total)}"
    part = fraction(mig.memory_used, mig.memory_total)
    spans = (
        Span("  └ ", "dim"),
        Span(f"MIG {mig.index} {mig.name}  "),
        _figure(used + total, part, item.stale),
    )
    return Row((Cell(spans, columns=len(GPU_COLUMNS)),))


def gpu_detail(item: GpuRow) -> tuple[Line, ...]:
    """Two lines with all that the columns of a narrow screen leave out."""
    if item.process is not None:
        return (
            line(Span(f" pid {item.process.pid}", "strong"), f" of {item.process.user or '?'}"),
            line(Span(f" {item.process.command}")),
        )
    gpu = item.gpu
    parts = [
        said(f"gpu {gpu.index} {gpu.name}", "strong"),
        said(gpu.error, "bad"),
        said(" ".join(f"Xid {each.number} at {clock_time(each.at)}" for each in gpu.xids), "bad"),
        said(" ".join(word.replace("_", " ") for word in gpu.throttle or ()), "warn"),
        said("" if gpu.sm_clock is None else f"SM {_clock(gpu)} MHz"),
        said("" if gpu.power is None else _power(gpu)),
        said("" if gpu.temperature is None else degrees(gpu.temperature)),
    ]
    rest = [
        said("" if not gpu.ecc_uncorrected else f"ECC {gpu.ecc_uncorrected} uncorrected", "bad"),
        said(
            ""
            if gpu.recovery_action in (None, "", "none")
            else f"the driver wants: {str(gpu.recovery_action).replace('_', ' ')}",
            "bad",
        ),
        said(
            "" if gpu.memory_temperature is None else f"memory at {degrees(gpu.memory_temperature)}"
        ),
        said(_nvlink_traffic(gpu)),
        said("" if gpu.pcie is None else f"PCIe {_pcie(gpu)}"),
        said(
            ""
            if gpu.slow_age is None
            else f"links, ECC and processes of {span_of_time(gpu.slow_age)} ago",
            "stale",
        ),
        said(gpu.uuid, "dim"),
    ]
    lead = Span(" ")
    return Line((lead, *join(parts, SEPARATOR))), Line((lead, *join(rest, SEPARATOR)))


def said(text: str, tone: str = "") -> tuple[Span, ...]:
    return (Span(text, tone),) if text else ()


def _nvlink_traffic(gpu: Gpu) -> str:
    link = gpu.nvlink
    if link is None or (link.tx is None and link.rx is None):
        return ""
    return f"NVLink out {size_of(link.tx or 0)}/s in {size_of(link.rx or 0)}/s"
