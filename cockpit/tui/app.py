"""The app: what it is made of, how it opens, and what actions order it. Small on purpose.

At every beat of its heart the newest snapshot and the new log lines come from the Source, and the
visible view draws what changed. Orders run beside, never inside a key handler. Views, dialogs,
desks and words live in their own modules, and those that the first frame does not need are
imported after it.
"""

from __future__ import annotations

import os
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
from cockpit.model.types import Job
from cockpit.text import clean
from cockpit.tui import edges, parts, terminal
from cockpit.tui.actions import ACTIONS, Action
from cockpit.tui.course import Course
from cockpit.tui.draw import style, themes
from cockpit.tui.following import Following
from cockpit.tui.frame import Clock, Frame, node_key
from cockpit.tui.heart import Heart
from cockpit.tui.house.house import House
from cockpit.tui.jobs.trends import Trends
from cockpit.tui.keyboard import Keyboard
from cockpit.tui.marks import Marks
from cockpit.tui.movements import Movements
from cockpit.tui.opening import ID as OPENING
from cockpit.tui.opening import Opening
from cockpit.tui.palette import ActionProvider, ThemeProvider
from cockpit.tui.room import Room, TooSmall
from cockpit.tui.settings import Settings
from cockpit.tui.state import Memory
from cockpit.tui.turns import Turns
from cockpit.tui.widgets.footer import FooterBar
from cockpit.tui.widgets.lines import Lines, LineWidget

if TYPE_CHECKING:
    from cockpit.tui.launch.desk import LaunchDesk
    from cockpit.tui.orders.desk import OrderDesk
    from cockpit.tui.profile.keeper import ProfileKeeper
    from cockpit.tui.source import Source
    from cockpit.tui.widgets.commandline import CommandLine


