"""Cancels that wait for nodes out of reach: delivered once a node is back, proven, told in Events.

The desk of orders starts one when a cancel could not ask every node. It runs beside the screen for
as long as that lives; leaving the screen ends the wait, and the nodes know nothing of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from cockpit.errors import CockpitError
from cockpit.text import clean

if TYPE_CHECKING:
    from cockpit.model.reports import CancelReport, NodeProof
    from cockpit.model.types import Job
    from cockpit.tui.frame import Frame
    from cockpit.tui.house.house import House
    from cockpit.tui.orders.progress import ProgressDialog
    from cockpit.tui.source import Source


class Host(Protocol):
    """What the wait needs of the app."""

    @property
    def frame(self) -> Frame: ...
    @property
    def house(self) -> House: ...
    def run_worker(
        self, work: Any, name: str = "", group: str = "", *, exit_on_error: bool = True
    ) -> Any: ...
    def say(self, text: str, *, severity: str = "information") -> None: ...


class Returns:
    """Knows which nodes are waited for already: one order reaches a node once. `group`: of the
    workers that wait."""

    def __init__(self, host: Host, source: Source, group: str) -> None:
        self._host = host
        self._source = source
        self._group = group
        self._waiting: set[tuple[str, int, str]] = set()
        """Ids of jobs, their attempts, and names of nodes."""

    def wait(
        self, job: Job, away: Sequence[str], report: CancelReport, progress: ProgressDialog
    ) -> None:
        """Cancel `job` on the nodes `away` that `report` could not ask, each once it is back."""
        names = [name for name in away if (job.id, job.attempt, name) not in self._waiting]
        if names:
            self._waiting.update((job.id, job.attempt, name) for name in names)
            work = self._wait(job, names, report, progress)
            name = f"cancelling {job.name} ({job.id}) where it is out of reach"
            self._host.run_worker(work, name, self._group, exit_on_error=False)

    async def _wait(
        self, job: Job, names: Sequence[str], report: CancelReport, progress: ProgressDialog
    ) -> None:
        proofs = {node.name: node for node in report.nodes}
        heard: set[str] = set()

        def told(name: str) -> None:
            if name not in heard:
                heard.add(name)
                self._note(job, name, "warn", f"{name} is back and was told to end it")

        def found(proof: NodeProof) -> None:
            # It is not waited for any more: a later cancel may have to.
            self._waiting.discard((job.id, job.attempt, proof.name))
            proofs[proof.name] = proof
            progress.found(job.id, proof)
            left = ", ".join(str(process.pid) for process in proof.left)
            if proof.unreachable:
                text = f"{proof.name} cannot be told to end it: {proof.unreachable}"
            elif left:
                text = f"{proof.name} still has {left}"
            else:
                text = f"nothing is left on {proof.name}"
            self._note(job, proof.name, "bad" if left or proof.unreachable else "ok", text)

        try:
            orders = self._source.orders
            if orders is not None:
                await orders.cancel_when_back(job.id, names, told, found)
        except CockpitError as error:
            text = f"the cancel did not reach {', '.join(names)}: {error.message}"
            self._note(job, "", "bad", text)
            return
        finally:
            self._waiting.difference_update((job.id, job.attempt, name) for name in names)
        progress.prove(job.id, msgspec.structs.replace(report, nodes=tuple(proofs.values())))

    def _note(self, job: Job, node: str, tone: str, text: str) -> None:
        """Say it, and keep it among the events."""
        from cockpit.tui.house.happenings import Happening

        said = clean(f"{job.name}: {text}")
        at = self._host.frame.wall
        happening = Happening(at, "order", tone, said, job.cluster, node, job.id)
        self._host.house.chronicle.note(happening)
        self._host.say(said, severity="error" if tone == "bad" else "information")
