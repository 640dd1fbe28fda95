"""Stacks are kept at every stall, but not without end."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from cockpit.node.probing import stacks
from cockpit.node.supervise import stackkeeper
from cockpit.node.supervise.stackkeeper import (
    FRAMES,
    KEPT_FIRST,
    KEPT_NEWEST,
    MAX_TEXT,
    StackKeeper,
    Taken,
)
from cockpit.protocol import layout


def take(keeper: StackKeeper) -> Taken:
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
    assert paths == [Taken(layout.kept_stacks(number)) for number in range(count)]
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
    assert take(keeper) == Taken(error="taking stacks failed: can't start new thread")
    assert not keeper.busy


def test_where_the_main_threads_of_the_ranks_were_is_told_in_few_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def frame(line: int, file: str = "train.py") -> dict[str, object]:
        return {"file": file, "line": line, "function": "main"}

    def thread(*frames: object, main: bool) -> dict[str, object]:
        return {"name": "", "main": main, "frames": list(frames)}

    long = "/very" * MAX_TEXT + "/data.py"
    deep = [frame(line) for line in range(2 * FRAMES)]
    ranks = [
        {"rank": 0, "threads": [thread(frame(9), main=False), thread(*deep, main=True)]},
        {"rank": 1, "threads": [thread(frame(1, long), main=True)]},
        {"rank": 2, "threads": []},
        {"rank": None, "threads": [thread(frame(3), main=True)]},
    ]
    monkeypatch.setattr(stacks, "take", lambda attempt: {"ranks": ranks})
    told = take(StackKeeper(str(tmp_path))).ranks
    assert told == (
        {"rank": 0, "frames": deep[:FRAMES]},
        {"rank": 1, "frames": [frame(1, long[-MAX_TEXT:])]},
    )
