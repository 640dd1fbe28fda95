"""Going from view to view: which one is shown, what it is about, and the way that led there."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from textual.widgets import ContentSwitcher

from cockpit.model.types import Job, Node
from cockpit.tui import parts
from cockpit.tui.actions.base import View
from cockpit.tui.frame import node_key
from cockpit.tui.opening import Opening

if TYPE_CHECKING:
    from cockpit.tui.app import CockpitApp
    from cockpit.tui.state import Memory
    from cockpit.tui.view import CockpitView

HISTORY = 100
"""Views that are gone back through at most."""


class Course:
    """`view`: the one that is shown, or about to be. `job_id`: the job that Job and Logs are about;
    `node_key`: the node of Node. `opening` stands in the place of the first view until that is
    there. `views`: those that were shown so far."""

    def __init__(self, app: CockpitApp, job_id: str | None, opening: Opening | None) -> None:
        self._app = app
        self.view = View.JOB if job_id is not None else _remembered(app.memory)
        self.job_id = job_id
        self.node_key = ""
        self.opening = opening
        self.views: dict[View, CockpitView] = {}
        self._before: deque[View] = deque(maxlen=HISTORY)
        self._ahead: deque[View] = deque(maxlen=HISTORY)

    @property
    def current(self) -> CockpitView:
        """What is drawn."""
        return self.opening or self.views[self.view]

    @property
    def log_of(self) -> str | None:
        """The job whose log is on the screen, None where there is none."""
        here = self.opening is None and self.view in (View.JOB, View.LOGS)
        return self.job_id if here else None

    def about(self, job: Job | None, node: Node | None) -> None:
        """From now on Job, Logs and Node are about these, where there are any."""
        if job is not None:
            self.job_id = job.id
        if node is not None:
            self.node_key = node_key(node)

    # -------------------------------------------------------------------- going

    def show(self, view: View) -> None:
        """Go to a view unless it is shown."""
        if view is not self.view:
            self.go(view)

    def go(self, view: View, *, job_id: str | None = None, node_key: str = "") -> None:
        """Go to a view, which may be about something else now."""
        if view is not self.view:
            self._before.append(self.view)
            self._ahead.clear()
        self.job_id = job_id or self.job_id
        self.node_key = node_key or self.node_key
        self.enter(view)

    def back(self) -> None:
        if self._before:
            self._ahead.append(self.view)
            self.enter(self._before.pop())

    def forward(self) -> None:
        if self._ahead:
            self._before.append(self.view)
            self.enter(self._ahead.pop())

    @property
    def last(self) -> View | None:
        """The view before this one."""
        return self._before[-1] if self._before else None

    # ----------------------------------------------------------------- arriving

    def enter(self, view: View) -> None:
        """Show a view, which is made where it was not shown before."""
        self.view = view
        if view in self.views:
            self._arrive(view)
            return
        mounted = self._switcher.mount(self.make(view))

        async def arrive() -> None:
            await mounted
            if self.view is view:
                self._arrive(view)

        self._app.call_next(arrive)

    def make(self, view: View) -> CockpitView:
        made = self.views[view] = parts.make(view)
        made.recall(self._app.memory.view(view.value))
        return made

    def _arrive(self, view: View) -> None:
        self._switcher.current = view.value
        if self.opening is not None:
            self.opening.remove()
            self.opening = None
            self._app.opened()
        self._app.entered()

    @property
    def _switcher(self) -> ContentSwitcher:
        return self._app.screen_stack[0].query_one("#views", ContentSwitcher)


def _remembered(memory: Memory) -> View:
    """The numbered view that was shown last, unless it is about a job."""
    name = memory.text("view")
    return View(name) if name in ("fleet", "jobs", "profiles") else View.FLEET
