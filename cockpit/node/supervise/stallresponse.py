"""What is done about a stall: tell it, keep the stacks, then what the profile says.

Used by the supervisor's `insight`. The event goes out first, so that a supervisor that takes over
knows what was decided; the action follows when the stacks are kept, or shortly after, since killed
ranks have none. Acts by requests to the launcher process only; to end the attempt it says so.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence

from cockpit.node import journal
from cockpit.node.launch.requests import ON_STALL, RESTART, STOP, Request
from cockpit.node.supervise import asking
from cockpit.node.supervise.claims import Place
from cockpit.node.supervise.folding import Past, PastStall
from cockpit.node.supervise.generations import LauncherTail, TimedOut
from cockpit.node.supervise.stackkeeper import StackKeeper, Taken
from cockpit.node.supervise.stalls import Stall
from cockpit.protocol.records import Watch

STACKS_PATIENCE = 2.5
"""Seconds that an action waits for stacks."""
GRACE = 1.0
"""Seconds between SIGTERM and SIGKILL for ranks that hang: they have stopped doing their work."""
OBEY_PATIENCE = 60.0
"""Seconds that a restart may take to begin; without one the attempt has failed."""

WARN, CANCEL = "warn", "cancel"
"""Values of a stall's `action`, beside requests.RESTART."""

