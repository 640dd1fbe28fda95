"""What actions ask of the app: what is shown, at hand and marked, and why something cannot be done.

The asking half of `Context`; what actions order is in the app itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from textual.app import App

from cockpit.model.types import Job, Node
from cockpit.tui.actions.base import Action, Pane, View
from cockpit.tui.frame import Frame, is_live, node_key
from cockpit.tui.widgets.lines import LineWidget

if TYPE_CHECKING:
    from cockpit.tui.actions.base import Filterable
    from cockpit.tui.actions.fleet import FleetDo, NodeDo
    from cockpit.tui.actions.jobs import JobDo, JobsDo
    from cockpit.tui.actions.logs import LogDo
    from cockpit.tui.actions.profiles import ProfilesDo
    from cockpit.tui.course import Course
    from cockpit.tui.heart import Heart
    from cockpit.tui.marks import Marks
    from cockpit.tui.settings import Settings
    from cockpit.tui.source import Replaying, Source


class Answers(App[None]):
    """The app sets what is declared here before anybody asks."""

    source: Source
    settings: Settings
    course: Course
    heart: Heart
    marks: Marks

    @property
    def view(self) -> View:
        return self.course.view

    @property
    def frame(self) -> Frame:
        return self.heart.frame

    # ---------------------------------------------------------------- what is shown

    def _shown(self, view: View) -> Any:
        return self.course.views.get(view) if self.course.view is view else None

    @property
    def fleet(self) -> FleetDo | None:
        return cast("FleetDo | None", self._shown(View.FLEET))

    @property
    def node_view(self) -> NodeDo | None:
        return cast("NodeDo | None", self._shown(View.NODE))

    @property
    def jobs(self) -> JobsDo | None:
        return cast("JobsDo | None", self._shown(View.JOBS))

    @property
    def job_view(self) -> JobDo | None:
        return cast("JobDo | None", self._shown(View.JOB))

    @property
    def profiles(self) -> ProfilesDo | None:
        return cast("ProfilesDo | None", self._shown(View.PROFILES))

    @property
    def log_pane(self) -> LogDo | None:
        return self.course.current.log_pane

    @property
    def filterable(self) -> Filterable | None:
        shown = self.course.current.log_pane or self.course.current
        return cast("Filterable", shown) if hasattr(shown, "set_filter") else None

    @property
    def pane(self) -> Pane | None:
        if self.course.opening is not None:
            return None
        focused = self.screen_stack[0].focused
        return cast(
            "Pane", focused if isinstance(focused, LineWidget) else self.course.current.main
        )

    # --------------------------------------------------------- what is at hand, and marked

    @property
    def job(self) -> Job | None:
        if self.view in (View.JOB, View.LOGS):
            return self.frame.job(self.course.job_id)
        return self.course.current.job

    @property
    def shown_job(self) -> Job | None:
        return self.job or self.frame.job(self.course.job_id)

    @property
    def node(self) -> Node | None:
        if self.view is View.NODE:
            return self.frame.node(self.course.node_key)
        return self.course.current.node

    @property
    def marked_jobs(self) -> Sequence[Job]:
        return [job for job in self.frame.fleet.jobs if job.id in self.marks.keys]

    @property
    def marked_nodes(self) -> Sequence[Node]:
        return [node for node in self.frame.fleet.nodes if node_key(node) in self.marks.keys]

    def running_jobs(self) -> list[Job]:
        """Jobs that have not ended, as last seen."""
        return [job for job in self.frame.fleet.jobs if is_live(job)]

    # ---------------------------------------------------------------- what can be done

    @property
    def replay(self) -> Replaying | None:
        return self.source.replay

    def missing(self, part: str) -> str:
        """Why the source does not have a part; "" when it does."""
        return "" if getattr(self.source, part) is not None else self.source.absent

    def reason_against(self, action: Action, argument: str = "") -> str | None:
        """Why an action cannot be done now, None when it can. An argument that was typed may name
        what is not selected, so only read-only mode speaks against it here."""
        if action.writes:
            if self.settings.read_only:
                return "the cockpit is read-only"
            # What an argument names is looked at by whoever carries the order out.
            at_hand = "" if argument else self._cluster_at_hand()
            cluster = self.source.config.clusters.get(at_hand)
            if cluster is not None and cluster.read_only and action.about_cluster:
                return f"cluster {cluster.name} is read-only"
        return None if argument else action.enabled(cast("Any", self))

    def _cluster_at_hand(self) -> str:
        if self.job is not None:
            return self.job.cluster
        return self.node.cluster if self.node is not None else ""
