"""How well a machine is, by its newest sample, with reasons that a person can read.

A pure function, used by `fleet`. It judges what the sample says; how old the sample is and whether
the link lives are other questions. Nothing is made of what is unknown.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cockpit.model.types import Gpu, Health, Host
from cockpit.text import count_of, ranges

FATAL_XIDS = frozenset(
    (48, 56, 57, 58, 62, 63, 64, 65, 68, 69, 73, 74, 79, 80, 81, 92, 94, 95, 119, 120, 140, 143)
)
"""After these a GPU is not to be trusted (the list of Azure's node health checks, and newer ones).
Others, such as 13 and 31, are mostly the program's own fault."""
LITTLE_DISK = 1_000_000_000
"""Bytes free, under which logs and checkpoints are about to fail."""
LITTLE_MEMORY = 0.03
"""Share of the host's memory, under which the kernel is about to end processes."""
_SLOWED = {
    "hw_slowdown": "clocks held down by hardware",
    "hw_thermal": "clocks held down: too hot (hardware)",
    "sw_thermal": "clocks held down: too hot",
    "hw_power_brake": "clocks held down by the power supply",
}
"""Being at the power limit is what a busy GPU does, and no trouble."""
_NO_ACTION = (None, "", "none")
_Finding = tuple[Health, str]
_ORDER: dict[Health, int] = {"crit": 0, "warn": 1}


def assess(
    host: Host | None, gpus: Sequence[Gpu], stalled: str = ""
) -> tuple[Health, tuple[str, ...]]:
    """The level of the worst finding, and all findings in words, worst first.

    `stalled` says that the GPU driver does not answer, "" while it does.
    """
    found: list[_Finding] = [("crit", stalled)] if stalled else []
    if host is not None:
        found += _host(host)
    for gpu in gpus:
        if _has_findings(gpu):
            found += ((level, f"gpu {gpu.index}: {what}") for level, what in _gpu(gpu))
    found += _links(gpus)
    found.sort(key=lambda item: _ORDER.get(item[0], len(_ORDER)))
    return (found[0][0] if found else "ok"), tuple(reason for _, reason in found)


def _has_findings(gpu: Gpu) -> bool:
    """Whether it is worth looking closer: all is well with nearly all, a hundred times a second."""
    rows = gpu.remapped_rows
    return bool(
        gpu.state != "ok"
        or gpu.xids
        or gpu.ecc_uncorrected
        or gpu.throttle
        or (rows is not None and (rows.failed or rows.pending))
        or gpu.recovery_action not in _NO_ACTION
    )


def _host(host: Host) -> Iterator[_Finding]:
    if host.disk_free is not None and host.disk_free < LITTLE_DISK:
        yield "warn", f"{host.disk_free / 1e9:.1f} GB of disk left"
    used, total = host.memory_used, host.memory_total
    if used is not None and total and (total - used) / total < LITTLE_MEMORY:
        yield "warn", f"{(total - used) / 1e9:.1f} GB of memory left"


def _gpu(gpu: Gpu) -> Iterator[_Finding]:
    if gpu.state == "lost":
        yield "crit", "lost"
    elif gpu.state == "error":
        yield "crit", gpu.error or "error"
    fatal = sorted({xid.number for xid in gpu.xids if xid.number in FATAL_XIDS})
    if fatal:
        yield "crit", "Xid " + ", ".join(map(str, fatal))
    if gpu.ecc_uncorrected:
        yield "crit", count_of(gpu.ecc_uncorrected, "uncorrected ECC error")
    rows = gpu.remapped_rows
    if rows is not None and rows.failed:
        yield "crit", "remapping memory rows failed"
    if rows is not None and rows.pending:
        yield "warn", "a memory row waits for a reset to be remapped"
    if gpu.recovery_action not in _NO_ACTION:
        yield "crit", f"the driver asks for {(gpu.recovery_action or '').replace('_', ' ')}"
    for word in gpu.throttle or ():
        if word in _SLOWED:
            yield "warn", _SLOWED[word]


def _links(gpus: Sequence[Gpu]) -> Iterator[_Finding]:
    """GPUs with fewer active links than others of their node, in one line.

    Links that a machine does not use, or a card does not have, can look as those that are down;
    so nothing is trouble that is so on all GPUs.
    """
    active = {
        gpu.index: gpu.nvlink.active
        for gpu in gpus
        if gpu.nvlink is not None and gpu.nvlink.active is not None
    }
    most = max(active.values(), default=0)
    down = {index: most - count for index, count in active.items() if count < most}
    if down:
        counts = " or ".join(map(str, sorted(set(down.values()))))
        who, each = ("gpus", " each") if len(down) > 1 else ("gpu", "")
        yield "warn", f"{who} {ranges(down)}: {counts} of {most} NVLinks down{each}"
