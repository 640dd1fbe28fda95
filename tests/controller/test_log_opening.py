"""How the streams of a job are opened: all of them soon, a little of each where there are many."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from cockpit.controller import documents
from cockpit.controller.documents import JobSupply
from cockpit.controller.tracking import LogStream, NodeKey, TrackedJob
from cockpit.model.mirror import MirrorStore
from cockpit.transport.base import Link

KIB = 1024


class NoLink:
    """Notes where follows begin; nothing comes."""

    online = True
    link = Link(since=0.0)

    def __init__(self) -> None:
        self.offsets: list[int] = []

    def follow(self, _path: str, offset: int, _sink: object, **_options: Any) -> Any:
        self.offsets.append(offset)
        return types.SimpleNamespace(close=lambda: None)


@pytest.fixture(autouse=True)
def event_loop_guard() -> None:
    """Not here: mirrors keep their small files on the loop, which is theirs."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[MirrorStore]:
    made = MirrorStore(tmp_path)
    yield made
    made.close()


def supply(store: MirrorStore, link: NoLink, streams: int) -> JobSupply:
    tracked = types.SimpleNamespace(
        streams=[LogStream(0, 0, 0, n, n, "out", f"{n}.out") for n in range(streams)],
        seats={(0, 0): types.SimpleNamespace(link=link, key=NodeKey("lab", "n0"))},
        record=types.SimpleNamespace(id="0123456789ab"),
    )
    return JobSupply(cast(TrackedJob, tracked), store, lambda: None)


async def test_streams_are_opened_one_after_the_other_though_nobody_polls(
    store: MirrorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(documents, "_BUDGET", -1.0)  # a turn opens none: time is up
    link = NoLink()
    made = supply(store, link, 50)
    made.join()
    await asyncio.sleep(0)
    assert not made.refresh()
    assert not link.offsets
    monkeypatch.setattr(documents, "_BUDGET", 5.0)
    await asyncio.sleep(0)
    assert len(made.taps) == len(link.offsets) == 50
    assert made.refresh()
    made.leave()


async def test_no_more_streams_are_opened_once_nobody_reads(
    store: MirrorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(documents, "_BUDGET", -1.0)
    link = NoLink()
    made = supply(store, link, 5)
    made.join()
    made.leave()
    monkeypatch.setattr(documents, "_BUDGET", 5.0)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not link.offsets


@pytest.mark.parametrize(("streams", "tail"), [(1, 256), (16, 256), (64, 64), (300, 16)])
async def test_the_more_streams_the_less_of_each_is_asked_for_at_first(
    store: MirrorStore, streams: int, tail: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(documents, "_BUDGET", 5.0)
    link = NoLink()
    made = supply(store, link, streams)
    made.join()
    assert link.offsets == [-tail * KIB] * streams
    made.leave()
