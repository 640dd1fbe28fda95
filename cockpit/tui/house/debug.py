"""Debug: how the cockpit itself is doing, its links, and every call that went to a node."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from textual.app import ComposeResult
from textual.widget import Widget

from cockpit.model.types import LinkState, Node
from cockpit.tui.actions import View
from cockpit.tui.draw.spans import Line, Span
from cockpit.tui.errands import start
from cockpit.tui.filtered import FilteredView
from cockpit.tui.frame import Frame, node_key
from cockpit.tui.house import debugging
from cockpit.tui.house.debugging import Fact, Readings
from cockpit.tui.house.vitals import resident
from cockpit.tui.source import Call
from cockpit.tui.terminal import meter_of
from cockpit.tui.widgets.grid import RowGrid
from cockpit.tui.widgets.lines import Lines

PERIOD = 0.5
"""Seconds between two looks at the readings and the calls."""

_TROUBLE_FIRST = (
    LinkState.UNREACHABLE,
    LinkState.RECONNECTING,
    LinkState.CONNECTING,
    LinkState.ONLINE,
)


class DebugView(FilteredView):
    """The filter is about the calls."""

    def __init__(self, *, id: str) -> None:  # noqa: A002
        super().__init__(id=id)
        self._frame: Frame | None = None
        self._title = Lines(id="debug-title")
        self._calls: RowGrid[Call] = RowGrid(
            debugging.CALL_COLUMNS,
            lambda call: debugging.call_row(call, self._last()),
            lambda call: f"{call.at!r} {call.cluster}/{call.node} {call.what}",
            id="debug-calls",
        )
        self._links: RowGrid[Node] = RowGrid(
            debugging.LINK_COLUMNS,
            lambda node: debugging.link_row(node, self._last()),
            node_key,
            empty="no node is configured",
            id="debug-links",
        )
        self._facts: RowGrid[Fact] = RowGrid(
            debugging.FACT_COLUMNS,
            debugging.fact_row,
            lambda fact: f"{fact.name} {fact.value}",
            header=False,
            empty="looking…",
            id="debug-facts",
        )
        self._looked = float("-inf")
        self._heard: tuple[float, int] | None = None
        self._traffic = 0.0
        self._memory = 0
        self._beating = False

    def compose(self) -> ComposeResult:
        yield self._title
        yield self._links
        yield self._calls
        yield self._line
        yield self._facts

    def on_mount(self) -> None:
        source = self.cockpit.source
        app = self.cockpit
        places = dict(source.places())
        if app.settings.state_file is not None:
            places["what is remembered"] = str(app.settings.state_file)
        places["themes"] = ", ".join(str(folder) for folder in app.settings.theme_folders)
        more = (
            f"{app.size.width}x{app.size.height} cells",
            f"colours: {app.console.color_system or 'none'}",
            *(("ASCII only",) if app.settings.ascii else ()),
        )
        files = source.config.files

        async def look() -> None:
            facts = await asyncio.to_thread(debugging.gather, files, places, None, more)
            self._facts.show(facts)

        start(self, look(), "facts")

    @property
    def panes(self) -> tuple[Widget, ...]:
        return (self._calls, self._facts, self._links)

    @property
    def node(self) -> Node | None:
        if self._links.has_focus:
            return self._links.current
        call = self._calls.current
        if call is None or self._frame is None:
            return None
        return self._frame.node(f"{call.cluster}/{call.node}")

    def open_selection(self) -> None:
        if (node := self.node) is not None:
            self.cockpit.show_node(node_key(node))

    # ------------------------------------------------------------------------ drawing

    def _last(self) -> Frame:
        assert self._frame is not None
        return self._frame

    def update(self, frame: Frame, job_id: str | None) -> None:  # noqa: ARG002
        self._frame = frame
        if not self._beating:
            self._beating = True
            start(self, self._beat(), "heartbeat")
        if abs(frame.mono - self._looked) >= PERIOD:
            self._arrange()

    async def _beat(self) -> None:
        """The fine heartbeat, for as long as this page is on the screen."""
        try:
            await self.cockpit.house.vitals.heartbeat(lambda: self.cockpit.view is View.DEBUG)
        finally:
            self._beating = False

    def _arrange(self) -> None:
        frame = self._frame
        if frame is None:
            return
        self._measure_traffic(frame.mono)
        start(self, self._weigh(), "memory", group="memory")
        self._looked = frame.mono
        calls = [
            each
            for each in reversed(self.cockpit.source.calls())
            if self._sift.matches(debugging.call_words(each))
        ]
        empty = "nothing matches the filter" if self.pattern else "no call was made yet"
        self._title.show(self._heading(calls), *debugging.reading_lines(self._readings()))
        self._calls.show(calls, empty)
        nodes = frame.fleet.nodes
        self._links.show(sorted(nodes, key=lambda node: _TROUBLE_FIRST.index(node.link.state)))

    async def _weigh(self) -> None:
        self._memory = await asyncio.to_thread(resident)

    def _measure_traffic(self, now: float) -> None:
        received = self.cockpit.source.received()
        if self._heard is not None and now > self._heard[0]:
            self._traffic = (received - self._heard[1]) / (now - self._heard[0])
        self._heard = (now, received)

    def _readings(self) -> Readings:
        app = self.cockpit
        vitals, meter = app.house.vitals, meter_of(app.driver)
        return Readings(
            rate=app.pulse_rate,
            frames=vitals.frames,
            skipped=vitals.skipped,
            lag=vitals.lag,
            cost=vitals.cost,
            memory=self._memory,
            traffic=self._traffic,
            terminal_waiting=meter.waiting if meter is not None else 0.0,
            terminal_slowest=meter.slowest if meter is not None else 0.0,
        )

    def _heading(self, calls: Sequence[Call]) -> Line:
        spans = [Span(" Debug", "title"), Span(f"  calls [{len(calls)}]", "dim")]
        return Line((*spans, *self._filter_spans()))
