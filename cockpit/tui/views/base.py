"""What every view is: it draws frames while it is on the screen, and nothing otherwise."""

from __future__ import annotations

from textual.containers import Vertical
from textual.widget import Widget

from cockpit.model.types import Job, Node
from cockpit.tui.feed import LogFeed
from cockpit.tui.frame import Frame
from cockpit.tui.widgets.grid import RowGrid
from cockpit.tui.widgets.logpane import LogPane
from cockpit.tui.widgets.logview import LogView


class CockpitView(Vertical):
    """`main` has the focus when the view is shown; `panes` are gone through with tab."""

    log_pane: LogPane | None = None

    @property
    def panes(self) -> tuple[Widget, ...]:
        raise NotImplementedError

    @property
    def main(self) -> Widget:
        return self.panes[0]

    def update(self, frame: Frame, job_id: str | None) -> None:
        """Draw `frame`; `job_id` is the job that Job and Logs are about."""
        raise NotImplementedError

    def attach(self, feed: LogFeed | None) -> None:
        """Show the log of this feed, where the view has a log."""
        if self.log_pane is not None:
            self.log_pane.attach(feed)

    def arrived(self) -> None:
        """The feed has new lines."""
        if self.log_pane is not None:
            self.log_pane.arrived()

    @property
    def job(self) -> Job | None:
        """The job under the cursor."""
        return None

    @property
    def node(self) -> Node | None:
        """The node under the cursor."""
        return None


def is_pane(widget: Widget | None) -> bool:
    return isinstance(widget, (RowGrid, LogView))
