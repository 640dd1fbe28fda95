"""What happened, in words: found by comparing each snapshot with the one before. Pure.

The event line, the event list, the notices and a node's link history all read from here. What was
so before anybody looked is no news: the first snapshot tells nothing, and what a journal says of
an earlier time is told only of jobs that were being watched.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from cockpit.model.types import (
    Checkpoint,
    Fleet,
    Generation,
    Job,
    JobState,
    LinkState,
    Node,
    Stall,
)
from cockpit.text import count_of
from cockpit.tui.draw.words import cause_line, span_of_time

KEPT = 1_000
"""Happenings that are remembered."""

SETTLED = 10.0
"""Seconds after which a job counts as watched: whatever is heard of it then is news."""

SKEW = 5.0
"""Seconds that a node's clock may be behind ours before its news looks old."""

_FLUTTER = 60.0
"""Seconds in which a node's coming to one state of health is told once."""


class Happening(NamedTuple):
    """`at`: wall clock in seconds. `kind`: started | end | failure | restart | stall | recovered |
    node | order | note. `tone`: of the span that shows it. `cluster`, `node` and `job` (an id) say
    what it is about, "" where it is not about one."""

    at: float
    kind: str
    tone: str
    text: str
    cluster: str = ""
    node: str = ""
    job: str = ""


class Chronicle:
    """Remembers what happened since it began, at most KEPT happenings."""

    def __init__(self) -> None:
        self._kept: deque[Happening] = deque(maxlen=KEPT)
        self._shown: tuple[Happening, ...] = ()
        self._begun: float | None = None
        self._seen: dict[str, float] = {}
        self._health: dict[tuple[str, str, str], float] = {}

    @property
    def kept(self) -> Sequence[Happening]:
        """All that is remembered, the newest last; the same object while nothing is new."""
        return self._shown

    def note(self, happening: Happening) -> None:
        """Remember something that no snapshot tells."""
        self._kept.append(happening)
        self._shown = tuple(self._kept)

    def observe(self, old: Fleet | None, new: Fleet, wall: float) -> list[Happening]:
        """What happened between two snapshots, in no more than a few dozen microseconds when
        nothing did; `old` is None before the first. Remembers it, too."""
        if self._begun is None:
            self._begun = wall
        found = [] if old is None else [*self._nodes(old, new, wall), *self._jobs(old, new, wall)]
        for job in new.jobs:
            self._seen.setdefault(job.id, wall)
        if found:
            self._kept.extend(found)
            self._shown = tuple(self._kept)
        return found

    def _nodes(self, old: Fleet, new: Fleet, wall: float) -> Iterator[Happening]:
        if old.nodes is new.nodes:
            return
        before = {(node.cluster, node.name): node for node in old.nodes}
        for node in new.nodes:
            was = before.get((node.cluster, node.name))
            if was is None or was is node:
                continue
            if was.link is not node.link:
                yield from _link(was, node, wall)
            if was.health != node.health:
                key = (node.cluster, node.name, node.health)
                if wall - self._health.get(key, float("-inf")) > _FLUTTER:
                    self._health[key] = wall
                    yield from _health(was, node, wall)

    def _jobs(self, old: Fleet, new: Fleet, wall: float) -> Iterator[Happening]:
        if old.jobs is new.jobs:
            return
        before = {job.id: job for job in old.jobs}
        for job in new.jobs:
            was = before.get(job.id)
            if was is job:
                continue
            # A job of an earlier day is known by its memory only.
            live = was is not None and was.seen_at is None
            watched = live and wall - self._seen.get(job.id, wall) > SETTLED
            since = float("-inf") if watched else (self._begun or wall) - SKEW
            yield from _job(was, job, since, wall)


def _link(was: Node, now: Node, wall: float) -> Iterator[Happening]:
    before, after = was.link, now.link
    if before.state is after.state:
        return
    kind, text, tone = "node", "", "bad"
    if after.state is LinkState.ONLINE:
        if before.state is not LinkState.CONNECTING:
            away = span_of_time(max(wall - before.since, 0.0))
            text, tone = f"{now.name} is back after {away}", "ok"
    elif after.state is LinkState.CONNECTING:
        # It was left on purpose: no failure, and nothing to wake anybody for.
        kind, tone = "note", "dim"
        text = f"{now.name} reconnecting: {after.why or 'it was asked to'}"
    elif before.state is LinkState.ONLINE:
        text = f"{now.name} lost: {after.why or after.state.value}"
    elif after.state is LinkState.UNREACHABLE:
        text = f"{now.name} cannot be reached: {after.why or 'no reason is known'}"
    if text:
        yield Happening(wall, kind, tone, text, now.cluster, now.name)


def _health(was: Node, now: Node, wall: float) -> Iterator[Happening]:
    if was.health == "unknown" or now.health == "unknown":
        return
    if now.health == "ok":
        text, tone = f"{now.name} is healthy again", "ok"
    else:
        reason = now.health_reasons[0] if now.health_reasons else now.health
        text, tone = f"{now.name}: {reason}", "bad" if now.health == "crit" else "warn"
    yield Happening(wall, "node", tone, text, now.cluster, now.name)


