"""Keeps the profiles of the screen in step with their files, and asks before it writes them.

The app holds one and tells it of every second. All reading and writing goes through the source's
ProfileDesk, in workers; what is written is in force at once (`[screen]`, `[notify]` and `[keys]` at
the next start), and what is wrong is said with its line.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cockpit.errors import CockpitError, UsageError
from cockpit.profiles import Cluster, Source
from cockpit.profiles.checking import KEYS, SECTIONS, SINGLES
from cockpit.profiles.keys import dotted
from cockpit.text import count_of
from cockpit.tui.actions.base import View
from cockpit.tui.dialogs import ConfirmDialog
from cockpit.tui.orders.wording import Order
from cockpit.tui.outside import editor, outside
from cockpit.tui.places import place, short
from cockpit.tui.profile.desk import Key, ProfileDesk
from cockpit.tui.profile.editing import at_line

if TYPE_CHECKING:
    from cockpit.tui.app import CockpitApp
    from cockpit.tui.profile.forms import Change, Form

# Dialogs and forms are imported when one is opened: the first frame does not wait for them.

GROUP = "profiles"
"""Workers that read and write files."""


class ProfileKeeper:
    def __init__(self, app: CockpitApp) -> None:
        self._app = app
        self._looking = False
        self._known = False
        self._failure = ""
        """What was last said to be wrong when looking at the files."""
        self.wanted: tuple[str, str] | None = None
        """Section and name that the view shall go to; it takes it away."""

    @property
    def _desk(self) -> ProfileDesk:
        desk = self._app.source.profiles
        if desk is None:
            raise UsageError(self._app.source.absent)
        return desk

    # ------------------------------------------------------------------ files on the disk

    def tick(self) -> None:
        """Called once a second: files that others wrote come into force."""
        if self._app.source.profiles is not None and not self._looking:
            self._looking = True
            self._start(self._look_on(), "profiles")

    async def _look_on(self) -> None:
        """Look, and say the same failure once, not every second."""
        try:
            await self._look()
        except CockpitError as error:
            if error.message != self._failure:
                self._failure = error.message
                raise
        else:
            self._failure = ""

    async def _look(self) -> None:
        try:
            if not self._known:
                await self._learn()
            elif await self._desk.changed_on_disk():
                await self._reload("changed: reloaded")
        finally:
            self._looking = False

    async def _learn(self) -> None:
        await self._desk.reload()
        self._known = True
        self._app.pulse(force=True)

    def _when_known(self, do: Callable[[], None]) -> None:
        """Do it now, or as soon as the files were read for the first time."""

        async def later() -> None:
            await self._learn()
            do()

        if self._known or self._desk.files:
            do()
        else:
            self._start(later(), "profiles")

    def reload(self) -> None:
        self._start(self._reload("read again"), "reload")

    async def _reload(self, done: str) -> None:
        problems = await self._desk.reload()
        errors = [problem for problem in problems if problem.level == "error"]
        names = ", ".join(Path(each.file).name for each in self._desk.written) or "no file"
        if errors:
            first = errors[0]
            where = ""
            if first.file:
                where = f"{short(Path(first.file), self._desk.here)}:{first.line}: "
            self._app.say(
                f"{names}: {count_of(len(errors), 'problem')}, the old profiles stay in force. "
                f"{where}{first.message}",
                severity="warning",
            )
        else:
            self._app.say(f"{names} {done}")
        self._app.pulse(force=True)

    # ---------------------------------------------------------------------- going there

    @property
    def names(self) -> Sequence[str]:
        config = self._app.source.config
        full = [(section, name) for section in SECTIONS for name in getattr(config, section)]
        lone = [name for _, name in full]
        found = [name if lone.count(name) == 1 else f"{section}.{name}" for section, name in full]
        return [*found, *SINGLES, KEYS]

    @property
    def clusters(self) -> Sequence[str]:
        return list(self._app.source.config.clusters)

    def go(self, name: str) -> None:
        """Show the view, and in it the profile called so. Raises UsageError."""
        if name:
            self.wanted = self._find(name)
        self._app.show(View.PROFILES)
        self._app.pulse(force=True)

    def _find(self, name: str) -> tuple[str, str]:
        if name in (*SINGLES, KEYS):
            return (name, "")
        config = self._app.source.config
        found = [
            (section, each)
            for section in SECTIONS
            for each in getattr(config, section)
            if name in (each, f"{section}.{each}")
        ]
        if len(found) == 1:
            return found[0]
        if found:
            raise UsageError(
                f"{name!r} is ambiguous", " or ".join(f"{s}.{each}" for s, each in found)
            )
        near = difflib.get_close_matches(name, self.names, 1)
        raise UsageError(
            f"there is no profile {name!r}", f"did you mean {near[0]}?" if near else ""
        )

    # ---------------------------------------------------------------------------- forms

    def new(self, section: str) -> None:
        from cockpit.tui.profile.dialogs import KindDialog
        from cockpit.tui.profile.forms import profile_form

        def chosen(answer: str | None) -> None:
            if answer is not None:
                section = answer
                self._when_known(
                    lambda: self._open(profile_form(self._desk, section, new=True), section)
                )

        first = section if section in SECTIONS else "clusters"
        self._app.push_screen(KindDialog(first), chosen)

    def edit(self, section: str, name: str, key: str = "") -> None:
        from cockpit.tui.profile.forms import key_form, profile_form

        def open_it() -> None:
            if section == KEYS:
                self._open(key_form(self._desk, self._app.actions, key), section, key)
            else:
                form = profile_form(self._desk, section, name)
                self._open(form, section, key.split(".")[0])

        self._when_known(open_it)

    def duplicate(self, section: str, name: str) -> None:
        from cockpit.tui.profile.forms import profile_form

        self._when_known(
            lambda: self._open(profile_form(self._desk, section, name, new=True), section)
        )

    def _open(self, form: Form, section: str, focus_key: str = "") -> None:
        from cockpit.tui.profile.formdialog import FormDialog

        async def save(path: Path, change: Change) -> None:
            await self._desk.change(path, change.values, change.removed)

        def done(name: str | None) -> None:
            if name is not None:
                if form.new:
                    self.wanted = (section, name)
                self._app.pulse(force=True)

        self._app.push_screen(FormDialog(form, save, focus_key), done)

    # ------------------------------------------------------------------------- deleting

    def _where(self, section: str, name: str, key: str) -> list[tuple[Source, Key]]:
        """Every file that says something of it, nearest first, with the place there."""
        path: Key = (section, name) if name else (section,)
        if key:
            # A row such as "env.A" is an entry of a table; an action's id holds dots of its own.
            path = (*path, key) if section == KEYS else (*path, *key.split(".", 1))
        found = [(each.source(*path), each) for each in self._desk.written]
        return [(source, path) for source, _ in found if source is not None]

    def why_not_delete(self, section: str, name: str, key: str = "") -> str:
        if self._app.source.profiles is None:
            return self._app.source.absent
        if not key and not name:
            return "nothing is selected that can be deleted"
        if self._where(section, name, key):
            return ""
        if not self._desk.files:
            return "the files are being read"
        return f"{key} is not set in any file" if key else f"{name} is in no file: it is built in"

    def delete(self, section: str, name: str, key: str = "") -> None:
        from cockpit.tui.profile.rows import SINGULAR

        (source, path), *others = self._where(section, name, key)
        here = self._desk.here
        what = f"{dotted(path)}" if key else f"the {SINGULAR[section]} {name}"
        text = [f"{what} is removed from {place(source, here)}."]
        if others:
            text.append(f"It is also in {place(others[0][0], here)}, which is in force then.")
        elif key:
            text.append("Its default is in force then.")
        if section == "clusters" and not key:
            text.append("Jobs on its nodes run on; the cockpit lets go of the nodes.")
        order = Order(f"Delete {what}?", tuple(text), "Delete", "")

        def answered(yes: bool | None) -> None:
            if yes:
                self._start(self._delete(Path(source.file), path, what), f"deleting {what}")

        self._app.push_screen(ConfirmDialog(order), answered)

    async def _delete(self, file: Path, path: Key, what: str) -> None:
        await self._desk.change(file, {}, [path])
        self._app.say(f"{what} is removed from {short(file, self._desk.here)}")
        self._app.pulse(force=True)

    # ----------------------------------------------------------------------- the editor

    def open_editor(self, section: str, name: str, key: str = "") -> None:
        self._when_known(lambda: self._open_editor(section, name, key))

    def _open_editor(self, section: str, name: str, key: str) -> None:
        found = self._where(section, name, key) or self._where(section, name, "")
        errors = [problem for problem in self._desk.problems if problem.file and problem.line]
        if found and not any(problem.level == "error" for problem in errors):
            source = found[0][0]
        elif errors:
            source = Source(file=errors[0].file, line=errors[0].line)
        else:
            source = Source(file=str(self._desk.target), line=0)
        self._start(self._edit(Path(source.file), source.line), "editor")

    async def _edit(self, file: Path, line: int) -> None:
        code = await outside(self._app, at_line(editor(), file, line))
        if code:
            self._app.say(f"the editor ended with {code}", severity="warning")
        await self._reload("edited")

    # -------------------------------------------------------------------------- clusters

    def _cluster(self, name: str) -> Cluster:
        cluster = self._app.source.config.clusters.get(name)
        if cluster is None:
            raise UsageError(
                f"there is no cluster {name!r}", f"there are {', '.join(sorted(self.clusters))}"
            )
        return cluster

    def test(self, cluster: str) -> None:
        from cockpit.tui.profile.dialogs import TestDialog

        self._app.push_screen(TestDialog(self._desk, self._cluster(cluster), self._app.frame))

    def trust(self, cluster: str) -> None:
        from cockpit.tui.profile.dialogs import TrustDialog

        self._app.push_screen(TrustDialog(self._desk, self._cluster(cluster).name))

    # --------------------------------------------------------------------------- workers

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self._app.run_worker(self._told(work), name, group=GROUP, exit_on_error=False)

    async def _told(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except CockpitError as error:
            hint = f" — {error.hint}" if error.hint else ""
            self._app.say(f"{error.message}{hint}", severity="error")
