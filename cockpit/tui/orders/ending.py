"""How far the end of jobs is: one SIGTERM, the grace, SIGKILL, and the proof that nothing is left.

Pure; told of every new state of the nodes, it remembers when each step was done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cockpit.model.reports import NodeProof
from cockpit.model.types import JobNode, NodeState
from cockpit.tui.draw.spans import Line, Span, join
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
        for step, count in (
            ("told", self._told),
            ("ended", self._ended),
            ("gone", len(proofs)),
        ):
            if nodes and count >= len(nodes):
                self._done.setdefault(step, now)

    @property
    def _told(self) -> int:
        return sum(
            1
            for seat, node in self._nodes.items()
            if seat in self._proofs or node.state.ended or node.state is NodeState.CANCELLING
        )

    @property
    def _ended(self) -> int:
        return sum(
            1 for seat, node in self._nodes.items() if seat in self._proofs or node.state.ended
        )

    def line(self) -> Line:
        """ "✔ SIGTERM 2/2 0s → ◍ grace 8s of 30s → · SIGKILL → · gone 0/2"."""
        total = len(self._nodes)
        parts = [
            self._step("told", f"SIGTERM {self._told}/{total}"),
            self._waiting(),
            self._killed(),
            self._gone(total),
        ]
        return Line((Span(" "), *join(parts, Span(" → ", "dim"))))

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
        if "ended" not in self._done:
            return (Span("· SIGKILL", "dim"),)
        swept = sum(len(node.swept) for node in self._nodes.values())
        swept = max(swept, sum(len(proof.swept) for proof in self._proofs.values()))
        if not swept:
            return (Span("– SIGKILL not needed", "dim"),)
        return (Span(f"✔ SIGKILL to {swept}", "warn"),)

    def _gone(self, total: int) -> tuple[Span, ...]:
        free = sum(1 for p in self._proofs.values() if not p.left and not p.unreachable)
        text = f"verified gone {free}/{total}"
        if len(self._proofs) < total or not total:
            tone = "dim" if "ended" not in self._done else "warn"
            return (Span(f"{'·' if tone == 'dim' else '◍'} {text}", tone),)
        if free < total:
            return (Span(f"✖ {text}", "bad"),)
        return self._step("gone", text)


def seats(job_id: str, nodes: Sequence[JobNode]) -> dict[Seat, JobNode]:
    return {(job_id, node.name): node for node in nodes}
