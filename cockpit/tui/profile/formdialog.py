"""The dialog around a form: one line a field, its help below, errors where they belong.

Nothing that was typed is lost by an error, and leaving with something typed needs a second escape.
What is written, and how, is the caller's: it gets the change and says what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.events import DescendantFocus, Resize
from textual.screen import ModalScreen
from textual.suggester import SuggestFromList
from textual.widgets import Button, Input, Static
from textual.worker import Worker, WorkerState

from cockpit.errors import CockpitError, ConfigError
from cockpit.tui.dialogs import content
from cockpit.tui.places import short
from cockpit.tui.profile.forms import Change, Field, Form
from cockpit.tui.widgets.cleaninput import CleanInput

Save = Callable[[Path, Change], Awaitable[None]]

OTHER_ROWS = 9
"""Of a form: border, title, file, help, what was refused, buttons."""


class FieldRow(Horizontal):
    """A field's name and its box; below it, while there is something, what is wrong."""

    def __init__(self, field: Field, text: str) -> None:
        super().__init__(classes="form-row")
        self.field = field
        self.box = CleanInput(
            text,
            placeholder=field.placeholder,
            compact=True,
            select_on_focus=False,
            suggester=SuggestFromList(field.offers) if field.offers else None,
        )
        self.box.cursor_blink = False
        self._error = ""
        self._wrong: Static | None = None

    def compose(self) -> ComposeResult:
        yield Static(content(self.field.key), classes="form-label")
        yield self.box

    def show_error(self, text: str) -> None:
        if text == self._error:
            return
        self._error = text
        self.set_class(bool(text), "-wrong")
        if self._wrong is None and self.parent is not None:
            # Most fields never need one, and the layout is dear.
            self._wrong = Static("", classes="form-wrong")
            self.screen.query_one("#form-fields").mount(self._wrong, after=self)
        if self._wrong is not None:
            self._wrong.display = bool(text)
            self._wrong.update(content(f"✖ {text}"))


