"""The app: one pulse, the views, and the Context that actions ask. Small on purpose.

Every pulse takes the newest snapshot and the new log lines from the Source and lets the visible
view draw what changed. Orders run beside, never inside a key handler. Views, dialogs, desks and
words live in their own modules, and those that the first frame does not need are imported after it.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, cast

from textual import events, on
from textual.app import App, ComposeResult
from textual.driver import Driver
from textual.filter import LineFilter
from textual.screen import Screen
from textual.widgets import ContentSwitcher
from textual.worker import Worker, WorkerState

from cockpit.errors import CockpitError
from cockpit.model.types import Fleet, Job, LinkState, Node
from cockpit.text import clean
from cockpit.tui import keymap, parts, terminal
from cockpit.tui.actions import ACTIONS, NUMBERED, Action, Pane, View, key_name
from cockpit.tui.draw import style, themes
from cockpit.tui.draw.spans import Line, Span, line
from cockpit.tui.draw.words import clock_time
from cockpit.tui.frame import Clock, Frame, is_live, node_key
from cockpit.tui.house.happenings import Happening
from cockpit.tui.house.house import House
from cockpit.tui.jobs.trends import Trends
from cockpit.tui.marks import Marks
from cockpit.tui.opening import ID as OPENING
from cockpit.tui.opening import Opening
from cockpit.tui.palette import ActionProvider, ThemeProvider
from cockpit.tui.pulse import RATES, Pulse
from cockpit.tui.settings import Settings
from cockpit.tui.state import Memory
from cockpit.tui.widgets.footer import FooterBar, Hint
from cockpit.tui.widgets.lines import Lines, LineWidget

if TYPE_CHECKING:
    from cockpit.tui.actions.base import Filterable
    from cockpit.tui.actions.fleet import FleetDo, NodeDo
    from cockpit.tui.actions.jobs import JobDo, JobsDo
    from cockpit.tui.actions.logs import LogDo
    from cockpit.tui.actions.profiles import ProfilesDo
    from cockpit.tui.launch.desk import LaunchDesk
    from cockpit.tui.logs.feed import LogFeed
    from cockpit.tui.orders.desk import OrderDesk
    from cockpit.tui.profile.keeper import ProfileKeeper
    from cockpit.tui.source import Replaying, Source
    from cockpit.tui.view import CockpitView
    from cockpit.tui.widgets.commandline import CommandLine

MIN_WIDTH, MIN_HEIGHT = 60, 15
"""Cells of the smallest terminal that the views are made for."""

HISTORY = 100
"""Views that are gone back through at most."""

FOOTER_PULSES = 5
"""The footer is drawn at every such pulse that brought something new."""


def _place(action: Action) -> int:
    """Where in the footer: enter, what the view is for, what is everywhere, the way out."""
    if action.id == "list.open":
        return 0
    return 1 if action.views else 3 if action.id.startswith("app.") else 2


class CockpitApp(App[None]):
    TITLE = "cockpit"
    CSS = style.FRAME
    COMMANDS: ClassVar[set[Any]] = {ActionProvider, ThemeProvider}
    ALLOW_SELECT = False
    VERTICAL_BREAKPOINTS = [(0, "-short"), (22, "-tall")]  # noqa: RUF012 - Textual's type

    def __init__(
        self,
        source: Source,
        settings: Settings = Settings(),  # noqa: B008 - frozen
        *,
        memory: Memory | None = None,
        focus_job: str | None = None,
        clock: Clock | None = None,
        pulsing: bool = True,
        opened: Callable[[], None] | None = None,
    ) -> None:
        """`memory`: what the last session left; `opened` is called when the screen is there: the
        first frame then comes before the first view; `pulsing=False` leaves the pulse to the
        caller.

        Raises UsageError for an unknown theme.
        """
        found = settings.loaded
        self.memory = memory or Memory()
        remembered = self.memory.text("theme")
        wanted = settings.theme or (remembered if remembered in found.loaded else None)
        chosen = themes.choose(wanted, found.loaded, os.environ)
        # Under NO_COLOR Textual must know before it starts that colours are the terminal's own.
        super().__init__(
            terminal.driver_class(), ansi_color=True if themes.colourless(os.environ) else None
        )
        for each in found.loaded.values():
            self.register_theme(each)
        self._first_theme = chosen
        self._begin_with(chosen)
        mapped = self._mapped = keymap.build(ACTIONS, settings.keys)
        self._here: dict[View, tuple[Action, ...]] = {}
        self.actions = mapped.actions
        """Every action, with the keys that are in force."""
        self.by_id = {action.id: action for action in self.actions}
        self._key_troubles = mapped.troubles
        for action in self.actions:
            for key in action.keys:
                self.bind(key, f"do({action.id!r})", description=action.title, show=False)
        self.animation_level = "none"
        self.source = source
        self.settings = settings
        self.frame = Frame(Fleet(revision=-1), 0.0, 0.0)
        """What was last drawn."""
        self.house = House(self)
        self.marks = Marks()
        self.trends = Trends()
        self._clock = clock or Clock()
        self._pulsing = pulsing
        self._when_open = opened
        self._opening = Opening() if opened is not None else None
        self._early: list[events.Key] | None = None if opened is None else []
        if self._opening is None:
            self._add_css()
        self._pulse = Pulse()
        self._due = 0.0
        self._looked = 0.0
        """When the source was last asked for a snapshot, by this machine's clock."""
        self.frozen = False
        self._frozen_at = 0.0
        self._footer_age = FOOTER_PULSES
        self._job_id = focus_job
        self._node_key = ""
        self._feed: LogFeed | None = None
        self._history: deque[View] = deque(maxlen=HISTORY)
        self._future: deque[View] = deque(maxlen=HISTORY)
        self._view = View.JOB if focus_job is not None else self._remembered_view()
        self._views: dict[View, CockpitView] = {}

    def _begin_with(self, theme: str) -> None:
        """What setting `theme` does, while there is nothing yet that had to be parsed again."""
        self.set_reactive(App.theme, theme)
        current = self.current_theme
        self.set_class(True, f"-theme-{theme}", update=False)
        self.set_class(current.dark, "-dark-mode", update=False)
        self.set_class(not current.dark, "-light-mode", update=False)
        self._refresh_truecolor_filter(self.ansi_theme)
        self.stylesheet.set_variables(self.get_css_variables())

    # ------------------------------------------------------------------- desks

    @cached_property
    def orders(self) -> OrderDesk:
        from cockpit.tui.orders.desk import OrderDesk

        return OrderDesk(self, self.source)

    @cached_property
    def launching(self) -> LaunchDesk:
        from cockpit.tui.launch.desk import LaunchDesk

        return LaunchDesk(self)

    @cached_property
    def keeper(self) -> ProfileKeeper:
        from cockpit.tui.profile.keeper import ProfileKeeper

        return ProfileKeeper(self)

    # ------------------------------------------------------------------ layout

    def compose(self) -> ComposeResult:
        yield Lines(id="top")
        with ContentSwitcher(id="views", initial=OPENING if self._opening else self._view.value):
            yield self._opening or self._make(self._view)
        if self._opening is None:
            yield self._command_line()
        yield FooterBar(self.perform, id="footer")
        yield Lines(id="too-small")

    def on_mount(self) -> None:
        for failure in self.settings.loaded.failed:
            self._warn(f"theme {failure.file}: {failure.message}")
        for trouble in self._key_troubles:
            hint = f" — {trouble.hint}" if trouble.hint else ""
            self._warn(f"[keys] {trouble.action}: {trouble.message}{hint}")
        if self._opening is None:
            self.house.opened()
        self._entered()
        if self._pulsing:
            self._schedule()

    def on_ready(self) -> None:
        if self._opening is not None:
            self.call_after_refresh(self._complete)

    def _complete(self) -> None:
        """The first frame was drawn: have the view, and the rest."""
        self._add_css()
        self.screen_stack[0].mount(self._command_line(), before="#footer")
        self.house.opened()
        self._enter(self._view)
        if self._when_open is not None:
            self.call_after_refresh(self._when_open)

    def _command_line(self) -> CommandLine:
        from cockpit.tui.interpreter import AppInterpreter
        from cockpit.tui.widgets.commandline import CommandLine

        return CommandLine(AppInterpreter(self), self._refocus, id="command-line")

    def _add_css(self) -> None:
        self.stylesheet.add_source(style.REST, read_from=(style.__file__, "REST"))

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

    def get_default_screen(self) -> Screen[Any]:
        return terminal.MainScreen(id="_default")

    def get_line_filters(self) -> Sequence[LineFilter]:
        return (*super().get_line_filters(), *self.house.filters)

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return themes.defaults(self.current_theme)

    # ------------------------------------------------------------------- pulse

    def _schedule(self) -> None:
        self._due = self._clock.mono() + self._pulse.interval
        self.set_timer(self._pulse.interval, self._beat)

    def _beat(self) -> None:
        if not self.is_running:
            return
        if not self.is_headless and terminal.gone():
            self.leave()
            return
        late = self._clock.mono() - self._due
        free = terminal.keeps_up(self._driver)
        self._pulse.observe(late, blocked=not free)
        self.house.vitals.late(late)
        if free:
            with self.house.vitals.drawing():
                self.pulse(look=time.monotonic() - self._looked >= self._pace)
        self._schedule()

    @property
    def _pace(self) -> float:
        """Seconds between two looks at the world, less half a pulse, since pulses come when they
        can."""
        return self._current.pace - self._pulse.interval / 2

    def pulse(self, *, force: bool = False, look: bool = True) -> None:
        """Take what is new and draw what of it is visible. Cheap when nothing changed.

        Without `look`, log lines only, unless a second has passed.
        """
        mono, wall = self._clock.mono(), self._clock.wall()
        fleet = self.frame.fleet
        if force or look or int(wall) != int(self.frame.wall):
            fleet = self.source.snapshot()
            self._looked = time.monotonic()
        lines_came = self._feed is not None and self._feed.poll()
        changed = fleet.revision != self.frame.fleet.revision
        tick = int(wall) != int(self.frame.wall)
        if force or changed or tick:
            frame = Frame(fleet, mono, wall, self.marks.keys)
            if self._opening is None:
                frame = self.house.observe(frame)
            self.trends.observe(frame)
            self.frame = self._held(frame)
            if self._job_id is None and fleet.jobs:
                self._job_id = fleet.jobs[0].id
                self._follow()
            self._current.update(self.frame, self._job_id)
            self._draw_top()
            self._update_dialog()
            if tick and self._opening is None:
                self._forget_marks()
                self.house.tick(self.frame)
                if self.source.profiles is not None:
                    self.keeper.tick()
                self._keep_memory()
        if lines_came and not self.frozen:
            self._current.arrived()
        # What the keys can do changes with states, not with figures; actions draw it themselves.
        self._footer_age += 1
        if force or tick or (changed and self._footer_age >= FOOTER_PULSES):
            self._draw_footer()

    def _forget_marks(self) -> None:
        fleet = self.frame.fleet
        known = (*(job.id for job in fleet.jobs), *(node_key(node) for node in fleet.nodes))
        self.marks.keep(frozenset(known))

    def _update_dialog(self) -> None:
        if len(self.screen_stack) > 1:
            from cockpit.tui.dialogs import FrameDialog

            if isinstance(self.screen, FrameDialog):
                self.screen.update(self.frame)

    def _held(self, frame: Frame) -> Frame:
        """The frame to draw: while the display is frozen, the world as it was then."""
        if not self.frozen:
            return frame
        return dataclasses.replace(frame, fleet=self.frame.fleet, mono=self._frozen_at)

    def freeze(self) -> None:
        """Hold what is shown, or let it go on; orders and notices are not held."""
        self.frozen = not self.frozen
        self._frozen_at = self.frame.mono
        self.pulse(force=True)

    def _draw_top(self) -> None:
        fleet = self.frame.fleet
        left = [Span(" cockpit ", "title")]
        for number, view in enumerate(NUMBERED, 1):
            tone = "accent" if view is self._view else "dim"
            left.append(Span(f" {number} {view.value.title()}", tone))
        if self._view not in NUMBERED:
            left.append(Span(f" {self._view.value.title()}", "accent"))
        online = sum(1 for node in fleet.nodes if node.link.state is LinkState.ONLINE)
        running = sum(1 for job in fleet.jobs if is_live(job))
        right = [
            Span(
                f"{online}/{len(fleet.nodes)} online", "warn" if online < len(fleet.nodes) else ""
            ),
            Span(f"{running} running"),
            Span(clock_time(self.frame.wall)),
        ]
        if self.frozen:
            right.insert(0, Span("FROZEN p", "warn"))
        if self.settings.read_only:
            right.insert(0, Span("read-only", "warn"))
        if self.source.banner:
            right.insert(0, Span(clean(self.source.banner), "accent"))
        if self._pulse.rate < RATES[0]:
            right.append(Span(f"{self._pulse.rate} fps", "warn"))
        top = self.screen_stack[0].query_one("#top", Lines)
        top.show(Line(tuple(left), "bar"), right=right)

    def _draw_footer(self) -> None:
        self._footer_age = 0
        self.screen_stack[0].query_one("#footer", FooterBar).show(
            [
                Hint(
                    key_name(action.keys[0]),
                    action.footer,
                    action.id,
                    self.reason_against(action) is None,
                )
                for action in sorted(self.here, key=_place)
                if action.footer and action.keys
            ]
        )

    # ----------------------------------------------------------------- actions

    async def on_event(self, event: events.Event) -> None:
        """Keys are done here, one after the other, and not by the widget that has the focus.

        Those that come in one go (a fast hand, a slow link, a paste) would else all be sent to
        the widget that had the focus at first: in "/quick", q would quit.
        """
        if isinstance(event, events.Key) and self._early is not None:
            self._early.append(event)  # typed ahead: it is for the view that is to come
        else:
            await self._take(event)

    async def _type_ahead(self) -> None:
        """Take the keys that came too early, one after the other."""
        if self._early:
            await self._take(self._early.pop(0))
            self.call_next(self._type_ahead)
        else:
            self._early = None

    async def _take(self, event: events.Event) -> None:
        if isinstance(event, events.Key) and not event.is_forwarded and self._is_main:
            for key in dict.fromkeys((event.key, *event.aliases)):
                action_id = self._action_of(key)
                if action_id is not None:
                    self.perform(action_id)
                    return
        await super().on_event(event)

    @property
    def _is_main(self) -> bool:
        """No dialog is open, and nobody types."""
        main = self.screen_stack[0] if self._screen_stacks else None
        if main is None or self.screen is not main:
            return False
        return main.focused is None or isinstance(main.focused, LineWidget)

    def _action_of(self, key: str) -> str | None:
        return next((action.id for action in self.here if key in action.keys), None)

    @property
    def here(self) -> tuple[Action, ...]:
        """The actions of the view that is shown, with the keys that they have in it."""
        if self._view not in self._here:
            self._here[self._view] = self._mapped.in_view(self._view)
        return self._here[self._view]

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "do":
            return self.by_id[str(parameters[0])].applies(self._view)
        return super().check_action(action, parameters)

    def action_do(self, action_id: str) -> None:
        self.perform(action_id)

    def perform(self, action_id: str) -> None:
        """Do an action, or say why it cannot be done."""
        action = self.by_id[action_id]
        reason = self.reason_against(action)
        if reason is not None:
            self.say(f"{action.title}: {reason}", severity="warning")
            return
        self.house.acted()
        try:
            action.run(self)
        except CockpitError as error:
            hint = f" — {error.hint}" if error.hint else ""
            self.say(f"{error.message}{hint}", severity="warning")
        self._draw_footer()

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
        return None if argument else action.enabled(self)

    def _cluster_at_hand(self) -> str:
        if self.job is not None:
            return self.job.cluster
        return self.node.cluster if self.node is not None else ""

    def missing(self, part: str) -> str:
        """Why the source does not have a part; "" when it does."""
        return "" if getattr(self.source, part) is not None else self.source.absent

    def _warn(self, text: str) -> None:
        """Say it, and keep it among the events: at the start there is much to look at."""
        self.say(text, severity="warning")
        self.house.chronicle.note(Happening(self._clock.wall(), "note", "warn", clean(text)))

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
        return self._opening or self._views[self._view]

    def _shown(self, view: View) -> Any:
        return self._views.get(view) if self._view is view else None

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
        return self._current.log_pane

    @property
    def filterable(self) -> Filterable | None:
        shown = self._current.log_pane or self._current
        return cast("Filterable", shown) if hasattr(shown, "set_filter") else None

    @property
    def job(self) -> Job | None:
        if self._view in (View.JOB, View.LOGS):
            return self.frame.job(self._job_id)
        return self._current.job

    @property
    def shown_job(self) -> Job | None:
        return self.job or self.frame.job(self._job_id)

    @property
    def node(self) -> Node | None:
        if self._view is View.NODE:
            return self.frame.node(self._node_key)
        return self._current.node

    @property
    def marked_jobs(self) -> Sequence[Job]:
        return [job for job in self.frame.fleet.jobs if job.id in self.marks.keys]

    @property
    def marked_nodes(self) -> Sequence[Node]:
        return [node for node in self.frame.fleet.nodes if node_key(node) in self.marks.keys]

    @property
    def replay(self) -> Replaying | None:
        return self.source.replay

    @property
    def pane(self) -> Pane | None:
        if self._opening is not None:
            return None
        focused = self.screen_stack[0].focused
        return cast("Pane", focused if isinstance(focused, LineWidget) else self._current.main)

    @property
    def driver(self) -> Driver | None:
        """What draws on the terminal; Textual has no public way to it."""
        return self._driver

    @property
    def pulse_rate(self) -> int:
        """Frames a second that are aimed at."""
        return self._pulse.rate

    def busy_with(self, job: Job) -> str:
        return self.orders.busy_with(job)

    def show(self, view: View) -> None:
        """Go to a view; Job and Logs are about what was selected."""
        job, node = self.job, self.node
        if job is not None:
            self._job_id = job.id
        if node is not None:
            self._node_key = node_key(node)
        if view is not self._view:
            self._history.append(self._view)
            self._future.clear()
            self._enter(view)

    def show_job(self, job_id: str, view: View = View.JOB) -> None:
        self._go(view, job_id=job_id)

    def show_node(self, key: str) -> None:
        self._go(View.NODE, key=key)

    def _go(self, view: View, *, job_id: str | None = None, key: str = "") -> None:
        if view is not self._view:
            self._history.append(self._view)
            self._future.clear()
        self._job_id = job_id or self._job_id
        self._node_key = key or self._node_key
        self._enter(view)

    def _enter(self, view: View) -> None:
        self._view = view
        if view in self._views:
            self._arrived_at(view)
            return
        made = self._make(view)
        mounted = self.screen_stack[0].query_one("#views", ContentSwitcher).mount(made)

        async def arrive() -> None:
            await mounted
            if self._view is view:
                self._arrived_at(view)

        self.call_next(arrive)

    def _make(self, view: View) -> CockpitView:
        made = self._views[view] = parts.make(view)
        made.recall(self.memory.view(view.value))
        return made

    def _remembered_view(self) -> View:
        """The numbered view that was shown last, unless it is about a job."""
        name = self.memory.text("view")
        return View(name) if name in ("fleet", "jobs", "profiles") else View.FLEET

    def _arrived_at(self, view: View) -> None:
        self.screen_stack[0].query_one("#views", ContentSwitcher).current = view.value
        if self._opening is not None:
            self._opening.remove()
            self._opening = None
            self.call_next(self._type_ahead)
            self.run_worker(parts.import_all, "views", thread=True, exit_on_error=False)
        self._entered()

    def _entered(self) -> None:
        self._follow()
        self.pulse(force=True)
        # Only now: what it shows decides which part of a view is its main one.
        self._current.main.focus()

    def _follow(self) -> None:
        """Have the feed of the job that is on the screen, where a log is."""
        if self._view not in (View.JOB, View.LOGS) or self._job_id is None:
            return
        if self._opening is not None:
            return
        if (
            self._feed is None
            or self._feed.job_id != self._job_id
            or self._feed.document is None  # it could not be had then; it may be there now
        ):
            from cockpit.tui.logs.feed import LogFeed

            self.close_feed()
            try:
                document = self.source.log(self._job_id)
                self._feed = LogFeed(self._job_id, document, clock=self._clock.mono)
            except CockpitError as error:
                self._feed = LogFeed(self._job_id, None, f"no log: {error.message}")
        self._current.attach(self._feed)

    def back(self) -> None:
        shown = self.filterable
        if shown is not None and shown.clear_filter():
            return
        if self._history:
            self._future.append(self._view)
            self._enter(self._history.pop())

    def forward(self) -> None:
        if self._future:
            self._history.append(self._view)
            self._enter(self._future.pop())

    def last_view(self) -> None:
        if self._history:
            self.show(self._history[-1])

    def next_pane(self, step: int = 1) -> None:
        panes = self._current.panes
        focused = self.screen_stack[0].focused
        at = panes.index(focused) if focused in panes else -1
        panes[(at + step) % len(panes)].focus()

    def open_selection(self) -> None:
        self._current.open_selection()

    def mark(self) -> None:
        if self._current.mark_key:
            self.marks.toggle(self._current.mark_key)
            if self.pane is not None:
                self.pane.move(1)
            self.pulse(force=True)

    def mark_range(self) -> None:
        if self._current.mark_key:
            self.marks.extend(self._current.mark_key, self._current.mark_order)
            self.pulse(force=True)

    def clear_marks(self) -> None:
        self.marks.clear()
        self.pulse(force=True)

    def open_command_line(self, text: str = "") -> None:
        from cockpit.tui.widgets.commandline import CommandLine

        self.screen_stack[0].query_one(CommandLine).open(text)

    def _refocus(self) -> None:
        """The command line was closed."""
        self._current.main.focus()

    def show_help(self) -> None:
        from cockpit.tui.dialogs import HelpDialog, help_items

        reasons = {action.id: self.reason_against(action) for action in self.actions}

        def chosen(action_id: str | None) -> None:
            if action_id is not None:
                self.perform(action_id)

        self.push_screen(HelpDialog(help_items(self.here, self._view, reasons)), chosen)

    def show_palette(self) -> None:
        self.action_command_palette()

    def leave(self) -> None:
        self.gather_memory()
        self.exit()

    def gather_memory(self) -> None:
        """Note what the next session shall begin with."""
        self.memory.values["view"] = self._view.value
        if self.theme != self._first_theme:
            self.memory.values["theme"] = self.theme
        for view, widget in self._views.items():
            self.memory.set_view(view.value, widget.memory())

    def _keep_memory(self) -> None:
        """Once a second: write down what changed, beside the loop."""
        self.gather_memory()
        if self.memory.freeze():
            self.run_worker(
                self.memory.save, group="memory", thread=True, exclusive=True, exit_on_error=False
            )

    @on(Worker.StateChanged)
    def _worker_changed(self, event: Worker.StateChanged) -> None:
        if event.state is not WorkerState.ERROR:
            return
        from cockpit.tui.orders.desk import GROUP
        from cockpit.tui.profile.keeper import GROUP as PROFILES

        if event.worker.group in (GROUP, PROFILES):
            self.orders.broken(str(event.worker.name), event.worker.error)

    # -------------------------------------------------------------------- mouse

    def on_row_grid_opened(self) -> None:
        self.perform("list.open")

    def running_jobs(self) -> list[Job]:
        """Jobs that have not ended, as last seen."""
        return [job for job in self.frame.fleet.jobs if is_live(job)]

    def reopen_log(self) -> None:
        self.close_feed()
        self._follow()

    def close_feed(self) -> None:
        if self._feed is not None:
            self._feed.close()
            self._feed = None
