"""The history of an attempt: when each generation began and ended, why, and who was hit by it.

Called by `attempts` for a job's history and for the cause of an end. Told apart here: what ended
a generation, what was asked for by a person or a watcher, and what merely failed afterwards.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping

import msgspec

from cockpit.model import events as ev
from cockpit.model import oddranks
from cockpit.model.causes import Guilt, Suspect, first_cause
from cockpit.model.clocks import TOLERANCE
from cockpit.model.nodes import NodeFold
from cockpit.model.oddranks import Seen
from cockpit.model.rounds import Round
from cockpit.model.rules import Rules
from cockpit.model.stalls import Silent, seen_in, stall_suspect
from cockpit.model.types import Cause, Generation, OtherStacks, Stall
from cockpit.protocol import layout

VICTIMS = 8
"""Victims of a generation that are shown."""
XID_BEFORE = 60.0
"""Seconds before a failure in which an Xid of the node's GPUs is taken for its reason."""
XID_AFTER = 10.0
"""The same afterwards: a rank is often dead before the kernel log was read."""

STALL_HINT = "`cockpit stacks --last JOB` shows where every rank was"

Skews = Mapping[str, float]


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """What went wrong in one generation."""

    guilty: Cause | None
    """What ended it, None where nothing did, or where somebody asked for its end."""
    suspects: tuple[Suspect, ...]
    """What may have ended it."""
    victims: tuple[Suspect, ...]
    """The other ranks that failed in it, in order of time."""


def try_round(
    item: Round,
    suspects: Iterable[Suspect],
    nodes: Iterable[NodeFold],
    skews: Skews,
    until: float = math.inf,
) -> Trial:
    """Weigh what went wrong in a generation. `until`: when the attempt was cancelled, if it was."""
    asked_at = _asked_times(item, skews)
    collateral: list[Suspect] = []
    eligible: list[Suspect] = []
    for suspect in suspects:
        (collateral if _answers(suspect, asked_at) else eligible).append(suspect)
    stall = _stall(item, nodes, skews)
    if stall is not None and stall.at < until:
        eligible.append(stall)
    guilty = first_cause(eligible)
    alike = [other for other in eligible if guilty is not None and _alike(other.cause, guilty)]
    others = [
        other
        for other in (*eligible, *collateral)
        if other.cause is not guilty and other not in alike
    ]
    hit = [other for other in others if other.cause.rank is not None]
    hit = [other for other in hit if other.cause.kind != "stall"]
    hit.sort(key=lambda other: (other.at, other.cause.node, other.cause.rank or 0))
    if guilty is not None and len(alike) > 1:
        first, everyone = guilty, len(alike) == item.world_size
        guilty = msgspec.structs.replace(first, alike=len(alike) - 1, everyone=everyone)
        eligible = [
            msgspec.structs.replace(other, cause=guilty) if other.cause is first else other
            for other in eligible
        ]
    return Trial(guilty=guilty, suspects=tuple(eligible), victims=tuple(hit))


def _alike(cause: Cause, guilty: Cause) -> bool:
    """Two ranks that failed in the very same words: a bug that all of them have."""

    def words(of: Cause) -> tuple[object, ...]:
        return (of.kind, of.exception, of.message, of.exit_code, of.signal)

    return cause.rank is not None and guilty.rank is not None and words(cause) == words(guilty)


def _asked_times(item: Round, skews: Skews) -> dict[str, float]:
    """Node -> when it heard that the end of the round was asked for, on the cluster's clock.

    Empty where nobody asked; "" stands for nodes that do not say.
    """
    if item.asked is None:
        return {}
    found = {"": item.asked.at - TOLERANCE}
    for node in item.members:
        restarting = node.launcher.generations[item.number].restarting
        if restarting is not None:
            found[node.name] = restarting.at - skews.get(node.name, 0.0)
    return found


def _answers(suspect: Suspect, asked_at: Mapping[str, float]) -> bool:
    """A rank's failure that follows from the end that was asked for."""
    if not asked_at or suspect.cause.rank is None:
        return False
    asked = asked_at.get(suspect.cause.node, asked_at[""])
    return suspect.guilt is not Guilt.CULPRIT or suspect.at >= asked


def _stall(item: Round, nodes: Iterable[NodeFold], skews: Skews) -> Suspect | None:
    """The stall that ended a generation, None where none did."""
    acted = item.asked is not None and item.asked.stall
    silent: list[Silent] = []
    seen: list[Seen] = []
    tellers: set[int] = set()
    fatal = [(item.asked.at, item.asked.reason)] if item.asked is not None and acted else []
    for node in nodes:
        skew = skews.get(node.name, 0.0)
        for stall in node.events.stalls.open_in(item.number):
            declared, at = stall.declared, stall.declared.at - skew
            if acted or declared.action == "cancel":
                fatal.append((at, declared.message))
            silent += [_silent(node.name, rank, at) for rank in declared.ranks]
        told = node.events.stalls.seen(item.number, node.name, node.node_rank)
        seen += told
        if told:
            tellers.add(node.node_rank)
        local = node.launcher.generations.get(item.number)
        for timeout in local.timeouts.values() if local is not None else ():
            at = timeout.at - skew
            fatal.append((at, timeout.message))
            silent.append(Silent(node=node.name, rank=timeout.rank, at=at, words=timeout.message))
    if not fatal:
        return None
    at, message = min(fatal)
    complete = len(item.members) >= max(item.sizes) and all(
        node.node_rank in tellers or node.outcome == "lost" for node in item.members
    )
    return stall_suspect(item.number, silent, message, at, seen, complete=complete)


