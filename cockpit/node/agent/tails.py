"""Wakes the followers of files when those files change: by inotify, else by looking.

One per agent, shared by all `follow` streams. The first change after quiet wakes at once; after
that changes are gathered for BURST seconds, for all files together, since the controller pays per
packet and not per byte; twice as long where so much comes that nobody reads it line by line. Knows
nothing of frames and reads no file.
"""

from __future__ import annotations

import os
import time

from cockpit.node.agent import inotify
from cockpit.node.agent.loop import Loop, Timer

TYPE_CHECKING = False  # typing itself would be a tenth of an agent's start
if TYPE_CHECKING:
    from typing import Protocol

    class Follower(Protocol):
        """A file whose changes are to be noticed."""

        @property
        def fd(self) -> int: ...

        @property
        def path(self) -> str: ...

        @property
        def position(self) -> int:
            """Up to where it was read."""

        def appeared(self) -> bool:
            """Try to open a missing file."""

        def changed(self) -> bool:
            """Whether there is something to do, the file being open."""

        def wake(self) -> None:
            """There is something to do."""

        def fail(self, error: Exception) -> None:
            """It cannot be followed."""


BURST = 0.05
"""Seconds between two rounds of small reads."""
LONG_BURST = 0.1
"""The same while MUCH is read."""
MUCH = 40_000
"""Bytes a second, of all files together: some 400 lines."""
SETTLE = 0.25
"""Seconds after the first follower during which files are only looked at: loading inotify would
hold up the first bytes, when those of a whole cluster may be due."""
POLL = 0.05
"""Seconds between looks at files whose changes the kernel does not report."""
SWEEP = 1.0
"""Seconds between looks at all files: what a watch cannot see (a renamed parent) ends here."""


class _Entry:
    """A follower and how its changes are noticed."""

    def __init__(self, follower: Follower) -> None:
        self.follower = follower
        self.watch = -1
        self.opened = False
        self.polled = False


class Tails:
    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._entries: dict[int, _Entry] = {}
        self._watches: dict[int, set[int]] = {}
        """inotify watch -> ids of the followers that share it."""
        self._inotify: inotify.Inotify | None = None
        self._settled = False
        self._polling: Timer | None = None
        self._sweeping: Timer | None = None
        self._read = (time.monotonic(), 0)
        """When the last burst began, and what had been read of all files by then."""

    def add(self, follower: Follower) -> None:
        """Wake `follower` from now on, until `remove`."""
        entry = self._entries[id(follower)] = _Entry(follower)
        self._arm(entry)
        if self._sweeping is None:
            self._sweeping = self._loop.later(SWEEP, self._sweep)
            if not self._settled:
                self._loop.later(SETTLE, self._settle)

    def remove(self, follower: Follower) -> None:
        entry = self._entries.pop(id(follower), None)
        if entry is not None:
            self._disarm(entry)

    def _arm(self, entry: _Entry) -> None:
        """Watch the file, or while it is missing the nearest folder in which it may appear."""
        follower = entry.follower
        self._disarm(entry)
        entry.opened = follower.fd >= 0
        entry.polled = not self._settled or not inotify.sees_changes(follower.path)
        if not entry.polled:
            try:
                if entry.opened:
                    # By descriptor: the path may name another file by now.
                    self._attach(entry, f"/proc/self/fd/{follower.fd}", inotify.FILE_EVENTS)
                else:
                    self._attach_folder(entry)
            except OSError:
                entry.polled = True  # no inotify, or no watch to spare
        if entry.polled and self._polling is None:
            self._polling = self._loop.later(POLL, self._poll)
        self._look(entry)  # what changed before the watch existed is not reported

    def _attach_folder(self, entry: _Entry) -> None:
        """Watch the nearest folder above the file that exists."""
        missing, folder = "", os.path.dirname(entry.follower.path)
        while True:
            try:
                self._attach(entry, folder, inotify.FOLDER_EVENTS)
            except (FileNotFoundError, NotADirectoryError):
                if folder == "/":
                    raise
                missing, folder = folder, os.path.dirname(folder)
                continue
            if not missing or not os.path.isdir(missing):
                return
            # It was made between the two calls: nobody would tell what happens in it.
            self._disarm(entry)
            missing, folder = "", os.path.dirname(entry.follower.path)

    def _attach(self, entry: _Entry, path: str, events: int) -> None:
        if self._inotify is None:
            self._inotify = inotify.Inotify()
            self._loop.watch(self._inotify.fd, self._notified)
        entry.watch = self._inotify.add(path, events)
        self._watches.setdefault(entry.watch, set()).add(id(entry.follower))

    def _disarm(self, entry: _Entry) -> None:
        watchers = self._watches.get(entry.watch)
        if watchers is not None and self._inotify is not None:
            watchers.discard(id(entry.follower))
            if not watchers:
                del self._watches[entry.watch]
                self._inotify.remove(entry.watch)
        entry.watch = -1

    def _look(self, entry: _Entry) -> None:
        """Do what the state of the file asks for."""
        follower = entry.follower
        try:
            if not entry.opened:
                if follower.appeared():
                    self._arm(entry)
            elif follower.changed():
                follower.wake()
        except Exception as error:  # noqa: BLE001 - answered on the follower's stream
            follower.fail(error)

    def _notified(self) -> None:
        assert self._inotify is not None
        touched: dict[int, int] = {}
        for watch, events in self._inotify.read():
            if events & inotify.IN_Q_OVERFLOW:
                touched.update(dict.fromkeys(self._entries, events))
                continue
            for key in self._watches.get(watch, ()):
                touched[key] = touched.get(key, 0) | events
            if events & inotify.IN_IGNORED:
                self._watches.pop(watch, None)
        for key, events in touched.items():
            entry = self._entries.get(key)
            if entry is None:
                continue
            if events == inotify.IN_MODIFY:
                entry.follower.wake()
            else:
                self._look(entry)
                if not entry.opened and key in self._entries:
                    self._arm(entry)  # a nearer folder may exist now, or this one is gone
        # Changes gather in the kernel until the next burst is due.
        self._loop.unwatch(self._inotify.fd)
        self._loop.later(self._pause(), self._resume)

    def _pause(self) -> float:
        """Seconds until the next burst, by how much was read since the last one."""
        then, before = self._read
        now = time.monotonic()
        total = sum(entry.follower.position for entry in self._entries.values())
        self._read = (now, total)
        return LONG_BURST if total - before >= MUCH * (now - then) else BURST

    def _resume(self) -> None:
        assert self._inotify is not None
        self._loop.watch(self._inotify.fd, self._notified)

    def _settle(self) -> None:
        if not self._settled:
            self._settled = True
            for entry in list(self._entries.values()):
                self._arm(entry)

    def _poll(self) -> None:
        polled = [entry for entry in self._entries.values() if entry.polled]
        for entry in polled:
            self._look(entry)
        self._polling = self._loop.later(POLL, self._poll) if polled else None

    def _sweep(self) -> None:
        for entry in list(self._entries.values()):
            self._look(entry)
        going = bool(self._entries)
        self._sweeping = self._loop.later(SWEEP, self._sweep) if going else None
