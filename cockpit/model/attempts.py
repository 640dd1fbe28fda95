"""One attempt over all its nodes: generations merged by rendezvous round, and the verdict.

`AttemptFold` holds the nodes, `judge` compares them. Nothing is ended before every node that
took part has ended and said all it has to say; an exit code of 0 alone is not success.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec

from cockpit.model.causes import Guilt, Suspect, first_cause, first_suspect, words_suspect
from cockpit.model.generations import (
    Explainer,
    Trial,
    generation,
    reason_of,
    try_round,
)
from cockpit.model.masking import Mask
from cockpit.model.nodes import NodeFold
from cockpit.model.rounds import Round, merge_rounds
from cockpit.model.rules import Rules
from cockpit.model.types import Cause, Generation, JobState
from cockpit.protocol.records import AttemptRecord, JobRecord
from cockpit.text import count_of

INSTRUMENTED = frozenset(("torchrun", "ft"))
"""Kinds of jobs whose launcher process writes a journal of its own."""


class AttemptFold:
    """The nodes of one attempt, by node rank."""

    def __init__(self, number: int, kind: str, mask: Mask | None = None) -> None:
        self.number = number
        self._mask = mask
        self.instrumented = kind in INSTRUMENTED
        self.nodes: dict[int, NodeFold] = {}

    @property
    def revision(self) -> int:
        """Grows with all that a verdict depends on; beats are nothing of that."""
        return len(self.nodes) + sum(node.revision for node in self.nodes.values())

    def node(self, node_rank: int) -> NodeFold:
        if node_rank not in self.nodes:
            self.nodes[node_rank] = NodeFold(
                node_rank, instrumented=self.instrumented, mask=self._mask
            )
        return self.nodes[node_rank]

    def plan(self, plan: AttemptRecord) -> None:
        """Take in the members. Plans of nodes that joined later know more members."""
        for member in plan.members:
            self.node(member.node_rank).name_it(member)


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What one attempt has come to."""

    state: JobState
    cause: Cause | None
    trouble: Cause | None
    """What went wrong first outside of all rounds, so far: a job goes on for as long as one of its
    nodes does."""
    generations: tuple[Generation, ...]
    degraded: bool
    started_at: float | None
    ended_at: float | None
    cancelled_by: str
    never_started: bool
    """It ended and no node had got so far as to start anything."""


def judge(
    attempt: AttemptFold, record: JobRecord, skews: Mapping[str, float], rules: Rules
) -> Verdict:
    """The verdict on one attempt; `skews` as `clocks.skews` gives them."""
    nodes = [attempt.nodes[rank] for rank in sorted(attempt.nodes)]
    rounds = merge_rounds(nodes, skews)
    suspects = [suspect for node in nodes for suspect in node.suspects(skews.get(node.name, 0.0))]
    cancel = _cancel(nodes, skews)
    if cancel is not None:
        suspects = [suspect for suspect in suspects if suspect.at < cancel.at]
    state = _state(nodes, rounds)
    problem: Suspect | None = None
    if state is None:
        problem = _shortfall(nodes, rounds, record, suspects, skews)
        if problem is None and not _all_well(nodes, rounds):
            # A start that failed is why the other nodes were cancelled, not the other way round.
            begun = any(suspect.cause.kind == "start_failed" for suspect in suspects)
            state = JobState.FAILED if cancel is None or begun else JobState.CANCELLED
        else:
            state = JobState.SUCCEEDED if problem is None else JobState.FAILED
        if problem is not None and cancel is not None:
            state, problem = JobState.CANCELLED, None
    until = math.inf if cancel is None else cancel.at
    trials = [
        try_round(item, (s for s in suspects if s.generation == item.number), nodes, skews, until)
        for item in rounds
    ]
    cause = _cause(state, rounds, trials, suspects, cancel, problem)
    trouble = _trouble(nodes, suspects)
    explainer = Explainer(rules, nodes, skews)
    history = _history(attempt, nodes, rounds, trials, state, cause, trouble, skews)
    return Verdict(
        state=state,
        cause=explainer.cause(cause),
        trouble=explainer.cause(trouble),
        generations=tuple(explainer.generation(item) for item in history),
        degraded=_degraded(nodes, rounds),
        started_at=_earliest(nodes, skews),
        ended_at=_latest(nodes, skews) if state.ended else None,
        cancelled_by=_cancelled_by(nodes),
        never_started=state.ended
        and not any(node.events.started or node.events.start_failed for node in nodes),
    )


def _state(nodes: list[NodeFold], rounds: list[Round]) -> JobState | None:
    """The state of an attempt that goes on; None once it is over."""
    if any(node.heard for node in nodes) and all(node.settled for node in nodes):
        return None
    if rounds:
        return JobState.RUNNING
    started = [node for node in nodes if node.events.started or node.launcher.heard]
    if any(not node.instrumented or node.launcher.hook_missing for node in started):
        return JobState.RUNNING
    return JobState.STARTING if started else JobState.STAGING


