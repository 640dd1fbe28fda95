"""The one registry of everything a person can do: keys, footer, help and palette come from it.

An Action says what it is called, which keys it has, where it applies, whether it is dangerous
and why it cannot be done right now; `run` asks the Context, which the app is. Nothing here knows
widgets or Textual.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable
from typing import Protocol

from cockpit.model.types import Job, JobState, LinkState, Node


class View(str, enum.Enum):
    FLEET = "fleet"
    JOBS = "jobs"
    JOB = "job"
    LOGS = "logs"


class Pane(Protocol):
    """What has the focus and moves: a table or a log."""

    def move(self, delta: int) -> None: ...
    def page(self, direction: int) -> None: ...
    def top(self) -> None: ...
    def bottom(self) -> None: ...


class Log(Protocol):
    """The log on the screen."""

    def open_filter(self) -> None: ...
    def sideways(self, steps: int) -> None: ...
    def follow(self) -> None: ...
    def toggle_times(self) -> None: ...


class Context(Protocol):
    """What actions may ask and order. All of it returns at once."""

    @property
    def view(self) -> View: ...
    @property
    def job(self) -> Job | None:
        """The job that an action would be about."""

    @property
    def shown_job(self) -> Job | None:
        """The job that Job and Logs show, or would show."""

    @property
    def node(self) -> Node | None:
        """The node that an action would be about."""

    @property
    def pane(self) -> Pane | None: ...
    @property
    def log_pane(self) -> Log | None: ...

    def busy_with(self, job: Job) -> str:
        """ "" or what is being done to the job right now."""

    def show(self, view: View) -> None: ...
    def back(self) -> None: ...
    def next_pane(self) -> None: ...
    def open_selection(self) -> None: ...
    def show_logs(self) -> None: ...
    def cancel_job(self) -> None: ...
    def restart_job(self) -> None: ...
    def restart_ranks(self) -> None: ...
    def show_stacks(self) -> None: ...
    def retry_node(self) -> None: ...
    def next_theme(self) -> None: ...
    def show_help(self) -> None: ...
    def show_palette(self) -> None: ...
    def redraw_all(self) -> None: ...
    def leave(self) -> None: ...


def _always(_: Context) -> str | None:
    return None


@dataclasses.dataclass(frozen=True)
class Action:
    """`keys`: in Textual's names, the first is shown. `views`: where it applies, empty is
    everywhere. `footer`: its word in the footer, "" keeps it out. `enabled`: None, or why not.
    `dangerous`: it changes something on nodes, so it is marked in the help and asks first.
    """

    id: str
    title: str
    keys: tuple[str, ...]
    run: Callable[[Context], None]
    views: frozenset[View] = frozenset()
    footer: str = ""
    dangerous: bool = False
    enabled: Callable[[Context], str | None] = _always

    def applies(self, view: View) -> bool:
        return not self.views or view in self.views

    @property
    def key_text(self) -> str:
        """All keys, for people."""
        return " ".join(key_name(key) for key in self.keys)


_NAMES = {
    "question_mark": "?",
    "slash": "/",
    "escape": "esc",
    "pagedown": "pgdn",
    "pageup": "pgup",
    "left": "←",
    "right": "→",
    "up": "↑",
    "down": "↓",
}


def key_name(key: str) -> str:
    """Textual's name of a key as it is printed on the screen."""
    return _NAMES.get(key, key.replace("ctrl+", "^"))


def _with_job(context: Context) -> str | None:
    return None if context.job is not None else "no job is selected"


def _with_any_job(context: Context) -> str | None:
    return None if context.shown_job is not None else "there is no job yet"


def _can_cancel(context: Context) -> str | None:
    job = context.job
    if job is None:
        return "no job is selected"
    if job.state.ended:
        return f"{job.name} has ended already"
    return context.busy_with(job) or None


def _can_restart(context: Context) -> str | None:
    job = context.job
    if job is None:
        return "no job is selected"
    return context.busy_with(job) or None


def _with_ranks(context: Context) -> str | None:
    job = context.job
    if job is None:
        return "no job is selected"
    if job.state is not JobState.RUNNING:
        return f"{job.name} does not run"
    return None


def _can_restart_ranks(context: Context) -> str | None:
    job = context.job
    if job is not None and job.kind == "command":
        return f"{job.name} is a command: it has no ranks"
    return _with_ranks(context) or (context.busy_with(job) if job is not None else "") or None


def _can_retry(context: Context) -> str | None:
    node = context.node
    if node is None:
        return "no node is selected"
    if node.link.state is LinkState.ONLINE:
        return f"{node.name} is online"
    return None


def _with_pane(context: Context) -> str | None:
    return None if context.pane is not None else "nothing here moves"


def _with_log(context: Context) -> str | None:
    return None if context.log_pane is not None else "no log is on the screen"


def _on_pane(do: Callable[[Pane], None]) -> Callable[[Context], None]:
    def run(context: Context) -> None:
        if context.pane is not None:
            do(context.pane)

    return run


def _on_log(do: Callable[[Log], None]) -> Callable[[Context], None]:
    def run(context: Context) -> None:
        if context.log_pane is not None:
            do(context.log_pane)

    return run


_LISTS = frozenset((View.FLEET, View.JOBS))
_JOBS = frozenset((View.JOBS, View.JOB, View.LOGS))
_LOGS = frozenset((View.JOB, View.LOGS))

