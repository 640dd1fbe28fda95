"""What the two journals of one node say about one attempt, folded event by event.

`SupervisorFold` takes `events.jsonl`, `LauncherFold` takes `launcher.jsonl`. Each depends on its
own journal only, so the order in which journals arrive cannot matter. They hold facts; judging
them is the business of `nodes`, `causes` and `attempts`.
"""

from __future__ import annotations

from collections.abc import Iterator

from cockpit.model import events as ev
from cockpit.model.checkpoints import CheckpointFold
from cockpit.model.stalls import StallFold
from cockpit.model.types import Leftover

MAX_NOTES = 64
"""Notes of a node that are kept; the newest win."""
MAX_LEFTOVERS = 256
MAX_XIDS = 64
"""Xids of a node that are kept; the newest win."""


def _leftovers(processes: tuple[ev.Process, ...]) -> list[Leftover]:
    return [Leftover(pid=process.pid, command=process.command) for process in processes]


class Notes:
    """Warnings of a node, each text once, in the order of their first appearance."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    def add(self, text: str, key: str = "") -> None:
        """Add `text`; a later text under the same `key` takes the earlier one's place."""
        self._texts[key or text] = text
        if len(self._texts) > MAX_NOTES:
            del self._texts[next(iter(self._texts))]

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts.values())


class SupervisorFold:
    """State of `events.jsonl`."""

    def __init__(self) -> None:
        self.heard = False
        self.claimed: ev.Claimed | None = None
        self.withdrawn: ev.Withdrawn | None = None
        self.go: ev.Go | None = None
        self.started: ev.Started | None = None
        self.start_failed: ev.StartFailed | None = None
        self.exited: ev.LauncherExited | None = None
        self.gone_at: float | None = None
        """When a supervisor that took over found that the launcher process was gone."""
        self.cancel: ev.Cancel | None = None
        """The first cancel; later ones change nothing."""
        self.ended: ev.Ended | None = None
        self.swept: list[Leftover] = []
        self.stalls = StallFold()
        self.checkpoints = CheckpointFold()
        self.xids: list[ev.Xid] = []
        self.finished = False
        """The job's finished flag was there when it ended."""
        self.no_space = False
        """The file system of the attempt was full at some time."""
        self.notes = Notes()
        self._dropped: dict[str, int] = {}

    def apply(self, event: ev.Event) -> None:
        self.heard = True
        match event:
            case ev.Claimed():
                self.claimed = self.claimed or event
            case ev.Withdrawn():
                self.withdrawn = self.withdrawn or event
            case ev.Go():
                self.go = self.go or event
            case ev.Started():
                self.started = event
            case ev.StartFailed():
                self.start_failed = event
            case ev.LauncherExited():
                self.exited = event
            case ev.Cancel():
                self.cancel = self.cancel or event
            case ev.Ended():
                self.ended = event
            case ev.Swept():
                room = MAX_LEFTOVERS - len(self.swept)
                self.swept.extend(_leftovers(event.processes[:room]))
            case ev.Stalled() | ev.Recovered() | ev.Stacks():
                self.stalls.apply(event)
            case ev.Checkpoint() | ev.CheckpointSaved() | ev.CheckpointVoid():
                self.checkpoints.apply(event)
            case ev.Xid():
                self.xids.append(event)
                del self.xids[:-MAX_XIDS]
            case ev.FinishedFlag():
                self.finished = True
            case _:
                self._note(event)

    def _note(self, event: ev.Event) -> None:
        match event:
            case ev.Adopted():
                if not event.launcher_alive and self.gone_at is None:
                    self.gone_at = event.at
                rest = "" if event.launcher_alive else "; the launcher process was gone"
                self.notes.add(f"the supervisor was lost and replaced{rest}")
            case ev.LogGap():
                self._dropped[event.path] = self._dropped.get(event.path, 0) + max(
                    event.end - event.start, 0
                )
                self.notes.add(
                    f"{event.path}: {self._dropped[event.path]} bytes dropped", f"gap {event.path}"
                )
            case ev.Note():
                self.no_space = self.no_space or event.about == "no_space"
                self.notes.add(event.message)
            case _:
                pass

    @property
    def left(self) -> tuple[Leftover, ...]:
        return tuple(_leftovers(self.ended.left[:MAX_LEFTOVERS])) if self.ended else ()


