"""What the screen needs of the world: a Source of snapshots, logs and orders.

`cockpit.tui.live` satisfies these protocols on a controller; replays, the simulated fleet and
tests do too. The screen calls what is not `async` at its own pulse and never waits in it; the
orders are awaited outside of any key handler. A part that a source does not have is None, and the
screen says why (`absent`) when somebody asks for it. Nothing here knows Textual.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:  # these take long to load, and the first frame waits for this module
    from cockpit.model.doctor import Report
    from cockpit.model.logtypes import LogDocument
    from cockpit.model.reports import CancelReport, NodeProof, RestartOptions
    from cockpit.model.stacks import StackReport
    from cockpit.model.types import Fleet
    from cockpit.profiles.types import Config
    from cockpit.protocol.records import JobRecord
    from cockpit.tui.house.shelling import Shells
    from cockpit.tui.launch.pad import LaunchPad
    from cockpit.tui.profile.desk import ProfileDesk

Say = Callable[[str], None]


class Call(NamedTuple):
    """A request that was sent to a node. `at`: wall clock; `seconds` None while it is open;
    `outcome` "" while it is open, "ok", or the error."""

    at: float
    cluster: str
    node: str
    what: str
    seconds: float | None
    outcome: str


class Orders(Protocol):
    """What changes jobs. `say` hears of the progress, one short line each."""

    async def cancel(
        self, job_id: str, say: Say, found: Callable[[NodeProof], None]
    ) -> CancelReport:
        """Cancel and wait for the proof; `found` hears of each node as soon as it was searched.
        Raises CockpitError."""

    async def cancel_when_back(
        self,
        job_id: str,
        nodes: Collection[str],
        told: Callable[[str], None],
        found: Callable[[NodeProof], None],
    ) -> None:
        """Cancel a job on `nodes` that could not be asked, each as soon as it is back; returns when
        all of them were searched. `told` hears the name of each node that has the order. Raises
        CockpitError."""

    async def restart(self, job_id: str, options: RestartOptions, say: Say) -> int:
        """Cancel what runs, start the next attempt; its number. Raises CockpitError."""

    async def restart_ranks(self, job_id: str, say: Say) -> int:
        """Have the ranks of a running job start anew, in place; the new generation's number.
        Raises CockpitError."""


class Replaying(Protocol):
    """The hands on a recorded session that is being played. All of it returns at once."""

    def pause(self) -> None:
        """Stop the clock, or let it go on."""

    def slower(self) -> None: ...
    def faster(self) -> None: ...
    def next_event(self) -> None:
        """Go on to the moment at which the next thing was told."""

    def begin_again(self) -> None: ...
    def rate(self, speed: float) -> None:
        """Play this many seconds in one. Raises UsageError outside of what is possible."""


class Source(Protocol):
    """Live state and orders."""

    @property
    def config(self) -> Config:
        """The profiles in force."""

    @property
    def orders(self) -> Orders | None: ...
    @property
    def launchpad(self) -> LaunchPad | None: ...
    @property
    def profiles(self) -> ProfileDesk | None: ...
    @property
    def shells(self) -> Shells | None: ...
    @property
    def absent(self) -> str:
        """Why parts are None: "this is a replay"; "" where none is."""

    @property
    def banner(self) -> str:
        """What stands in the top line so that nobody takes it for live: "REPLAY ×10"; else ""."""

    @property
    def replay(self) -> Replaying | None:
        """None where nothing is being replayed."""

    def snapshot(self) -> Fleet:
        """The newest state; cheap, the same object while nothing changed."""

    def record(self, job_id: str) -> JobRecord | None:
        """What was asked to be run, where that is known. Its texts are the user's, not cleaned."""

    def log(self, job_id: str) -> LogDocument:
        """Read a job's log, from near its end. Raises CockpitError."""

    def retry(self, cluster: str, node: str) -> None:
        """Try an unreachable node again, now. Never waits."""

    def calls(self) -> Sequence[Call]:
        """The newest requests that were sent to nodes, oldest first; at most 1,000."""

    def received(self) -> int:
        """Bytes that came from nodes so far; 0 where there are none."""

    def places(self) -> Mapping[str, str]:
        """Folders that it keeps things in, by what they are for."""

    async def stacks(self, job_id: str) -> StackReport:
        """Where every rank is in its code, right now. Raises CockpitError."""

    async def kept_stacks(self, job_id: str) -> StackReport:
        """Where every rank was at the newest stall. Raises CockpitError."""

    async def doctor(self, cluster: str, node: str) -> Report:
        """Look at one node. Raises CockpitError."""

    async def close(self) -> None:
        """Let go of every connection; jobs are not touched."""
