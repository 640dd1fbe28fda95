"""Where dangerous orders go through: ask, carry out beside the screen, show the end.

Used by the app for cancel and restart. An order never runs in a key handler; closing its dialog
does not stop it, and one job has at most one order at a time. The dialogs are imported when they
are first opened: the first frame does not wait for them.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from textual.screen import Screen
from textual.worker import Worker

from cockpit.errors import CockpitError, JobNotFound, UsageError
from cockpit.model.find import find
from cockpit.model.types import Job, Node
from cockpit.text import clean, count_of
from cockpit.tui.actions import View
from cockpit.tui.dialogs import ConfirmDialog
from cockpit.tui.frame import Frame
from cockpit.tui.orders import wording as orders
from cockpit.tui.orders.ending import Ending
from cockpit.tui.orders.returns import Returns
from cockpit.tui.source import Orders, Source

if TYPE_CHECKING:
    from cockpit.model.reports import NodeProof
    from cockpit.tui.house.house import House
    from cockpit.tui.orders.progress import ProgressDialog

GROUP = "orders"
"""Group of the workers that carry out orders."""

CarryOut = Callable[[Job, "ProgressDialog"], Coroutine[Any, Any, None]]


class Host(Protocol):
    """What the desk needs of the app."""

    @property
    def frame(self) -> Frame: ...
    @property
    def screen(self) -> Screen[Any]: ...
    def push_screen(self, screen: Any, callback: Any = None) -> Any: ...
    def run_worker(
        self, work: Any, name: str = "", group: str = "", *, exit_on_error: bool = True
    ) -> Worker[Any]: ...
    def say(self, text: str, *, severity: str = "information") -> None: ...
    @property
    def house(self) -> House: ...
    @property
    def view(self) -> View: ...
    @property
    def job(self) -> Job | None: ...
    @property
    def marked_jobs(self) -> Sequence[Job]: ...
    @property
    def marked_nodes(self) -> Sequence[Node]: ...


class OrderDesk:
    """Satisfies `OrdersDo`. Knows which orders are being carried out."""

    def __init__(self, host: Host, source: Source) -> None:
        self._host = host
        self._source = source
        self._busy: dict[str, str] = {}
        self._progress: dict[str, tuple[Job, ProgressDialog]] = {}
        self._returns = Returns(host, source, GROUP)

    def busy_with(self, job: Job) -> str:
        """ "" or what is being done to `job`."""
        return self._busy.get(job.id, "")

    def names(self) -> Sequence[str]:
        """What jobs can be called on the command line, the newest first."""
        jobs = self._host.frame.fleet.jobs
        return [clean(word) for job in jobs for word in (job.name, job.id)]

    def find(self, reference: str) -> Job:
        """The job that is meant. Raises UsageError."""
        try:
            return find(reference, self._host.frame.fleet.jobs)
        except JobNotFound as error:
            raise UsageError(error.message, error.hint) from error

    @property
    def chosen(self) -> Sequence[Job]:
        """The jobs that an order would be about: those marked in the list, or the one at hand."""
        if self._marked:
            return self._host.marked_jobs
        job = self._host.job
        return [job] if job is not None else []

    @property
    def targets(self) -> Sequence[Job]:
        """Of the chosen ones those that a cancel would be about; marked ones that have ended are
        left out."""
        chosen = self.chosen
        return [job for job in chosen if not job.state.ended] if self._marked else chosen

    @property
    def _marked(self) -> bool:
        return self._host.view is View.JOBS and bool(self._host.marked_jobs)

    # ------------------------------------------------------------------ what actions ask

    def cancel(self, job: Job | None = None) -> None:
        """Ask, then cancel and show the proof."""
        jobs = self.targets if job is None else [job]
        if not jobs or not self._may(jobs):
            return
        grace = self._grace(jobs)
        ended = [] if job is not None else [each for each in self.chosen if each not in jobs]

        def order(jobs: Sequence[Job]) -> orders.Order:
            if len(jobs) == 1:
                return orders.cancel(jobs[0], grace, ended)
            return orders.cancel_many(jobs, grace, ended)

        named = jobs[0].name if len(jobs) == 1 else count_of(len(jobs), "job")
        dialog = ConfirmDialog(order(jobs), lambda frame: order(_newer(jobs, frame)))
        self._confirm(dialog, jobs, f"cancelling {named}", "cancelling", self._cancel, ending=True)

    def restart(self, job: Job | None = None) -> None:
        """Ask how, then restart; several that are marked on the nodes that each of them has."""
        jobs = self.chosen if job is None else [job]
        if not jobs or not self._may(jobs):
            return
        if len(jobs) > 1:
            self._restart_many(jobs)
            return
        job = jobs[0]
        from cockpit.tui.orders.restartdialog import RestartDialog

        marked = [n.name for n in self._host.marked_nodes if n.cluster == job.cluster]
        cluster = self._source.config.clusters.get(job.cluster)
        spares = [spec.name for spec in cluster.spares] if cluster is not None else []
        dialog = RestartDialog(job, marked, spares)

        async def carry_out(job: Job, progress: ProgressDialog) -> None:
            number = await self._orders.restart(job.id, dialog.options, progress.hear)
            progress.succeed(job.id, f"attempt {number} of {job.name} has started")

        self._confirm(dialog, [job], f"restarting {job.name}", "restarting", carry_out)

    def _restart_many(self, jobs: Sequence[Job]) -> None:
        from cockpit.model.reports import RestartOptions

        async def carry_out(job: Job, progress: ProgressDialog) -> None:
            number = await self._orders.restart(job.id, RestartOptions(), progress.hear)
            progress.succeed(job.id, f"attempt {number} has started")

        dialog = ConfirmDialog(
            orders.restart_many(jobs), lambda frame: orders.restart_many(_newer(jobs, frame))
        )
        title = f"restarting {count_of(len(jobs), 'job')}"
        self._confirm(dialog, jobs, title, "restarting", carry_out)

    def restart_ranks(self) -> None:
        """Ask, then restart the ranks in place, of every job that is marked."""
        jobs = self.chosen
        if not jobs or not self._may(jobs):
            return

        def order(jobs: Sequence[Job]) -> orders.Order:
            return orders.restart_ranks(*jobs) if len(jobs) == 1 else orders.restart_each(jobs)

        named = jobs[0].name if len(jobs) == 1 else count_of(len(jobs), "job")
        dialog = ConfirmDialog(order(jobs), lambda frame: order(_newer(jobs, frame)))
        doing = "restarting the ranks of"
        self._confirm(dialog, jobs, f"{doing} {named}", doing, self._ranks)

    def show_stacks(self) -> None:
        """Open the dialog that asks for the stacks."""
        from cockpit.tui.jobs.stacks import StacksDialog

        if self._host.job is not None:
            self._host.push_screen(StacksDialog(self._host.job, self._source))

    def show_plot(self) -> None:
        """Open the plot of the job's metrics."""
        from cockpit.tui.jobs.plotdialog import PlotDialog

        if self._host.job is not None:
            self._host.push_screen(PlotDialog(self._host.job))

    def describe(self) -> None:
        """Open the dialog with everything that is known of the job."""
        from cockpit.tui.jobs import describe

        job = self._host.job
        if job is not None:
            lines = describe.lines(job, self._source.record(job.id), self._host.frame.wall)
            self._host.push_screen(describe.DescribeDialog(job.name, lines))

    # -------------------------------------------------------------------- carrying out

    def broken(self, name: str, error: BaseException | None) -> None:
        """An order ended with an error that nobody expected: show it, live on."""
        text = f"{name} failed: {type(error).__name__}: {error}"
        if name in self._progress:
            job, progress = self._progress.pop(name)
            progress.fail(job.id, CockpitError(text, "this is a defect of cockpit"))
        self._host.say(text, severity="error")

    def _may(self, jobs: Sequence[Job]) -> bool:
        """Whether the profiles allow changes where these jobs are; says so if not."""
        for job in jobs:
            cluster = self._source.config.clusters.get(job.cluster)
            if cluster is not None and cluster.read_only:
                self._host.say(
                    f"{job.name}: cluster {cluster.name} is read-only", severity="warning"
                )
                return False
        return True

    def _confirm(
        self,
        dialog: ConfirmDialog,
        jobs: Sequence[Job],
        title: str,
        doing: str,
        carry_out: CarryOut,
        *,
        ending: bool = False,
    ) -> None:
        def answered(yes: bool | None) -> None:
            free = [job for job in jobs if not self.busy_with(job)]
            if not yes or not free:
                return
            from cockpit.tui.orders.progress import ProgressDialog

            now = self._host.frame.wall
            progress = ProgressDialog(
                title, free, now, Ending(now, self._grace(free)) if ending else None
            )
            self._host.push_screen(progress)
            for job in free:
                self._busy[job.id] = f"{job.name}: {doing} it already"
                name = f"{doing} {job.name} ({job.id})"
                self._progress[name] = (job, progress)
                work = self._guarded(carry_out(job, progress), job, progress, name)
                self._host.run_worker(work, name, GROUP, exit_on_error=False)

        self._host.push_screen(dialog, answered)

    def _grace(self, jobs: Sequence[Job]) -> float | None:
        """The longest grace of these jobs, where it is known."""
        records = [self._source.record(job.id) for job in jobs]
        return max((record.grace for record in records if record is not None), default=None)

    async def _guarded(
        self, work: Coroutine[Any, Any, None], job: Job, progress: ProgressDialog, name: str
    ) -> None:
        try:
            await work
        except CockpitError as error:
            progress.fail(job.id, error)
        finally:
            self._busy.pop(job.id, None)
        self._progress.pop(name, None)
        if not progress.is_current and progress.outcome:
            self._host.say(f"{job.name}: {progress.outcome}")

    @property
    def _orders(self) -> Orders:
        if self._source.orders is None:
            raise CockpitError(self._source.absent)
        return self._source.orders

    async def _cancel(self, job: Job, progress: ProgressDialog) -> None:
        def found(proof: NodeProof) -> None:
            progress.found(job.id, proof)

        report = await self._orders.cancel(job.id, progress.hear, found)
        away = [node.name for node in report.nodes if node.unreachable]
        known = self._linked(job)
        awaited = [name for name in away if name in known]
        lost = [name for name in away if name not in known]
        progress.prove(job.id, report, orders.follow_up(awaited, lost))
        self._returns.wait(job, awaited, report, progress)

    def _linked(self, job: Job) -> set[str]:
        """Names of the nodes that are connected to, or will be once they can be reached."""
        named = job.cluster in self._source.config.clusters
        nodes = self._host.frame.fleet.nodes
        return {node.name for node in nodes if node.cluster == job.cluster or not named}

    async def _ranks(self, job: Job, progress: ProgressDialog) -> None:
        await self._orders.restart_ranks(job.id, progress.hear)
        progress.succeed(job.id, f"a new generation of {job.name} runs")


def _newer(jobs: Sequence[Job], frame: Frame) -> list[Job]:
    """The same jobs as this frame knows them."""
    return [frame.job(job.id) or job for job in jobs]