def _members(nodes: list[NodeFold], rounds: list[Round]) -> list[NodeFold]:
    """Those whose success decides: the members of the last round, else all that took part."""
    return rounds[-1].members if rounds else [node for node in nodes if node.took_part]


def _all_well(nodes: list[NodeFold], rounds: list[Round]) -> bool:
    members = _members(nodes, rounds)
    if not rounds:
        return bool(members) and all(node.outcome == "succeeded" for node in members)
    number = rounds[-1].number
    return all(node.succeeded_in(node.launcher.generations[number]) for node in members)


def _shortfall(
    nodes: list[NodeFold],
    rounds: list[Round],
    record: JobRecord,
    suspects: list[Suspect],
    skews: Mapping[str, float],
) -> Suspect | None:
    """Success that fewer nodes report than were asked for, as the cause of a failure.

    A node that failed and does not say in which round, as its disk was full, is that cause.
    """
    members = _members(nodes, rounds)
    good = [node for node in members if node.outcome == "succeeded"]
    if not good:
        return None
    size = min(member for member in rounds[-1].sizes) if rounds else len(members)
    number = rounds[-1].number if rounds else None
    ended = [node.events.ended.at for node in good if node.events.ended]
    if size < record.min_nodes:
        what = "the world that formed has" if rounds else "the job ran on"
        why = " (clocks of the nodes apart?)" if rounds else ""
        message = f"{what} {count_of(size, 'node')} of {record.min_nodes}{why}"
    elif rounds and len(good) == len(members) != size:
        failed = [node for node in nodes if node.outcome == "failed" and node not in members]
        if failed:
            return _mute_failure(failed, suspects, skews, number)
        message = (
            f"{count_of(len(members), 'node')} of a world of {size} told of success"
            " (clocks of the nodes apart?)"
        )
    else:
        return None
    return words_suspect(
        "launcher", good[0].name, message, min(ended), generation=number, guilt=Guilt.CULPRIT
    )


def _mute_failure(
    failed: list[NodeFold],
    suspects: list[Suspect],
    skews: Mapping[str, float],
    number: int | None,
) -> Suspect:
    """The failure of nodes that do not know of the round in which they failed."""
    names = {node.name for node in failed}
    own = [suspect for suspect in suspects if suspect.cause.node in names]
    chosen = first_suspect(own)
    if chosen is not None:
        return chosen
    node = failed[0]
    at = node.events.ended.at - skews.get(node.name, 0.0) if node.events.ended else 0.0
    words = (node.events.ended and node.events.ended.message) or "it ended without success"
    return words_suspect("launcher", node.name, words, at, generation=number, guilt=Guilt.CULPRIT)


def _cancel(nodes: list[NodeFold], skews: Mapping[str, float]) -> Suspect | None:
    """The earliest cancel, or the word of a node that it was cancelled."""
    found: list[float] = []
    for node in nodes:
        skew = skews.get(node.name, 0.0)
        if node.events.cancel is not None:
            found.append(node.events.cancel.at - skew)
        elif node.outcome == "cancelled" and node.events.ended is not None:
            found.append(node.events.ended.at - skew)
    if not found:
        return None
    by = _cancelled_by(nodes)
    words = f"cancelled by {by}" if by else "cancelled"
    return words_suspect("cancelled", "", words, min(found), guilt=Guilt.CULPRIT)


def _cancelled_by(nodes: list[NodeFold]) -> str:
    cancels = [node.events.cancel for node in nodes if node.events.cancel is not None]
    return min(((cancel.at, cancel.by) for cancel in cancels), default=(0.0, ""))[1]


def _cause(
    state: JobState,
    rounds: list[Round],
    trials: list[Trial],
    suspects: list[Suspect],
    cancel: Suspect | None,
    problem: Suspect | None,
) -> Cause | None:
    if state is JobState.CANCELLED:
        return cancel.cause if cancel else None
    if state is not JobState.FAILED:
        return None
    if problem is not None:
        return problem.cause
    last = rounds[-1].number if rounds else None
    deciding = [suspect for suspect in suspects if suspect.generation is None]
    deciding += trials[-1].suspects if trials else ()
    earlier = (suspect for suspect in suspects if suspect.generation != last)
    return (
        first_cause(deciding)
        or first_cause(earlier)
        or Cause(
            kind="launcher",
            message="it ended without success, and no node says why",
            generation=last,
        )
    )


def _trouble(nodes: list[NodeFold], suspects: list[Suspect]) -> Cause | None:
    """What went wrong first on a node that knows of no round; before a cancel, where one was."""
    names = {node.name for node in nodes if node.took_part}
    return first_cause(
        suspect
        for suspect in suspects
        if suspect.generation is None and suspect.cause.node in names
    )


