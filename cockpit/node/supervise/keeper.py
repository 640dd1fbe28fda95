"""Carries one attempt from its claim to `ended`: the supervisor's one loop.

Waits for `go`, starts the launcher process, indexes logs, obeys commands, and clears the attempt's
processes away at its end; or resumes all that where a dead supervisor stopped. What the ranks do
meanwhile is `insight`'s business. What happens is told in the journal and nowhere else. Never
signals a process that it cannot identify.
"""

from __future__ import annotations

import collections
import contextlib
import os
import signal
import time
from collections.abc import Mapping

from cockpit.node import journal, processes
from cockpit.node.oom import OomWatch
from cockpit.node.supervise import commands, folding, launching, sweep
from cockpit.node.supervise.claims import Place
from cockpit.node.supervise.commands import Command
from cockpit.node.supervise.ending import Ending
from cockpit.node.supervise.folding import UNKNOWN_EXIT, Exit, Past
from cockpit.node.supervise.insight import Insight
from cockpit.node.supervise.logindex import LogIndexer
from cockpit.node.supervise.room import Room
from cockpit.node.supervise.watching import Bell, Child, Found, Launcher
from cockpit.protocol import layout, records
from cockpit.protocol.records import AttemptRecord, JobRecord, ProcessId

LEFTOVER_GRACE = 2.0
"""Seconds that ranks get to end by themselves once the launcher process has ended."""

_TICK = 0.05
_IDLE_TICK = 0.1
_GO_TICK = 0.01
_RETRY = 1.0
_SEARCH = 0.5

BY = "supervisor"
"""Who acted, where nobody told it to."""


