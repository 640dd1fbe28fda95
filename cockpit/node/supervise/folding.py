"""What the journals of one attempt on one node say, as pure functions of their events.

Used by a supervisor that takes over from a dead one, and to judge how an attempt ended.
No I/O, no clock.
"""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Iterable, Mapping

from cockpit.node.launch.requests import ON_STALL
from cockpit.protocol import records
from cockpit.protocol.events import Event
from cockpit.protocol.records import ProcessId


@dataclasses.dataclass(frozen=True)
class Exit:
    """How a process ended: by `code`, by `signal`, or neither is known."""

    code: int | None
    signal: int | None


UNKNOWN_EXIT = Exit(None, None)


@dataclasses.dataclass(frozen=True)
class PastStall:
    """A stall that was declared and from which nobody saw the ranks recover."""

    generation: int
    action: str
    message: str
    mono: float
    limits: Mapping[int, float]
    """Local rank -> seconds that it might have been silent."""
    acted: bool = False
    """Whether its restart has been asked for."""
    asked_at: float = 0.0
    """When it was, in monotonic seconds."""
    stacks: bool = False
    """Whether stacks were kept."""


@dataclasses.dataclass(frozen=True)
class PastCheckpoint:
    """The newest request for a checkpoint. `void`: it is not wanted any more."""

    command: str
    generation: int
    number: int
    step: int
    ranks: frozenset[int]
    saved: frozenset[int] = frozenset()
    void: bool = False


@dataclasses.dataclass(frozen=True)
class Past:
    """How far earlier supervisors came. `None` means that the event is not there."""

    process: ProcessId | None = None
    """The launcher process."""
    withdrawn: str | None = None
    """Why."""
    start_failed: str | None = None
    """What went wrong."""
    exit: Exit | None = None
    """How the launcher process ended."""
    deadline: float | None = None
    """Monotonic seconds at which a cancel's grace is over."""
    cancelled: bool = False
    """Whether a cancel came while the launcher process ran."""
    commands: frozenset[str] = frozenset()
    """Ids of the commands that have had their effect."""
    gaps: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """Path of a log -> end of its head that was dropped."""
    swept: int = 0
    stall: PastStall | None = None
    stalls: int = 0
    """How many were declared."""
    stall_restarts: int = 0
    checkpoint: PastCheckpoint | None = None


def past(events: Iterable[Event]) -> Past:
    """Fold an `events.jsonl` that does not hold `ended` yet."""
    state = Past()
    for event in events:
        kind = event["kind"]
        if event.get("command"):
            state = dataclasses.replace(state, commands=state.commands | {event["command"]})
        if kind == "started":
            state = dataclasses.replace(state, process=records.process_id(event["process"]))
        elif kind == "withdrawn":
            state = dataclasses.replace(state, withdrawn=event["reason"])
        elif kind == "start_failed":
            state = dataclasses.replace(state, start_failed=event["message"])
        elif kind == "launcher_exited":
            state = dataclasses.replace(state, exit=Exit(event["code"], event["signal"]))
        elif kind == "cancel":
            deadline = event["mono"] + event["grace"]
            if state.deadline is not None:
                deadline = min(state.deadline, deadline)
            cancelled = state.cancelled or state.exit is None
            state = dataclasses.replace(state, deadline=deadline, cancelled=cancelled)
        elif kind == "log_gap":
            end = max(state.gaps.get(event["path"], 0), event["end"])
            state = dataclasses.replace(state, gaps={**state.gaps, event["path"]: end})
        elif kind == "swept":
            state = dataclasses.replace(state, swept=state.swept + len(event["processes"]))
        elif kind.startswith("checkpoint"):
            checkpoint = _past_checkpoint(state.checkpoint, kind, event)
            state = dataclasses.replace(state, checkpoint=checkpoint)
        else:
            state = _past_stall(state, kind, event)
    return state


def _past_checkpoint(
    known: PastCheckpoint | None, kind: str, event: Event
) -> PastCheckpoint | None:
    if kind == "checkpoint":
        return PastCheckpoint(
            event["command"],
            event["generation"],
            event["number"],
            event["step"],
            frozenset(event["ranks"]),
        )
    if known is None or known.generation != event["generation"]:
        return known
    if kind == "checkpoint_saved":
        saved = known.saved | {rank["rank"] for rank in event["ranks"]}
        return dataclasses.replace(known, saved=saved)
    return dataclasses.replace(known, void=True)


def _past_stall(state: Past, kind: str, event: Event) -> Past:
    stall = state.stall
    if kind == "stalled":
        limits = {rank["local_rank"]: rank["limit"] for rank in event["ranks"]}
        if stall is not None and stall.generation == event["generation"]:
            limits = {**stall.limits, **limits}
        known = stall if stall is not None and stall.generation == event["generation"] else None
        stall = PastStall(
            event["generation"],
            event["action"],
            event["message"],
            event["mono"],
            limits,
            acted=known is not None and known.acted,
            asked_at=known.asked_at if known is not None else 0.0,
        )
        return dataclasses.replace(state, stall=stall, stalls=state.stalls + 1)
    if kind == "restart" and event["by"] == ON_STALL:
        state = dataclasses.replace(state, stall_restarts=state.stall_restarts + 1)
        if stall is not None:
            stall = dataclasses.replace(stall, acted=True, asked_at=event["mono"])
    elif kind == "stacks" and stall is not None and event["generation"] == stall.generation:
        stall = dataclasses.replace(stall, stacks=True)
    elif kind == "recovered":
        stall = None
    return dataclasses.replace(state, stall=stall)


def launcher_process(launcher_events: Iterable[Event]) -> ProcessId | None:
    """The launcher process as it introduced itself in its own journal."""
    for event in launcher_events:
        if event["kind"] == "launcher":
            return records.process_id(event["process"])
    return None


def judge(ended: Exit, launcher_events: Iterable[Event], oom: str = "") -> tuple[str, str]:
    """(outcome, message) of an attempt that nobody cancelled.

    An exit code of 0 is success only if the last worker group did not fail: torchrun exits with
    0, too, when it gave up waiting for others, or a peer failed (read in torch 2.13). `oom` is
    evidence of the OOM killer, "" when there is none.
    """
    group = None
    for event in launcher_events:
        if event["kind"] == "group":
            group = event.get("state")
    if ended.signal is not None:
        reason = f"the launcher process was ended by {_signal_name(ended.signal)}"
        return "failed", f"{reason} ({oom})" if oom else reason
    if ended.code is None:
        if group == "SUCCEEDED":
            return "succeeded", "the launcher process ended unwatched, after its ranks' success"
        return "failed", (
            "the launcher process ended while no supervisor watched it; its exit code is unknown"
        )
    if ended.code != 0:
        return "failed", f"the launcher process exited with code {ended.code}"
    if group not in (None, "SUCCEEDED"):
        return "failed", f"the launcher process exited with code 0, but its ranks are {group}"
    return "succeeded", ""


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
