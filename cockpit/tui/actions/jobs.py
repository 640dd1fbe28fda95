"""The Jobs and the Job view, and the orders that change jobs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from cockpit.errors import UsageError
from cockpit.model.types import Job, JobState
from cockpit.tui.actions.base import Action, Context, View, Words, on, with_job


class JobsDo(Protocol):
    """What actions may ask of the Jobs view."""

    def next_sort(self) -> None: ...
    def next_show(self) -> None:
        """All jobs, those that have not ended, those with problems."""

    def invert_filter(self) -> None: ...
    @property
    def pattern(self) -> str:
        """The filter that is set."""


class JobDo(Protocol):
    """What actions may ask of the Job view."""

    def toggle_problems(self) -> None: ...
    def fold_all(self) -> None: ...
    def step_attempt(self, step: int) -> None:
        """To an older (-1) or newer (1) generation of the job."""


class OrdersDo(Protocol):
    """The desk that asks before it orders. Without a job it is about `Context.job`; `cancel`,
    `restart` and `restart_ranks` in the list of jobs about those that are marked."""

    @property
    def chosen(self) -> Sequence[Job]:
        """The jobs that `restart` and `restart_ranks` would be about."""

    @property
    def targets(self) -> Sequence[Job]:
        """Those of them that `cancel` would be about."""

    def cancel(self, job: Job | None = None) -> None: ...
    def restart(self, job: Job | None = None) -> None: ...
    def restart_ranks(self) -> None: ...
    def show_stacks(self) -> None: ...
    def show_plot(self) -> None: ...
    def describe(self) -> None: ...
    def names(self) -> Sequence[str]:
        """What jobs can be called on the command line."""

    def find(self, reference: str) -> Job:
        """The job that is meant by an id, a name or the beginning of an id. Raises UsageError."""


def _reach(context: Context, job: Job) -> str | None:
    """Why nothing can be ordered of this job at all."""
    if job.seen_at is not None:
        return f"{job.name} is only remembered: no node that was asked knows it now"
    return context.busy_with(job) or context.missing("orders") or None


def _against_cancel(context: Context, job: Job) -> str | None:
    if job.state.ended:
        return f"{job.name} has ended already"
    return _reach(context, job)


def _can_cancel(context: Context) -> str | None:
    jobs = context.orders.targets
    if not jobs:
        return "every marked job has ended already" if context.marked_jobs else "no job is selected"
    return next((reason for job in jobs if (reason := _against_cancel(context, job))), None)


def _can_restart(context: Context) -> str | None:
    jobs = context.orders.chosen
    if not jobs:
        return "no job is selected"
    return next((reason for job in jobs if (reason := _reach(context, job))), None)


def _with_ranks(context: Context) -> str | None:
    return _against_running(context.job) if context.job is not None else "no job is selected"


def _against_running(job: Job) -> str | None:
    runs = job.state is JobState.RUNNING and job.seen_at is None
    return None if runs else f"{job.name} does not run"


def _with_stacks(context: Context) -> str | None:
    job = context.job
    if job is not None and any(stall.stacks or stall.others for stall in job.stalls):
        return None
    return _with_ranks(context)


def _with_metrics(context: Context) -> str | None:
    if context.job is None:
        return "no job is selected"
    return None if context.job.metrics else f"{context.job.name} has reported no metric"


def _with_attempts(context: Context) -> str | None:
    job = context.job
    return None if job is not None and job.history else "nothing has started yet"


def _can_restart_ranks(context: Context) -> str | None:
    jobs = context.orders.chosen
    if not jobs:
        return "no job is selected"
    reasons = (_against_ranks(context, job) for job in jobs)
    return next((reason for reason in reasons if reason), context.missing("orders") or None)


def _against_ranks(context: Context, job: Job) -> str | None:
    if job.kind == "command":
        return f"{job.name} is a command: it has no ranks"
    return _against_running(job) or context.busy_with(job) or None


def _named(
    do: Callable[[Context, Job | None], None], against: Callable[[Context, Job], str | None]
) -> Callable[[Context, str], None]:
    """A word that may be followed by the name of a job."""

    def run(context: Context, argument: str) -> None:
        job = context.orders.find(argument) if argument else None
        if job is not None and (reason := against(context, job)):
            raise UsageError(reason)
        do(context, job)

    return run


def _offers(context: Context) -> Sequence[str]:
    return context.orders.names()


def _show(context: Context, argument: str) -> None:
    if argument:
        context.show_job(context.orders.find(argument).id)
    else:
        context.show(View.JOB)


_on_jobs = on(lambda context: context.jobs)
_on_job = on(lambda context: context.job_view)


def _filtered(context: Context) -> str | None:
    return None if context.jobs is not None and context.jobs.pattern else "no filter is set"


JOB_WORDS = Words(("job",), "[JOB]", _show, _offers)

_JOBS = frozenset((View.JOBS, View.JOB, View.LOGS))
_LIST = frozenset((View.JOBS,))
_ONE = frozenset((View.JOB,))

ACTIONS: tuple[Action, ...] = (
    Action(
        "job.logs",
        "Logs of the selected job",
        ("l",),
        lambda c: c.show(View.LOGS),
        views=frozenset((View.FLEET, View.JOBS, View.JOB, View.NODE)),
        footer="logs",
        enabled=with_job,
    ),
    Action(
        "job.cancel",
        "Cancel the job…",
        ("ctrl+d",),
        lambda c: c.orders.cancel(),
        views=_JOBS,
        footer="cancel…",
        writes=True,
        dangerous=True,
        enabled=_can_cancel,
        words=Words(
            ("cancel",),
            "[JOB]",
            _named(lambda c, job: c.orders.cancel(job), _against_cancel),
            _offers,
        ),
    ),
    Action(
        "job.restart",
        "Restart the job…",
        ("R",),
        lambda c: c.orders.restart(),
        views=_JOBS,
        footer="restart…",
        writes=True,
        dangerous=True,
        enabled=_can_restart,
        words=Words(
            ("restart",), "[JOB]", _named(lambda c, job: c.orders.restart(job), _reach), _offers
        ),
    ),
    Action(
        "job.restart_ranks",
        "Restart the ranks in place…",
        ("ctrl+r",),
        lambda c: c.orders.restart_ranks(),
        views=_JOBS,
        writes=True,
        dangerous=True,
        enabled=_can_restart_ranks,
    ),
    Action(
        "job.stacks",
        "Where is it? Stacks of all ranks",
        ("b",),
        lambda c: c.orders.show_stacks(),
        views=_JOBS,
        footer="stacks",
        enabled=_with_stacks,
        words=Words(("stacks",)),
    ),
    Action(
        "job.describe",
        "Describe the job: command, environment, plan, nodes",
        ("d",),
        lambda c: c.orders.describe(),
        views=frozenset((View.JOBS, View.JOB)),
        enabled=with_job,
    ),
    Action(
        "job.plot",
        "Plot the job's metrics",
        ("M",),
        lambda c: c.orders.show_plot(),
        views=frozenset((View.JOBS, View.JOB)),
        enabled=_with_metrics,
        words=Words(("plot",)),
    ),
    Action(
        "jobs.sort",
        "Sort by state, newest or name",
        ("S",),
        _on_jobs(lambda jobs: jobs.next_sort()),
        views=_LIST,
    ),
    Action(
        "jobs.show",
        "Show all jobs, those not ended, or problems",
        ("f",),
        _on_jobs(lambda jobs: jobs.next_show()),
        views=_LIST,
    ),
    Action(
        "jobs.invert",
        "Show what the filter hides",
        ("exclamation_mark",),
        _on_jobs(lambda jobs: jobs.invert_filter()),
        views=_LIST,
        enabled=_filtered,
    ),
    Action(
        "job.problems",
        "Nodes and ranks with problems only",
        ("f",),
        _on_job(lambda view: view.toggle_problems()),
        views=_ONE,
    ),
    Action(
        "job.fold",
        "Fold or unfold all nodes",
        ("u",),
        _on_job(lambda view: view.fold_all()),
        views=_ONE,
    ),
    Action(
        "job.attempt_before",
        "The attempt before: its cause and its last words",
        ("comma",),
        _on_job(lambda view: view.step_attempt(-1)),
        views=_ONE,
        enabled=_with_attempts,
    ),
    Action(
        "job.attempt_after",
        "The attempt after this one",
        ("full_stop",),
        _on_job(lambda view: view.step_attempt(1)),
        views=_ONE,
        enabled=_with_attempts,
    ),
)
