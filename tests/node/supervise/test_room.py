"""A full disk is noticed and said once, while there is still somebody who can say it."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cockpit.node.supervise import room
from cockpit.node.supervise.room import INTERVAL, LEAST, Room
from tests.node.supervising import Node

BLOCKS, FREE, AVAILABLE, FILES, FREE_FILES = 2, 3, 4, 5, 6


class Disk:
    """What statvfs says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.values = [4096, 4096, 1000, 500, 500, 100, 50, 50, 0, 255]
        self.looks = 0
        monkeypatch.setattr(room.os, "statvfs", self._statvfs)

    def _statvfs(self, _: str) -> os.statvfs_result:
        self.looks += 1
        return os.statvfs_result(self.values)


def test_a_full_disk_is_told_once_and_looked_at_every_few_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    disk, told = Disk(monkeypatch), []
    watched = Room("/somewhere", lambda: told.append(1))
    watched.tick(100.0)
    disk.values[FREE] = disk.values[AVAILABLE] = LEAST // 4096 - 1
    watched.tick(100.0 + INTERVAL / 2)
    assert (disk.looks, told, watched.gone) == (1, [], False)
    for moment in (1, 2, 3):
        watched.tick(100.0 + moment * INTERVAL)
    assert (told, watched.gone) == ([1], True)
    disk.values[FREE] = disk.values[AVAILABLE] = 500
    watched.look()
    assert (told, watched.gone) == ([1], False)


def test_a_disk_without_free_files_is_full_and_one_that_counts_none_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    disk = Disk(monkeypatch)
    watched = Room("/somewhere", lambda: None)
    disk.values[FREE_FILES] = 0
    watched.look()
    assert watched.gone
    disk.values[FILES] = 0
    watched.look()
    assert not watched.gone


def test_a_write_that_was_refused_counts_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    Disk(monkeypatch)
    told: list[int] = []
    watched = Room("/somewhere", lambda: told.append(1))
    watched.tick(100.0)
    watched.tick(100.1, refused=True)
    assert told == [1]


@pytest.fixture
def small_disk(supervised_node: Node) -> Iterator[Path]:
    """A state folder on a file system of its own, of 4 MiB."""
    if os.geteuid() != 0:
        pytest.skip("mounting takes root")
    folder = supervised_node.state_dir
    folder.mkdir(mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m,mode=0700", "tmpfs", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("this container may not mount")
    try:
        yield folder
    finally:
        supervised_node.close()
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_supervisor_on_a_full_disk_says_so_and_why_the_attempt_failed_then(
    supervised_node: Node, small_disk: Path
) -> None:
    attempt = supervised_node.python(
        """
        import os, sys, time
        while not os.path.exists(sys.argv[1]):
            time.sleep(0.02)
        sys.exit(1)
        """,
        str(supervised_node.work / "end"),
    ).run()
    assert attempt.event("note") is None
    with contextlib.suppress(OSError), open(small_disk / "checkpoint", "wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    note = attempt.wait("note")
    words = f"no space left on the file system of {small_disk}"
    assert note["message"] == f"{words}: logs, journals and checkpoints there are cut off"
    assert note["about"] == "no_space"
    (supervised_node.work / "end").touch()
    ended = attempt.ended()
    assert ended["message"] == f"the launcher process exited with code 1; {words}"
    assert attempt.kinds().count("note") == 1