class Keeper:
    """One attempt in the hands of this process. `grace` in seconds, `log_limit` in bytes.

    `finished_flag`: of a running attempt, the absolute path of the flag, "" for none.
    """

    def __init__(
        self,
        place: Place,
        events: journal.Journal,
        bell: Bell,
        *,
        grace: float,
        log_limit: int,
        insight: Insight,
        past: Past | None = None,
        finished_flag: str = "",
    ) -> None:
        self._place = place
        self._events = events
        self._bell = bell
        self._grace = grace
        self._insight = insight
        self._flag = finished_flag
        self._past = past if past is not None else Past()
        self._inbox = commands.Inbox(place.path, self._past.commands)
        self._queue: collections.deque[Command] = collections.deque()
        self._complain = insight.complain
        self._room = Room(place.path, self._tell_no_room)
        self._indexer = LogIndexer(
            place.path, log_limit, self._past.gaps, self._tell_gap, self._complain
        )
        self._ending = Ending(self._past, self._complain)
        self._launcher: Launcher | None = None
        self._oom: OomWatch | None = None
        self._exit: Exit | None = self._past.exit

    def start(
        self,
        job: JobRecord,
        record: AttemptRecord,
        secrets: Mapping[str, str],
        *,
        runtime: str,
        umask: int,
        go_timeout: float,
    ) -> None:
        """Wait for `go`, then run the attempt to its end. Times in seconds."""
        command = self._await_go(go_timeout)
        if command is None:
            return self.withdraw(f"no go came within {go_timeout:g} s", BY)
        if command.do != "go":
            return self.withdraw(command.reason or "taken back before it started", command.by)
        self._events.write("go", command=command.id, by=command.by)
        try:
            slots = self._insight.prepare()
            launch = launching.prepare(
                self._place, job, record, secrets, os.environ, runtime, slots
            )
            self._warn_about(launch)
            launching.write_files(self._place, launch)
            self._flag = launch.finished_flag
            self._launch(launch, umask)
        except launching.StartFailedError as error:
            self._events.write("start_failed", message=error.message, hint=error.hint)
            return self._end("start_failed", error.message)
        return self._see_out()

    def resume(self, boot_id: str) -> None:
        """Go on where a dead supervisor stopped. `boot_id`: the boot in which it claimed."""
        past = self._past
        if boot_id != processes.boot_id():
            return self._end("lost", "the node was rebooted during the attempt")
        if past.withdrawn is not None:
            return self._end("withdrawn", past.withdrawn)
        if past.start_failed is not None:
            return self._end("start_failed", past.start_failed)
        process = past.process or self._search()
        if process is None:
            return self.withdraw("its supervisor died before the start", BY)
        self._launcher = Found(process, self._place.file(layout.LAUNCHER_EVENTS))
        self._insight.resume()
        return self._see_out()

    # Before the start

    def _await_go(self, timeout: float) -> Command | None:
        """The first command that decides; None when none came in time."""
        deadline = time.monotonic() + timeout
        while True:
            command = self._next_command()
            if command is not None and command.do == "restart":
                self._refuse(command, "nothing has been started yet that could be restarted")
                continue
            if command is not None and command.do == "checkpoint":
                self._insight.refuse_checkpoint(command, "nothing has been started yet")
                continue
            if command is not None:
                return command
            now = time.monotonic()
            if now >= deadline:
                return None
            self._events.flush()
            self._bell.wait(min(_GO_TICK, deadline - now), [])

    def _warn_about(self, launch: launching.Launch) -> None:
        if launch.cleared:
            names = ", ".join(launch.cleared)
            self._complain(f"taken out of the environment, as torchrun would obey it: {names}")
        flag = launch.finished_flag
        if flag and os.path.lexists(flag):
            self._complain(f"the finished flag is there before the start: {flag}")
        if flag:
            try:
                os.makedirs(os.path.dirname(flag), exist_ok=True)
            except OSError as error:
                self._complain(f"no folder for the finished flag {flag}: {error.strerror}")

    def _launch(self, launch: launching.Launch, umask: int) -> None:
        argv = [os.fsdecode(item) for item in launch.argv]
        self._oom = OomWatch()
        with contextlib.ExitStack() as files:
            try:
                os.makedirs(self._place.file(layout.LOGS), 0o700, exist_ok=True)
                out, err = (_open_log(self._place, stream) for stream in ("out", "err"))
            except OSError as error:
                raise launching.StartFailedError(
                    f"creating the logs of the launcher process: {error}"
                ) from None
            files.callback(os.close, out)
            files.callback(os.close, err)
            child = launching.start(launch, out, err, umask)
        process = launching.identity(child)
        self._launcher = Child(child, process, self._bell)
        self._events.write(
            "started",
            process=records.to_builtins(process),
            argv=argv,
            cwd=os.fsdecode(launch.cwd),
        )

    def _search(self) -> ProcessId | None:
        """The launcher process of an attempt whose journal does not name it.

        Its supervisor died between the start and the event that tells of it.
        """
        process = folding.launcher_process(journal.read(self._place.file(layout.LAUNCHER_EVENTS)))
        if process is not None:
            return self._found(process)
        deadline = time.monotonic() + _SEARCH
        while True:
            for entry in processes.scan(self._place.marker):
                process = processes.identify(entry["pid"])
                if process is not None:
                    return self._found(process)
            if time.monotonic() >= deadline:
                return None
            self._bell.wait(_TICK, [])

    def _found(self, process: ProcessId) -> ProcessId:
        self._events.write("started", process=records.to_builtins(process), argv=[], cwd="")
        return process

    # While it runs

    def _see_out(self) -> None:
        """Watch the launcher process to its end or to a cancel's, clear up, tell how it ended."""
        launcher = self._launcher
        assert launcher is not None
        if self._exit is None:
            self._watch(launcher)
        patience = LEFTOVER_GRACE if self._exit is not None else 0.0
        swept = sweep.clear(self._place.marker, patience, self._tick)
        if swept.killed:
            self._events.write("swept", processes=list(swept.killed), signal=int(signal.SIGKILL))
        if self._exit is None:
            self._note_exit(launcher.ended(), by_sweep=True)
        ended = self._exit or UNKNOWN_EXIT
        if self._ending.cancelled:
            outcome, message = "cancelled", ""
        else:
            launcher_events = journal.read(self._place.file(layout.LAUNCHER_EVENTS))
            outcome, message = folding.judge(ended, launcher_events, self._evidence(ended))
            if outcome != "succeeded":
                message = self._with_room(self._ending.failure or message)
        if self._flag and self._is_flagged():
            self._events.write("finished_flag", path=self._flag)
        self._end(outcome, message, ended, swept)

    def _is_flagged(self) -> bool:
        """Whether the flag was set in this attempt: one from before says nothing about it."""
        try:
            began = os.stat(self._place.file(layout.PLAN)).st_mtime
            return os.stat(self._flag).st_mtime >= began
        except OSError:
            return False

    def _watch(self, launcher: Launcher) -> None:
        while True:
            impatient = self._tick(_TICK if self._indexer.active else _IDLE_TICK)
            ended = launcher.ended()
            if ended is not None:
                return self._note_exit(ended)
            if impatient:
                return None

    def _tick(self, seconds: float) -> bool:
        """Everything that is done again and again. True once an ending's grace is over."""
        launcher = self._launcher if self._exit is None else None
        self._bell.wait(seconds, launcher.fds if launcher is not None else [])
        self._bell.reap()
        now = time.monotonic()
        self._indexer.tick(now)
        self._room.tick(now, self._events.full)
        judge = launcher is not None and not self._ending.begun
        verdict = self._insight.tick(now, judge)
        if verdict is not None:
            self._ending.fail(verdict, self._grace, now)
        self._events.flush()
        command = self._next_command()
        while command is not None:
            self._obey(command)
            command = self._next_command()
        return self._ending.is_due(time.monotonic(), launcher)

    def _next_command(self) -> Command | None:
        try:
            self._queue.extend(self._inbox.new(time.monotonic()))
        except OSError as error:
            self._complain(f"looking for commands failed: {error}")
        return self._queue.popleft() if self._queue else None

    def _obey(self, command: Command) -> None:
        if command.do == "cancel":
            self._cancel(command)
        elif command.do == "withdraw":
            self._refuse(command, "it was taken back after its start; only a cancel ends it now")
        elif command.do == "restart" and (self._exit is not None or self._ending.begun):
            self._refuse(command, "the ranks are not restarted: the attempt is ending")
        elif command.do == "restart":
            self._insight.restart(command)
        elif command.do == "checkpoint" and (self._exit is not None or self._ending.begun):
            self._insight.refuse_checkpoint(command, "the attempt is ending")
        elif command.do == "checkpoint":
            self._insight.checkpoint(command)

    def _refuse(self, command: Command, message: str) -> None:
        self._events.write("note", level="warn", message=message, command=command.id)

    def _cancel(self, command: Command) -> None:
        launcher = self._launcher
        assert launcher is not None
        grace = self._grace if command.grace is None else command.grace
        self._events.write(
            "cancel", command=command.id, by=command.by, reason=command.reason, grace=grace
        )
        over = self._exit is not None or launcher.ended() is not None
        self._ending.cancel(time.monotonic(), grace, None if over else launcher)

    # At the end

    def _note_exit(self, ended: Exit | None, *, by_sweep: bool = False) -> None:
        if ended is None:
            return
        self._exit = ended
        self._room.look(self._events.full)
        oom = bool(self._evidence(ended)) and not by_sweep
        self._events.write("launcher_exited", code=ended.code, signal=ended.signal, oom=oom)

    def _evidence(self, ended: Exit) -> str:
        if self._oom is None or self._launcher is None or ended.signal != signal.SIGKILL:
            return ""
        return self._oom.evidence(self._launcher.process.pid)

    def withdraw(self, reason: str, by: str) -> None:
        """End the attempt before anything of it was started."""
        self._events.write("withdrawn", reason=reason, by=by)
        self._end("withdrawn", reason)

    def _end(
        self,
        outcome: str,
        message: str,
        ended: Exit = UNKNOWN_EXIT,
        swept: sweep.Swept | None = None,
    ) -> None:
        swept = swept if swept is not None else sweep.Swept()
        self._insight.finish()
        self._indexer.finish()
        self._events.write(
            "ended",
            outcome=outcome,
            code=ended.code,
            signal=ended.signal,
            left=list(swept.left),
            swept=len(swept.killed) + self._past.swept,
            message=message,
            launcher_size=self._launcher_size(),
        )
        # Nobody else can tell it: on a full disk, wait for room as long as there is a folder.
        while not self._events.flush() and os.path.isdir(self._place.path):
            self._bell.wait(_RETRY, [])
        self._events.sync()

    def _launcher_size(self) -> int:
        """Bytes of the launcher journal, final now: a reader knows what is still to come."""
        try:
            return os.stat(os.path.join(self._place.path, layout.LAUNCHER_EVENTS)).st_size
        except OSError:
            return 0

    def _tell_no_room(self) -> None:
        message = f"{self._no_room()}: logs, journals and checkpoints there are cut off"
        self._events.write("note", level="warn", message=message, about="no_space")

    def _no_room(self) -> str:
        return f"no space left on the file system of {self._place.state_dir}"

    def _with_room(self, message: str) -> str:
        """`message` of a failure, with what may be the reason of it."""
        return f"{message}; {self._no_room()}" if self._room.gone else message

    def _tell_gap(self, path: str, start: int, end: int) -> None:
        self._events.write("log_gap", path=path, start=start, end=end)


def _open_log(place: Place, stream: str) -> int:
    path = place.file(layout.launcher_log(stream))
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
