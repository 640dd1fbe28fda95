"""What ft_launcher's rank monitors hear, made visible: a slot per rank, and a word on a time-out.

Every rank has a monitor, a process forked from the launcher process, to which the training code
sends heartbeats and sections. The coroutines that answer them are wrapped on the class before the
fork, so that the wrappers run inside the monitors; the ranks pay nothing. A monitor writes into
the rank's monitor slot, which the supervisor reads, and into a pipe to the launcher process, which
alone writes the journal. Whatever fails here is swallowed and told once.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any

from cockpit.node import linux
from cockpit.node.journal import Journal
from cockpit.node.launch.hooks import Guard
from cockpit.node.rank.slot import Slot
from cockpit.protocol import layout

HOLD = 1.5
"""Seconds between a time-out and the end of its rank, so that stacks are taken of one that hangs.
The supervisor sees the same silence and takes them at once."""

_ATOMIC = 4096
"""Bytes that a pipe takes in one piece."""
_STATE = "_cockpit"

Handler = Callable[..., Awaitable[Any]]


class Pipe:
    """From the monitors to the launcher process: one JSON line per message, never blocking."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._rest = b""

    def send(self, kind: str, **fields: Any) -> None:
        """Called in a monitor. What a full pipe does not take is lost."""
        event = {"at": time.time(), "mono": time.monotonic(), "kind": kind, **fields}
        line = json.dumps(event).encode() + b"\n"
        if len(line) <= _ATOMIC:
            with contextlib.suppress(BlockingIOError):
                os.write(self._write, line)

    def drain(self, journal: Journal) -> None:
        """Called in the launcher process: hand over what has come since."""
        while True:
            try:
                data = os.read(self._read, 65536)
            except BlockingIOError:
                return
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                journal.write(**json.loads(line))


class Heard:
    """What one monitor knows of the rank that talks to it. `folder`: of the slots, "" for none."""

    def __init__(self, folder: str, pipe: Pipe) -> None:
        self._folder = folder
        self._pipe = pipe
        self._told: set[str] = set()
        self._slot: Slot | None = None
        self._path = ""
        self._timed_out = 0
        self.generation = -1

    def began(self, server: Any) -> None:
        """A rank has said who it is: once in each generation."""
        info = server.rank_info
        self.generation = generation_of(info.pid)
        if self._folder and self.generation >= 0:
            local_rank = int(info.local_rank)
            name = layout.monitor_slot(self.generation, local_rank)
            path = os.path.join(self._folder, name)
            if path != self._path:
                self._path, self._slot = path, None
                self._slot = _new_slot(path, local_rank)

    def beat(self, server: Any) -> None:
        if self._slot is not None:
            self._slot.beat()
            self._slot.sections(server.open_sections)

    def timed_out(self, server: Any) -> bool:
        """Tell it, once for each rank's process. Whether it is worth waiting for its stacks."""
        info = server.rank_info
        if info is None or info.pid == self._timed_out:
            return False
        self._timed_out = info.pid
        self._pipe.send(
            "ft_timeout",
            generation=self.generation,
            # Text where the rank says who it is before its process group is there.
            rank=int(info.global_rank),
            local_rank=int(info.local_rank),
            pid=info.pid,
            message=reason(server, time.monotonic()),
        )
        return bool(self._folder)

    def failed(self, where: str, error: BaseException) -> None:
        """Something of ours went wrong in a monitor; said once."""
        if where not in self._told:
            self._told.add(where)
            what = f"{type(error).__name__}: {error}"[:500]
            self._pipe.send("hook_error", where=where, error=what)


