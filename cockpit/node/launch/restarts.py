# ruff: noqa: SLF001 - torch has no public way to any of this
"""Requests to the ranks, carried out by the launcher processes of all nodes together.

The hooks ask it after each of torch's looks at the ranks. Whoever finds a request publishes it in
the rendezvous store; everyone who sees it there first *arms* (gives its agent one restart more, so
that ranks that fail because a peer was faster cost nothing; after a stall it first gives its
supervisor a moment to keep the stacks), and when all have armed, or some cannot, has torch's own
restart path run. It blocks nowhere and ends no process itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from cockpit.node.journal import Journal
from cockpit.node.launch.board import Board, say
from cockpit.node.launch.kept import KeptStacks
from cockpit.node.launch.recorder import Recorder, rendezvous_round
from cockpit.node.launch.requests import ON_STALL, RESTART, STOP, Inbox, Request

LOOK = 0.1
"""Seconds between two looks at the store while nothing is asked."""
PATIENCE = 2.0
"""Seconds after which those who have armed do not wait for the others."""
STACKS_PATIENCE = 1.5
"""Seconds that a node does not arm, so that its supervisor can keep the stacks of ranks that hang:
another node has found the stall and has kept its own. Less than PATIENCE."""

_HEALTHY = "HEALTHY"
_SUCCEEDED = "SUCCEEDED"


class Stopped(RuntimeError):
    """Somebody asked for the end of the ranks; the message is the reason. So says the journal."""


class NoRestartsLeft(RuntimeError):
    """A restart that counts against max_restarts was asked for, and there are none left."""


class Agreement:
    """How the nodes of one generation come to act on one request at the same time.

    `refuse` is told, once, of a request that cannot be obeyed, and why.
    """

    def __init__(
        self,
        board: Board,
        clock: Callable[[], float],
        refuse: Callable[[Request, str], None],
    ) -> None:
        self.board = board
        self.request: Request | None = None
        self._clock = clock
        self._refuse = refuse
        self._looked = clock()
        self._agreed_at = 0.0
        self._armed = False
        self._refused: set[str] = set()

    def agree(self, asked: Request | None, *, at_once: bool = False) -> Request | None:
        """The request that all nodes obey, once it is known; `asked` was found on this one.

        The store is looked at every LOOK seconds, or `at_once`.
        """
        if asked is not None:
            found = self._publish(asked) if self._can_be(asked) else None
        elif at_once or self._clock() - self._looked >= LOOK:
            self._looked = self._clock()
            found = self._valid(self.board.published())
        else:
            return None
        if found:
            self.request = found
            self._agreed_at = self._clock()
            self._armed = False
        return found

    def arm(self, *, ready: bool = True) -> None:
        """Tell the others that this node may begin, once it is `ready` or they wait no longer."""
        if not self._armed and (ready or self._clock() - self._agreed_at >= STACKS_PATIENCE):
            self._armed = True
            self.board.arm()

    def is_due(self) -> bool:
        """Whether to act on the request now. It may have become void meanwhile, see `request`."""
        if self.board.all_armed():
            return True
        if self._clock() - self._agreed_at < PATIENCE:
            return False
        self.request = self._valid(self.request)
        return self.request is not None

    def _publish(self, asked: Request) -> Request | None:
        """`asked`, or what another node had asked first; None when `asked` has become void."""
        while True:
            first = self.board.publish(asked)
            found = self._valid(first)
            if found is not None or first.id == asked.id:
                return found

    def _valid(self, published: Request | None) -> Request | None:
        """None for one that cannot be; the board has room for another one then."""
        if published is None or self._can_be(published):
            return published
        self.board.turn_page()
        return None

    def _can_be(self, request: Request) -> bool:
        """Nodes that have finished will not take part in a restart."""
        if request.id in self._refused:
            return False
        count = self.board.finished() if request.do == RESTART else 0
        if not count:
            return True
        self._refused.add(request.id)
        who = "another node has" if count == 1 else f"{count} other nodes have"
        self._refuse(request, f"{who} finished and would be missed")
        return False


class Verdict(NamedTuple):
    """What is to be done to the ranks now."""

    request: Request
    exhausted: bool
    """It counts against max_restarts, and there is none left."""


class Restarts:
    """One per launcher process. `torchs` is the module that has RunResult and WorkerState."""

    def __init__(
        self,
        journal: Journal,
        recorder: Recorder,
        torchs: Any,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._result: Any = torchs.RunResult
        self._unhealthy: Any = torchs.WorkerState.UNHEALTHY
        self._result(state=self._unhealthy)  # while a surprise does no harm
        self._journal = journal
        self._recorder = recorder
        self._clock = clock
        self._inbox = Inbox(recorder.attempt_dir)
        self._agreement: Agreement | None = None
        self._kept = KeptStacks(recorder.attempt_dir)
        self._raised_to: int | None = None

    @property
    def grace(self) -> float | None:
        """Seconds at most between SIGTERM and SIGKILL, where the request says so."""
        request = self._agreement.request if self._agreement is not None else None
        return request.grace if request is not None else None

    def generation_begins(self, agent: Any, group: Any) -> None:
        """To be called when the ranks have been started."""
        if self._raised_to is not None and agent._remaining_restarts >= self._raised_to:
            # A change of membership came first, which costs nothing by itself.
            self._raise_budget(agent, group, -1)
        self._raised_to = None
        self.generation_ends()
        store = getattr(agent, "_store", None)
        number = rendezvous_round(agent)
        prefix = f"cockpit/{self._recorder.generation if number is None else number}"
        board = Board(store, prefix, group.group_world_size if store is not None else 1)
        self._agreement = Agreement(board, self._clock, self._refuse)
        self._kept.generation_begins()

    def generation_ends(self) -> None:
        """To be called before the ranks are ended, and so before others are started."""
        if self._agreement is not None:
            self._agreement.board.close()

    def answer(self, agent: Any, group: Any, result: Any) -> Verdict | None:
        """What is asked and due, given torch's newest `result`. None: torch goes its way."""
        agreement = self._agreement
        if agreement is None:
            return None
        state = str(result.state.value)
        if agreement.request is None:
            if state == _SUCCEEDED:
                agreement.board.finish()
            else:
                self._look(agreement, agent, group, failed=state != _HEALTHY)
        request = agreement.request
        if request is not None:
            hangs = state == _HEALTHY and request.do == RESTART and request.by == ON_STALL
            agreement.arm(ready=not hangs or self._kept.just_now())
        if request is None or not self._is_time(agreement, request, state):
            if request is not None and agreement.request is None:
                self._disarm(agent, group)
            return None
        exhausted = request.do == RESTART and agent._remaining_restarts <= 0
        return Verdict(request, exhausted)

    def carry_out(self, verdict: Verdict, agent: Any, group: Any) -> Any:
        """The result that makes torch restart the ranks. Raises Stopped or NoRestartsLeft."""
        request = verdict.request
        if request.do == RESTART and not verdict.exhausted:
            return self._result(state=self._unhealthy)
        agent._stop_workers(group)
        reason = request.reason or f"asked by {request.by}"
        if verdict.exhausted:
            limit = group.spec.max_restarts
            raise NoRestartsLeft(f"{reason}; none of {limit} restarts is left")
        raise Stopped(reason)

    def _look(self, agreement: Agreement, agent: Any, group: Any, *, failed: bool) -> None:
        """Learn of a request. Ranks that failed may have done so because of one."""
        generation = self._recorder.generation
        asked = None if failed else self._inbox.next(generation, self._clock())
        request = agreement.agree(asked, at_once=failed)
        for found in (asked, request):
            if found is not None:
                self._inbox.obeyed(found.id)
        if request is None:
            return
        if request.do == RESTART:
            if not request.cost:
                self._raise_budget(agent, group, 1)
                self._raised_to = agent._remaining_restarts
            # Before any rank ends because of it: what fails on any node from now on is no cause.
            self._journal.write(
                "restarting",
                generation=generation,
                by=request.by,
                reason=request.reason,
                cost=request.cost,
            )

    def _is_time(self, agreement: Agreement, request: Request, state: str) -> bool:
        if state == _HEALTHY:
            return agreement.is_due()
        if request.do == STOP:
            return state != _SUCCEEDED
        # Failed ranks are restarted by torch. Ranks that finished in the last moment are missed
        # by the others, who have been promised a restart.
        return state == _SUCCEEDED

    def _refuse(self, request: Request, reason: str) -> None:
        say(f"the ranks are not restarted ({request.reason or request.by}): {reason}")
        self._journal.write(
            "restart_refused",
            generation=self._recorder.generation,
            id=request.id,
            by=request.by,
            reason=reason,
        )

    def _disarm(self, agent: Any, group: Any) -> None:
        if self._raised_to is not None:
            self._raise_budget(agent, group, -1)
            self._raised_to = None

    @staticmethod
    def _raise_budget(agent: Any, group: Any, by: int) -> None:
        group.spec.max_restarts += by
        agent._remaining_restarts += by
