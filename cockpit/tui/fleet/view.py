"""Fleet: every node and its GPUs as a heat wall or a table, with what is wrong and what happened.

Old figures are drawn as old, never as zero. What is shown is decided by pure functions beside;
this view keeps the choices of the person and hands rows to its widgets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.cells import cell_len
from textual import on
from textual.app import ComposeResult
from textual.widget import Widget

from cockpit.errors import UsageError
from cockpit.model.types import Job, Node
from cockpit.tui.draw.spans import Line
from cockpit.tui.fleet import cell as fleetcell
from cockpit.tui.fleet import lines as fleetlines
from cockpit.tui.fleet.alerts import Alert, Watch, alerts
from cockpit.tui.fleet.condition import PROBLEMS, NodeItem, Roster
from cockpit.tui.fleet.gauges import Gauge
from cockpit.tui.fleet.heatwall import HeatWall
from cockpit.tui.fleet.order import LazyOrder, Sort, sifted
from cockpit.tui.fleet.scope import Scope
from cockpit.tui.fleet.table import columns_for, name_of, row
from cockpit.tui.frame import Frame
from cockpit.tui.sifting import Sift
from cockpit.tui.view import CockpitView
from cockpit.tui.widgets.filterline import FilterLine
from cockpit.tui.widgets.grid import Row, RowGrid
from cockpit.tui.widgets.lines import Lines

MANY = 30
"""More nodes than these are shown as a heat wall unless the person chose otherwise."""


class FleetView(CockpitView):
    def __init__(self, *, id: str) -> None:  # noqa: A002
        super().__init__(id=id)
        self._title = Lines(id="fleet-title")
        self._tools = Lines(id="fleet-tools")
        self._alerts = Lines(id="fleet-alerts")
        self._events = Lines(id="fleet-events")
        self._detail = Lines(id="fleet-detail")
        self._input = FilterLine(id="fleet-filter")
        self._painter = fleetcell.CellPainter()
        self._wall: HeatWall[NodeItem] = HeatWall(
            self._painter.draw, lambda item: item.key, id="fleet-wall"
        )
        self._grid: RowGrid[NodeItem] = RowGrid(
            columns_for(12, 8, Gauge.UTIL), self._row, lambda item: item.key, id="fleet-grid"
        )
        self._roster = Roster()
        self._order = LazyOrder()
        self._watch = Watch()
        self._frame: Frame | None = None
        self._all: Sequence[NodeItem] = ()
        self._told: object = None
        self._mode: str | None = None
        self._sort = Sort.PROBLEMS
        self._problems = False
        self._clusters: frozenset[str] | None = None
        self._remembered: frozenset[str] = frozenset()
        self._sift = Sift()
        self._last_pattern = ""

    def compose(self) -> ComposeResult:
        yield self._title
        yield self._tools
        yield self._wall
        yield self._grid
        yield self._input
        yield self._alerts
        yield self._events
        yield self._detail

    def on_mount(self) -> None:
        self._show_body()

    def on_resize(self) -> None:
        self._told = None
        self._again()

    # ------------------------------------------------------ what the app asks

    @property
    def panes(self) -> tuple[Widget, ...]:
        return (self._body,)

    @property
    def _body(self) -> HeatWall[NodeItem] | RowGrid[NodeItem]:
        return self._wall if self.wall else self._grid

    @property
    def wall(self) -> bool:
        """Whether the heat wall is shown, not the table."""
        if self._mode is not None:
            return self._mode == "heat"
        return len(self._all) > MANY

    @property
    def node(self) -> Node | None:
        item = self._body.current
        return None if item is None else item.node

    @property
    def job(self) -> Job | None:
        item = self._body.current
        return item.jobs[0] if item is not None and item.jobs else None

    @property
    def mark_key(self) -> str:
        item = self._body.current
        return "" if item is None else item.key

    @property
    def mark_order(self) -> list[str]:
        return [item.key for item in self._body.items]

    def open_selection(self) -> None:
        item = self._body.current
        if item is not None:
            self.cockpit.show_node(item.key)

    # ---------------------------------------------------------------- drawing

    def update(self, frame: Frame, job_id: str | None) -> None:  # noqa: ARG002
        self._frame = frame
        if self._clusters is None:
            self._clusters = frozenset(self.cockpit.settings.clusters) or self._remembered
        rate = self._painter.gauge is Gauge.RATE or not self.wall
        self._all = items = self._roster.items(frame, self._clusters, paces=rate)
        shown = self._order.arrange(
            sifted(items, self._sift, self._problems), self._sort, self._painter.gauge, frame.mono
        )
        self._show_body()
        if self.wall:
            self._show_wall(shown)
        else:
            self._show_table(shown)
        self._show_lines(frame, shown)

    def _show_body(self) -> None:
        """Have the wall or the table on the screen, and the focus with it."""
        body, other = self._body, self._grid if self.wall else self._wall
        if body.display and not other.display:
            return
        focused = self.is_mounted and self.screen.focused in (None, other)
        key = other.current.key if other.current is not None else ""
        body.display, other.display = True, False
        if key:
            body.select(key)
        if focused:
            body.focus()

    def _show_wall(self, shown: Sequence[NodeItem]) -> None:
        assert self._frame is not None
        least, wanted = fleetcell.room(shown)
        marked = self._frame.marked
        self._wall.show(shown, least=least, wanted=wanted, marked=marked, empty=self._nothing())

    def _show_table(self, shown: Sequence[NodeItem]) -> None:
        name = max((cell_len(name_of(item)) for item in shown), default=8)
        slots = max((item.slots for item in shown), default=0)
        self._grid.columns = columns_for(name, slots, self._painter.gauge)
        self._grid.show(shown, self._nothing())

    def _row(self, item: NodeItem) -> Row:
        return row(item, self._frame is not None and item.key in self._frame.marked)

    def _nothing(self) -> str:
        """Why no node is there."""
        if self._frame is None or not self._frame.fleet.nodes:
            return "no nodes: name a cluster in cockpit.toml"
        if not self._all:
            return f"no nodes in {self._names()}: `:fleet @*` shows all clusters"
        if self._sift:
            return f"no node matches {self._sift.pattern}: esc shows all"
        return "no node has a problem: f shows all"

    def _names(self) -> str:
        return " ".join(f"@{name}" for name in sorted(self._clusters or ()))

    def _setting(self, shown: Sequence[NodeItem]) -> fleetlines.Setting:
        marked = self._frame.marked if self._frame is not None else frozenset()
        return fleetlines.Setting(
            wall=self.wall,
            gauge=self._painter.gauge,
            sort=self._sort.value,
            problems=self._problems,
            clusters=sorted(self._clusters or ()),
            pattern=self._sift.pattern,
            error=self._sift.error,
            shown=len(shown),
            total=len(self._all),
            marked=sum(item.key in marked for item in shown) if marked else 0,
        )

    def _show_lines(self, frame: Frame, shown: Sequence[NodeItem]) -> None:
        """The lines around, once a second and whenever something else than figures changed."""
        setting = self._setting(shown)
        troubles = [(item.key, item.condition) for item in self._all if item.condition in PROBLEMS]
        states = [(job.id, job.state, job.flags) for job in frame.fleet.jobs]
        told = (
            int(frame.wall), setting, troubles, states, self.size, self.mark_key,
            frame.happenings[-1:],
        )  # fmt: skip
        if told == self._told:
            return
        self._told = told
        self._show_detail()
        clusters = self._clusters or frozenset()
        small = not self._tools.display or self.app.screen.has_class("-short")
        line = fleetlines.summary(self._all, setting if small else None)
        bars = fleetlines.trend_room(self.size.width, line)
        trend = self.cockpit.trends.fleet(clusters, bars)
        self._title.show(line, right=fleetlines.trend(trend))
        self._tools.show(fleetlines.tools(setting), right=fleetlines.legend(self._all))
        wrong = self._watch.look(alerts(frame, clusters), frame.mono)
        self._show_news(wrong, fleetlines.event_line(frame.happenings, clusters))

    def _show_news(self, wrong: Sequence[Alert], events: Line) -> None:
        """What is wrong, in as many lines as would be blank otherwise, and what happened."""
        quiet = self._events.display and not events.spans
        height = self._body.size.height + self._alerts.size.height - 1
        blank = height - self._rows(height) + quiet
        room = 1 + min(max(blank, 0), fleetlines.MOST_ALERTS - 1)
        rows = fleetlines.alert_lines(wrong, self.size.width, room, self._all)
        if quiet and len(rows) > 1:
            # Nothing happened: the line of the events is one more for alerts.
            events = rows.pop()
        self._alerts.styles.height = len(rows)
        self._alerts.show(*rows)
        self._events.show(events)

    def _rows(self, height: int) -> int:
        """How many lines of so many the wall or the table needs."""
        return self._wall.rows_in(height) if self.wall else len(self._grid.items) + 1

    def _show_detail(self) -> None:
        item = self._body.current
        self._detail.show(*(fleetlines.detail(item) if item is not None else ()))

    @on(RowGrid.Moved)
    @on(HeatWall.Moved)
    def _moved(self) -> None:
        if self._frame is not None:
            self._order.disturbed(self._frame.mono)
        self._show_detail()

    @on(HeatWall.Opened)
    def _opened(self) -> None:
        self.cockpit.perform("list.open")

    def _again(self) -> None:
        """Draw anew with other choices."""
        if self._frame is not None:
            self.update(self._frame, None)

    # ---------------------------------------------------- what actions ask for

    @property
    def gauge(self) -> Gauge:
        return self._painter.gauge

    @property
    def sort(self) -> Sort:
        return self._sort

    def toggle_mode(self) -> None:
        self._mode = "table" if self.wall else "heat"
        self._again()

    def next_gauge(self) -> None:
        every = list(Gauge)
        self.set_gauge(every[(every.index(self.gauge) + 1) % len(every)].value)

    def set_gauge(self, name: str) -> None:
        self._painter.gauge = _choice(Gauge, name, "metric")
        self._again()

    def next_sort(self) -> None:
        every = list(Sort)
        self.set_sort(every[(every.index(self._sort) + 1) % len(every)].value)

    def set_sort(self, name: str) -> None:
        self._sort = _choice(Sort, name, "order")
        self._again()

    def toggle_problems(self) -> None:
        self._problems = not self._problems
        self._again()

    def sideways(self, columns: int) -> None:
        if self.wall:
            self._wall.sideways(columns)

    def narrow(self, scope: Scope) -> None:
        if scope.clusters is not None:
            self._clusters = scope.clusters
        if scope.pattern is not None:
            self._sift = Sift(scope.pattern)
        self._again()

    # ------------------------------------------------------------------ filter

    def open_filter(self) -> None:
        """Edit the filter, beginning with the one that is set, or the one before."""
        self.set_filter(self._sift.pattern or self._last_pattern)
        self._input.open(self._sift.pattern)

    def set_filter(self, pattern: str) -> None:
        self._sift = Sift(pattern)
        if self._sift:
            self._last_pattern = self._sift.pattern
        self._again()

    @property
    def pattern(self) -> str:
        return self._sift.pattern

    def invert_filter(self) -> None:
        """Hide what it shows and show what it hides."""
        pattern = self._sift.pattern
        if pattern:
            self.set_filter(pattern[1:] if pattern.startswith("!") else f"!{pattern}")

    def clear_filter(self) -> bool:
        """Show all nodes of the chosen clusters; False when they were shown already."""
        was_open = self._input.close()
        hidden = bool(self._sift.pattern) or self._problems
        if hidden:
            self._problems = False
            self.set_filter("")
        if was_open:
            self._body.focus()
        return was_open or hidden

    def on_filter_line_typed(self, event: FilterLine.Typed) -> None:
        event.stop()
        self.set_filter(event.pattern)

    def on_filter_line_left(self, event: FilterLine.Left) -> None:
        event.stop()
        self._body.focus()

    # ------------------------------------------------------------------ memory

    def memory(self) -> dict[str, Any]:
        return {
            "mode": self._mode,
            "metric": self.gauge.value,
            "sort": self._sort.value,
            "problems": self._problems,
            "filter": self._sift.pattern,
            "clusters": sorted(self._remembered if self._clusters is None else self._clusters),
        }

    def recall(self, memory: dict[str, Any]) -> None:
        if memory.get("mode") in ("heat", "table"):
            self._mode = memory["mode"]
        if memory.get("metric") in [each.value for each in Gauge]:
            self._painter.gauge = Gauge(memory["metric"])
        if memory.get("sort") in [each.value for each in Sort]:
            self._sort = Sort(memory["sort"])
        self._problems = memory.get("problems") is True
        pattern, clusters = memory.get("filter"), memory.get("clusters")
        if isinstance(pattern, str):
            self._sift = Sift(pattern)
        if isinstance(clusters, list):
            self._remembered = frozenset(name for name in clusters if isinstance(name, str))


def _choice(kind: Any, name: str, word: str) -> Any:
    """The member that is called, or begins with, `name`. Raises UsageError."""
    begun = [each for each in kind if each.value.startswith(name.strip().lower())]
    if name.strip() and len(begun) == 1:
        return begun[0]
    raise UsageError(
        f"there is no {word} {name}" if name else f"which {word}?",
        "there are: " + ", ".join(each.value for each in kind),
    )
