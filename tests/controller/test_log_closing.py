"""The last document of a job is closed: what its mirrors hold is written beside the loop."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cockpit.controller.documents import JobSupply
from cockpit.model import rangesfile
from cockpit.model.mirror import MirrorStore, MirrorStream, StreamKey

JOB = "0123456789ab"


@pytest.fixture(autouse=True)
def event_loop_guard() -> None:
    """Not here: mirrors keep their small files on the loop, which is theirs."""


def held(store: MirrorStore, rank: int) -> MirrorStream:
    stream = store.stream(StreamKey(job=JOB, attempt=0, node_rank=0, generation=0, local_rank=rank))
    stream.write(0, b"a line\n")
    return stream


async def test_closing_writes_no_file_on_the_loop_and_tells_of_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    problems: list[str] = []
    store = MirrorStore(tmp_path, problems.append)
    mirrors = [held(store, rank) for rank in range(3)]
    real, threads = rangesfile.write_atomic, []

    def write(path: Path, data: bytes) -> None:
        threads.append(threading.current_thread())
        if len(threads) == 3:
            raise OSError(28, "No space left on device")
        real(path, data)

    monkeypatch.setattr(rangesfile, "write_atomic", write)
    closed: list[bool] = []
    tracked: Any = SimpleNamespace()
    supply = JobSupply(tracked, store, lambda: closed.append(True))
    taps: list[Any] = [SimpleNamespace(mirror=mirror) for mirror in mirrors]
    supply.taps = taps
    supply.close()
    assert closed == [True]
    for _ in range(500):
        if problems:
            break
        await asyncio.sleep(0.01)
    assert "No space left" in problems[0]
    assert len(threads) == 3
    assert threading.main_thread() not in threads
    assert len(list(store.folder.rglob("*.ranges"))) == 2
    await asyncio.to_thread(store.close)
    assert len(list(store.folder.rglob("*.ranges"))) == 3
