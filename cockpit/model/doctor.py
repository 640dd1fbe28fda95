"""What a doctor says of nodes: findings, and what only shows when nodes are compared.

Pure: answers of nodes in, findings out. Used by a start (what would make it fail) and by
`cockpit doctor`. Names of nodes and all texts must be clean already.
"""

from __future__ import annotations

import enum
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

__all__ = [
    "Bandwidth",
    "Deep",
    "Finding",
    "Level",
    "Patient",
    "Report",
    "Versions",
    "clocks",
    "differences",
    "document",
    "reference_clock",
    "usual_of",
    "verdict",
]

CLOCK_WARN = 1.0
"""Seconds between two clocks that are worth a word."""

_NAMED = 3
"""Nodes that a message names before it counts the rest."""


class Level(str, enum.Enum):
    OK = "ok"
    WARN = "warn"
    CRIT = "crit"
    UNKNOWN = "unknown"

    @property
    def exit_code(self) -> int:
        """0 ok, 1 warn, 2 crit, 3 unknown, as monitoring systems have it."""
        return list(Level).index(self)

    @property
    def gravity(self) -> int:
        """The higher, the worse; not knowing is worse than nothing but being well."""
        return (Level.OK, Level.UNKNOWN, Level.WARN, Level.CRIT).index(self)


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What one check found on one node."""

    node: str
    check: str
    level: Level
    message: str
    hint: str = ""
    cluster: str = ""


class Versions(msgspec.Struct, frozen=True, kw_only=True):
    """What should be equal on all nodes of a job. "" says that there is none, None that nobody
    knows: what is unknown is compared with nothing."""

    python: str | None = None
    torch: str | None = None
    cuda: str | None = None
    nccl: str | None = None
    nvrx: str | None = None
    driver: str | None = None
    gpu: str | None = None
    """Model; several are separated by commas."""
    gpus: int | None = None
    infiniband: str | None = None

    @property
    def summary(self) -> str:
        """For people: `Python 3.11.7, torch 2.6.0, 8 × NVIDIA H100, driver 550.54`."""
        parts = [
            _described("Python", self.python),
            _described("torch", self.torch),
            f"CUDA {self.cuda}" if self.cuda else "",
            f"NCCL {self.nccl}" if self.nccl else "",
            f"nvrx {self.nvrx}" if self.nvrx else "",
            f"{self.gpus} × {self.gpu or 'GPU'}" if self.gpus else "",
            f"driver {self.driver}" if self.driver else "",
            f"InfiniBand {self.infiniband}" if self.infiniband else "",
        ]
        return ", ".join(filter(None, parts))


def _described(word: str, version: str | None) -> str:
    if version is None:
        return f"{word} unknown"
    return f"{word} {version}" if version else f"no {word}"


class Patient(msgspec.Struct, frozen=True, kw_only=True):
    """A node that was to be looked at. `versions` is None where it could not be asked."""

    cluster: str
    node: str
    versions: Versions | None = None
    rtt: float | None = None
    """Round trip to it, seconds."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All that was found, by cluster and node in the order of the profile."""

    findings: tuple[Finding, ...] = ()
    patients: tuple[Patient, ...] = ()

    def of(self, patient: Patient) -> list[Finding]:
        """What was found on one node."""
        return [
            item
            for item in self.findings
            if (item.cluster, item.node) == (patient.cluster, patient.node)
        ]


class Bandwidth(msgspec.Struct, frozen=True, kw_only=True):
    """One size of an all-reduce. Bytes, seconds, bytes a second as nccl-tests define them."""

    size: int
    seconds: float
    algorithm: float
    bus: float
    world: int
    backend: str


class Deep(msgspec.Struct, frozen=True, kw_only=True):
    """A real all-reduce over nodes of a cluster. Without `results` it failed."""

    cluster: str
    backend: str
    nodes: tuple[str, ...]
    results: tuple[Bandwidth, ...] = ()
    findings: tuple[Finding, ...] = ()


_WORDS: tuple[tuple[str, str, str], ...] = (
    ("python", "Python", "use environments that were made alike"),
    ("torch", "torch", "install the same torch on all nodes, or set `python` of the node"),
    ("cuda", "CUDA", "install the same build of torch on all nodes"),
    ("nccl", "NCCL", "install the same NCCL on all nodes"),
    ("nvrx", "nvidia-resiliency-ext", "install the same version on all nodes"),
    ("driver", "NVIDIA driver", "install the same driver on all nodes"),
    ("gpu", "GPU", "the slowest sets the pace; leave the odd node out"),
    ("gpus", "number of GPUs", "`nvidia-smi -L` there; set `gpus` of the node if it is meant so"),
    ("infiniband", "InfiniBand", "`ibstat` there"),
)
"""Field, how it is called, what to do where it differs."""


