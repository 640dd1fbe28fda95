"""The app: one pulse, four views, and the Context that actions ask. Small on purpose.

Every pulse takes the newest snapshot and the new log lines from the Source and lets the visible
view draw what changed. Orders (cancel, restart) run beside, never inside a key handler. Views,
dialogs and words live in their own modules.
"""

from __future__ import annotations

import os
from typing import Any, ClassVar, cast

from textual import events, on
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import ContentSwitcher
from textual.worker import Worker, WorkerState

from cockpit.errors import CockpitError
from cockpit.model.types import Fleet, Job, LinkState, Node
from cockpit.text import clean
from cockpit.tui import style, themes
from cockpit.tui.actions import ACTIONS, BY_ID, Action, Log, Pane, View, key_name
from cockpit.tui.desk import GROUP, OrderDesk
from cockpit.tui.dialogs import HelpDialog, ProgressDialog, help_items
from cockpit.tui.feed import LogFeed
from cockpit.tui.frame import Clock, Frame
from cockpit.tui.palette import ActionProvider
from cockpit.tui.pulse import RATES, Pulse
from cockpit.tui.source import Source
from cockpit.tui.spans import Line, Span, line
from cockpit.tui.stacks import StacksDialog
from cockpit.tui.views.base import CockpitView, is_pane
from cockpit.tui.views.fleet import FleetView
from cockpit.tui.views.job import JobView
from cockpit.tui.views.jobs import JobsView
from cockpit.tui.views.logs import LogsView
from cockpit.tui.widgets.footer import FooterBar, Hint
from cockpit.tui.widgets.grid import RowGrid
from cockpit.tui.widgets.lines import Lines
from cockpit.tui.words import clock_time

MIN_WIDTH, MIN_HEIGHT = 60, 15
"""Cells of the smallest terminal that the views are made for."""


