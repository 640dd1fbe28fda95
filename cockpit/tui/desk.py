"""Where dangerous orders go through: ask, carry out beside the screen, show the end.

Used by the app for cancel and restart. An order never runs in a key handler; closing its dialog
does not stop it, and one job has at most one order at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from textual.screen import Screen
from textual.worker import Worker

from cockpit.errors import CockpitError
from cockpit.model.types import Job
from cockpit.tui import orders
from cockpit.tui.dialogs import ConfirmDialog, ProgressDialog
from cockpit.tui.source import Source

GROUP = "orders"
"""Group of the workers that carry out orders."""


class Host(Protocol):
    """What the desk needs of the app."""

    @property
    def screen(self) -> Screen[Any]: ...
    def push_screen(self, screen: Any, callback: Any = None) -> Any: ...
    def run_worker(
        self, work: Any, name: str = "", group: str = "", *, exit_on_error: bool = True
    ) -> Worker[Any]: ...
    def say(self, text: str, *, severity: str = "information") -> None: ...


class OrderDesk:
    """Knows which orders are being carried out."""

    def __init__(self, host: Host, source: Source) -> None:
        self._host = host
        self._source = source
        self._busy: dict[str, str] = {}

    def busy_with(self, job: Job) -> str:
        """ "" or what is being done to `job`."""
        return self._busy.get(job.id, "")

    def cancel(self, job: Job) -> None:
        """Ask, then cancel and show the proof."""
        self._confirm(orders.cancel(job), job, "cancelling", self._cancel)

    def restart(self, job: Job) -> None:
        """Ask, then restart."""
        self._confirm(orders.restart(job), job, "restarting", self._restart)

    def restart_ranks(self, job: Job) -> None:
        """Ask, then restart the ranks in place."""
        self._confirm(orders.restart_ranks(job), job, "restarting the ranks of", self._ranks)

    def broken(self, name: str, error: BaseException | None) -> None:
        """An order ended with an error that nobody expected: show it, live on."""
        text = f"{name} failed: {type(error).__name__}: {error}"
        screen = self._host.screen
        if isinstance(screen, ProgressDialog):
            screen.fail(CockpitError(text, "this is a defect of cockpit"))
        self._host.say(text, severity="error")

    def _confirm(
        self,
        order: orders.Order,
        job: Job,
        doing: str,
        carry_out: Callable[[Job, ProgressDialog], Coroutine[Any, Any, None]],
    ) -> None:
        def answered(yes: bool | None) -> None:
            if not yes or self.busy_with(job):
                return
            progress = ProgressDialog(f"{doing} {job.name}", job)
            self._host.push_screen(progress)
            self._busy[job.id] = f"{job.name}: {doing} it already"
            work = self._guarded(carry_out(job, progress), job, progress)
            self._host.run_worker(work, doing, GROUP, exit_on_error=False)

        self._host.push_screen(ConfirmDialog(order), answered)

    async def _guarded(
        self, work: Coroutine[Any, Any, None], job: Job, progress: ProgressDialog
    ) -> None:
        try:
            await work
        except CockpitError as error:
            progress.fail(error)
        finally:
            self._busy.pop(job.id, None)
        if not progress.is_current:
            self._host.say(f"{job.name}: {progress.outcome}")

    async def _cancel(self, job: Job, progress: ProgressDialog) -> None:
        progress.prove(await self._source.cancel(job.id))

    async def _ranks(self, job: Job, progress: ProgressDialog) -> None:
        await self._source.restart_ranks(job.id)
        progress.succeed(f"a new generation of {job.name} runs")

    async def _restart(self, job: Job, progress: ProgressDialog) -> None:
        await self._source.restart(job.id)
        progress.succeed(f"attempt {job.attempt + 1} of {job.name} has started")