def install(server: type[Any], folder: str, pipe: Pipe, guard: Guard) -> None:
    """Wrap the handlers of the class RankMonitorServer; those that are missing are reported."""

    def heard(monitor: Any) -> Heard:
        found = monitor.__dict__.get(_STATE)
        if found is None:
            found = Heard(folder, pipe)
            setattr(monitor, _STATE, found)
        return found  # type: ignore[no-any-return]

    wrappers: dict[str, Callable[[Handler, Callable[[Any], Heard]], Handler]] = {
        "_handle_init_msg": functools.partial(_after, "began"),
        "_handle_heartbeat_msg": functools.partial(_after, "beat"),
        "_handle_section_msg": functools.partial(_after, "beat"),
        "_handle_timeout": _around_timeout,
        "_rank_monitor_loop": functools.partial(_bound_to, os.getpid()),
    }
    for name, wrap in wrappers.items():
        original = getattr(server, name, None)
        if original is None:
            guard.missing(f"{server.__name__}.{name}")
        else:
            setattr(server, name, functools.wraps(original)(wrap(original, heard)))


def _after(what: str, original: Handler, heard: Callable[[Any], Heard]) -> Handler:
    async def handle(monitor: Any, *args: Any, **kwargs: Any) -> Any:
        result = await original(monitor, *args, **kwargs)
        try:
            getattr(heard(monitor), what)(monitor)
        except Exception as error:  # noqa: BLE001 - a monitor must go on whatever happens here
            heard(monitor).failed(f"rank monitor: {what}", error)
        return result

    return handle


def _around_timeout(original: Handler, heard: Callable[[Any], Heard]) -> Handler:
    async def handle(monitor: Any, *args: Any, **kwargs: Any) -> Any:
        hold = False
        try:
            hold = heard(monitor).timed_out(monitor)
        except Exception as error:  # noqa: BLE001 - a monitor must go on whatever happens here
            heard(monitor).failed("rank monitor: time-out", error)
        if hold:
            await asyncio.sleep(HOLD)
        return await original(monitor, *args, **kwargs)

    return handle


def _bound_to(launcher: int, original: Handler, _: Callable[[Any], Heard]) -> Handler:
    """A monitor whose launcher process is killed has nothing left to do, and nobody to end it."""

    async def loop(monitor: Any, *args: Any, **kwargs: Any) -> Any:
        linux.die_with_parent(launcher)
        return await original(monitor, *args, **kwargs)

    return loop


def _new_slot(path: str, local_rank: int) -> Slot:
    try:
        return Slot(path, local_rank)
    except FileExistsError:
        # Of a monitor before this one.
        os.unlink(path)
        return Slot(path, local_rank)


def generation_of(pid: int) -> int:
    """Of a rank's process, by the environment it was started with; -1 where that is unknown."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            data = file.read()
    except OSError:
        return -1
    prefix = layout.GENERATION_ENV.encode() + b"="
    for item in data.split(b"\0"):
        if item.startswith(prefix) and item[len(prefix) :].isdigit():
            return int(item[len(prefix) :])
    return -1


def reason(server: Any, now: float) -> str:
    """Which limit was passed, in words for people."""
    config = server.cfg
    for section, since in server.open_sections.items():
        limit = config.rank_section_timeouts.get(section)
        if limit is not None and now - since > limit:
            return f"section {section!r} open for {now - since:.1f} s, the limit is {limit:g} s"
    if server.last_hb_time is None:
        limit = config.initial_rank_heartbeat_timeout
        if limit is not None and now - server.start_time > limit:
            waited = now - server.start_time
            return f"no first heartbeat for {waited:.1f} s, the limit is {limit:g} s"
    else:
        limit = config.rank_heartbeat_timeout
        if limit is not None and now - server.last_hb_time > limit:
            return f"no heartbeat for {now - server.last_hb_time:.1f} s, the limit is {limit:g} s"
    limit = config.rank_out_of_section_timeout
    since = server.out_of_section_time
    if not server.open_sections and limit is not None and since is not None and now - since > limit:
        return f"outside of sections for {now - since:.1f} s, the limit is {limit:g} s"
    return "a limit of ft_launcher was passed"
