"""Journal events as typed records: one struct per kind that the model understands.

`parse` is called by the journal reader with a decoded line. Only the fields that the model uses
are declared, so a surprise in any other field cannot lose an event. Every text is cleaned here,
once, at the border. Kinds of a newer cockpit come back as None.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec

from cockpit.model.stackwords import Frame
from cockpit.text import clean

MAX_TEXT = 4096
"""Characters that one text of an event may keep."""
_MAX_DEPTH = 12


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """What every event carries. `at` is the node's wall clock, seconds."""

    seq: int
    at: float
    kind: str


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """A process of the node; `command` only where the event says it."""

    pid: int
    command: str = ""


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Why one rank ended, as the launcher process saw it."""

    rank: int | None = None
    local_rank: int = -1
    pid: int | None = None
    exit_code: int | None = None
    signal: int | None = None
    at: float
    message: str = ""
    exception: str = ""
    oom: bool = False
    evidence: str | None = None
    tail: tuple[str, ...] = ()


class RankStart(msgspec.Struct, frozen=True, kw_only=True):
    rank: int
    local_rank: int
    process: Process
    out: str = ""
    err: str = ""


class Claimed(Event, frozen=True, kw_only=True):
    by: str = ""


class Withdrawn(Event, frozen=True, kw_only=True):
    reason: str = ""
    by: str = ""


class Go(Event, frozen=True, kw_only=True):
    by: str = ""


class Started(Event, frozen=True, kw_only=True):
    process: Process


class StartFailed(Event, frozen=True, kw_only=True):
    message: str = ""
    hint: str = ""


class LauncherExited(Event, frozen=True, kw_only=True):
    code: int | None = None
    signal: int | None = None
    oom: bool = False


class Cancel(Event, frozen=True, kw_only=True):
    by: str = ""
    reason: str | None = None


class Swept(Event, frozen=True, kw_only=True):
    processes: tuple[Process, ...] = ()


class Adopted(Event, frozen=True, kw_only=True):
    launcher_alive: bool = True


class Restart(Event, frozen=True, kw_only=True):
    by: str = ""
    reason: str = ""
    cost: bool = False


class Checkpoint(Event, frozen=True, kw_only=True):
    command: str
    by: str = ""
    reason: str = ""
    generation: int
    step: int
    ranks: tuple[int, ...] = ()


class SavedRank(msgspec.Struct, frozen=True, kw_only=True):
    rank: int
    step: int


class CheckpointSaved(Event, frozen=True, kw_only=True):
    command: str
    ranks: tuple[SavedRank, ...] = ()


class CheckpointVoid(Event, frozen=True, kw_only=True):
    command: str
    by: str = ""
    generation: int | None = None
    """None: the request was refused and never reached a rank."""
    reason: str = ""


class StalledRank(msgspec.Struct, frozen=True, kw_only=True):
    rank: int
    local_rank: int = -1
    step: int | None = None
    age: float = 0.0
    limit: float = 0.0
    first: bool = False


class Stalled(Event, frozen=True, kw_only=True):
    generation: int
    ranks: tuple[StalledRank, ...] = ()
    action: str = "warn"
    message: str = ""


class Recovered(Event, frozen=True, kw_only=True):
    generation: int


class StackedRank(msgspec.Struct, frozen=True, kw_only=True):
    """Where the main thread of a rank was: its innermost frames."""

    rank: int
    frames: tuple[Frame, ...] = ()


class Stacks(Event, frozen=True, kw_only=True):
    path: str
    reason: str = ""
    generation: int = 0
    ranks: tuple[StackedRank, ...] = ()


class Xid(Event, frozen=True, kw_only=True):
    gpu: str = ""
    number: int
    message: str = ""


class FinishedFlag(Event, frozen=True, kw_only=True):
    path: str = ""


class Monitored(msgspec.Struct, frozen=True, kw_only=True):
    """What ft_launcher's rank monitor knows of a rank."""

    beats: int = 0
    age: float | None = None
    sections: tuple[str, ...] = ()


class Checkpointing(msgspec.Struct, frozen=True, kw_only=True):
    """Of a rank whose code makes checkpoints on request: the step at which it asked last."""

    step: int = 0
    pace: float | None = None


class RankBeat(msgspec.Struct, frozen=True, kw_only=True):
    local_rank: int
    rank: int
    pid: int = 0
    stage: str = "none"
    beats: int = 0
    step: int | None = None
    age: float | None = None
    limit: float | None = None
    interval: float | None = None
    own: float | None = None
    metrics: dict[str, float | str | None] = {}
    """The texts "nan", "inf" and "-inf" are values; others are none."""
    note: str = ""
    checkpoint: Checkpointing | None = None
    ft: Monitored | None = None


