"""The controller as the screen wants to see it."""

from __future__ import annotations

from cockpit.controller import CancelReport, Controller, JobLog
from cockpit.model.stacks import StackReport
from cockpit.model.types import Fleet


class ControllerSource:
    """Satisfies `cockpit.tui.source.Source`."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller

    def snapshot(self) -> Fleet:
        return self._controller.snapshot()

    async def cancel(self, job_id: str) -> CancelReport:
        return await self._controller.cancel(job_id, reason="cancelled on the screen")

    async def restart(self, job_id: str) -> int:
        return await self._controller.restart(job_id)

    async def restart_ranks(self, job_id: str) -> None:
        await self._controller.restart_ranks(job_id, reason="restarted on the screen")

    async def stacks(self, job_id: str) -> StackReport:
        return await self._controller.stacks(job_id)

    def log(self, job_id: str) -> JobLog:
        return self._controller.log(job_id)

    def retry(self, node: str) -> None:
        self._controller.retry(node)

    async def close(self) -> None:
        """The controller belongs to whoever opened it."""
