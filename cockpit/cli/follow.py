"""Follow one job until it ends: its lines on stdout, its story on stderr, its exit code at the end.

Used by `run` and `attach`. The first Ctrl-C of a `run` cancels the job and waits for the proof;
the second leaves at once and the job's nodes finish the cancel by themselves.
"""

from __future__ import annotations

import asyncio
import re
import signal
import time
from collections.abc import Callable

from cockpit.cli.causes import ending_of, headline, node_end
from cockpit.cli.common import on_signals
from cockpit.cli.contact import ContactWatch
from cockpit.cli.printer import Printer
from cockpit.controller import CancelReport, Controller, JobLog
from cockpit.errors import ExitCode
from cockpit.model.checkpoints import words as checkpoint_words
from cockpit.model.documents import stall as stall_document
from cockpit.model.restarts import CANCELLED, before_cancel
from cockpit.model.stragglers import FLAG as STRAGGLER
from cockpit.model.types import Generation, Job, JobState, Stall
from cockpit.text import count_of

PULSE = 0.05
"""Seconds between looks while lines flow."""
BACKLOG = 1000
"""Lines of one look that mean that more are waiting."""
NAMING_PATIENCE = 1.5
"""Seconds in which all nodes of a generation should have told how it ended, before its first cause
is named."""
STACKS_PATIENCE = 3.0
"""Seconds in which all nodes should have kept stacks, before it is said where ranks are."""
CANCEL_PATIENCE = 60.0
"""Seconds that Ctrl-C goes on trying to tell a node without contact."""


_FIGURES = re.compile(r"\d+")

_ACTIONS = {"restart": "; the ranks are restarted", "cancel": "; the job is ended"}