def _history(
    attempt: AttemptFold,
    nodes: list[NodeFold],
    rounds: list[Round],
    trials: list[Trial],
    state: JobState,
    cause: Cause | None,
    trouble: Cause | None,
    skews: Mapping[str, float],
) -> tuple[Generation, ...]:
    if state is JobState.CANCELLED:
        # Who cancels a job because a node of it has failed is not why it failed.
        cause = trouble or cause
    if not rounds:
        return _without_rounds(attempt, nodes, state, cause if state.ended else trouble, skews)
    result = []
    for index, (item, trial) in enumerate(zip(rounds, trials, strict=True)):
        if index + 1 < len(rounds):
            result.append(_past(attempt.number, item, trial, rounds[index + 1].started_at))
        elif state.ended:
            latest = _latest(nodes, skews)
            result.append(_final(attempt.number, item, trial, state, cause, latest))
        elif trial.guilty is not None or item.asked is not None:
            result.append(_past(attempt.number, item, trial, None))
        else:
            result.append(generation(attempt.number, item, trial, None, ""))
    return tuple(result)


def _past(attempt: int, item: Round, trial: Trial, successor: float | None) -> Generation:
    """A round that was ended, so that another one follows."""
    guilty, stopped = trial.guilty, item.stopped_at
    followed = successor is not None
    if guilty is not None:
        reason = reason_of(guilty)
        return generation(attempt, item, trial, guilty.at, reason, followed=followed)
    if item.asked is not None:
        reason = "stall" if item.asked.stall else "operator"
        at = stopped or item.asked.at
        return generation(attempt, item, trial, at, reason, followed=followed)
    return generation(attempt, item, trial, stopped or successor, "membership", followed=followed)


def _final(
    attempt: int,
    item: Round,
    trial: Trial,
    state: JobState,
    cause: Cause | None,
    latest: float | None,
) -> Generation:
    """The last round of an attempt that is over at `latest`."""
    ended_at = latest if item.ended_at is None else item.ended_at
    if state is JobState.SUCCEEDED:
        clear = Trial(guilty=None, suspects=(), victims=())
        return generation(attempt, item, clear, ended_at, "succeeded", over=True)
    if trial.guilty is None and state is JobState.CANCELLED:
        cancelled = msgspec.structs.replace(trial, guilty=cause)
        return generation(attempt, item, cancelled, latest, "cancelled", over=True)
    guilty = trial.guilty or cause
    return generation(
        attempt,
        item,
        msgspec.structs.replace(trial, guilty=guilty),
        guilty.at if guilty and guilty.at else ended_at,
        reason_of(guilty) if guilty else "failed",
        over=True,
    )


_REASONS = {
    JobState.SUCCEEDED: "succeeded",
    JobState.FAILED: "failed",
    JobState.CANCELLED: "cancelled",
}


def _without_rounds(
    attempt: AttemptFold,
    nodes: list[NodeFold],
    state: JobState,
    cause: Cause | None,
    skews: Mapping[str, float],
) -> tuple[Generation, ...]:
    """A job that does not say its rounds has one per attempt. It runs until its last node ends,
    though its cause be known."""
    claims = [
        event.at - skews.get(node.name, 0.0)
        for node in nodes
        if (event := node.events.started or node.events.claimed) is not None
    ]
    if not claims or (cause is None and state in (JobState.STAGING, JobState.STARTING)):
        return ()
    return (
        Generation(
            attempt=attempt.number,
            generation=0,
            started_at=_earliest(nodes, skews) or min(claims),
            ended_at=_latest(nodes, skews) if state.ended else None,
            nodes=sum(1 for node in nodes if node.events.started is not None),
            cause=cause,
            reason=_REASONS.get(state, ""),
        ),
    )


def _degraded(nodes: list[NodeFold], rounds: list[Round]) -> bool:
    """A node that belonged to the job's world is no part of its last round, all of it known."""
    if not rounds or len(rounds[-1].members) < max(rounds[-1].sizes):
        return False
    inside = {node.node_rank for node in rounds[-1].members}
    return any(
        node.node_rank not in inside
        and node.took_part
        and (bool(node.launcher.generations) or node.outcome not in ("", "succeeded"))
        for node in nodes
    )


def _earliest(nodes: list[NodeFold], skews: Mapping[str, float]) -> float | None:
    times = [
        node.events.started.at - skews.get(node.name, 0.0)
        for node in nodes
        if node.events.started is not None
    ]
    return min(times, default=None)


def _latest(nodes: list[NodeFold], skews: Mapping[str, float]) -> float | None:
    times = [
        node.events.ended.at - skews.get(node.name, 0.0)
        for node in nodes
        if node.events.ended is not None
    ]
    return max(times, default=None)
