"""How changes are noticed: by inotify where it can be trusted, else by looking."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from cockpit.node.agent import inotify, tails
from cockpit.node.agent.loop import Loop

LIMIT = 30.0


class File:
    """A follower that counts how often it was woken."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.fd = -1
        self.woken = 0
        self.size = 0
        self.position = 0
        self.errors: list[Exception] = []
        self.appeared()

    def appeared(self) -> bool:
        if self.fd < 0 and os.path.exists(self.path):
            self.fd = os.open(self.path, os.O_RDONLY)
        return self.fd >= 0

    def changed(self) -> bool:
        return os.fstat(self.fd).st_size != self.size

    def wake(self) -> None:
        self.woken += 1
        self.size = self.position = os.fstat(self.fd).st_size

    def fail(self, error: Exception) -> None:
        self.errors.append(error)


@pytest.fixture
def loop() -> Iterator[Loop]:
    yield Loop()


def run_until(loop: Loop, condition: Callable[[], bool], seconds: float = LIMIT) -> bool:
    deadline = time.monotonic() + seconds

    def after() -> bool:
        if condition() or time.monotonic() > deadline:
            loop.stop(0)
        return False

    loop.later(seconds, lambda: None)
    loop.run(after)
    loop._exit_code = None
    return condition()


@pytest.fixture(params=["inotify", "no watch left", "no inotify", "network file system"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How the changes have to be noticed."""

    def refuse(*_: object) -> int:
        raise OSError(errno.ENOSPC, "no watch left")

    if request.param == "no watch left":
        monkeypatch.setattr(inotify.Inotify, "add", refuse)
    elif request.param == "no inotify":
        monkeypatch.setattr(inotify, "Inotify", refuse)
    elif request.param == "network file system":
        monkeypatch.setattr(inotify, "file_system", lambda path: "nfs4")
    return str(request.param)


def test_growth_and_appearance_are_noticed_every_way(loop: Loop, tmp_path: Path, way: str) -> None:
    (tmp_path / "there").write_text("")
    there, later = File(tmp_path / "there"), File(tmp_path / "a" / "b" / "later")
    noticed = tails.Tails(loop)
    noticed.add(there)
    noticed.add(later)

    def write() -> None:
        (tmp_path / "there").write_text("x")
        (tmp_path / "a" / "b").mkdir(parents=True)
        (tmp_path / "a" / "b" / "later").write_text("y")

    loop.later(0.1, write)
    assert run_until(loop, lambda: there.size == 1 and later.size == 1)
    assert there.errors == later.errors == []


def test_a_follower_that_was_removed_is_never_woken(loop: Loop, tmp_path: Path, way: str) -> None:
    (tmp_path / "log").write_text("")
    gone, stays = File(tmp_path / "log"), File(tmp_path / "log")
    noticed = tails.Tails(loop)
    noticed.add(gone)
    noticed.add(stays)
    noticed.remove(gone)
    loop.later(0.05, lambda: (tmp_path / "log").write_text("x") and None)
    assert run_until(loop, lambda: stays.woken > 0)
    assert gone.woken == 0


def test_nothing_wakes_an_idle_loop_when_nobody_follows(loop: Loop, tmp_path: Path) -> None:
    (tmp_path / "log").write_text("")
    file = File(tmp_path / "log")
    noticed = tails.Tails(loop)
    noticed.add(file)
    noticed.remove(file)
    rounds = 0

    def after() -> bool:
        nonlocal rounds
        rounds += 1
        return False

    loop.later(2.5, lambda: loop.stop(0))
    loop.run(after)
    assert rounds <= 10, "only what was under way, a sweep that was due, and the end"


def test_writes_in_quick_succession_wake_once_per_burst(loop: Loop, tmp_path: Path) -> None:
    (tmp_path / "log").write_text("")
    file = File(tmp_path / "log")
    noticed = tails.Tails(loop)
    noticed.add(file)
    started = time.monotonic()
    while time.monotonic() - started < 0.3:
        with open(tmp_path / "log", "a") as log:
            log.write("x")
        run_until(loop, lambda: False, 0.001)
    passed = time.monotonic() - started
    assert 1 <= file.woken <= passed / tails.BURST + 2


def test_bursts_are_rarer_while_much_is_read(loop: Loop) -> None:
    noticed = tails.Tails(loop)
    follower = SimpleNamespace(position=10)
    noticed._entries[1] = SimpleNamespace(follower=follower)  # type: ignore[assignment]
    noticed._read = (time.monotonic() - 0.1, 0)
    assert noticed._pause() == tails.BURST
    follower.position += 100_000_000
    assert noticed._pause() == tails.LONG_BURST
    time.sleep(0.01)
    assert noticed._pause() == tails.BURST, "nothing more came"
    noticed._entries.clear()


def test_the_file_system_of_a_path_is_known() -> None:
    assert inotify.file_system("/proc/self") == "proc"
    assert inotify.file_system("/sys/kernel") == "sysfs"
    assert not inotify.sees_changes("/proc/self/status")


def test_mount_points_with_spaces_are_understood() -> None:
    assert inotify._unescape(rb"/mnt/my\040disk\134x") == rb"/mnt/my disk\x"
