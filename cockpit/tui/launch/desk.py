"""Opens the launch form and carries out what it answers. The app holds one.

What was typed is kept here for as long as the cockpit runs, one draft for each thing that a form
was opened on: a new job, a job profile, a job to have again. One launch is carried out at a time;
closing its dialog does not stop it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from cockpit.errors import CockpitError, UsageError
from cockpit.tui.draw.spans import Line
from cockpit.tui.launch.pad import Draft, FolderChanged, LaunchPad, Preview
from cockpit.tui.orders.desk import GROUP

if TYPE_CHECKING:
    from cockpit.model.types import Job
    from cockpit.tui.app import CockpitApp
    from cockpit.tui.frame import Frame
    from cockpit.tui.launch.form import LaunchForm
    from cockpit.tui.launch.progress import LaunchProgress


class LaunchDesk:
    """Satisfies `actions.launch.LaunchDo`, and `launchform.Owner` for the form it has opened."""

    def __init__(self, app: CockpitApp) -> None:
        self._app = app
        self._drafts: dict[str, Draft] = {}
        self._failed: dict[str, tuple[Line, ...]] = {}
        """Why the newest start from a draft failed, where its form was closed meanwhile."""
        self._origin = ""
        """What the open form was opened on."""
        self._newest: LaunchForm | None = None
        self.busy = ""

    @property
    def profiles(self) -> Sequence[str]:
        return sorted(self._app.source.config.jobs)

    def new(self, profile: str = "") -> None:
        """Open the form, from a job profile or from scratch."""
        if profile and profile not in self._app.source.config.jobs:
            there = ", ".join(self.profiles) or "none"
            raise UsageError(f"there is no job profile {profile!r}", f"there are: {there}")
        self._open(f"profile {profile}", self._with_marked(Draft(job=profile)))

    def again(self) -> None:
        """Open the form filled with what the selected job had asked for."""
        job, pad = self._app.job, self._pad
        if job is not None and pad is not None:
            work = self._again(pad, job)
            self._app.run_worker(work, "reading the job", GROUP, exit_on_error=False)

    async def _again(self, pad: LaunchPad, job: Job) -> None:
        draft = await pad.draft_of(job)
        if self._form is None:
            self._open(f"job {job.id}", draft, job.name)

    @property
    def _form(self) -> LaunchForm | None:
        """The form, while it is open."""
        return self._newest if self._newest in self._app.screen_stack else None

    @property
    def _pad(self) -> LaunchPad | None:
        return self._app.source.launchpad

    def _with_marked(self, draft: Draft) -> Draft:
        """Nodes that are marked, all in one cluster, are those that the job shall run on."""
        marked = self._app.marked_nodes
        clusters = {node.cluster for node in marked}
        if len(clusters) != 1:
            return draft
        return draft._replace(cluster=clusters.pop(), on=self.marked)

    def _open(self, origin: str, draft: Draft, again: str = "") -> None:
        # The form and all that it imports is for those who launch something.
        from cockpit.tui.launch.form import LaunchForm

        pad = self._pad
        if pad is None:
            self._app.say(self._app.missing("launchpad"), severity="warning")
            return
        self._origin = origin
        kept = self._drafts.get(origin)
        form = LaunchForm(
            self,
            pad,
            draft if kept is None else kept,
            again=again,
            kept=kept is not None,
            notes=self._failed.pop(origin, ()),
        )
        self._newest = form
        self._app.push_screen(form)

    # ------------------------------------------------------------- the form's owner

    @property
    def frame(self) -> Frame:
        return self._app.frame

    @property
    def marked(self) -> str:
        return ",".join(node.name for node in self._app.marked_nodes)

    @property
    def profile_file(self) -> str:
        desk = self._app.source.profiles
        return str(desk.target) if desk is not None else "cockpit.toml"

    def keep(self, draft: Draft | None) -> None:
        if draft is None:
            self._drafts.pop(self._origin, None)
        else:
            self._drafts[self._origin] = draft

    def say(self, text: str, *, severity: str = "information") -> None:
        self._app.say(text, severity=severity)

    def copy(self, text: str) -> None:
        self._app.run_worker(self._copy(text), "copying", GROUP, exit_on_error=False)

    async def _copy(self, text: str) -> None:
        from cockpit.tui.logs import clipboard

        try:
            path, _ = await clipboard.copy(self._app, text)
        except OSError as error:
            self._app.say(f"not copied: {error.strerror}", severity="error")
            return
        self._app.say(f"copied the command, less values of secrets; it is in {path} too")

    def carry_out(self, preview: Preview, *, in_spite: bool) -> None:
        self._carry_out(preview, in_spite=in_spite)

    def _carry_out(self, preview: Preview, *, in_spite: bool, renew: bool = False) -> None:
        """`renew`: with the folder as it is now."""
        from cockpit.tui.launch.progress import LaunchProgress

        pad, form = self._pad, self._form
        if pad is None or form is None or self.busy:
            return
        name = preview.request.name
        give_up = asyncio.Event()
        dialog = LaunchProgress(f"Starting {name}", give_up.set)
        self.busy = f"{name} is being started"
        self.keep(form.draft)
        self._app.push_screen(dialog, lambda _: self._closed(dialog, form))
        work = self._launch(pad, preview, dialog, give_up, in_spite=in_spite, renew=renew)
        self._app.run_worker(work, f"starting {name}", GROUP, exit_on_error=False)

    def _closed(self, dialog: LaunchProgress, form: LaunchForm) -> None:
        """The dialog was closed: back to the form, or away while the start goes on."""
        if self.busy and not dialog.failed and form.is_current:
            form.dismiss(None)

    async def _launch(
        self,
        pad: LaunchPad,
        preview: Preview,
        dialog: LaunchProgress,
        give_up: asyncio.Event,
        *,
        in_spite: bool,
        renew: bool,
    ) -> None:
        from cockpit.tui.launch.wording import failure_lines

        origin, name = self._origin, preview.request.name
        rows: Sequence[Line] = failure_lines(CockpitError("the start broke off", "see :debug"))
        again: Callable[[], None] | None = None
        try:
            if renew:
                preview = await pad.renew(preview, dialog.hear)
                dialog.hear(f"what is there now: {preview.files} files · {preview.digest[:12]}")
            job = await pad.launch(preview, dialog.hear, give_up, in_spite=in_spite)
        except CockpitError as error:
            rows = failure_lines(error)
            if isinstance(error, FolderChanged):
                again = partial(self._carry_out, preview, in_spite=in_spite, renew=True)
            self._app.say(f"{name} was not started", severity="error")
        else:
            rows = ()
        finally:
            self.busy = ""
            if rows:
                self._not_started(origin, dialog, rows, again)
        if not rows:
            self._started(origin, dialog, job, name)

    def _not_started(
        self,
        origin: str,
        dialog: LaunchProgress,
        rows: Sequence[Line],
        again: Callable[[], None] | None,
    ) -> None:
        dialog.fail(rows, again)
        form = self._form
        if form is not None and self._origin == origin:
            form.fail(rows)
        else:
            self._failed[origin] = tuple(rows)

    def _started(self, origin: str, dialog: LaunchProgress, job: str, name: str) -> None:
        self._drafts.pop(origin, None)
        self._app.say(f"{name} runs: job {job}")
        form = self._form
        if dialog.is_current and form is not None:
            # Whoever still watches is taken to what was started.
            dialog.dismiss(None)
            form.dismiss(None)
            self._app.show_job(job)
