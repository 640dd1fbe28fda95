"""How far the end of jobs is: one SIGTERM, the grace, SIGKILL, and the proof that nothing is left.

Pure; told of every new state of the nodes, it remembers when each step was done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cockpit.model.reports import NodeProof
from cockpit.model.types import JobNode, LinkState, NodeState
from cockpit.tui.draw.spans import Line, Span, width_of
from cockpit.tui.draw.words import span_of_time

Seat = tuple[str, str]
"""A job's id and the name of one of its nodes."""


class Ending:
    """`began`: wall clock. `grace`: seconds between SIGTERM and SIGKILL, None where unknown."""

    def __init__(self, began: float, grace: float | None) -> None:
        self._began = began
        self._now = began
        self._grace = grace
        self._nodes: Mapping[Seat, JobNode] = {}
        self._proofs: Mapping[Seat, NodeProof] = {}
        self._done: dict[str, float] = {}

    def observe(
        self, nodes: Mapping[Seat, JobNode], proofs: Mapping[Seat, NodeProof], now: float
    ) -> None:
        self._nodes, self._proofs, self._now = nodes, proofs, now
        steps = (("told", self._told), ("ended", self._ended), ("gone", len(self._asked)))
        for step, count in steps:
            if nodes and count >= self._total and not self._any_away:
                self._done.setdefault(step, now)

    @property
    def _total(self) -> int:
        """Nodes of the jobs, and those that still ran something of an earlier attempt."""
        return len({*self._nodes, *self._proofs})

    @property
    def _asked(self) -> set[Seat]:
        """Whoever was searched after the end; a node out of reach was not."""
        return {seat for seat, proof in self._proofs.items() if not proof.unreachable}

    @property
    def _over(self) -> set[Seat]:
        """Where the order was carried out; a supervisor that does not answer has sent nothing."""
        obeyed = {seat for seat in self._asked if self._proofs[seat].mute is None}
        return obeyed | {seat for seat, node in self._nodes.items() if node.state.ended}

    @property
    def _any_away(self) -> bool:
        """A node of which nobody knows how far it is: no step is done while there is one."""
        over = self._over
        return any(
            node.link.state is not LinkState.ONLINE or seat in self._proofs
            for seat, node in self._nodes.items()
            if seat not in over
        )

    @property
    def _told(self) -> int:
        cancelling = (s for s, n in self._nodes.items() if n.state is NodeState.CANCELLING)
        return len(self._over.union(cancelling))

    @property
    def _ended(self) -> int:
        return len(self._over)

    def lines(self, width: int) -> tuple[Line, ...]:
        """ "✔ SIGTERM 2/2 0s → ◍ grace 8s of 30s → · SIGKILL → · gone 0/2", on as many lines of
        `width` cells as it needs: the proof stands last and must not be cut off."""
        parts = [
            self._step("told", f"SIGTERM {self._told}/{self._total}"),
            self._waiting(),
            self._killed(),
            self._gone(),
        ]
        rows: list[list[Span]] = [[Span(" "), *parts[0]]]
        for part in parts[1:]:
            more = (Span(" → ", "dim"), *part)
            if width_of((*rows[-1], *more)) <= width:
                rows[-1].extend(more)
            else:
                rows.append(list(more))
        return tuple(Line(tuple(row)) for row in rows)

    def _step(self, name: str, text: str) -> tuple[Span, ...]:
        at = self._done.get(name)
        if at is None:
            return (Span(f"◍ {text}", "warn"),)
        return (Span(f"✔ {text}", "ok"), Span(f" {span_of_time(at - self._began)}", "dim"))

    def _waiting(self) -> tuple[Span, ...]:
        told = self._done.get("told")
        if told is None:
            return (Span("· grace", "dim"),)
        ended = self._done.get("ended")
        took = span_of_time((self._now if ended is None else ended) - told)
        of = "" if self._grace is None else f" of {span_of_time(self._grace)}"
        if ended is None:
            return (Span(f"◍ grace {took}{of}", "warn"),)
        return (Span("✔ grace", "ok"), Span(f" {took}{of}", "dim"))

    def _killed(self) -> tuple[Span, ...]:
        swept = sum(len(node.swept) for node in self._nodes.values())
        swept = max(swept, sum(len(proof.swept) for proof in self._proofs.values()))
        ended = "ended" in self._done
        if swept:
            return (Span(f"{'✔' if ended else '◍'} SIGKILL to {swept}", "warn"),)
        return (Span("– SIGKILL not needed" if ended else "· SIGKILL", "dim"),)

    def _gone(self) -> tuple[Span, ...]:
        total = self._total
        free = sum(1 for p in self._proofs.values() if not p.left and not p.unreachable)
        text = f"verified gone {free}/{total}"
        if len(self._proofs) < total or not total:
            if "ended" in self._done or self._proofs:
                return (Span(f"◍ {text}", "warn"),)
            return (Span(f"· {text}", "dim"),)
        if free < total:
            return (Span(f"✖ {text}", "bad"),)
        return self._step("gone", text)


def seats(job_id: str, nodes: Sequence[JobNode]) -> dict[Seat, JobNode]:
    return {(job_id, node.name): node for node in nodes}
