"""What every view is: it draws frames while it is on the screen, and nothing otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, cast

from textual.containers import Vertical
from textual.widget import Widget

from cockpit.model.types import Job, Node
from cockpit.tui.frame import Frame

if TYPE_CHECKING:
    from cockpit.tui.app import CockpitApp
    from cockpit.tui.logs.feed import LogFeed
    from cockpit.tui.logs.pane import LogPane


class CockpitView(Vertical):
    """`main` has the focus when the view is shown; `panes` are gone through with tab.

    A view is mounted when it is first shown. `update` may come before its children are there.
    """

    log_pane: LogPane | None = None

    pace: ClassVar[float] = 0.1
    """Seconds between two looks at what changes by itself; keys and log lines do not wait."""

    @property
    def cockpit(self) -> CockpitApp:
        return cast("CockpitApp", self.app)

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

    @property
    def mark_key(self) -> str:
        """What a mark of the row under the cursor is called, "" when it cannot be marked."""
        return ""

    @property
    def mark_order(self) -> Sequence[str]:
        """Those of all rows, in the order of the screen."""
        return ()

    def open_selection(self) -> None:
        """Enter, or two clicks, on the row under the cursor."""

    def memory(self) -> dict[str, Any]:
        """What the state file shall remember of this view (sort, filter, mode), as JSON."""
        return {}

    def recall(self, memory: dict[str, Any]) -> None:
        """Take that up again; what does not fit is ignored."""
