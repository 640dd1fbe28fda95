"""Plans, checks and starts jobs for the launch form, through the controller."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import msgspec

from cockpit import profiles
from cockpit.controller import Controller
from cockpit.errors import CockpitError, JobNotFound, PackagingError, StartError, UsageError
from cockpit.launchers.plan import Request
from cockpit.launchers.preview import preview_text
from cockpit.model.doctor import Report
from cockpit.model.types import Job
from cockpit.packaging import Package
from cockpit.profiles import Config
from cockpit.profiles.keys import dotted
from cockpit.tui.launch import drafts
from cockpit.tui.launch.pad import Checked, Draft, FolderChanged, Preview, Say
from cockpit.tui.live.drift import drift, named
from cockpit.tui.live.packing import Packer
from cockpit.tui.live.relaunch import draft_of


def _unheard(text: str) -> None:
    """Progress that nobody listens to."""


class LiveLaunchPad:
    """Satisfies `cockpit.tui.launch.pad.LaunchPad`. `reload` brings a written profile into force;
    `target` is the file that new profiles are written to."""

    def __init__(
        self,
        controller: Controller,
        target: Callable[[], Path],
        reload: Callable[[], Awaitable[None]],
    ) -> None:
        self._controller = controller
        self._target = target
        self._reload = reload
        self._packer = Packer()

    @property
    def config(self) -> Config:
        return self._controller.config

    async def check(self, draft: Draft) -> Checked:
        fleet = self._controller.snapshot()
        mono = time.monotonic()
        return await asyncio.to_thread(drafts.check, draft, self.config, fleet, mono=mono)

    async def preview(self, checked: Checked, say: Say) -> Preview:
        request = checked.request
        if request is None:
            raise UsageError("there is no plan while something is wrong with the form")
        return await self._preview(request, checked.given, checked.command, say)

    async def renew(self, preview: Preview, say: Say) -> Preview:
        return await self._preview(preview.request, preview.given, preview.command, say)

    async def _preview(
        self, request: Request, given: Mapping[str, str], command: tuple[str, ...], say: Say
    ) -> Preview:
        package = await self._pack(request, say)
        return Preview(
            request=request,
            text=preview_text(request, self._controller.plan(request), package),
            given=given,
            command=command,
            digest=package.digest if package is not None else "",
            size=package.size if package is not None else 0,
            files=package.files if package is not None else 0,
            warnings=package.warnings if package is not None else (),
            package=package,
        )

    async def _pack(self, request: Request, say: Say) -> Package | None:
        if not request.cluster.sync:
            return None
        return await self._packer.pack(request.working_dir, say)

    async def preflight(self, request: Request) -> Report:
        return await self._controller.preflight(request)

    async def launch(
        self, preview: Preview, say: Say, give_up: asyncio.Event, *, in_spite: bool
    ) -> str:
        request = msgspec.structs.replace(preview.request, preflight=not in_spite)
        if preview.package is not None:
            await self._still_as_shown(preview.package, request, say)
        job = self._controller.new_job_id()
        launching = asyncio.ensure_future(
            self._controller.launch(
                request,
                archive=preview.package,
                files=preview.files,
                given_secrets=preview.given,
                say=say,
                job_id=job,
            )
        )
        stopping = asyncio.ensure_future(give_up.wait())
        try:
            await asyncio.wait({launching, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not launching.done():
                say("giving the start up…")
                launching.cancel()
                await asyncio.wait({launching})
            if launching.cancelled():
                raise CockpitError(await self._given_up(job, say))
            return launching.result()
        except StartError as error:
            moved = [each for each in error.reasons.values() if isinstance(each, PackagingError)]
            if moved:
                # It was written to while it was being sent.
                raise FolderChanged(moved[0].message, moved[0].hint) from error
            raise
        finally:
            stopping.cancel()
            if not launching.done():
                # The screen is being left: what was claimed is given back before the links go.
                launching.cancel()
                await asyncio.wait({launching})

    async def _still_as_shown(self, package: Package, request: Request, say: Say) -> None:
        """Say what is not sent because it came later. Raises FolderChanged where the folder does
        not hold any more what the plan shows."""
        now = await self._packer.pack(request.working_dir, say)
        later, lost = await asyncio.to_thread(drift, package, now)
        if lost:
            raise FolderChanged(
                f"changed in {request.working_dir} since this plan was made: {named(lost)}",
                "launch with what is there now, or go back and look at the new plan; files that "
                "are written to all the time are better left out by .cockpitignore",
            )
        if later:
            say(f"sent as the plan shows it, without what came later: {named(later)}")

    async def _given_up(self, job: str, say: Say) -> str:
        """End what runs of it already, and say what became of it."""
        try:
            report = await self._controller.cancel(job, reason="the start was given up", say=say)
        except JobNotFound:
            return "the start was given up; nothing runs"
        return f"the start was given up; {report.proof}"

    async def save(self, draft: Draft, name: str) -> Path:
        path = self._target()
        await asyncio.to_thread(write_profile, self.config, draft, name, path)
        await self._reload()
        return path

    async def draft_of(self, job: Job) -> Draft:
        try:
            record = self._controller.record(job.id)
        except CockpitError:
            # Remembered from an earlier session: no node that is there has its record.
            return drafts.of_job(job)
        return await asyncio.to_thread(draft_of, record, self.config)


def write_profile(config: Config, draft: Draft, name: str, path: Path) -> None:
    """Put the job profile `name` into a file. Raises ConfigError, UsageError."""
    asked, problems = drafts.read(draft, config)
    for trouble in problems.values():
        raise UsageError(trouble.message, trouble.hint)
    values = profiles.profile_values(config, asked, str(path.parent))
    profiles.set_value(path, dotted(("jobs", name)), values)
