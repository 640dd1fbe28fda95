# ruff: noqa: SLF001 - torch has no public way to any of this
"""Turns what torch's agent does into events of `launcher.jsonl`, and numbers its generations.

The hooks call it from the launcher process's main thread; it reads torch's private attributes
and may raise whatever it likes, since the hooks guard it. It changes nothing of torch's.
"""

from __future__ import annotations

import os
from typing import Any

from cockpit.node import processes
from cockpit.node.journal import Journal
from cockpit.node.launch.ranks import Deaths, Rank
from cockpit.node.oom import OomWatch
from cockpit.protocol import layout
from cockpit.protocol.records import ProcessId, to_builtins

_HEALTHY = "HEALTHY"
_FAILED = "FAILED"
_MESSAGE = 2000


class Recorder:
    """One per launcher process. `attempt_dir` is absolute."""

    def __init__(self, journal: Journal, attempt_dir: str, oom: OomWatch) -> None:
        self._journal = journal
        self._attempt_dir = attempt_dir
        self._oom = oom
        self._generation = -1
        self._numbered = False
        self._state = ""
        self._deaths = Deaths((), oom.evidence)
        self.shutdown_timeout: int | None = None
        """Seconds, for versions of torch whose agent does not know them itself."""

    @property
    def generation(self) -> int:
        """The number of the generation that is being started or runs; -1 before the first."""
        return self._generation

    @property
    def attempt_dir(self) -> str:
        return self._attempt_dir

    def rendezvous_begins(self) -> None:
        self._numbered = False
        self._journal.write("rendezvous_begin")

    def rendezvous_failed(self, error: BaseException, took: float) -> None:
        self._journal.write(
            "rendezvous_failed",
            type=type(error).__name__,
            message=str(error)[:_MESSAGE],
            took=took,
        )

    def rendezvous_done(self, agent: Any, group: Any, took: float) -> None:
        self._number(agent)
        self._journal.write(
            "rendezvous",
            round=self._generation,
            group_rank=group.group_rank,
            group_world_size=group.group_world_size,
            took=took,
        )

    def start_begins(self, agent: Any) -> None:
        if not self._numbered:
            self._number(agent)
        self._numbered = False
        self._state = ""
        self._deaths = Deaths((), self._oom.evidence)

    def ranks_started(self, agent: Any, group: Any, pids: dict[int, int], spawn: float) -> None:
        context = agent._pcontext
        ranks = [
            Rank(
                worker.global_rank,
                worker.local_rank,
                pids[worker.local_rank],
                context.error_files.get(worker.local_rank, ""),
                context.stdouts[worker.local_rank],
                context.stderrs[worker.local_rank],
            )
            for worker in group.workers
        ]
        self._deaths = Deaths(ranks, self._oom.evidence)
        max_restarts = group.spec.max_restarts
        self._journal.write(
            "generation",
            generation=self._generation,
            restart_count=max_restarts - agent._remaining_restarts,
            max_restarts=max_restarts,
            group_rank=group.group_rank,
            group_world_size=group.group_world_size,
            world_size=group.workers[0].world_size,
            master=f"{group.master_addr}:{group.master_port}",
            spawn=spawn,
            ranks=[
                {
                    "rank": rank.rank,
                    "local_rank": rank.local_rank,
                    "process": process(rank.pid),
                    "out": self._relative(context.stdouts[rank.local_rank]),
                    "err": self._relative(context.stderrs[rank.local_rank]),
                }
                for rank in ranks
            ],
        )

    def look(self) -> None:
        """Note which ranks are dead. To be called before torch ends those that are left."""
        self._deaths.look()

    def close_begins(self, agent: Any) -> None:
        """Torch is about to end the ranks that are left, which may take as long as their grace.

        Who failed is told now.
        """
        self.look()
        handlers = getattr(agent._pcontext, "subprocess_handlers", None) or {}
        codes = {local_rank: handler.proc.returncode for local_rank, handler in handlers.items()}
        reaped = {
            rank.rank: codes[rank.local_rank]
            for rank in self._deaths.ranks
            if codes.get(rank.local_rank) is not None
        }
        unreported = self._deaths.unreported(reaped)
        if unreported:
            self._state = _FAILED
            self._group(agent, _FAILED, unreported)

    def polled(self, agent: Any, result: Any) -> None:
        state = str(result.state.value)
        if state == _HEALTHY:
            return
        reported = {rank: failure.exitcode for rank, failure in result.failures.items()}
        failures = self._deaths.failures(reported)
        if failures or state != self._state:
            self._state = state
            self._group(agent, state, failures)

    def stop_begins(self, agent: Any) -> None:
        # A rank may have died between torch's look at it and a restart for another reason.
        self.close_begins(agent)
        self._journal.write("stopping", generation=self._generation)

    def stopped(self, took: float) -> None:
        self._journal.write("stopped", generation=self._generation, took=took)

    def _group(self, agent: Any, state: str, failures: list[dict[str, Any]]) -> None:
        self._journal.write(
            "group",
            generation=self._generation,
            state=state,
            remaining_restarts=agent._remaining_restarts,
            failures=failures,
        )

    def _number(self, agent: Any) -> None:
        """The rendezvous round where there is one, else the next number; never one used before."""
        self._numbered = True
        number = rendezvous_round(agent)
        if number is None or number <= self._generation:
            number = self._generation + 1
        while _is_used(os.path.join(self._attempt_dir, layout.LOGS, str(number))):
            number += 1
        self._generation = number

    def _relative(self, path: str) -> str:
        return os.path.relpath(path, self._attempt_dir) if path else ""


def rendezvous_round(agent: Any) -> int | None:
    """The round that formed last, equal on all nodes; None where the backend counts none."""
    handler = getattr(agent, "_rdzv_handler", None)
    state = getattr(getattr(handler, "_state_holder", None), "state", None)
    number = getattr(state, "round", None)
    return number if isinstance(number, int) else None


def process(pid: int) -> dict[str, Any]:
    """The identity of a child, which may be dead by now but is not reaped."""
    found = processes.stat(pid)
    ticks = found.start_ticks if found is not None else 0
    return to_builtins(ProcessId(pid, ticks, processes.boot_id()))


def _is_used(folder: str) -> bool:
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is not None
    except OSError:
        return False
