"""What stands in the place of the first view while that is imported: the frame is drawn at once."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.widget import Widget

from cockpit.text import count_of
from cockpit.tui.draw.spans import Span, line
from cockpit.tui.frame import Frame
from cockpit.tui.view import CockpitView
from cockpit.tui.widgets.lines import Lines

ID = "opening"


class Opening(CockpitView):
    """It is there for one frame and takes no keys."""

    def __init__(self) -> None:
        super().__init__(id=ID)
        self._line = Lines()

    def compose(self) -> ComposeResult:
        yield self._line

    @property
    def panes(self) -> tuple[Widget, ...]:
        return (self._line,)

    def update(self, frame: Frame, job_id: str | None) -> None:  # noqa: ARG002
        nodes = count_of(len(frame.fleet.nodes), "node")
        self._line.show(line(Span(f" connecting to {nodes} …", "dim")))