def _job(was: Job | None, job: Job, since: float, wall: float) -> Iterator[Happening]:
    """What happened to a job after the wall time `since`."""

    def told(kind: str, tone: str, text: str, at: float | None) -> Happening:
        when = wall if at is None else min(at, wall)
        return Happening(when, kind, tone, f"{job.name} {text}", job.cluster, "", job.id)

    if _began(was, job) and (job.started_at or job.created_at) >= since:
        ranks = f", {count_of(job.world_size, 'rank')}" if job.world_size else ""
        text = f"started on {count_of(len(job.nodes), 'node')}{ranks} (by {job.created_by})"
        yield told("started", "ok", text, job.started_at)
    for number, formed in _new_generations(was, job):
        if formed.started_at >= since:
            yield told("restart", "warn", _restart(job, number), formed.started_at)
    stalled, recovered = _stalls(was, job)
    if stalled and stalled[0].at >= since:
        yield told("stall", "bad", _stall(stalled), stalled[0].at)
    again = None if recovered is None else recovered.recovered_at
    if recovered is not None and again is not None and again >= since:
        after = span_of_time(again - recovered.at)
        yield told("recovered", "ok", f"beats again, {after} after it stalled", again)
    if was is not None and (news := _checkpoint(was.checkpoint, job.checkpoint)):
        yield told("order", *news, wall)
    cancelling = "cancelling" in job.flags and not (was and "cancelling" in was.flags)
    if cancelling and was is not None and not job.state.ended:
        by = f" by {job.cancelled_by}" if job.cancelled_by else ""
        yield told("order", "warn", f"is being cancelled{by}", wall)
    if job.state.ended and not (was and was.state.ended) and (job.ended_at or wall) >= since:
        yield told(*_end(job), job.ended_at)


def _checkpoint(was: Checkpoint | None, now: Checkpoint | None) -> tuple[str, str] | None:
    """A checkpoint that was asked for, or what came of it: tone and text. The job's page counts
    who has saved meanwhile."""
    if now is None or now == was:
        return None
    known = was is not None and was.command == now.command
    over = bool(now.complete or now.void)
    if known and was is not None and bool(was.complete or was.void) == over:
        return None
    if over:
        # It reads journals, too, which nobody does before the first frame.
        from cockpit.model.checkpoints import words as checkpoint_words

        return ("ok" if now.complete else "warn"), f"— {checkpoint_words(now)}"
    return None if known else ("warn", f"— checkpoint at step {now.step} asked for by {now.by}")


_BEFORE_RUNNING = (JobState.STAGING, JobState.STARTING)


def _began(was: Job | None, job: Job) -> bool:
    if job.state in _BEFORE_RUNNING or job.restarts:
        return False
    return was is None or was.state in _BEFORE_RUNNING


def _new_generations(was: Job | None, job: Job) -> list[tuple[int, Generation]]:
    """Those after the first that `was` does not have, with their places in the history."""
    known = {(each.attempt, each.generation) for each in was.history} if was is not None else set()
    if was is not None and len(known) == len(job.history):
        return []
    return [
        (number, each)
        for number, each in enumerate(job.history)
        if number and (each.attempt, each.generation) not in known
    ]


def _restart(job: Job, number: int) -> str:
    before, now = job.history[number - 1], job.history[number]
    what = "restarted"
    if now.attempt != before.attempt:
        what = f"was started again as attempt {now.attempt}"
    elif before.counted and job.max_restarts:
        used = sum(each.counted for each in job.history[:number] if each.attempt == now.attempt)
        what = f"restarted ({used}/{job.max_restarts})"
    reasons = {
        "membership": "because its nodes changed",
        "operator": f"by {before.by}" if before.by else "on request",
        "stall": "because it stalled",
    }
    why = reasons.get(before.reason, "")
    if before.cause is not None and before.reason != "operator":
        why = f"after {cause_line(before.cause)}"
    return f"{what} {why}".rstrip()


def _stalls(was: Job | None, job: Job) -> tuple[list[Stall], Stall | None]:
    """Stalls that began, none of whose generation was known; and the end of the last one."""
    if not job.stalls or (was is not None and was.stalls is job.stalls):
        return [], None
    before = {_stall_key(each): each for each in (was.stalls if was is not None else ())}
    rounds = {(each.attempt, each.generation) for each in before.values()}
    began = [
        each
        for each in job.stalls
        if _stall_key(each) not in before
        and each.recovered_at is None
        and ((each.attempt, each.generation) not in rounds or _all_over(before.values()))
    ]
    ended = [
        each
        for each in job.stalls
        if each.recovered_at is not None
        and _stall_key(each) in before
        and before[_stall_key(each)].recovered_at is None
    ]
    over = ended[0] if ended and _all_over(job.stalls) else None
    return sorted(began, key=lambda each: each.at), over


def _stall_key(stall: Stall) -> tuple[int, int, str, float]:
    return stall.attempt, stall.generation, stall.node, stall.at


def _all_over(stalls: Iterable[Stall]) -> bool:
    return all(each.recovered_at is not None for each in stalls)


def _stall(stalls: Sequence[Stall]) -> str:
    ranks = sorted({rank for each in stalls for rank in each.ranks})
    who = f"rank {ranks[0]}" if len(ranks) == 1 else count_of(len(ranks), "rank")
    nodes = ", ".join(dict.fromkeys(each.node for each in stalls))
    then = {"restart": "; its ranks are restarted", "cancel": "; it is ended"}
    return f"stalled: {who} on {nodes}: {stalls[0].message}{then.get(stalls[0].action, '')}"


def _end(job: Job) -> tuple[str, str, str]:
    """Kind, tone and text of a job's end."""
    took = ""
    if job.started_at is not None and job.ended_at is not None:
        took = f" after {span_of_time(job.ended_at - job.started_at)}"
    if job.state is JobState.SUCCEEDED:
        restarts = f" and {count_of(job.restarts, 'restart')}" if job.restarts else ""
        return "end", "ok", f"succeeded{took}{restarts}"
    if job.state is JobState.CANCELLED:
        by = f" by {job.cancelled_by}" if job.cancelled_by else ""
        return "end", "warn", f"was cancelled{by}{took}"
    why = f": {cause_line(job.cause)}" if job.cause is not None else ""
    return "failure", "bad", f"failed{took}{why}"