class Follower:
    """Prints one job. `cancel_on_interrupt`: Ctrl-C ends the job (run), or just us (attach)."""

    def __init__(
        self,
        controller: Controller,
        job_id: str,
        printer: Printer,
        say: Callable[[str], None],
        *,
        cancel_on_interrupt: bool,
        contact_timeout: float,
        first_attempt: int = 0,
    ) -> None:
        self._controller = controller
        self._id = job_id
        self._printer = printer
        self._say = say
        self._cancel_on_interrupt = cancel_on_interrupt
        self._contact = ContactWatch(say, contact_timeout)
        self._first_attempt = first_attempt
        self._told: set[tuple[object, ...]] = set()
        self._ending_since: dict[tuple[int, int], float] = {}
        """Generations that have ended on some of their nodes, since when; monotonic."""
        self._seen_since: dict[tuple[int, int], float] = {}
        """Generations of whose silent ranks some nodes have told where they were; the same."""
        self._state: tuple[object, ...] = ()
        self._leave = asyncio.Event()
        self._cancelling: asyncio.Future[CancelReport] | None = None
        self._told_nodes: set[str] = set()

    async def follow(self) -> int:
        """Until the job ended and every line was printed, or the person left. The exit code."""
        log = self._controller.log(self._id, from_start=True, first_attempt=self._first_attempt)
        with (
            on_signals(self._interrupted, signal.SIGINT, signal.SIGTERM),
            on_signals(self._leave.set, signal.SIGHUP),
        ):
            try:
                return await self._until_end(log)
            except OSError as error:
                why = "was closed" if isinstance(error, BrokenPipeError) else "takes no more"
                self._say(f"stdout {why}; job {self._id} goes on: `cockpit attach {self._id}`")
                raise
            finally:
                log.close()
                if self._cancelling is not None:
                    self._cancelling.cancel()
                    await asyncio.wait({self._cancelling})

    def _interrupted(self) -> None:
        if not self._cancel_on_interrupt or self._cancelling is not None:
            self._leave.set()
            return
        self._say("cancelling the job; press Ctrl-C again to leave while the nodes finish it")
        self._cancelling = asyncio.ensure_future(
            self._controller.cancel(
                self._id,
                reason="Ctrl-C",
                patience=CANCEL_PATIENCE,
                say=self._say,
                told=self._told_nodes.add,
            )
        )

    async def _until_end(self, log: JobLog) -> int:
        while True:
            lines = log.poll()
            self._printer.lines(lines)
            job = self._controller.job(self._id)
            self._narrate(job)
            if self._leave.is_set():
                return self._left(job)
            if job.state.ended:
                await self._drain(log)
                if self._cancelling is not None:
                    self._say((await self._cancelling).proof)
                job = self._controller.job(self._id)
                self._narrate(job)
                self._say(_ending(job))
                return job.exit_code if job.exit_code is not None else int(ExitCode.FAILED)
            if self._cancelling is not None and self._cancelling.done():
                report = await self._cancelling
                if not report.proven:
                    self._print_rest(log)
                    self._say(report.proof)
                    self._say(f"`cockpit cancel {job.id}` tries again")
                    left = any(node.left for node in report.nodes)
                    return int(ExitCode.FAILED if left else ExitCode.CONTACT_LOST)
            self._contact.check(job)
            # A backlog is printed without pauses, but never without letting the links breathe.
            await asyncio.sleep(0.0 if len(lines) >= BACKLOG else PULSE)

    async def _drain(self, log: JobLog) -> None:
        """Print what the nodes still hold of the job's logs; say so if that cannot be had."""
        missing = await log.complete(timeout=60.0, each=lambda: self._printer.lines(log.poll()))
        self._print_rest(log)
        for what in missing:
            self._say(f"not printed: {what}")

    def _print_rest(self, log: JobLog) -> None:
        for batch in log.drain():
            self._printer.lines(batch)

    def _left(self, job: Job) -> int:
        if self._cancelling is not None:
            untold = [
                node.name
                for node in job.nodes
                if node.name not in self._told_nodes and not node.state.ended
            ]
            if untold:
                self._say(
                    f"left; {', '.join(untold)} did not get the cancel yet and may run on:"
                    f" `cockpit cancel {job.id}`"
                )
            else:
                self._say(
                    f"left; the nodes finish the cancel. `cockpit status {job.id}` shows the end"
                )
            return int(ExitCode.CANCELLED)
        self._say(f"left; job {job.name} goes on. `cockpit attach {job.id}` comes back to it")
        return int(ExitCode.CANCELLED if self._cancel_on_interrupt else ExitCode.OK)

    def _once(self, *key: object) -> bool:
        if key in self._told:
            return False
        self._told.add(key)
        return True

    def _narrate(self, job: Job) -> None:
        state = (job.attempt, job.state, job.restarts, job.flags)
        if state != self._state:
            self._state = state
            self._printer.job(job)
        for node in job.nodes:
            for note in node.notes:
                # A figure that grows (dropped bytes) is told once now and once at the end.
                first = self._once("note", job.attempt, node.name, _FIGURES.sub("#", note))
                last = job.state.ended and self._once("note", job.attempt, node.name, note)
                if first or (last and _FIGURES.search(note)):
                    self._say(f"{node.name}: {note}")
        self._narrate_nodes(job)
        for generation in job.history:
            newest = generation is job.history[-1] and not job.state.ended
            self._narrate_generation(generation, job.attempt, newest=newest)
        self._narrate_checkpoint(job)
        for stall in reversed(job.stalls):
            self._narrate_stall(job, stall)
        for node in job.nodes if STRAGGLER in job.flags else ():
            for rank in node.ranks:
                if rank.straggler and self._once("straggler", job.attempt, rank.rank):
                    self._say(f"rank {rank.rank} on {node.name} is slower than its peers")

    def _narrate_nodes(self, job: Job) -> None:
        """Nodes without ranks that ended badly; ranks tell of themselves, generation by generation.

        What ended the whole job is told by its last line.
        """
        told = job.cause.node if job.state.ended and job.cause is not None else ""
        ends: dict[str, list[str]] = {}
        for node in job.nodes:
            end = node_end(node)
            if end and self._once("node", job.attempt, node.node_rank) and node.name != told:
                ends.setdefault(end, []).append(node.name)
        for end, names in ends.items():
            self._say(f"{', '.join(names)} failed: {end}")

    def _narrate_generation(self, generation: Generation, attempt: int, *, newest: bool) -> None:
        """`attempt`: the newest one."""
        key = (generation.attempt, generation.generation)
        followed = generation.attempt >= self._first_attempt
        if followed and generation.world_size and self._once("generation", *key, generation.nodes):
            again = "" if key == (0, 0) else f" (attempt {key[0]}, generation {key[1]})"
            self._say(
                f"{count_of(generation.world_size, 'rank')} running on"
                f" {count_of(generation.nodes, 'node')}{again}"
            )
        if newest and generation.ended_at is None:
            return
        if generation.cause is not None and newest and not generation.told:
            # Another node may still know of something earlier.
            since = self._ending_since.setdefault(key, time.monotonic())
            if time.monotonic() - since < NAMING_PATIENCE:
                return
        called = _called(generation, attempt)
        if generation.cause is not None and self._once("cause", *key):
            words = headline(generation.cause)
            if generation.reason == CANCELLED and generation.cause.kind != CANCELLED:
                words = f"cancelled, after {words}"
            self._say(f"{called} ended: {words}")
        elif generation.reason in ("membership", "operator") and self._once("asked", *key):
            self._say(f"{called} ended: {ending_of(generation)}")

    def _narrate_checkpoint(self, job: Job) -> None:
        item = job.checkpoint
        if item is None:
            return
        if item.step is not None and self._once("checkpoint", item.command):
            self._say(f"a checkpoint at step {item.step} was asked for by {item.by}")
        if (item.complete or item.void) and self._once("checkpoint done", item.command):
            self._say(checkpoint_words(item))

    def _narrate_stall(self, job: Job, stall: Stall) -> None:
        key = (stall.attempt, stall.node_rank, stall.generation, stall.at)
        if self._once("stalled", *key):
            self._printer.event("stalled", job, stall=stall_document(stall))
            then = _ACTIONS.get(stall.action, "")
            self._say(f"stalled on {stall.node}: {stall.message}{then}")
        if stall.stacks and self._once("stacks", *key):
            self._say(f"stacks kept: see `cockpit stacks --last {job.id}`")
        self._narrate_where(job, stall)
        if stall.recovered_at is not None and self._once("recovered", *key):
            self._printer.event("recovered", job, stall=stall_document(stall))
            self._say(f"recovered on {stall.node}: its ranks beat again")

    def _narrate_where(self, job: Job, stall: Stall) -> None:
        """Where the silent ranks were, once all nodes that saw the stall have told, or late."""
        key = (stall.attempt, stall.generation)
        if not stall.where or ("where", *key) in self._told:
            return
        same = [other for other in job.stalls if (other.attempt, other.generation) == key]
        whole = len({other.node_rank for other in same if other.stacks}) >= len(job.nodes)
        since = self._seen_since.setdefault(key, time.monotonic())
        if (whole or time.monotonic() - since >= STACKS_PATIENCE) and self._once("where", *key):
            self._say(f"stalled: {stall.where}")


def _called(generation: Generation, attempt: int) -> str:
    """A generation by the number that tells it from the others of its job."""
    if not generation.world_size:
        return f"attempt {generation.attempt}"
    name = f"generation {generation.generation}"
    return f"attempt {generation.attempt}, {name}" if attempt else name


def _ending(job: Job) -> str:
    text = f"job {job.name} {job.state.value}"
    if job.state is JobState.SUCCEEDED:
        return text + (f" after {count_of(job.restarts, 'restart')}" if job.restarts else "")
    if job.cause is not None:
        text += f": {headline(job.cause)}"
        if job.cause.hint:
            text += f" (hint: {job.cause.hint})"
    earlier = before_cancel(job)
    if earlier is not None:
        text += f"; failed before that: {headline(earlier)}"
    return text
