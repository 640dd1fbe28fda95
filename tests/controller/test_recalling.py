"""Jobs of earlier sessions in the snapshot of a controller that has reached no node yet."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from cockpit.controller import Controller
from cockpit.errors import JobNotFound
from cockpit.model.jobs import JobModel
from cockpit.model.store import JobStore
from cockpit.model.types import Job
from cockpit.profiles.types import Config
from tests.model.scenarios import T0, record

NOTHING = Config(clusters={}, launchers={}, jobs={})


@pytest.fixture(autouse=True)
def event_loop_guard() -> None:
    """Not here: mirrors read the boot id on the loop, which is theirs."""


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """A job that an earlier session saw."""
    seen = JobModel(record()).snapshot(T0)
    JobStore(tmp_path / "jobs").remember(seen, T0 + 5.0)
    return seen


async def test_history_survives_a_restart_of_the_controller_and_is_marked_as_old(
    tmp_path: Path, job: Job
) -> None:
    async with Controller(NOTHING, state_root=tmp_path) as controller:
        assert controller.snapshot().jobs == ()
        controller.recall()
        deadline = asyncio.get_running_loop().time() + 20
        while not controller.snapshot().jobs:
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0.01)
        (found,) = controller.snapshot().jobs
        assert found.id == job.id
        assert found.seen_at == T0 + 5.0
        with pytest.raises(JobNotFound):
            controller.record(job.id)
    (kept,), _ = await asyncio.to_thread(JobStore(tmp_path / "jobs").load)
    assert kept.seen_at == T0 + 5.0, "what is only remembered is not remembered anew"
