"""Stacks are kept at every stall, but not without end."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from cockpit.node.probing import stacks
from cockpit.node.supervise import stackkeeper
from cockpit.node.supervise.stackkeeper import KEPT_FIRST, KEPT_NEWEST, StackKeeper
from cockpit.protocol import layout


def take(keeper: StackKeeper) -> tuple[str, str]:
    keeper.begin()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = keeper.result()
        if found is not None:
            return found
        time.sleep(0.001)
    raise AssertionError("no stacks")


def test_the_first_and_the_newest_files_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stacks, "take", lambda attempt: {"ranks": []})
    keeper = StackKeeper(str(tmp_path))
    count = 30
    paths = [take(keeper) for _ in range(count)]
    assert paths == [(layout.kept_stacks(number), "") for number in range(count)]
    kept = [number for number in range(count) if (tmp_path / layout.kept_stacks(number)).exists()]
    assert kept == [*range(KEPT_FIRST), *range(count - KEPT_NEWEST, count)]
    assert len(list((tmp_path / layout.STACKS).iterdir())) == KEPT_FIRST + KEPT_NEWEST


def test_a_thread_that_cannot_be_had_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(self: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(stackkeeper.threading.Thread, "start", start)
    keeper = StackKeeper(str(tmp_path))
    assert take(keeper) == ("", "taking stacks failed: can't start new thread")
    assert not keeper.busy