_RETRY = 1.0


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The attempt has to end as failed. `at`: monotonic seconds of the decision."""

    message: str
    at: float


@dataclasses.dataclass
class _Action:
    do: str
    generation: int
    reason: str
    number: int
    due: float
    asked: bool = False
    """Whether an earlier supervisor has asked for the end of the ranks because of it."""

    def request_id(self, do: str) -> str:
        return f"stall-{self.generation}-{self.number}" + ("-stop" if do == STOP else "")


class StallResponse:
    """One per attempt. `past`: what earlier supervisors of it did."""

    def __init__(
        self,
        place: Place,
        events: journal.Journal,
        watch: Watch,
        tail: LauncherTail,
        past: Past,
        complain: Callable[[str], None],
    ) -> None:
        self._place = place
        self._events = events
        self._watch = watch
        self._tail = tail
        self._complain = complain
        self._stacks = StackKeeper(place.path)
        self._stacks_generation = -1
        """Of which stacks were taken last."""
        self._stacks_over = False
        """Whether those ranks have gone on since, so that they tell nothing of another stall."""
        self._stalls = past.stalls
        self._restarts = past.stall_restarts
        self._action: _Action | None = None
        self._awaited: _Action | None = None
        """The restart that was asked for and has not begun; `due` is when it is too late."""
        if past.stall is not None:
            self._take_over(past.stall)

    def _take_over(self, stall: PastStall) -> None:
        """What an earlier supervisor asked for may be refused yet, or have been."""
        if stall.acted:
            action = self._planned(RESTART, stall.generation, stall.message, stall.asked_at)
            action.asked = self._was_asked_to_stop(action)
            self._await(action)
        elif stall.action != WARN:
            due = stall.mono + STACKS_PATIENCE
            action = self._planned(stall.action, stall.generation, stall.message, due)
            action.asked = self._was_asked_to_stop(action)
            self._action = action
            if not stall.stacks:
                self._begin_stacks(stall.generation)
        if stall.stacks:
            self._stacks_generation = stall.generation

    def stalled(self, now: float, generation: int, stall: Stall) -> None:
        """A stall was declared. Times are monotonic seconds."""
        action, message = self._watch.on_stall, stall.message
        if stall.joined:
            action = WARN  # what was to be done about it has been
        elif action == RESTART and self._spent >= self._watch.max_stall_restarts:
            action = CANCEL
            message += f"; {self._spent} restarts after stalls have not helped"
        self._events.write(
            "stalled",
            generation=generation,
            ranks=[dataclasses.asdict(rank) for rank in stall.ranks],
            action=action,
            message=message,
        )
        self._stalls += 1
        self._begin_stacks(generation)
        if action != WARN:
            self._action = self._planned(action, generation, message, now + STACKS_PATIENCE)

    def given_up(self, generation: int, ranks: Sequence[TimedOut]) -> None:
        """ft_launcher's rank monitors gave up on `ranks`; the restart is ft_launcher's business.

        A monitor waits a moment before it ends its rank, so that stacks can be taken.
        """
        self._events.write(
            "stalled",
            generation=generation,
            ranks=[
                {
                    "rank": rank.rank,
                    "local_rank": rank.local_rank,
                    "pid": rank.pid,
                    "step": None,
                    "age": 0.0,
                    "limit": 0.0,
                    "first": False,
                }
                for rank in ranks
            ],
            action=RESTART,
            message="; ".join(f"rank {rank.rank}: {rank.message}" for rank in ranks),
        )
        self._stalls += 1
        self._begin_stacks(generation)

    def recovered(self, generation: int) -> None:
        self._events.write("recovered", generation=generation)
        self._action = self._awaited = None
        self._stacks_over = True

    def tick(self, now: float, *, act: bool = True) -> Verdict | None:
        """Do what is due; a verdict when the attempt has to end. Without `act`, only tell."""
        kept = self._stacks.result()
        if kept is not None:
            self._tell_stacks(kept)
        self._keep_before_restart()
        if act:
            self._check_obeyed(now)
        action = self._action if act else None
        if action is None or (self._stacks.busy and now < action.due):
            return None
        if not (action.asked or self._is_running(action.generation)):
            self._action = None  # another node was faster, or a rank has failed meanwhile
            return None
        if action.do == RESTART:
            self._restart(action, now)
            return None
        self._action = None
        self._ask(action, STOP)  # ranks on other nodes, which may not notice by themselves
        return Verdict(f"stalled: {action.reason}", action.due if action.asked else now)

    @property
    def _spent(self) -> int:
        """Restarts after stalls: those that this node asked for, or all that took place."""
        return max(self._restarts, self._tail.restarts)

    def _planned(self, do: str, generation: int, reason: str, due: float) -> _Action:
        return _Action(do, generation, reason, self._stalls, due)

    def _is_running(self, number: int) -> bool:
        """Whether the ranks of that generation run, and nobody has begun to end them."""
        generation = self._tail.generation
        return generation is not None and generation.number == number and not self._tail.over

    def _begin_stacks(self, generation: int) -> None:
        if not self._stacks.busy:
            self._stacks_generation = generation
            self._stacks_over = False
            self._stacks.begin()

    def _keep_before_restart(self) -> None:
        """Another node has found a stall: its launcher process holds the restart for our stacks."""
        number = self._tail.announced
        taken = number == self._stacks_generation and not self._stacks_over
        if not taken and self._is_running(number):
            self._begin_stacks(number)

    def _tell_stacks(self, taken: Taken) -> None:
        if taken.error:
            self._complain(taken.error)
        else:
            self._events.write(
                "stacks",
                path=taken.path,
                reason="stall",
                generation=self._stacks_generation,
                ranks=list(taken.ranks),
            )

    def _restart(self, action: _Action, now: float) -> None:
        if not self._ask(action, RESTART):
            action.due = now + _RETRY
            return
        self._action = None
        self._restarts += 1
        self._await(dataclasses.replace(action, due=now))
        self._events.write(
            "restart",
            command="",
            by=ON_STALL,
            reason=action.reason,
            cost=self._watch.count_restarts,
        )

    def _ask(self, action: _Action, do: str) -> bool:
        request = Request(
            id=action.request_id(do),
            do=do,
            generation=action.generation,
            by=ON_STALL,
            reason=action.reason,
            cost=self._watch.count_restarts,
            grace=GRACE,
        )
        try:
            asking.leave(self._place.path, request)
        except OSError as error:
            self._complain(f"asking the launcher process to {do} failed: {error.strerror}")
            return False
        return True

    def _was_asked_to_stop(self, action: _Action) -> bool:
        return os.path.exists(asking.path(self._place.path, action.request_id(STOP)))

    def _await(self, action: _Action) -> None:
        """`action` was asked for at its `due`."""
        self._awaited = dataclasses.replace(action, due=action.due + OBEY_PATIENCE)

    def _check_obeyed(self, now: float) -> None:
        """Ranks that hang and are not restarted hang for ever, so their attempt has to end."""
        awaited = self._awaited
        if awaited is None:
            return
        refusal = self._tail.refusal
        if not (awaited.asked or self._is_running(awaited.generation)):
            self._awaited = None
        elif refusal is not None and refusal.generation == awaited.generation:
            at = max(refusal.at, awaited.due - OBEY_PATIENCE)
            self._give_up(awaited, refusal.reason, at)
        elif now > awaited.due:
            why = f"the launcher process has not done so within {OBEY_PATIENCE:g} s"
            self._give_up(awaited, why, awaited.due)

    def _give_up(self, awaited: _Action, why: str, at: float) -> None:
        self._awaited = None
        self._restarts -= 1
        reason = f"{awaited.reason}; the ranks are not restarted: {why}"
        self._action = dataclasses.replace(awaited, do=CANCEL, reason=reason, due=at)
