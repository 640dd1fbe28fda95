"""The dialog that asks how a job shall be started anew, before it is."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from textual import on
from textual.widget import Widget

from cockpit.model.reports import RestartOptions
from cockpit.model.types import Job
from cockpit.tui.dialogs import ConfirmDialog
from cockpit.tui.frame import Frame
from cockpit.tui.orders import wording as orders
from cockpit.tui.orders.restarting import CHECKPOINT, Offers
from cockpit.tui.orders.wording import Order
from cockpit.tui.widgets.choices import Choices


class RestartDialog(ConfirmDialog):
    """Says what will happen with what is chosen. `options` holds it."""

    def __init__(self, job: Job, marked: Collection[str], spares: Sequence[str]) -> None:
        super().__init__(orders.restart(job), self._later)
        self._job = job
        self._offers = Offers(job, marked, spares)
        self._choices = Choices(self._offers.choices, id="choices")

    @property
    def options(self) -> RestartOptions:
        return self._offers.options(self._choices.chosen, self._choices.switched)

    def choices(self) -> Iterable[Widget]:
        yield self._choices

    @on(Choices.Changed)
    def _chosen(self) -> None:
        self._tell(self._wanted())

    def _later(self, frame: Frame) -> Order | None:
        self._job = frame.job(self._job.id) or self._job
        return self._wanted()

    def _wanted(self) -> Order:
        return orders.restart(
            self._job,
            self._offers.nodes(self.options),
            checkpoint=CHECKPOINT in self._choices.switched,
        )
