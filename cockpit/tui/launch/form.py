"""The launch form: what was typed at the left, what would run at the right, live.

After every change the draft is looked at, planned and checked by the launch pad, in a worker that
a later change replaces. Nothing is started here: the desk that opened the form does it, with the
very preview that was shown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar, Protocol

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.screen import ModalScreen
from textual.timer import Timer
from textual.widgets import Button, Input, TextArea
from textual.worker import Worker, WorkerState

from cockpit.errors import CockpitError
from cockpit.model.choosing import Candidate, candidates
from cockpit.profiles import node_names
from cockpit.text import count_of
from cockpit.tui.dialogs import ConfirmDialog
from cockpit.tui.draw.spans import Line, Span, line
from cockpit.tui.frame import Frame
from cockpit.tui.launch import wording as launchwords
from cockpit.tui.launch.fields import FIELDS, FieldRow, collect, options, text_of
from cockpit.tui.launch.look import PLANNING, About, Look
from cockpit.tui.launch.pad import Draft, LaunchPad, Preview
from cockpit.tui.launch.picks import (
    LeaveDialog,
    NameDialog,
    NodesDialog,
    OptionDialog,
    Picked,
    ReadDialog,
)
from cockpit.tui.orders.wording import Order
from cockpit.tui.widgets.chooser import Chooser
from cockpit.tui.widgets.lines import Lines
from cockpit.tui.widgets.reader import Reader

DELAY = 0.3
"""Seconds without a further key after which the draft is looked at."""
PREFLIGHT_DELAY = 0.7
"""Seconds for which a plan must stand before the nodes are asked about it."""
LOOK = "launch-look"
"""Group of the worker that plans."""
ASK = "launch-ask"
"""Group of the worker that asks the nodes: a plan that is made anew does not stop it."""
WIDE = 100
"""Cells from which on form and plan stand beside each other."""
SLIM = 72
"""Cells below which only the most important buttons are shown; the others keep their keys."""

BUTTONS = (
    ("leave", "Leave", "esc"),
    ("save", "Save as", "^s"),
    ("nodes", "Nodes", "^n"),
    ("check", "Check", "^t"),
    ("dry", "Dry run", "^r"),
    ("launch", "Launch", "^j"),
)


class Owner(Protocol):
    """Who opened the form."""

    @property
    def frame(self) -> Frame: ...
    @property
    def busy(self) -> str:
        """Why nothing can be launched right now; "" when it can."""

    @property
    def marked(self) -> str:
        """The nodes that are marked, as the field `on` names them."""

    def keep(self, draft: Draft | None) -> None:
        """Remember what is typed, or forget it."""

    def carry_out(self, preview: Preview, *, in_spite: bool) -> None:
        """Start it, beside the screen."""

    def copy(self, text: str) -> None:
        """To the clipboard and to a file."""

    def say(self, text: str, *, severity: str = "information") -> None: ...
    @property
    def profile_file(self) -> str:
        """Where a saved profile goes, for people."""


class Fields(VerticalScroll, can_focus=False, inherit_bindings=False):
    """Scrolls to the field that has the focus; the arrow keys go from field to field.

    What is wrong with a field is said below it after a while, which moves those that follow: the
    one with the focus stays in sight then, and when there is less room.
    """

    def watch_virtual_size(self) -> None:
        self.call_after_refresh(self._keep_in_sight)

    def on_resize(self) -> None:
        self.call_after_refresh(self._keep_in_sight)

    def _keep_in_sight(self) -> None:
        focused = self.screen.focused
        if focused is not None and self in focused.ancestors:
            focused.scroll_visible(animate=False)


class LaunchForm(ModalScreen[None]):
    HORIZONTAL_BREAKPOINTS = [(0, "-slim"), (SLIM, "-narrow"), (WIDE, "-wide")]  # noqa: RUF012 - Textual's type
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Leave"),
        Binding("ctrl+j", "launch", "Launch", priority=True),
        Binding("ctrl+s", "save", "Save as a profile", priority=True),
        Binding("ctrl+r", "dry", "Dry run", priority=True),
        Binding("ctrl+t", "check", "Check the nodes", priority=True),
        Binding("ctrl+n", "nodes", "Pick nodes", priority=True),
        Binding("ctrl+o", "turn", "Form or plan", priority=True),
        Binding("ctrl+g", "copy", "Copy the command", priority=True),
        Binding("up", "app.focus_previous", show=False),
        Binding("down", "app.focus_next", show=False),
        Binding("left", "app.focus_previous", show=False),
        Binding("right", "app.focus_next", show=False),
    ]

    def __init__(
        self,
        owner: Owner,
        pad: LaunchPad,
        draft: Draft,
        *,
        again: str = "",
        kept: bool = False,
        notes: Sequence[Line] = (),
    ) -> None:
        """`again`: the name of the job that is to be had again; `kept`: `draft` was typed earlier;
        `notes`: what stands above the plan until something is typed."""
        super().__init__()
        self._owner = owner
        self._pad = pad
        self._opened_with = draft
        self._draft = draft
        self._again, self._kept = again, kept
        self._rows: dict[str, FieldRow] = {}
        self._timer: Timer | None = None
        self._known: tuple[Candidate, ...] = ()
        self._now = Look(notes=tuple(notes))
        self._seen: Preview | None = None
        """The newest preview that was on the screen."""
        self._asked: About = ()
        """What the nodes are being asked about."""
        self._asking_no = 0
        """Counts the questions: one that another took the place of has no say any more."""
        self._composed = False

    def compose(self) -> ComposeResult:
        choices = options(self._draft, self._pad.config)
        yield Lines(id="launch-head")
        with Horizontal(id="launch-body"):
            with Fields(id="launch-fields"):
                for field in FIELDS:
                    row = FieldRow(
                        field, text_of(self._draft, field.name), choices.get(field.name, ())
                    )
                    self._rows[field.name] = row
                    yield row
            yield Reader(id="launch-plan")
        yield Lines(id="launch-state")
        with Horizontal(classes="buttons"):
            for name, word, key in BUTTONS:
                yield Button(f"{word} {key}", id=f"launch-{name}", compact=True)

    def on_mount(self) -> None:
        self._composed = True
        self._rows["job"].entry.focus()
        self._refresh()
        self._look()
        self.set_interval(1.0, self._refresh)

    # ------------------------------------------------------------------ what is typed

    @property
    def draft(self) -> Draft:
        """What stands in the form."""
        return self._draft

    @on(Input.Changed)
    @on(TextArea.Changed)
    @on(Chooser.Changed)
    def _typed(self) -> None:
        draft = collect(self._rows)
        if draft == self._draft:
            return
        self._draft = draft
        self._owner.keep(draft)
        self._now.typed(pristine=draft == self._opened_with)
        self._refresh()
        self._later()

    @on(Input.Submitted)
    def _entered(self) -> None:
        self.focus_next()

    def _later(self) -> None:
        if self._timer is not None:
            self._timer.stop()
        self._now.doing = PLANNING
        self._timer = self.set_timer(DELAY, self._look)
        self._draw()

    def fail(self, rows: Sequence[Line]) -> None:
        """Show why a start failed, above a plan that is made anew."""
        self._now.notes = tuple(rows)
        self._now.preview = None
        self._later()

    # ------------------------------------------------------------------ live

    def _refresh(self) -> None:
        """Show what is free now, and what holds where nothing is typed."""
        config = self._pad.config
        choices = options(self._draft, config)
        for name, row in self._rows.items():
            row.offer(choices.get(name, ()))
        for name, text in launchwords.defaults(self._draft, config).items():
            self._rows[name].suggest(text)
        cluster = config.clusters.get(self._cluster)
        frame = self._owner.frame
        known = candidates(cluster, frame.fleet, frame.mono) if cluster is not None else ()
        changed = [item.standing for item in known] != [item.standing for item in self._known]
        self._known = known
        self._rows["cluster"].tell(launchwords.free_note(known) if known else None)
        marked = bool(self._draft.on) and self._draft.on == self._owner.marked
        self._rows["on"].tell(line(Span("as marked in Fleet", "dim")) if marked else None)
        if isinstance(self.app.screen, NodesDialog):
            self.app.screen.update(known)
        if changed and self._now.checked is not None and self._timer is None:
            # Other nodes may be the free ones now.
            self._look()
        self._draw()

    @property
    def _cluster(self) -> str:
        base = self._pad.config.jobs.get(self._draft.job)
        return self._draft.cluster or (base.cluster if base is not None else "local")

    def _look(self) -> None:
        self._timer = None
        # A function, not its coroutine: whoever ends the worker before it began leaves none behind.
        work: Any = partial(self._plan, self._draft)
        self.run_worker(work, "the plan", LOOK, exclusive=True, exit_on_error=False)

    async def _plan(self, draft: Draft) -> None:
        now = self._now
        checked = now.checked = await self._pad.check(draft)
        for name, row in self._rows.items():
            row.blame(None if now.waits else checked.problems.get(name))
        now.doing, now.error = "", None
        if checked.request is None:
            now.preview = None
            self._draw()
            return
        try:
            now.preview = await self._pad.preview(checked, self._hear)
        except CockpitError as error:
            now.preview, now.error = None, error
        now.doing = ""
        self._draw()
        if now.preview is not None and now.report is None and self._asked != now.about:
            self._ask(PREFLIGHT_DELAY)

    def _hear(self, text: str) -> None:
        self._now.doing = text
        self._draw()

    def _ask(self, delay: float = 0.0) -> None:
        """Have the nodes of the plan look at themselves, in a worker of its own."""
        self._asked = self._now.about
        self._asking_no += 1
        work: Any = partial(self._asking, self._asked, delay, self._asking_no)
        self.run_worker(work, "the check", ASK, exclusive=True, exit_on_error=False)

    async def _asking(self, about: About, delay: float, number: int) -> None:
        now = self._now
        try:
            await asyncio.sleep(delay)
            if now.preview is None or now.about != about:
                return
            request = now.preview.request
            now.asking = f"asking {count_of(request.max_nodes, 'node')}…"
            self._draw()
            report = await self._pad.preflight(request)
            now.reports[about] = (self._owner.frame.mono, report)
        except CockpitError as error:
            now.notes = (line(Span(f"▲ not checked: {error.message}", "warn")),)
        finally:
            if self._asking_no == number:
                now.asking, self._asked = "", ()
        self._draw()

    @on(Worker.StateChanged)
    def _worker_changed(self, event: Worker.StateChanged) -> None:
        if event.state is WorkerState.ERROR:
            error = event.worker.error
            text = f"{event.worker.name}: {type(error).__name__}: {error}"
            now = self._now
            now.doing, now.checked, now.preview = "", None, None
            now.error = CockpitError(text, "this is a defect of cockpit")
            self._draw()

    # ------------------------------------------------------------------ drawing

    @property
    def objection(self) -> str:
        """Why nothing can be launched now; "" when it can."""
        return self._owner.busy or self._now.objection

    def _draw(self) -> None:
        if not self._composed or not self.is_attached:
            return
        now, planned = self._now, self._now.preview is not None
        turn = "^o form" if self.has_class("-plan") else "^o plan"
        right = [] if self.has_class("-wide") else [Span(turn, "key")]
        heading = launchwords.heading(self._draft, self._again, kept=self._kept)
        head = line(Span(f" {heading} ", "title"), base="bar")
        self.query_one("#launch-head", Lines).show(head, right=right)
        rows = now.lines(self._known, self._owner.frame.mono)
        self.query_one("#launch-plan", Reader).show(rows)
        self.query_one("#launch-state", Lines).show(now.state(self._owner.busy))
        self.query_one("#launch-launch", Button).disabled = bool(self.objection)
        self.query_one("#launch-dry", Button).disabled = not planned
        self.query_one("#launch-check", Button).disabled = not planned
        if planned and (self.has_class("-wide") or self.has_class("-plan")):
            self._seen = now.preview

    def on_resize(self, event: events.Resize) -> None:  # noqa: ARG002
        self.call_after_refresh(self._draw)

    # ------------------------------------------------------------------ keys and buttons

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        event.stop()
        doing: dict[str, Callable[[], None]] = {
            "launch-leave": self.action_leave,
            "launch-save": self.action_save,
            "launch-nodes": self.action_nodes,
            "launch-check": self.action_check,
            "launch-dry": self.action_dry,
            "launch-launch": self.action_launch,
        }
        doing[str(event.button.id)]()

    @on(Chooser.Asked)
    def _choose(self, event: Chooser.Asked) -> None:
        choice = event.choice

        def chosen(value: str | None) -> None:
            if value is not None:
                choice.choose(value)

        label = next(field.label.strip() for field in FIELDS if field.name == choice.id)
        self.app.push_screen(OptionDialog(label, choice.options, choice.value), chosen)

    def action_turn(self) -> None:
        """Show the plan instead of the form, or go to it where both are there."""
        plan = self.query_one("#launch-plan", Reader)
        if self.has_class("-wide"):
            (self._rows["job"].entry if plan.has_focus else plan).focus()
            return
        self.toggle_class("-plan")
        self._draw()
        (plan if self.has_class("-plan") else self._rows["job"].entry).focus()

    def action_nodes(self) -> None:
        """Pick the nodes that take part."""
        names = {item.name for item in self._known}
        picked = Picked(
            *(_known_names(text, names) for text in (self._draft.on, self._draft.without))
        )

        def taken(picked: Picked | None) -> None:
            if picked is not None:
                self._rows["on"].put(",".join(picked.on))
                self._rows["without"].put(",".join(picked.without))

        self.app.push_screen(NodesDialog(self._cluster, self._known, picked), taken)

    def action_check(self) -> None:
        """Ask the nodes again, now."""
        if self._now.preview is None:
            self._owner.say(self.objection, severity="warning")
            return
        if self._now.asking and self._asked == self._now.about:
            self._owner.say("the nodes are being asked already")
            return
        self._now.reports.pop(self._now.about, None)
        self._now.notes = ()
        self._ask()

    def action_dry(self) -> None:
        """Read the whole plan."""
        if self._now.preview is None:
            self._owner.say(self.objection, severity="warning")
            return
        self._seen = self._now.preview
        rows = launchwords.plan_text_lines(self._now.preview)
        self.app.push_screen(ReadDialog("Dry run: what every node would run — esc closes", rows))

    def action_copy(self) -> None:
        """Copy the `cockpit run …` that asks for the same."""
        if self._now.preview is None:
            self._owner.say(self.objection, severity="warning")
            return
        self._owner.copy(launchwords.command_text(self._now.preview))

    def action_save(self) -> None:
        """Ask for a name, then write the draft as a job profile."""
        draft = self._draft
        proposed = draft.job or draft.name.strip()

        def named(name: str | None) -> None:
            if name is not None:
                work = self._save(draft, name)
                self.run_worker(work, "saving", "launch-save", exit_on_error=False)

        jobs = self._pad.config.jobs
        self.app.push_screen(NameDialog(proposed, self._owner.profile_file, jobs), named)

    async def _save(self, draft: Draft, name: str) -> None:
        try:
            path = await self._pad.save(draft, name)
        except CockpitError as error:
            text = f"not saved: {error.message}"
            self._owner.say(f"{text} — {error.hint}" if error.hint else text, severity="error")
            return
        self._refresh()
        left = " (which nodes is no part of it)" if draft.on or draft.without else ""
        self._owner.say(f"saved as job profile {name} in {path}{left}")

    def action_launch(self) -> None:
        """Start what the plan shows, once it was seen; ask again where a node objects."""
        preview, objection = self._now.preview, self.objection
        if preview is None or objection:
            self._owner.say(f"not yet: {objection}", severity="warning")
            return
        if self._seen != preview:
            self.action_turn()
            self._owner.say("this is what would run; ^j starts it")
            return
        critical = launchwords.objections(self._now.report)
        if not critical:
            self._owner.carry_out(preview, in_spite=False)
            return

        def answered(yes: bool | None) -> None:
            if yes:
                self._owner.carry_out(preview, in_spite=True)

        order = Order(
            title=f"Start {preview.request.name} in spite of this?",
            text=(*critical, "", "A start would refuse these nodes; this one does not."),
            button="Start in spite of it",
            typed="",
        )
        self.app.push_screen(ConfirmDialog(order), answered)

    def action_leave(self) -> None:
        """Go back; ask first if something was typed."""
        if self.has_class("-plan"):
            self.action_turn()
        elif self._draft == self._opened_with:
            self.dismiss(None)
        else:
            self.app.push_screen(LeaveDialog(), self._left)

    def _left(self, answer: str | None) -> None:
        if answer is None:
            return
        self._owner.keep(self._draft if answer == "keep" else None)
        self.dismiss(None)


def _known_names(text: str, names: set[str]) -> tuple[str, ...]:
    """The nodes that a field names, less what is no node."""
    try:
        return tuple(name for name in node_names(text) if name in names)
    except CockpitError:
        return ()