class CockpitApp(Movements):
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
        self.keyboard = Keyboard(ACTIONS, settings.keys)
        self.turns = Turns(self, self._take, held=opened is not None)
        for action in self.actions:
            for key in action.keys:
                self.bind(key, f"do({action.id!r})", description=action.title, show=False)
        self.animation_level = "none"
        self.source = source
        self.settings = settings
        self.house = House(self)
        self.room = Room(self)
        self.marks = Marks()
        self.trends = Trends()
        self.heart = Heart(self, clock or Clock())
        self.following = Following(source, self.heart.clock.mono)
        self.course = Course(self, focus_job, Opening() if opened is not None else None)
        self._pulsing = pulsing
        self._when_open = opened
        if opened is None:
            self._add_css()

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
        opening = self.course.opening
        yield Lines(id="top")
        with ContentSwitcher(id="views", initial=OPENING if opening else self.view.value):
            yield opening or self.course.make(self.view)
        if opening is None:
            yield self._command_line()
        yield FooterBar(self.perform, id="footer")
        yield TooSmall()

    def on_mount(self) -> None:
        self.room.watch()
        failed = self.settings.loaded.failed
        warnings = [f"theme {each.file}: {each.message}" for each in failed]
        for trouble in self.keyboard.troubles:
            hint = f" — {trouble.hint}" if trouble.hint else ""
            warnings.append(f"[keys] {trouble.action}: {trouble.message}{hint}")
        self._warn(warnings)
        if self.course.opening is None:
            self.house.opened()
        self.entered()
        if self._pulsing:
            self.heart.begin()

    def on_ready(self) -> None:
        if self.course.opening is not None:
            self.call_after_refresh(self._complete)

    def _complete(self) -> None:
        """The first frame was drawn: have the view, and the rest."""
        self._add_css()
        self.screen_stack[0].mount(self._command_line(), before="#footer")
        self.house.opened()
        self.course.enter(self.view)
        if self._when_open is not None:
            self.call_after_refresh(self._when_open)

    def opened(self) -> None:
        """The first view is there."""
        self.turns.begin()
        self.run_worker(parts.import_all, "views", thread=True, exit_on_error=False)

    def _command_line(self) -> CommandLine:
        from cockpit.tui.interpreter import AppInterpreter
        from cockpit.tui.widgets.commandline import CommandLine

        return CommandLine(AppInterpreter(self), self.refocus, id="command-line")

    def _add_css(self) -> None:
        self.stylesheet.add_source(style.REST, read_from=(style.__file__, "REST"))

    def on_resize(self, event: events.Resize) -> None:
        self.room.fit(event.size)

    def get_default_screen(self) -> Screen[Any]:
        return terminal.MainScreen(id="_default")

    def get_line_filters(self) -> Sequence[LineFilter]:
        return (*super().get_line_filters(), *self.house.filters)

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return themes.defaults(self.current_theme)

    # ----------------------------------------------------------------- drawing

    def observed(self, frame: Frame) -> Frame:
        """A new frame with all that is known of it, once everybody who keeps count has seen it."""
        if self.course.opening is None:
            frame = self.house.observe(frame)
        self.trends.observe(frame)
        return frame

    def draw(self, frame: Frame) -> None:
        course = self.course
        if course.job_id is None and frame.fleet.jobs:
            course.about(frame.fleet.jobs[0], None)
            self.follow()
        course.current.update(frame, course.job_id)
        self._draw_top()
        self._update_dialog()

    def tick(self, frame: Frame) -> None:
        """Called once a second."""
        if self.course.opening is not None:
            return
        jobs, nodes = frame.fleet.jobs, frame.fleet.nodes
        self.marks.keep(frozenset((*(job.id for job in jobs), *(node_key(n) for n in nodes))))
        self.house.tick(frame)
        if self.source.profiles is not None:
            self.keeper.tick()
        self._keep_memory()

    def _update_dialog(self) -> None:
        if len(self.screen_stack) > 1:
            from cockpit.tui.dialogs import FrameDialog

            if isinstance(self.screen, FrameDialog):
                self.screen.update(self.frame)

    def _draw_top(self) -> None:
        right = edges.state(
            self.frame,
            clean(self.source.banner),
            read_only=self.settings.read_only,
            frozen=self.heart.frozen,
            slow=f"{self.heart.rate} fps" if self.heart.slow else "",
        )
        self.screen_stack[0].query_one("#top", Lines).show(edges.tabs(self.view), right=right)

    def draw_footer(self) -> None:
        """The keys, by what can be done with them now. Nobody asks before the first view is there:
        answers take imports that the first frame shall not wait for."""
        self.heart.footer_age = 0
        asking = self.course.opening is None
        hints = edges.hints(self.here, lambda one: not asking or self.reason_against(one) is None)
        self.screen_stack[0].query_one("#footer", FooterBar).show(hints)

    @property
    def driver(self) -> Driver | None:
        """What draws on the terminal; Textual has no public way to it."""
        return self._driver

    # ----------------------------------------------------------------- actions

    @property
    def actions(self) -> tuple[Action, ...]:
        """Every action, with the keys that are in force."""
        return self.keyboard.actions

    @property
    def here(self) -> tuple[Action, ...]:
        """The actions of the view that is shown, with the keys that they have in it."""
        return self.keyboard.in_view(self.view)

    async def on_event(self, event: events.Event) -> None:
        """Keys come one after the other; those that are typed ahead are for the view that is to
        come."""
        await self.turns.add(event)

    async def _take(self, event: events.Event) -> bool:
        """Keys of the main screen are done here, and not by the widget that has the focus: True.
        What cannot be seen gets none."""
        if event.is_forwarded or not isinstance(event, (events.Key, events.Paste)):
            await super().on_event(event)
            return False
        small = self.room.small
        action_id = None
        if isinstance(event, events.Key) and (small or self._is_main):
            action_id = self.keyboard.action_of(event, self.view)
        if action_id is not None and (not small or action_id == "app.quit"):
            self.perform(action_id)
        elif not small:
            await super().on_event(event)
            return False
        return True

    @property
    def _is_main(self) -> bool:
        """No dialog is open, and nobody types."""
        main = self.screen_stack[0] if self._screen_stacks else None
        if main is None or self.screen is not main:
            return False
        return main.focused is None or isinstance(main.focused, LineWidget)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "do":
            return self.keyboard.by_id[str(parameters[0])].applies(self.view)
        return super().check_action(action, parameters)

    def action_do(self, action_id: str) -> None:
        self.perform(action_id)

    def perform(self, action_id: str) -> None:
        """Do an action, or say why it cannot be done."""
        action = self.keyboard.by_id[action_id]
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
        self.draw_footer()

    def _warn(self, texts: Sequence[str]) -> None:
        """Keep them among the events, and say so in one notice: several would hide the screen."""
        for text in texts:
            self.house.note(self.heart.clock.wall(), "warn", text)
        if len(texts) > 1:
            self.say(f"{len(texts)} warnings: `:events` has them", severity="warning")
        elif texts:
            self.say(texts[0], severity="warning")

    def say(self, text: str, *, severity: str = "information") -> None:
        """A message that goes away by itself."""
        level = cast("Any", severity)
        self.notify(clean(text), severity=level, markup=False, timeout=6)

    def on_row_grid_opened(self) -> None:
        """Two clicks on a row."""
        self.perform("list.open")

    async def action_quit(self) -> None:
        self.leave()

    def action_help_quit(self) -> None:
        self.say("ctrl+q or q quits; jobs run on")

    # --------------------------------------------------------- what else actions order

    def busy_with(self, job: Job) -> str:
        return self.orders.busy_with(job)

    def show_help(self) -> None:
        from cockpit.tui.dialogs import HelpDialog, help_items

        reasons = {action.id: self.reason_against(action) for action in self.actions}

        def chosen(action_id: str | None) -> None:
            if action_id is not None:
                self.perform(action_id)

        self.push_screen(HelpDialog(help_items(self.here, self.view, reasons)), chosen)

    def show_palette(self) -> None:
        self.action_command_palette()

    # ------------------------------------------------------------ memory, and the end

    def leave(self) -> None:
        self.gather_memory()
        self.exit()

    def gather_memory(self) -> None:
        """Note what the next session shall begin with."""
        self.memory.values["view"] = self.view.value
        if self.theme != self._first_theme:
            self.memory.values["theme"] = self.theme
        for view, widget in self.course.views.items():
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