class CockpitApp(App[None]):
    TITLE = "cockpit"
    CSS = style.CSS
    COMMANDS: ClassVar[set[Any]] = {ActionProvider}
    ALLOW_SELECT = False
    VERTICAL_BREAKPOINTS = [(0, "-short"), (22, "-tall")]  # noqa: RUF012 - Textual's type
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(",".join(action.keys), f"do({action.id!r})", action.title, show=False, id=action.id)
        for action in ACTIONS
    ]

    def __init__(
        self,
        source: Source,
        *,
        focus_job: str | None = None,
        theme: str | None = None,
        loaded: themes.ThemeLoadResult | None = None,
        clock: Clock | None = None,
        pulsing: bool = True,
    ) -> None:
        """`loaded`: the themes that were found. `pulsing=False` leaves the pulse to the caller.

        Raises UsageError for an unknown theme.
        """
        found = loaded or themes.ThemeLoadResult({}, ())
        chosen = themes.choose(theme, found.loaded, os.environ)
        # Under NO_COLOR Textual must know before it starts that colours are the terminal's own.
        super().__init__(ansi_color=True if themes.colourless(os.environ) else None)
        for each in found.loaded.values():
            self.register_theme(each)
        self._theme_names = [*found.loaded] or [chosen]
        self._theme_failures = found.failed
        self.theme = chosen
        self.animation_level = "none"
        self._source = source
        self._clock = clock or Clock()
        self._pulsing = pulsing
        self._pulse = Pulse()
        self._due = 0.0
        self._frame = Frame(Fleet(revision=-1), self._clock.mono(), self._clock.wall())
        self._job_id = focus_job
        self._feed: LogFeed | None = None
        self._history: list[View] = []
        self._desk = OrderDesk(self, source)
        self._view = View.FLEET if focus_job is None else View.JOB

    # ------------------------------------------------------------------ layout

    def compose(self) -> ComposeResult:
        yield Lines(id="top")
        with ContentSwitcher(id="views", initial=self._view.value):
            yield FleetView(id=View.FLEET.value)
            yield JobsView(id=View.JOBS.value)
            yield JobView(id=View.JOB.value)
            yield LogsView(id=View.LOGS.value)
        yield FooterBar(self.perform, id="footer")
        yield Lines(id="too-small")

    def on_mount(self) -> None:
        for failure in self._theme_failures:
            self.say(f"theme {failure.file}: {failure.message}", severity="warning")
        self._entered()
        self.pulse()
        if self._pulsing:
            self._schedule()

    def on_resize(self, event: events.Resize) -> None:
        width, height = event.size
        small = width < MIN_WIDTH or height < MIN_HEIGHT
        main = self.screen_stack[0]
        main.set_class(small, "-too-small")
        if small:
            main.query_one("#too-small", Lines).show(
                line(Span(" The cockpit needs ", "warn"), f"{MIN_WIDTH}×{MIN_HEIGHT} cells."),
                line(f" This terminal has {width}×{height}."),
                line(Span(" Make it larger, or press q to quit.", "dim")),
            )

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return themes.defaults(self.current_theme)

    # ------------------------------------------------------------------- pulse

    def _schedule(self) -> None:
        self._due = self._clock.mono() + self._pulse.interval
        self.set_timer(self._pulse.interval, self._beat)

    def _beat(self) -> None:
        if not self.is_running:
            return
        self._pulse.observe(self._clock.mono() - self._due)
        self.pulse()
        self._schedule()

    def pulse(self, *, force: bool = False) -> None:
        """Take what is new and draw what of it is visible. Cheap when nothing changed."""
        fleet = self._source.snapshot()
        frame = Frame(fleet, self._clock.mono(), self._clock.wall())
        lines_came = self._feed is not None and self._feed.poll()
        changed = fleet.revision != self._frame.fleet.revision
        if force or changed or int(frame.wall) != int(self._frame.wall):
            self._frame = frame
            if self._job_id is None and fleet.jobs:
                self._job_id = fleet.jobs[0].id
                self._follow()
            self._current.update(frame, self._job_id)
            self._draw_top()
            if isinstance(self.screen, ProgressDialog):
                self.screen.update(frame)
        if lines_came:
            self._current.arrived()
        self._draw_footer()

    def _draw_top(self) -> None:
        fleet = self._frame.fleet
        left = [Span(" cockpit ", "title")]
        for number, view in enumerate(View, 1):
            tone = "accent" if view is self._view else "dim"
            left.append(Span(f" {number} {view.value.title()}", tone))
        online = sum(1 for node in fleet.nodes if node.link.state is LinkState.ONLINE)
        running = sum(1 for job in fleet.jobs if not job.state.ended)
        right = [
            Span(
                f"{online}/{len(fleet.nodes)} online", "warn" if online < len(fleet.nodes) else ""
            ),
            Span(f"{running} running"),
            Span(clock_time(self._frame.wall)),
        ]
        if self._pulse.rate < RATES[0]:
            right.append(Span(f"{self._pulse.rate} Hz", "warn"))
        top = self.screen_stack[0].query_one("#top", Lines)
        top.show(Line(tuple(left), "bar"), right=right)

    def _draw_footer(self) -> None:
        self.screen_stack[0].query_one("#footer", FooterBar).show(
            [
                Hint(
                    key_name(action.keys[0]),
                    action.footer,
                    action.id,
                    action.enabled(self) is None,
                )
                for action in ACTIONS
                if action.footer and action.applies(self._view)
            ]
        )

    # ----------------------------------------------------------------- actions

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "do":
            return BY_ID[str(parameters[0])].applies(self._view)
        return super().check_action(action, parameters)

    def action_do(self, action_id: str) -> None:
        self.perform(action_id)

    def perform(self, action_id: str) -> None:
        """Do an action, or say why it cannot be done."""
        action = BY_ID[action_id]
        reason = self.reason_against(action)
        if reason is not None:
            self.say(f"{action.title}: {reason}", severity="warning")
            return
        action.run(self)
        self._draw_footer()

    def reason_against(self, action: Action) -> str | None:
        """Why an action cannot be done now, None when it can."""
        return action.enabled(self)

    def say(self, text: str, *, severity: str = "information") -> None:
        """A message that goes away by itself."""
        level = cast("Any", severity)
        self.notify(clean(text), severity=level, markup=False, timeout=6)

    async def action_quit(self) -> None:
        self.leave()

    def action_help_quit(self) -> None:
        self.say("ctrl+q or q quits; jobs run on")

    # ------------------------------------------------- what actions ask (Context)

    @property
    def view(self) -> View:
        return self._view

    @property
    def _current(self) -> CockpitView:
        return self.screen_stack[0].query_one(f"#{self._view.value}", CockpitView)

    @property
    def job(self) -> Job | None:
        if self._view in (View.JOB, View.LOGS):
            return self._frame.job(self._job_id)
        return self._current.job

    @property
    def shown_job(self) -> Job | None:
        return self.job or self._frame.job(self._job_id)

    @property
    def node(self) -> Node | None:
        return self._current.node

    @property
    def pane(self) -> Pane | None:
        focused = self.screen_stack[0].focused
        return cast("Pane", focused if is_pane(focused) else self._current.main)

    @property
    def log_pane(self) -> Log | None:
        return self._current.log_pane

    def busy_with(self, job: Job) -> str:
        return self._desk.busy_with(job)

    def show(self, view: View) -> None:
        """Go to a view; Job and Logs are about what was selected."""
        job = self.job
        if job is not None:
            self._job_id = job.id
        if view is not self._view:
            self._history.append(self._view)
            self._enter(view)

    def _enter(self, view: View) -> None:
        self._view = view
        self.screen_stack[0].query_one("#views", ContentSwitcher).current = view.value
        self._entered()
        self.pulse(force=True)

    def _entered(self) -> None:
        self._follow()
        self._current.main.focus()

    def _follow(self) -> None:
        """Have the feed of the job that is on the screen, where a log is."""
        if self._view not in (View.JOB, View.LOGS) or self._job_id is None:
            return
        if self._feed is None or self._feed.job_id != self._job_id:
            if self._feed is not None:
                self._feed.close()
            try:
                self._feed = LogFeed(self._job_id, self._source.log(self._job_id))
            except CockpitError as error:
                self._feed = LogFeed(self._job_id, None, f"no log: {error.message}")
        self._current.attach(self._feed)

    def back(self) -> None:
        log = self._current.log_pane
        if log is not None and log.clear_filter():
            return
        if self._history:
            self._enter(self._history.pop())

    def next_pane(self) -> None:
        panes = self._current.panes
        focused = self.screen_stack[0].focused
        at = panes.index(focused) if focused in panes else -1
        panes[(at + 1) % len(panes)].focus()

    def open_selection(self) -> None:
        if self._view is View.FLEET and self.job is None:
            self.say("no job runs on this node")
        elif self.job is not None:
            self.show(View.JOB)

    def show_logs(self) -> None:
        self.show(View.LOGS)

    def retry_node(self) -> None:
        node = self.node
        if node is not None:
            self._source.retry(node.name)
            self.say(f"trying {node.name} again")

    def next_theme(self) -> None:
        names = self._theme_names
        at = names.index(self.theme) if self.theme in names else -1
        self.theme = names[(at + 1) % len(names)]
        self.say(f"theme {self.theme}")

    def show_help(self) -> None:
        reasons = {action.id: self.reason_against(action) for action in ACTIONS}

        def chosen(action_id: str | None) -> None:
            if action_id is not None:
                self.perform(action_id)

        self.push_screen(HelpDialog(help_items(ACTIONS, self._view, reasons)), chosen)

    def show_palette(self) -> None:
        self.action_command_palette()

    def redraw_all(self) -> None:
        self.refresh(layout=True)
        self.pulse(force=True)

    def leave(self) -> None:
        self.exit()

    def cancel_job(self) -> None:
        if self.job is not None:
            self._desk.cancel(self.job)

    def restart_job(self) -> None:
        if self.job is not None:
            self._desk.restart(self.job)

    def restart_ranks(self) -> None:
        if self.job is not None:
            self._desk.restart_ranks(self.job)

    def show_stacks(self) -> None:
        if self.job is not None:
            self.push_screen(StacksDialog(self.job, self._source))

    @on(Worker.StateChanged)
    def _worker_changed(self, event: Worker.StateChanged) -> None:
        if event.state is WorkerState.ERROR and event.worker.group == GROUP:
            self._desk.broken(str(event.worker.name), event.worker.error)

    # -------------------------------------------------------------------- mouse

    @on(RowGrid.Opened)
    def _opened(self) -> None:
        self.perform("list.open" if self._view in (View.FLEET, View.JOBS) else "pane.next")

    def running_jobs(self) -> list[Job]:
        """Jobs that have not ended, as last seen."""
        return [job for job in self._frame.fleet.jobs if not job.state.ended]

    def close_feed(self) -> None:
        if self._feed is not None:
            self._feed.close()
            self._feed = None
