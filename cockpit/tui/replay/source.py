"""A recording as a Source: the screen shows what it would have shown then."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from cockpit import profiles
from cockpit.errors import CockpitError, JobNotFound
from cockpit.model.doctor import Report
from cockpit.model.stacks import StackReport
from cockpit.model.types import Fleet, Job, Link, LinkState, Node
from cockpit.profiles.types import Config
from cockpit.protocol.records import JobRecord
from cockpit.text import clean
from cockpit.tui.frame import Clock
from cockpit.tui.replay.log import ReplayLog
from cockpit.tui.replay.player import Player
from cockpit.tui.replay.recording import Recording
from cockpit.tui.replay.timeline import Timeline
from cockpit.tui.source import Call

ABSENT = "this is a replay"
FACTOR = 2.0


class ReplaySource:
    """Satisfies `Source` and `Replaying`. Its `clock` is the one that the screen shall live by."""

    absent = ABSENT
    orders = None
    launchpad = None
    profiles = None
    shells = None

    def __init__(
        self,
        recording: Recording,
        *,
        speed: float = 1.0,
        mono: Callable[[], float] = time.monotonic,
    ) -> None:
        self.config: Config = profiles.builtin()
        self._recording = recording
        self._timeline = Timeline(recording)
        # The log of a job that ran on when it was recorded is younger than its last event.
        ended = max([self._timeline.ended, *(log.ended for log in recording.logs)])
        self._player = Player(self._timeline.began, ended, speed, mono)
        self.clock = Clock(mono=mono, wall=self._player.now)
        self._nodes = self._all_nodes()
        self._shown: tuple[Job, str] | None = None
        self._fleet = Fleet(revision=0)

    def _all_nodes(self) -> tuple[Node, ...]:
        """Those of every plan; a journal holds no figures of them."""
        link = Link(state=LinkState.ONLINE, since=self._timeline.began)
        names = dict.fromkeys(
            clean(member.name) for plan in self._recording.plans for member in plan.members
        )
        cluster = clean(self._recording.job.cluster)
        return tuple(Node(name=name, cluster=cluster, link=link) for name in names)

    @property
    def job_id(self) -> str:
        return self._recording.job.id

    @property
    def banner(self) -> str:
        return self._player.words

    @property
    def replay(self) -> ReplaySource:
        return self

    def snapshot(self) -> Fleet:
        now = self._player.now()
        self._timeline.tell(now)
        job = self._timeline.model.snapshot(now)
        words = self._player.words
        if self._shown is None or self._shown[0] is not job or self._shown[1] != words:
            self._shown = (job, words)
            self._fleet = Fleet(revision=self._fleet.revision + 1, nodes=self._nodes, jobs=(job,))
        return self._fleet

    # ---------------------------------------------------------------- the hands

    def pause(self) -> None:
        self._player.pause()

    def slower(self) -> None:
        self._player.scale(1 / FACTOR)

    def faster(self) -> None:
        self._player.scale(FACTOR)

    def rate(self, speed: float) -> None:
        self._player.rate(speed)

    def next_event(self) -> None:
        at = self._timeline.after(self._player.now())
        if at is not None:
            self._player.leap(at)

    def begin_again(self) -> None:
        self._timeline.rewind()
        self._player.rewind()

    # ----------------------------------------------------------------- the rest

    def record(self, job_id: str) -> JobRecord | None:
        return self._recording.job if job_id == self.job_id else None

    def log(self, job_id: str) -> ReplayLog:
        if job_id != self.job_id:
            raise JobNotFound(f"the replay knows no job {job_id}")
        return ReplayLog(self._recording.logs, self._player.now)

    def retry(self, cluster: str, node: str) -> None:
        """No node is asked anything."""

    def calls(self) -> Sequence[Call]:
        return ()

    def received(self) -> int:
        return 0

    def places(self) -> Mapping[str, str]:
        return {}

    async def stacks(self, job_id: str) -> StackReport:  # noqa: ARG002
        raise CockpitError(ABSENT)

    async def kept_stacks(self, job_id: str) -> StackReport:  # noqa: ARG002
        raise CockpitError(ABSENT)

    async def doctor(self, cluster: str, node: str) -> Report:  # noqa: ARG002
        raise CockpitError(ABSENT)

    async def close(self) -> None:
        """There is nothing to let go of."""
