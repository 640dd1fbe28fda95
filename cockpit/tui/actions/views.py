"""Going from view to view."""

from __future__ import annotations

from cockpit.tui.actions.base import Action, Context, View, Words
from cockpit.tui.actions.fleet import FLEET_WORDS
from cockpit.tui.actions.jobs import JOB_WORDS

_PARTS = frozenset((View.JOB, View.NODE, View.PROFILES, View.DEBUG))


def _with_any_job(context: Context) -> str | None:
    return None if context.shown_job is not None else "there is no job yet"


ACTIONS = (
    Action(
        "view.fleet",
        "Fleet: all nodes and GPUs",
        ("1",),
        lambda c: c.show(View.FLEET),
        words=FLEET_WORDS,
    ),
    Action(
        "view.jobs",
        "Jobs: all jobs",
        ("2",),
        lambda c: c.show(View.JOBS),
        words=Words(("jobs",)),
    ),
    Action(
        "view.job",
        "Job: the selected job",
        ("3",),
        lambda c: c.show(View.JOB),
        enabled=_with_any_job,
        words=JOB_WORDS,
    ),
    Action(
        "view.logs",
        "Logs: the selected job",
        ("4",),
        lambda c: c.show(View.LOGS),
        enabled=_with_any_job,
    ),
    Action(
        "view.profiles",
        "Profiles: clusters, launchers, jobs",
        ("5",),
        lambda c: c.show(View.PROFILES),
        words=Words(
            ("profiles",), "[NAME]", lambda c, name: c.keeper.go(name), lambda c: c.keeper.names
        ),
    ),
    Action("view.last", "The view before this one", ("minus",), lambda c: c.last_view()),
    Action(
        "view.back", "Clear the filter, or back", ("escape",), lambda c: c.back(), footer="back"
    ),
    Action(
        "view.previous",
        "Back in the history of views",
        ("left_square_bracket",),
        lambda c: c.back(),
    ),
    Action(
        "view.forward",
        "Forward in the history of views",
        ("right_square_bracket",),
        lambda c: c.forward(),
    ),
    Action(
        "pane.next",
        "Next part of the view",
        ("tab",),
        lambda c: c.next_pane(),
        views=_PARTS,
        footer="part",
    ),
    Action(
        "pane.previous",
        "Previous part of the view",
        ("shift+tab",),
        lambda c: c.next_pane(-1),
        views=_PARTS,
    ),
)