class LocalGeneration:
    """One rendezvous round as one node lived it."""

    def __init__(self, start: ev.GenerationStarted) -> None:
        self.start = start
        self.group: ev.Group | None = None
        """The newest state of the group other than HEALTHY."""
        self.failures: dict[int, ev.Failure] = {}
        """The first failure of each local rank."""
        self.stopping_at: float | None = None
        self.restarting: ev.Restarting | None = None
        """Set when somebody asked for its end; what fails afterwards is the answer to that."""
        self.timeouts: dict[int, ev.FtTimeout] = {}
        """The first time-out of each local rank that a rank monitor of ft_launcher saw."""

    @property
    def ended_at(self) -> float | None:
        """When it ended here: its group changed state, or it was stopped. Node's clock."""
        times = [self.group.at if self.group else None, self.stopping_at]
        return min((at for at in times if at is not None), default=None)


class LauncherFold:
    """State of `launcher.jsonl`."""

    def __init__(self) -> None:
        self.heard = False
        self.process: ev.Process | None = None
        self.generations: dict[int, LocalGeneration] = {}
        self.rendezvous_since: float | None = None
        """Set while the launcher process waits in a rendezvous."""
        self.rendezvous_failed: ev.RendezvousFailed | None = None
        self.exception: ev.LauncherException | None = None
        self.exit: ev.LauncherExit | None = None
        self.hook_missing = False
        self.hook_failed = False
        self.notes = Notes()

    @property
    def complete(self) -> bool:
        """Everything that was meant to be told here was told: no hook is missing or failed."""
        return self.heard and not (self.hook_missing or self.hook_failed)

    @property
    def current(self) -> LocalGeneration | None:
        """The newest round that this node took part in."""
        return self.generations[max(self.generations)] if self.generations else None

    def apply(self, event: ev.Event) -> None:
        self.heard = True
        match event:
            case ev.LauncherStarted():
                self.process = event.process
            case ev.RendezvousBegin():
                self.rendezvous_since = event.at
            case ev.Rendezvous():
                self.rendezvous_since = None
                self.rendezvous_failed = None
            case ev.RendezvousFailed():
                self.rendezvous_since = None
                self.rendezvous_failed = event
            case ev.GenerationStarted():
                self.rendezvous_since = None
                self.generations[event.generation] = LocalGeneration(event)
            case ev.Group():
                self._group(event)
            case ev.Stopping() | ev.Stopped():
                local = self.generations.get(event.generation)
                if local is not None and local.stopping_at is None:
                    local.stopping_at = event.at
            case ev.Restarting():
                local = self.generations.get(event.generation)
                if local is not None and local.restarting is None:
                    local.restarting = event
            case ev.RestartRefused():
                self.notes.add(f"the ranks are not restarted: {event.reason}")
                local = self.generations.get(event.generation)
                if local is not None:
                    local.restarting = None
            case ev.FtTimeout():
                local = self.generations.get(event.generation)
                if local is not None:
                    local.timeouts.setdefault(event.local_rank, event)
            case ev.LauncherException():
                self.exception = event
            case ev.LauncherExit():
                self.rendezvous_since = None
                self.exit = event
            case ev.HookMissing():
                self.hook_missing = True
                self.notes.add(f"not instrumented: {event.name} is missing")
            case ev.HookError():
                self.hook_failed = True
                self.notes.add(f"not instrumented: {event.where}: {event.error}")
            case _:
                pass

    def _group(self, event: ev.Group) -> None:
        local = self.generations.get(event.generation)
        if local is None or event.state == "HEALTHY":
            return
        local.group = event
        for failure in event.failures:
            local.failures.setdefault(failure.local_rank, failure)