class FormDialog(ModalScreen["str | None"]):
    """Answers the name of what was written, or None. `focus_key`: the field to begin with."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Cancel"),
        Binding("ctrl+s", "save", "Save", priority=True),
        Binding("f2", "other_file", "Other file", priority=True),
        Binding("down", "app.focus_next", show=False),
        Binding("up", "app.focus_previous", show=False),
        Binding("pagedown", "step(8)", show=False),
        Binding("pageup", "step(-8)", show=False),
    ]

    def __init__(self, form: Form, save: Save, focus_key: str = "") -> None:
        super().__init__()
        self._form = form
        self._save = save
        self._focus_key = focus_key
        self._file = form.file_of()
        texts = {**form.texts(self._file), **form.copied}
        self._rows = {field.key: FieldRow(field, texts[field.key]) for field in form.fields}
        self._naming = FieldRow(Field("name", "How it is called.", form.fields[0].expected), "")
        self._help = Static("", id="form-help")
        self._refused = Static("", id="form-refused")
        self._saving = False
        self._warned = False

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog form"):
            yield Static(content(self._form.title), classes="dialog-title")
            yield Static("", id="form-file")
            with VerticalScroll(id="form-fields", can_focus=False):
                if self._form.new:
                    yield self._naming
                yield from self._rows.values()
            yield self._help
            yield self._refused
            with Horizontal(classes="buttons"):
                yield Button("Cancel esc", id="no", compact=True)
                yield Button("Save ^s", id="yes", compact=True)

    def on_mount(self) -> None:
        self._show_file()
        first = self._naming if self._form.new else next(iter(self._rows.values()))
        self._rows.get(self._focus_key, first).box.focus()

    def on_resize(self, event: Resize) -> None:
        """The buttons stay in sight, however many fields there are."""
        fields = self.query_one("#form-fields", VerticalScroll)
        fields.styles.max_height = max(int(event.size.height * 0.94) - OTHER_ROWS, 3)

    # ------------------------------------------------------------------ what is typed

    @property
    def texts(self) -> dict[str, str]:
        return {key: row.box.value for key, row in self._rows.items()}

    @property
    def name_typed(self) -> str:
        return self._naming.box.value.strip()

    def _change(self) -> Change:
        return self._form.change(self.texts, self._file, self.name_typed)

    @property
    def dirty(self) -> bool:
        """Whether something is typed that no file has."""
        before = self._form.texts(self._file)
        return bool(self.name_typed) or any(
            text.strip() != before[key] for key, text in self.texts.items()
        )

    @on(Input.Changed)
    def _typing(self, event: Input.Changed) -> None:
        row = event.input.parent
        if not isinstance(row, FieldRow):
            return
        self._warned = False
        text = event.value.strip()
        if row is self._naming:
            row.show_error(self._form.name_error(text) if text else "")
        else:
            changed = text != self._form.texts(self._file)[row.field.key]
            row.show_error(self._form.error(row.field.key, text, self._file) if changed else "")

    def on_descendant_focus(self, event: DescendantFocus) -> None:
        row = event.widget.parent
        text = row.field.doc if isinstance(row, FieldRow) else ""
        self._help.update(content(text), layout=False)

    @on(Input.Submitted)
    def _entered(self) -> None:
        self.app.action_focus_next()

    def action_step(self, delta: int) -> None:
        """Some fields on, or back."""
        rows = [*([self._naming] if self._form.new else []), *self._rows.values()]
        at = next((i for i, row in enumerate(rows) if row.box.has_focus), 0)
        rows[min(max(at + delta, 0), len(rows) - 1)].box.focus()

    # --------------------------------------------------------------------- the file

    def action_other_file(self) -> None:
        """Write to the next of the files; what was typed stays, the rest is as that file has it."""
        if len(self._form.files) < 2:
            return
        before = self._form.texts(self._file)
        self._file = (self._file + 1) % len(self._form.files)
        now = self._form.texts(self._file)
        for key, row in self._rows.items():
            if row.box.value.strip() == before[key]:
                row.box.value = now[key]
        self._show_file()

    def _show_file(self) -> None:
        choice = self._form.files[self._file]
        made = "" if choice.exists else ", which is made"
        text = f"writes {short(choice.path, self._form.here)} ({choice.what}){made}"
        if len(self._form.files) > 1:
            other = self._form.files[(self._file + 1) % len(self._form.files)]
            text += f" · f2: {short(other.path, self._form.here)}"
        self.query_one("#form-file", Static).update(content(text))

    # ------------------------------------------------------------------ save and leave

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        if event.button.id == "yes":
            self.action_save()
        else:
            self.dismiss(None)

    def action_save(self) -> None:
        if self._saving:
            return
        change = self._change()
        if change.errors:
            self._show_errors(change.errors)
            return
        if change.nothing:
            self.dismiss(None)
            return
        self._saving = True
        self._refused.update(content("writing…"))
        self.run_worker(self._write(change), "write", exit_on_error=False)

    async def _write(self, change: Change) -> None:
        try:
            await self._save(self._form.files[self._file].path, change)
        except ConfigError as error:
            self._show_errors(self._form.field_errors(error.problems, self.name_typed))
        except CockpitError as error:
            self._show_errors({"": f"{error.message}\n{error.hint}".strip()})
        else:
            self.dismiss(self.name_typed or self._form.name or self._form.section)

    def _show_errors(self, errors: dict[str, str]) -> None:
        self._saving = False
        rows: dict[str, FieldRow] = {"name": self._naming, **self._rows}
        for key, row in rows.items():
            row.show_error(errors.get(key, ""))
        self._refused.update(content(errors.get("", "")))
        self._focus_first([row for key, row in rows.items() if key in errors])

    def _focus_first(self, rows: Sequence[FieldRow]) -> None:
        if rows:
            rows[0].box.focus()
            rows[0].scroll_visible()

    @on(Worker.StateChanged)
    def _broken(self, event: Worker.StateChanged) -> None:
        if event.state is WorkerState.ERROR:
            error = event.worker.error
            self._show_errors({"": f"{type(error).__name__}: {error}\nthis is a defect of cockpit"})

    def action_leave(self) -> None:
        if self.dirty and not self._warned and not self._saving:
            self._warned = True
            self._refused.update(content("esc again leaves what was typed behind; ^s saves it"))
            return
        self.dismiss(None)
