"""A Source for the time before there is one: the screen draws at once, connections come after.

Until `arrive` it shows the configured nodes as being connected to; from then on everything goes to
the source that has come. Knows neither the controller nor Textual.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from cockpit.errors import CockpitError
from cockpit.model.types import Fleet, Link, Node

if TYPE_CHECKING:
    from cockpit.model.doctor import Report
    from cockpit.model.logtypes import LogDocument
    from cockpit.model.stacks import StackReport
    from cockpit.profiles.types import Config
    from cockpit.protocol.records import JobRecord
    from cockpit.tui.house.shelling import Shells
    from cockpit.tui.launch.pad import LaunchPad
    from cockpit.tui.profile.desk import ProfileDesk
    from cockpit.tui.source import Call, Orders, Replaying, Source

STARTING = "the cockpit is still starting"
_REVISION = -2
"""No source counts there, so that the first real snapshot is a new one."""


class LateSource:
    """Satisfies `Source`."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._source: Source | None = None
        self._failure = STARTING
        link = Link(since=time.time())
        self._fleet = Fleet(
            revision=_REVISION,
            nodes=tuple(
                Node(name=spec.name, cluster=cluster.name, link=link)
                for cluster in config.clusters.values()
                for spec in (*cluster.nodes, *cluster.spares)
            ),
        )

    def arrive(self, source: Source) -> None:
        """From now on this is it."""
        self._source = source

    def fail(self, error: CockpitError) -> None:
        """It will never come, and why."""
        self._failure = error.message

    def _needed(self) -> Source:
        if self._source is None:
            raise CockpitError(self._failure)
        return self._source

    @property
    def config(self) -> Config:
        return self._config if self._source is None else self._source.config

    @property
    def orders(self) -> Orders | None:
        return None if self._source is None else self._source.orders

    @property
    def launchpad(self) -> LaunchPad | None:
        return None if self._source is None else self._source.launchpad

    @property
    def profiles(self) -> ProfileDesk | None:
        return None if self._source is None else self._source.profiles

    @property
    def shells(self) -> Shells | None:
        return None if self._source is None else self._source.shells

    @property
    def replay(self) -> Replaying | None:
        return None if self._source is None else self._source.replay

    @property
    def absent(self) -> str:
        return self._failure if self._source is None else self._source.absent

    @property
    def banner(self) -> str:
        if self._source is not None:
            return self._source.banner
        return "" if self._failure == STARTING else self._failure

    def snapshot(self) -> Fleet:
        return self._fleet if self._source is None else self._source.snapshot()

    def record(self, job_id: str) -> JobRecord | None:
        return None if self._source is None else self._source.record(job_id)

    def log(self, job_id: str) -> LogDocument:
        return self._needed().log(job_id)

    def retry(self, cluster: str, node: str) -> None:
        if self._source is not None:
            self._source.retry(cluster, node)

    def calls(self) -> Sequence[Call]:
        return () if self._source is None else self._source.calls()

    def received(self) -> int:
        return 0 if self._source is None else self._source.received()

    def places(self) -> Mapping[str, str]:
        return {} if self._source is None else self._source.places()

    async def stacks(self, job_id: str) -> StackReport:
        return await self._needed().stacks(job_id)

    async def kept_stacks(self, job_id: str) -> StackReport:
        return await self._needed().kept_stacks(job_id)

    async def doctor(self, cluster: str, node: str) -> Report:
        return await self._needed().doctor(cluster, node)

    async def close(self) -> None:
        if self._source is not None:
            await self._source.close()
