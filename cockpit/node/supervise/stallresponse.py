"""What is done about a stall: tell it, keep the stacks, then what the profile says.

Used by the supervisor's `insight`. The event goes out first, so that a supervisor that takes over
knows what was decided; the action follows when the stacks are kept, or shortly after, since killed
ranks have none. Acts by requests to the launcher process only; to end the attempt it says so.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from cockpit.node import journal
from cockpit.node.launch.requests import RESTART, STOP, Request
from cockpit.node.supervise import asking
from cockpit.node.supervise.claims import Place
from cockpit.node.supervise.folding import Past
from cockpit.node.supervise.generations import ON_STALL, LauncherTail
from cockpit.node.supervise.stackkeeper import StackKeeper
from cockpit.node.supervise.stalls import Stall
from cockpit.protocol.records import Watch

STACKS_PATIENCE = 2.5
"""Seconds that an action waits for stacks."""
GRACE = 1.0
"""Seconds between SIGTERM and SIGKILL for ranks that hang: they have stopped doing their work."""
OBEY_PATIENCE = 60.0
"""Seconds after which a restart that did not come is told."""

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
        self._stacks_generation = 0
        self._stalls = past.stalls
        self._restarts = past.stall_restarts
        self._action: _Action | None = None
        self._asked: tuple[int, float] | None = None
        stall = past.stall
        if stall is not None and not stall.acted and stall.action != WARN:
            self._plan(stall.action, stall.generation, stall.message, stall.mono)
            if not stall.stacks:
                self._begin_stacks(stall.generation)

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
            self._plan(action, generation, message, now)

    def recovered(self, generation: int) -> None:
        self._events.write("recovered", generation=generation)
        self._action = None

    def tick(self, now: float, *, act: bool = True) -> Verdict | None:
        """Do what is due; a verdict when the attempt has to end. Without `act`, only tell."""
        kept = self._stacks.result()
        if kept is not None:
            self._tell_stacks(*kept)
        self._check_obeyed(now)
        action = self._action if act else None
        if action is None or (self._stacks.busy and now < action.due):
            return None
        if action.do == RESTART:
            self._restart(action, now)
            return None
        self._action = None
        self._ask(action, STOP)  # ranks on other nodes, which may not notice by themselves
        return Verdict(f"stalled: {action.reason}", min(action.due, now))

    @property
    def _spent(self) -> int:
        """Restarts after stalls: those that this node asked for, or all that took place."""
        return max(self._restarts, self._tail.restarts)

    def _plan(self, do: str, generation: int, reason: str, decided: float) -> None:
        due = decided + STACKS_PATIENCE
        self._action = _Action(do, generation, reason, self._stalls, due)

    def _begin_stacks(self, generation: int) -> None:
        if not self._stacks.busy:
            self._stacks_generation = generation
            self._stacks.begin()

    def _tell_stacks(self, path: str, error: str) -> None:
        if error:
            self._complain(error)
        else:
            self._events.write(
                "stacks", path=path, reason="stall", generation=self._stacks_generation
            )

    def _restart(self, action: _Action, now: float) -> None:
        generation = self._tail.generation
        if generation is None or generation.number != action.generation or self._tail.over:
            self._action = None  # another node was faster, or a rank has failed meanwhile
            return
        if not self._ask(action, RESTART):
            action.due = now + _RETRY
            return
        self._action = None
        self._restarts += 1
        self._asked = (action.generation, now)
        self._events.write(
            "restart",
            command="",
            by=ON_STALL,
            reason=action.reason,
            cost=self._watch.count_restarts,
        )

    def _ask(self, action: _Action, do: str) -> bool:
        request = Request(
            id=f"stall-{action.generation}-{action.number}",
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

    def _check_obeyed(self, now: float) -> None:
        if self._asked is None:
            return
        number, at = self._asked
        generation = self._tail.generation
        if self._tail.over or generation is None or generation.number != number:
            self._asked = None
        elif now - at > OBEY_PATIENCE:
            self._asked = None
            self._complain(
                f"the launcher process has not restarted the ranks within {OBEY_PATIENCE:g} s"
            )