def _silent(node: str, rank: ev.StalledRank, at: float) -> Silent:
    return Silent(
        node=node,
        rank=rank.rank,
        at=at,
        step=rank.step,
        first=rank.first,
        age=rank.age,
        limit=rank.limit,
    )


def generation(
    attempt: int,
    item: Round,
    trial: Trial,
    ended_at: float | None,
    reason: str,
    *,
    followed: bool = False,
    over: bool = False,
) -> Generation:
    """One entry of the history. `trial.guilty` is its cause.

    `followed`: another one came after it in the same attempt; `over`: the attempt has ended.
    """
    # Whoever asks says what it costs; torch's own restarts after a failure always do.
    asked = item.asked if reason in ("stall", "operator") else None
    costly = reason in ("failed", "stall") if asked is None else asked.cost
    return Generation(
        attempt=attempt,
        generation=item.number,
        started_at=item.started_at,
        ended_at=ended_at,
        world_size=item.world_size,
        nodes=max(item.sizes),
        cause=trial.guilty,
        reason=reason,
        by=item.asked.by if item.asked is not None and reason == "operator" else "",
        victims=tuple(suspect.cause for suspect in trial.victims[:VICTIMS]),
        victim_count=len(trial.victims),
        counted=followed and costly,
        told=followed or over or item.told,
    )


def reason_of(cause: Cause) -> str:
    """How a generation that this ended is said to have ended."""
    return "stall" if cause.kind == "stall" else "failed"


def stalls_of(job: str, attempt: int, nodes: Mapping[int, NodeFold], skews: Skews) -> list[Stall]:
    """The stalls of an attempt, newest first, on the cluster's clock."""
    found = []
    where, others = _where(nodes), _others(job, attempt, nodes, skews)
    for node_rank, node in nodes.items():
        skew = skews.get(node.name, 0.0)
        folder = layout.attempt_dir(job, attempt, node_rank)
        for stall in node.events.stalls.stalls:
            declared, recovered = stall.declared, stall.recovered_at
            found.append(
                Stall(
                    attempt=attempt,
                    generation=declared.generation,
                    node=node.name,
                    node_rank=node_rank,
                    ranks=tuple(rank.rank for rank in declared.ranks),
                    at=declared.at - skew,
                    action=declared.action,
                    message=declared.message,
                    recovered_at=None if recovered is None else recovered - skew,
                    stacks=f"{folder}/{stall.stacks}" if stall.stacks else "",
                    where=where.get(declared.generation, ""),
                    others=tuple(others.get(declared.generation, ())),
                )
            )
    found.sort(key=lambda stall: (-stall.at, stall.node_rank))
    return found


def _where(nodes: Mapping[int, NodeFold]) -> dict[int, str]:
    """Generation -> in which code its silent ranks were, by the newest that each node tells."""
    seen: dict[int, dict[int, list[Seen]]] = {}
    for node_rank, node in nodes.items():
        for stall in node.events.stalls.stalls:
            if ranks := stall.seen(node.name, node_rank):
                seen.setdefault(stall.declared.generation, {})[node_rank] = ranks
        for taken in node.events.stalls.unclaimed():
            if ranks := seen_in(taken.ranks, node.name, node_rank):
                seen.setdefault(taken.generation, {})[node_rank] = ranks
    return {
        number: oddranks.summary(itertools.chain.from_iterable(by_node.values()))
        for number, by_node in seen.items()
    }


def _others(
    job: str, attempt: int, nodes: Mapping[int, NodeFold], skews: Skews
) -> dict[int, list[OtherStacks]]:
    """Generation -> stacks that nodes kept at a stall which they have not declared themselves."""
    found: dict[int, list[OtherStacks]] = {}
    for node_rank, node in sorted(nodes.items()):
        folder = layout.attempt_dir(job, attempt, node_rank)
        for taken in node.events.stalls.unclaimed():
            kept = OtherStacks(
                node=node.name,
                node_rank=node_rank,
                at=taken.at - skews.get(node.name, 0.0),
                path=f"{folder}/{taken.path}",
            )
            found.setdefault(taken.generation, []).append(kept)
    return found


class Explainer:
    """Puts labels and hints to causes: by rules, and by what the GPUs reported around the time."""

    def __init__(self, rules: Rules, nodes: Iterable[NodeFold], skews: Skews) -> None:
        nodes = list(nodes)
        self._rules = rules
        self._xids = {
            node.name: [(xid.at - skews.get(node.name, 0.0), xid) for xid in node.events.xids]
            for node in nodes
        }
        self._full = {node.name for node in nodes if node.events.no_space}

    def cause(self, cause: Cause | None) -> Cause | None:
        """`cause` explained. An Xid close to a failure counts, the one closest to it first."""
        if cause is None or cause.kind == "cancelled":
            return cause
        if cause.kind == "stall":
            return msgspec.structs.replace(cause, hint=STALL_HINT)
        at = cause.at
        near = [
            (abs(at - when), xid)
            for when, xid in self._xids.get(cause.node, ())
            if at is not None and -XID_AFTER <= at - when <= XID_BEFORE
        ]
        near.sort(key=lambda pair: pair[0])
        return self._rules.explain(
            cause, [xid for _, xid in near], no_space=cause.node in self._full
        )

    def generation(self, item: Generation) -> Generation:
        """`item` with its cause and victims explained, victims by their message only."""
        if item.cause is None and not item.victims:
            return item
        victims = tuple(
            self.cause(msgspec.structs.replace(victim, tail=())) or victim
            for victim in item.victims
        )
        return msgspec.structs.replace(item, cause=self.cause(item.cause), victims=victims)
