"""The simulated jobs as the screen sees them: ranks with beats, figures over time, orders.

Built at most once a second, and only while something can have changed.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec

from cockpit.model.types import (
    Job,
    JobNode,
    JobState,
    Link,
    LinkState,
    Metric,
    NodeState,
    Rank,
    RankState,
    Stage,
    Stall,
)
from cockpit.tui.simulated.nodes import IDLE, SLOW_GPU, Load
from cockpit.tui.simulated.plot import Moment, Plot, Spec
from cockpit.tui.simulated.story import CLUSTER, Story, out_of_memory

FIRST_PID = 40_000
"""Of the ranks, on every node."""
POINTS = 240
"""Points of a figure over time."""
SILENT_AFTER = 120.0
SHORT = 6.0
"""Seconds from the start of a generation to the first beat."""
_GIB = 1 << 30
_ENDED = {
    JobState.SUCCEEDED: (NodeState.SUCCEEDED, RankState.SUCCEEDED),
    JobState.FAILED: (NodeState.FAILED, RankState.STOPPED),
    JobState.CANCELLED: (NodeState.CANCELLED, RankState.STOPPED),
}


def specs(story: Story) -> list[Spec]:
    """The jobs of the fleet at its opening, newest first."""
    count = story.count
    main = tuple(range(max(count - 2, 1)))
    rest = tuple(range(len(main), count)) or (0,)
    absent = story.dead if story.dead is not None else 0
    few = tuple(range(min(4, count)))
    failed = msgspec.structs.replace(
        out_of_memory(), node=story.name(few[-1]), rank=(len(few) - 1) * 8 + 3, alike=5
    )
    return [
        Spec("0e7a15c0ffee", "eval-7b", ("eval.py", "--suite", "all"), (rest[-1], absent), -900.0,
             level=0, waits=-140.0, step_time=0.4, max_restarts=0),
        Spec("ab1a7e000007", "ablate-7b", ("train.py", "--config", "ablate.yaml"), rest, -2_500.0,
             level=12, memory=52, stalled=-150.0, step_time=0.8),
        Spec("d90c13b00013", "dpo-13b", ("dpo.py", "--beta", "0.1"), few, -3_000.0,
             ended=-2_276.0, end=JobState.FAILED, cause=failed),
        Spec("77a3a7000070", "llama-70b", ("train.py", "--config", "70b.yaml"), main, -24_082.0,
             launcher="torchrun+ft", max_restarts=100, failing=True),
        Spec("5eeb00000003", "sweep-lr3", ("train.py", "--lr", "1e-3"), few, -30_000.0,
             ended=-28_500.0, end=JobState.CANCELLED),
        Spec("1b1b1b1b1b1b", "pretrain-1b", ("train.py", "--config", "1b.yaml"), main, -90_000.0,
             ended=-31_000.0, end=JobState.SUCCEEDED),
    ]  # fmt: skip


class SimulatedJob:
    """One job: what it does at any moment, and what people have told it."""

    def __init__(
        self,
        spec: Spec,
        story: Story,
        gpus: int,
        wall: float,
        link: Callable[[int, float], Link],
    ) -> None:
        self.spec = spec
        self.plot = Plot(spec, story, gpus, wall)
        self.cancelling: int | None = None
        """Nodes that a cancel in progress has emptied already."""
        self._story = story
        self._gpus = gpus
        self._wall = wall
        self._link = link
        self._load = Load(spec.id, FIRST_PID, spec.level, spec.memory * _GIB)
        self.revision = 0
        """Grows with every order."""
        self._known: tuple[tuple[int, int], Job] | None = None

    # ------------------------------------------------------------------ orders

    def touch(self) -> None:
        """Something was ordered: build it anew."""
        self.revision += 1

    def begin_cancel(self) -> None:
        self.cancelling = 0
        self.touch()

    def emptied(self, nodes: int) -> None:
        self.cancelling = nodes
        self.touch()

    def cancelled(self, now: float) -> None:
        self.cancelling = None
        self.plot.finish(now, JobState.CANCELLED, None)
        self.touch()

    def restarted(self, now: float, nodes: tuple[int, ...]) -> None:
        self.plot.restart(now, nodes)
        self.touch()

    def ranks_restarted(self, now: float) -> None:
        self.plot.asked.append(now)
        self.touch()

    # ------------------------------------------------------------------- looks

    def load(self, index: int, now: float) -> Load:
        """What it does to a node of the fleet."""
        plot = self.plot
        if (plot.ended is not None and now >= plot.ended) or index not in plot.attempts[-1][1]:
            return IDLE
        moment = plot.at(now)
        place = moment.nodes.index(index)
        if not moment.running or (self.cancelling or 0) > place:
            return IDLE
        return self._load

    def at(self, now: float) -> Job:
        """The same object within a second, and for ever once it has ended."""
        ended = self.plot.ended is not None
        key = (self.revision, 0 if ended else math.floor(now))
        if self._known is None or self._known[0] != key:
            self._known = (key, self._build(now, self.plot.at(now)))
        return self._known[1]

    def worked_until(self, now: float) -> float:
        """When it did something last."""
        spec = self.spec
        until = now if self.plot.ended is None else self.plot.ended
        stops = (spec.stalled, spec.waits) if self.plot.troubled else ()
        return min([until, *(at for at in stops if at is not None)])

    def step(self, now: float, moment: Moment) -> int:
        """Optimizer steps so far."""
        trained = self.worked_until(now) - self.plot.attempts[0][0] - moment.dips
        return int(max(trained, 0.0) / self.spec.step_time)

    def _build(self, now: float, moment: Moment) -> Job:
        spec, plot = self.spec, self.plot
        state = plot.end or (JobState.RUNNING if moment.since is not None else JobState.STARTING)
        step = self.step(now, moment)
        nodes = tuple(
            self._node(place, index, now, moment, step) for place, index in enumerate(moment.nodes)
        )
        past = [item.cause for item in moment.history if item.cause is not None]
        return Job(
            id=spec.id,
            name=spec.name,
            state=state,
            flags=() if state.ended else self._flags(now, moment, nodes),
            cluster=CLUSTER,
            launcher=spec.launcher,
            kind="torchrun",
            command=spec.command,
            min_nodes=len(moment.nodes),
            max_nodes=len(moment.nodes),
            attempt=moment.attempt,
            restarts=moment.restarts,
            max_restarts=spec.max_restarts,
            exit_code=_exit_code(state) if state.ended else None,
            cause=plot.cause if state.ended else (past[-1] if past else None),
            created_at=self._wall + spec.created,
            created_by="demo@simulated",
            started_at=self._wall + spec.created + 1.0,
            ended_at=None if plot.ended is None else self._wall + plot.ended,
            nodes=nodes,
            history=moment.history,
            cancelled_by="demo@simulated" if state is JobState.CANCELLED else "",
            metrics=self._metrics(now, step),
            stalls=self._stalls(moment),
            can_checkpoint=spec.failing,
        )

    def _flags(self, now: float, moment: Moment, nodes: tuple[JobNode, ...]) -> tuple[str, ...]:
        flags = {
            "stalled": self._stalled(now),
            "straggler": any(rank.straggler for node in nodes for rank in node.ranks),
            "cancelling": self.cancelling is not None,
            "unknown_nodes": any(node.link.state is LinkState.UNREACHABLE for node in nodes),
            "waiting": self.spec.waits is not None and self.plot.troubled and not moment.running,
        }
        return tuple(name for name, on in flags.items() if on)

    def _stalled(self, now: float) -> bool:
        spec = self.spec
        return spec.stalled is not None and self.plot.troubled and now >= spec.stalled

    def _stalls(self, moment: Moment) -> tuple[Stall, ...]:
        spec = self.spec
        if spec.stalled is None:
            return ()
        world = len(spec.nodes) * self._gpus
        message = f"all {world} ranks silent for over {SILENT_AFTER:.0f} s (simulated)"
        ended = self.plot.asked or [at for at, _ in self.plot.attempts[1:]]
        return (
            Stall(
                attempt=0,
                generation=0,
                node=self._story.name(moment.nodes[0]),
                ranks=tuple(range(self._gpus)),
                at=self._wall + spec.stalled + SILENT_AFTER,
                action="warn",
                message=message,
                recovered_at=self._wall + ended[0] if ended else None,
            ),
        )

    # ------------------------------------------------------------------- nodes

    def _node(self, place: int, index: int, now: float, moment: Moment, step: int) -> JobNode:
        link = self._link(index, now)
        ended = self.plot.end
        running = moment.running and place >= (self.cancelling or 0)
        if ended is not None:
            state, rank_state = _ENDED[ended]
        elif self.cancelling is not None:
            state = NodeState.CANCELLING if running else NodeState.CANCELLED
            rank_state = RankState.RUNNING if running else RankState.STOPPED
        else:
            state = NodeState.RUNNING if moment.since is not None else NodeState.STARTING
            rank_state = RankState.RUNNING if running else RankState.STOPPED
        name = self._story.name(index)
        return JobNode(
            name=name,
            node_rank=place,
            host=f"{name}.simulated",
            addr="127.0.0.1",
            link=link,
            state=state,
            pid=FIRST_PID - 1,
            group_rank=place,
            generation=moment.generation,
            exit_code=_exit_code(ended) if ended is not None else None,
            ranks=self._ranks(place, index, now, moment, rank_state, step, link)
            if moment.since is not None
            else (),
        )

    def _ranks(
        self,
        place: int,
        index: int,
        now: float,
        moment: Moment,
        state: RankState,
        step: int,
        link: Link,
    ) -> tuple[Rank, ...]:
        spec, story = self.spec, self._story
        slow = index == story.slow and story.is_slow(now) and state is RankState.RUNNING
        reached = link.state is LinkState.ONLINE
        young = moment.since is not None and now - moment.since < SHORT
        stage = Stage.ENDED
        if state is RankState.RUNNING:
            stage = Stage.STARTING if young else Stage.TRAINING
            if self._stalled(now):
                stage = Stage.SILENT
            if not reached:
                stage = Stage.UNKNOWN
        aged = stage in (Stage.TRAINING, Stage.SILENT)
        silent = now - (spec.stalled or 0.0) if stage is Stage.SILENT else 0.0
        metrics = {} if young else {"loss": _loss(step)}
        cause = self.plot.cause
        found = []
        for local in range(self._gpus):
            number = place * self._gpus + local
            behind = slow and local == SLOW_GPU
            failed = cause is not None and cause.rank == number
            found.append(
                Rank(
                    rank=number,
                    local_rank=local,
                    pid=FIRST_PID + local,
                    state=RankState.FAILED if failed else state,
                    exit_code=1 if failed else None,
                    message=cause.message if failed and cause else "",
                    stage=stage,
                    step=None if young else step - behind,
                    beats=None if young else step,
                    beat_age=silent + (number * 0.137 + now) % spec.step_time if aged else None,
                    beat_limit=SILENT_AFTER,
                    step_time=None if young else spec.step_time,
                    own_time=None if young else spec.step_time * (0.99 if behind else 0.84),
                    straggler=behind,
                    metrics=metrics,
                )
            )
        return tuple(found)

    # ----------------------------------------------------------------- figures

    def _metrics(self, now: float, step: int) -> tuple[Metric, ...]:
        began = self.plot.attempts[0][0]
        until = now if self.plot.ended is None else self.plot.ended
        if step < 2:
            return ()
        wave, world = self._story.wave, len(self.spec.nodes) * self._gpus
        pace = (until - began) / POINTS
        times = [self._wall + began + pace * (point + 1) for point in range(POINTS)]
        made = [step * (point + 1) // POINTS for point in range(POINTS)]
        curves = {
            "loss": [_loss(n) + wave[n & 255] * 0.004 for n in made],
            "tok/s": [world * (3_880.0 + wave[n & 255] * 12) for n in made],
            "lr": [3e-4 * (0.55 + 0.45 * math.cos(n / 60_000 * math.pi)) for n in made],
        }
        return tuple(
            Metric(
                name=name,
                rank=0,
                value=curve[-1],
                low=curve[-1] * 0.998,
                high=curve[-1] * 1.002,
                history=tuple(zip(times, curve, strict=True)),
            )
            for name, curve in curves.items()
        )


def _loss(step: int) -> float:
    return 1.72 + 7.0 * math.exp(-step / 4_000) + 2.2 * math.exp(-step / 300)


def _exit_code(state: JobState) -> int:
    return {JobState.SUCCEEDED: 0, JobState.FAILED: 1}.get(state, 130)
