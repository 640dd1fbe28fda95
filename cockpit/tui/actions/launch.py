"""The launch form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from cockpit.tui.actions.base import Action, Context, View, Words, with_job


class LaunchDo(Protocol):
    """What opens the launch form."""

    @property
    def busy(self) -> str:
        """ "" or what is being launched right now."""

    @property
    def profiles(self) -> Sequence[str]:
        """Names of the job profiles."""

    def new(self, profile: str = "") -> None:
        """From a job profile or from scratch. Raises UsageError for an unknown profile."""

    def again(self) -> None:
        """Filled with what `Context.job` had asked for."""


def _can_launch(context: Context) -> str | None:
    return context.missing("launchpad") or None


def _can_launch_again(context: Context) -> str | None:
    return with_job(context) or _can_launch(context)


ACTIONS: tuple[Action, ...] = (
    Action(
        "launch.new",
        "Launch a new job…",
        ("n",),
        lambda c: c.launching.new(),
        views=frozenset((View.FLEET, View.JOBS, View.JOB, View.NODE, View.PROFILES)),
        footer="new",
        writes=True,
        about_cluster=False,
        enabled=_can_launch,
        words=Words(
            ("launch", "new"),
            "[JOBPROFILE]",
            lambda context, argument: context.launching.new(argument),
            lambda context: context.launching.profiles,
        ),
    ),
    Action(
        "launch.again",
        "Launch the job again…",
        ("r",),
        lambda c: c.launching.again(),
        views=frozenset((View.JOBS, View.JOB)),
        footer="again",
        writes=True,
        enabled=_can_launch_again,
        words=Words(("again",)),
    ),
)