class Beats(Event, frozen=True, kw_only=True):
    generation: int
    ranks: tuple[RankBeat, ...] = ()


class LogGap(Event, frozen=True, kw_only=True):
    path: str
    start: int
    end: int


class Note(Event, frozen=True, kw_only=True):
    level: str = "warn"
    message: str = ""
    about: str = ""


class Ended(Event, frozen=True, kw_only=True):
    outcome: str
    code: int | None = None
    signal: int | None = None
    left: tuple[Process, ...] = ()
    message: str | None = None
    launcher_size: int | None = None


class LauncherStarted(Event, frozen=True, kw_only=True):
    process: Process


class RendezvousBegin(Event, frozen=True, kw_only=True):
    pass


class Rendezvous(Event, frozen=True, kw_only=True):
    pass


class RendezvousFailed(Event, frozen=True, kw_only=True):
    type: str = ""
    message: str = ""


class GenerationStarted(Event, frozen=True, kw_only=True):
    generation: int
    group_rank: int | None = None
    group_world_size: int = 0
    world_size: int = 0
    ranks: tuple[RankStart, ...] = ()


class Group(Event, frozen=True, kw_only=True):
    generation: int
    state: str
    failures: tuple[Failure, ...] = ()


class Stopping(Event, frozen=True, kw_only=True):
    generation: int


class Stopped(Event, frozen=True, kw_only=True):
    generation: int


class Restarting(Event, frozen=True, kw_only=True):
    generation: int
    by: str = ""
    reason: str = ""
    cost: bool = False


class RestartRefused(Event, frozen=True, kw_only=True):
    generation: int
    by: str = ""
    reason: str = ""


class FtTimeout(Event, frozen=True, kw_only=True):
    generation: int
    rank: int
    local_rank: int = -1
    message: str = ""


class LauncherException(Event, frozen=True, kw_only=True):
    type: str = ""
    message: str = ""


class LauncherExit(Event, frozen=True, kw_only=True):
    code: int | None = None


class HookMissing(Event, frozen=True, kw_only=True):
    name: str = ""


class HookError(Event, frozen=True, kw_only=True):
    where: str = ""
    error: str = ""


KINDS: dict[str, type[Event]] = {
    "claimed": Claimed,
    "withdrawn": Withdrawn,
    "go": Go,
    "started": Started,
    "start_failed": StartFailed,
    "launcher_exited": LauncherExited,
    "cancel": Cancel,
    "swept": Swept,
    "adopted": Adopted,
    "restart": Restart,
    "checkpoint": Checkpoint,
    "checkpoint_saved": CheckpointSaved,
    "checkpoint_void": CheckpointVoid,
    "stalled": Stalled,
    "recovered": Recovered,
    "stacks": Stacks,
    "xid": Xid,
    "finished_flag": FinishedFlag,
    "beats": Beats,
    "log_gap": LogGap,
    "note": Note,
    "ended": Ended,
    "launcher": LauncherStarted,
    "rendezvous_begin": RendezvousBegin,
    "rendezvous": Rendezvous,
    "rendezvous_failed": RendezvousFailed,
    "generation": GenerationStarted,
    "group": Group,
    "stopping": Stopping,
    "stopped": Stopped,
    "restarting": Restarting,
    "restart_refused": RestartRefused,
    "ft_timeout": FtTimeout,
    "launcher_exc": LauncherException,
    "launcher_exit": LauncherExit,
    "hook_missing": HookMissing,
    "hook_error": HookError,
}


def scrub(value: Any, depth: int = 0) -> Any:
    """`value` with every text cleaned and cut.

    What is nested too deeply, NaN and infinity become None.
    """
    if isinstance(value, str):
        return clean(value[:MAX_TEXT])
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if depth >= _MAX_DEPTH:
        return None
    if isinstance(value, list):
        return [scrub(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {clean(str(key)[:MAX_TEXT]): scrub(item, depth + 1) for key, item in value.items()}
    return value


def parse(fields: dict[str, Any]) -> Event | None:
    """A scrubbed event as its record; None for a kind that is not known here.

    Raises msgspec.ValidationError when a field that the model needs has a wrong type.
    """
    kind = fields.get("kind")
    known = KINDS.get(kind) if isinstance(kind, str) else None
    return None if known is None else msgspec.convert(fields, known)
