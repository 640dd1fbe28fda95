"""Keeps the log mirrors of all cockpits of a person within a size on disk.

Called by `mirror.MirrorStore` when it takes a slot, before it hands out a mirror. What goes are
whole jobs, those first whose logs were looked at longest ago; nothing is lost by that but time,
since the nodes have the logs. A slot that another cockpit uses is never touched.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec

from cockpit.model.descriptors import OPEN

LIMIT = 10_000_000_000
"""Bytes on disk that all mirrors together may take, older jobs' going first."""
LOCK = "lock"
"""The file in a slot's folder that is locked while a cockpit uses the slot."""


class _Mirrored(msgspec.Struct, frozen=True):
    """A job's mirrors in one slot. `used_at`: when one of them was last written to."""

    used_at: float
    size: int
    folder: str
    slot: str


def prune(root: Path, own: Path, limit: int) -> None:
    """Delete what is over `limit` bytes below `root`; `own` is the slot that is locked already.

    Costs a look at each file. What cannot be looked at or deleted is left where it is.
    """
    jobs = sorted(_mirrored(root), key=lambda job: (job.used_at, job.folder))
    total = sum(job.size for job in jobs)
    if total <= limit:
        return
    with contextlib.ExitStack() as locks:
        ours = {str(own): True}
        for job in jobs:
            if total <= limit:
                break
            if job.slot not in ours:
                ours[job.slot] = _lock(job.slot, locks)
            if ours[job.slot]:
                shutil.rmtree(job.folder, ignore_errors=True)
                total -= job.size


def _mirrored(root: Path) -> Iterator[_Mirrored]:
    for slot in _folders(str(root)):
        for job in _folders(slot.path):
            size, used_at = _usage(job.path)
            yield _Mirrored(used_at, size, job.path, slot.path)


def _folders(path: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(path) as entries:
            return [entry for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []


def _usage(path: str) -> tuple[int, float]:
    """Bytes on disk below `path`, and when something there was last written."""
    size, newest = 0, 0.0
    for folder, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(OSError):
                status = os.lstat(os.path.join(folder, name))
                # A mirror has the offsets of the node's file: what was not fetched is a hole.
                size += status.st_blocks * 512
                newest = max(newest, status.st_mtime)
    return size, newest


def _lock(slot: str, locks: contextlib.ExitStack) -> bool:
    """Hold a slot as long as `locks` lives; False when a cockpit uses it."""
    try:
        lock = os.open(os.path.join(slot, LOCK), OPEN, 0o600)
    except OSError:
        return False
    locks.callback(os.close, lock)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
