"""What the screen needs of the world: a Source of snapshots, log lines and a few orders.

The controller satisfies these protocols, tests and the demo do too. The screen calls `snapshot`
and `poll` at its own pulse and never waits in them; the orders are awaited outside of any key
handler. Nothing here knows Textual.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from cockpit.model.reports import CancelReport
from cockpit.model.stacks import StackReport
from cockpit.model.types import Fleet


class LogLine(Protocol):
    """One line of a stream, cleaned. `at` is the node's wall clock in seconds.

    `rank` and `local_rank` are None for what the launcher process wrote; `stream` ends with
    "err" for standard error.
    """

    @property
    def node(self) -> str: ...
    @property
    def node_rank(self) -> int: ...
    @property
    def rank(self) -> int | None: ...
    @property
    def local_rank(self) -> int | None: ...
    @property
    def stream(self) -> str: ...
    @property
    def attempt(self) -> int: ...
    @property
    def generation(self) -> int | None: ...
    @property
    def offset(self) -> int: ...
    @property
    def at(self) -> float | None: ...
    @property
    def text(self) -> str: ...


class LogSource(Protocol):
    """The merged log of one job."""

    def poll(self) -> Sequence[LogLine]:
        """Lines since the last poll, in order; never waits, bounded per call, empty when none."""

    def close(self) -> None:
        """Stop following. Never raises."""


class Source(Protocol):
    """Live state and orders."""

    def snapshot(self) -> Fleet:
        """The newest state; cheap, the same object while nothing changed."""

    async def cancel(self, job_id: str) -> CancelReport:
        """Cancel and wait for the proof. Raises CockpitError."""

    async def restart(self, job_id: str) -> object:
        """Cancel what runs, start the next attempt. Raises CockpitError."""

    async def restart_ranks(self, job_id: str) -> object:
        """Have the ranks of a running job start anew, in place. Raises CockpitError."""

    async def stacks(self, job_id: str) -> StackReport:
        """Where every rank is in its code, right now. Raises CockpitError."""

    def log(self, job_id: str) -> LogSource:
        """Follow a job's merged log. Raises CockpitError."""

    def retry(self, node: str) -> None:
        """Try an unreachable node again, now. Never waits."""

    async def close(self) -> None:
        """Let go of every connection; jobs are not touched."""