ACTIONS: tuple[Action, ...] = (
    Action("view.fleet", "Fleet: all nodes", ("1",), lambda c: c.show(View.FLEET)),
    Action("view.jobs", "Jobs: all jobs", ("2",), lambda c: c.show(View.JOBS)),
    Action(
        "view.job",
        "Job: the selected job",
        ("3",),
        lambda c: c.show(View.JOB),
        enabled=_with_any_job,
    ),
    Action(
        "view.logs",
        "Logs: the selected job",
        ("4",),
        lambda c: c.show(View.LOGS),
        enabled=_with_any_job,
    ),
    Action(
        "list.open",
        "Open the selection",
        ("enter",),
        lambda c: c.open_selection(),
        views=_LISTS,
        footer="open",
    ),
    Action(
        "job.logs",
        "Logs of the selected job",
        ("l",),
        lambda c: c.show_logs(),
        views=frozenset((View.FLEET, View.JOBS, View.JOB)),
        footer="logs",
        enabled=_with_job,
    ),
    Action(
        "log.filter",
        "Filter the log",
        ("slash",),
        _on_log(lambda log: log.open_filter()),
        views=_LOGS,
        footer="filter",
        enabled=_with_log,
    ),
    Action(
        "log.follow",
        "Follow the log",
        ("f",),
        _on_log(lambda log: log.follow()),
        views=_LOGS,
        footer="follow",
        enabled=_with_log,
    ),
    Action(
        "log.left",
        "Log: to the left",
        ("left", "h"),
        _on_log(lambda log: log.sideways(-1)),
        views=_LOGS,
        enabled=_with_log,
    ),
    Action(
        "log.right",
        "Log: to the right",
        ("right",),
        _on_log(lambda log: log.sideways(1)),
        views=_LOGS,
        enabled=_with_log,
    ),
    Action(
        "log.start",
        "Log: to the first column",
        ("0",),
        _on_log(lambda log: log.sideways(0)),
        views=_LOGS,
        enabled=_with_log,
    ),
    Action(
        "log.times",
        "Log: time stamps on or off",
        ("t",),
        _on_log(lambda log: log.toggle_times()),
        views=_LOGS,
        enabled=_with_log,
    ),
    Action(
        "job.cancel",
        "Cancel the job…",
        ("ctrl+d",),
        lambda c: c.cancel_job(),
        views=_JOBS,
        footer="cancel…",
        dangerous=True,
        enabled=_can_cancel,
    ),
    Action(
        "job.restart",
        "Restart the job…",
        ("R",),
        lambda c: c.restart_job(),
        views=_JOBS,
        footer="restart…",
        dangerous=True,
        enabled=_can_restart,
    ),
    Action(
        "job.restart_ranks",
        "Restart the ranks in place…",
        ("ctrl+r",),
        lambda c: c.restart_ranks(),
        views=_JOBS,
        dangerous=True,
        enabled=_can_restart_ranks,
    ),
    Action(
        "job.stacks",
        "Where is it? Stacks of all ranks",
        ("b",),
        lambda c: c.show_stacks(),
        views=_JOBS,
        footer="stacks",
        enabled=_with_ranks,
    ),
    Action(
        "node.retry",
        "Try to reach the node again",
        ("r",),
        lambda c: c.retry_node(),
        views=frozenset((View.FLEET,)),
        footer="retry",
        enabled=_can_retry,
    ),
    Action(
        "list.down",
        "Down",
        ("j", "down"),
        _on_pane(lambda pane: pane.move(1)),
        enabled=_with_pane,
    ),
    Action("list.up", "Up", ("k", "up"), _on_pane(lambda pane: pane.move(-1)), enabled=_with_pane),
    Action(
        "list.page_down",
        "A page down",
        ("pagedown", "ctrl+f"),
        _on_pane(lambda pane: pane.page(1)),
        enabled=_with_pane,
    ),
    Action(
        "list.page_up",
        "A page up",
        ("pageup", "ctrl+b"),
        _on_pane(lambda pane: pane.page(-1)),
        enabled=_with_pane,
    ),
    Action(
        "list.top",
        "To the top",
        ("g", "home"),
        _on_pane(lambda pane: pane.top()),
        enabled=_with_pane,
    ),
    Action(
        "list.bottom",
        "To the end; in a log: follow",
        ("G", "end"),
        _on_pane(lambda pane: pane.bottom()),
        enabled=_with_pane,
    ),
    Action(
        "pane.next",
        "Next part of the view",
        ("tab",),
        lambda c: c.next_pane(),
        views=frozenset((View.JOB,)),
        footer="part",
    ),
    Action(
        "view.back", "Clear the filter, or back", ("escape",), lambda c: c.back(), footer="back"
    ),
    Action("app.palette", "Command palette", ("ctrl+p",), lambda c: c.show_palette(), footer="do"),
    Action(
        "app.help",
        "Keys and what they do",
        ("question_mark",),
        lambda c: c.show_help(),
        footer="help",
    ),
    Action("app.theme", "Next theme", ("T",), lambda c: c.next_theme()),
    Action("app.redraw", "Draw the screen anew", ("ctrl+l",), lambda c: c.redraw_all()),
    Action("app.quit", "Quit; jobs run on", ("q", "ctrl+q"), lambda c: c.leave(), footer="quit"),
)

BY_ID = {action.id: action for action in ACTIONS}
