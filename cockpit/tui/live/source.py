"""The controller as the screen wants to see it."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from cockpit.controller import CancelReport, Controller
from cockpit.errors import CockpitError
from cockpit.model.doctor import Report
from cockpit.model.logtypes import LogDocument
from cockpit.model.reports import NodeProof, RestartOptions
from cockpit.model.stacks import StackReport
from cockpit.model.types import Fleet
from cockpit.profiles.loading import user_file
from cockpit.profiles.types import Config
from cockpit.protocol.records import JobRecord
from cockpit.tui.house.shelling import Shells
from cockpit.tui.launch.pad import LaunchPad
from cockpit.tui.live.launching import LiveLaunchPad
from cockpit.tui.live.shell import LiveShells
from cockpit.tui.profile.desk import ProfileDesk
from cockpit.tui.source import Call, Replaying

Say = Callable[[str], None]
CANCELLED = "cancelled on the screen"


class LiveOrders:
    """Satisfies `cockpit.tui.source.Orders`."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller

    async def cancel(
        self, job_id: str, say: Say, found: Callable[[NodeProof], None]
    ) -> CancelReport:
        return await self._controller.cancel(job_id, reason=CANCELLED, say=say, found=found)

    async def cancel_when_back(
        self,
        job_id: str,
        nodes: Collection[str],
        told: Callable[[str], None],
        found: Callable[[NodeProof], None],
    ) -> None:
        await self._controller.cancel_when_back(
            job_id, nodes, reason=CANCELLED, told=told, found=found
        )

    async def restart(self, job_id: str, options: RestartOptions, say: Say) -> int:
        report = await self._controller.restart(job_id, options=options, say=say)
        return report.attempt

    async def restart_ranks(self, job_id: str, say: Say) -> int:
        reason = "restarted on the screen"
        return await self._controller.restart_ranks(job_id, reason=reason, say=say)


class LiveSource:
    """Satisfies `cockpit.tui.source.Source`. `profiles`: None where they come from no file."""

    banner = ""
    replay: Replaying | None = None

    def __init__(self, controller: Controller, profiles: ProfileDesk | None = None) -> None:
        self._controller = controller
        self.absent = "" if profiles is not None else "these profiles come from no file"
        controller.recall()
        self.orders = LiveOrders(controller)
        self.launchpad: LaunchPad | None = LiveLaunchPad(
            controller, self._target, self._reload_profiles
        )
        self.profiles = profiles
        self.shells: Shells | None = LiveShells(controller)

    @property
    def config(self) -> Config:
        return self._controller.config

    def _target(self) -> Path:
        """The file that a new profile goes to."""
        if self.profiles is not None:
            return self.profiles.target
        files = self.config.files
        return Path(files[0]) if files else user_file(os.environ)

    async def _reload_profiles(self) -> None:
        if self.profiles is not None:
            await self.profiles.reload()

    def snapshot(self) -> Fleet:
        return self._controller.snapshot()

    def record(self, job_id: str) -> JobRecord | None:
        try:
            return self._controller.record(job_id)
        except CockpitError:
            return None

    def log(self, job_id: str) -> LogDocument:
        return self._controller.document(job_id)

    def retry(self, cluster: str, node: str) -> None:  # noqa: ARG002
        self._controller.retry(node)

    def calls(self) -> Sequence[Call]:
        return [
            Call(call.at, call.cluster, call.node, call.what, call.seconds, call.outcome)
            for call in self._controller.calls()
        ]

    def received(self) -> int:
        return self._controller.received

    def places(self) -> Mapping[str, str]:
        return self._controller.places

    async def stacks(self, job_id: str) -> StackReport:
        return await self._controller.stacks(job_id)

    async def kept_stacks(self, job_id: str) -> StackReport:
        return await self._controller.kept_stacks(job_id)

    async def doctor(self, cluster: str, node: str) -> Report:
        return await self._controller.doctor([cluster], [node])

    async def close(self) -> None:
        """The controller belongs to whoever opened it."""