def differences(versions: Mapping[str, Versions], *, needs: Sequence[str] = ()) -> list[Finding]:
    """A finding for each node that is not like most; a tie goes to the first node's version.

    `needs` names packages that the launcher uses: "torch" differs critically when its major or
    minor version does, "nvrx" whenever it does. Python differs by its minor version only. A node
    of which something is not known is neither named for it nor counted.
    """
    found: list[Finding] = []
    for field, word, hint in _WORDS:
        values = {node: _shown(field, getattr(item, field)) for node, item in versions.items()}
        known = {node: value for node, value in values.items() if value is not None}
        usual = usual_of(known.values())
        for node, value in known.items():
            if usual is None or value == usual:
                continue
            critical = field in needs and (field != "torch" or _minor(value) != _minor(usual))
            has = f"{word} {value}" if value else f"no {word}"
            like = [other for other in known if known[other] == usual]
            found.append(
                Finding(
                    node=node,
                    check=field,
                    level=Level.CRIT if critical else Level.WARN,
                    message=f"{has}, but {usual or 'none'} on {_some(like)}",
                    hint=hint,
                )
            )
    return found


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_NAMED])
    return f"{shown} and {len(names) - _NAMED} more" if len(names) > _NAMED else shown


def usual_of(values: Iterable[str]) -> str | None:
    """The most frequent value, the first of equals; None of none."""
    counted = Counter(values)
    return max(counted, key=counted.__getitem__) if counted else None


def _shown(field: str, value: Any) -> str | None:
    if value is None:
        return None
    if field in ("python", "torch"):
        # That there is none is told elsewhere.
        return (_minor(value) if field == "python" else value) or None
    return str(value)


def _minor(version: str) -> str:
    """ "2.6" of "2.6.0+cu124"."""
    match = re.match(r"\d+\.\d+", version)
    return match.group() if match else version


def reference_clock(offsets: Mapping[str, float]) -> float:
    """The clock that the others are held against: the median.

    The clock of this machine (offset 0) has a vote too, or two nodes could not be told apart.
    """
    votes = sorted([*offsets.values(), 0.0])
    return votes[len(votes) // 2] if len(offsets) > 1 else next(iter(offsets.values()), 0.0)


def clocks(
    offsets: Mapping[str, float],
    limit: float,
    *,
    reference: float | None = None,
    rendezvous: bool = True,
) -> list[Finding]:
    """A finding per node. `offsets`: node's clock minus ours, seconds, round trip removed.

    Between nodes, `limit` seconds are critical where torch's `rendezvous` is used, otherwise a
    warning. Against this machine nothing is critical: no job minds. `reference`: the clock (minus
    ours) that nodes are held against, of a job that runs; default: `reference_clock`.
    """
    compared = reference is not None or len(offsets) > 1
    if reference is None:
        reference = reference_clock(offsets)
    found = []
    for node, offset in offsets.items():
        apart = offset - reference
        way = "ahead of" if apart > 0 else "behind"
        level = (
            Level.CRIT
            if rendezvous and abs(apart) > limit
            else Level.WARN
            if max(abs(apart), abs(offset)) >= CLOCK_WARN
            else Level.OK
        )
        message = f"its clock is {_seconds(offset)} off from this machine's"
        hint = "run chrony or ntp there"
        if abs(apart) >= CLOCK_WARN and compared:
            message = f"its clock is {_seconds(apart)} {way} the other clocks"
            if rendezvous:
                hint = f"torch's rendezvous compares wall clocks: {hint}"
        found.append(
            Finding(
                node=node,
                check="clock",
                level=level,
                message=message,
                hint="" if level is Level.OK else hint,
            )
        )
    return found


def _seconds(value: float) -> str:
    value = abs(value)
    return f"{value:.0f} s" if value >= 10 else f"{value:.1f} s" if value >= 1 else (
        f"{value * 1000:.0f} ms"
    )  # fmt: skip


def verdict(findings: Iterable[Finding]) -> Level:
    """The worst level; OK of nothing."""
    return max((item.level for item in findings), key=lambda level: level.gravity, default=Level.OK)


def document(findings: Sequence[Finding], deep: Sequence[Deep] | None = None) -> dict[str, Any]:
    """`doctor --json`; with `deep` also what the all-reduces measured."""
    made: dict[str, Any] = {
        "schema": 1,
        "checks": [
            {
                "cluster": item.cluster,
                "node": item.node,
                "check": item.check,
                "level": item.level.value,
                "message": item.message,
                "hint": item.hint,
            }
            for item in findings
        ],
    }
    if deep is not None:
        made["deep"] = [
            {
                "cluster": run.cluster,
                "backend": run.backend,
                "nodes": list(run.nodes),
                "results": [msgspec.structs.asdict(result) for result in run.results],
            }
            for run in deep
        ]
    return made
