"""Jobs stay known after cockpit is gone, whatever happened to the files."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import pytest

from cockpit.errors import CockpitError
from cockpit.model import store as store_module
from cockpit.model.store import JobStore
from cockpit.model.types import Job, Metric
from tests.model.scenarios import JOB, T0, fold


def job(number: int = 0) -> Job:
    return msgspec.structs.replace(fold("rank_raises"), id=f"{number:012x}", created_at=T0 + number)


def test_a_job_comes_back_as_it_was_last_seen_newest_first(tmp_path: Path) -> None:
    store = JobStore(tmp_path / "jobs")
    for number in (1, 3, 2):
        store.remember(job(number), T0 + 50.0)
    seen, problems = JobStore(tmp_path / "jobs").load()
    assert [item.job for item in seen] == [job(3), job(2), job(1)]
    assert (seen[0].seen_at, problems) == (T0 + 50.0, [])


def test_files_are_for_their_owner_only(tmp_path: Path) -> None:
    store = JobStore(tmp_path / "jobs")
    store.remember(job(), T0)
    (path,) = (tmp_path / "jobs").iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_an_unchanged_job_is_not_written_again(tmp_path: Path) -> None:
    store = JobStore(tmp_path)
    store.remember(job(), T0)
    (path,) = tmp_path.iterdir()
    path.write_text("touched")
    store.remember(job(), T0 + 1)
    assert path.read_text() == "touched"
    store.remember(msgspec.structs.replace(job(), restarts=9), T0 + 2)
    assert path.read_text() != "touched"


@pytest.mark.parametrize("content", [b"", b"{", b"\x00\xff", b'{"job": 3, "seen_at": 1}', b"[]"])
def test_a_damaged_file_is_put_aside_and_the_others_still_load(
    tmp_path: Path, content: bytes
) -> None:
    store = JobStore(tmp_path)
    store.remember(job(1), T0)
    (tmp_path / f"{2:012x}.json").write_bytes(content)
    seen, problems = store.load()
    assert [item.job.id for item in seen] == [job(1).id]
    (problem,) = problems
    assert f"{2:012x}.json" in problem.file
    assert "000000000002.bad" in problem.message
    assert (tmp_path / f"{2:012x}.bad").read_bytes() == content
    assert store.load()[1] == []


def test_a_file_that_holds_another_job_is_not_believed(tmp_path: Path) -> None:
    store = JobStore(tmp_path)
    store.remember(job(1), T0)
    (tmp_path / f"{1:012x}.json").rename(tmp_path / f"{2:012x}.json")
    seen, problems = store.load()
    assert seen == []
    assert len(problems) == 1


def test_only_the_newest_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "KEEP", 2)
    store = JobStore(tmp_path)
    for number in range(4):
        store.remember(job(number), T0)
    assert [item.job.id for item in store.load()[0]] == [job(3).id, job(2).id]
    assert len(list(tmp_path.iterdir())) == 2


def test_forgetting_removes_the_file(tmp_path: Path) -> None:
    store = JobStore(tmp_path)
    store.remember(job(1), T0)
    store.forget(job(1).id)
    store.forget(job(1).id)
    assert store.load() == ([], [])
    store.remember(job(1), T0)
    assert len(store.load()[0]) == 1


def test_an_id_that_is_none_cannot_name_a_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not a job id"):
        JobStore(tmp_path).remember(msgspec.structs.replace(job(), id="../x"), T0)


def test_a_disk_that_refuses_is_reported_with_the_job_and_the_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CockpitError, match=f"cannot remember job {JOB[:3]}") as caught:
        JobStore(tmp_path / "file").remember(fold("success"), T0)
    assert caught.value.hint


def test_nothing_remembered_is_an_empty_list(tmp_path: Path) -> None:
    assert JobStore(tmp_path / "none").load() == ([], [])
    assert list(tmp_path.iterdir()) == []


def test_a_metric_that_is_nan_comes_back(tmp_path: Path) -> None:
    figures = ((T0, 1.0), (T0 + 1, math.nan), (T0 + 2, -math.inf))
    metric = Metric(name="loss", rank=0, value=math.nan, low=0.5, high=math.inf, history=figures)
    store = JobStore(tmp_path)
    store.remember(msgspec.structs.replace(job(), metrics=(metric,)), T0)
    (seen,), problems = store.load()
    (found,) = seen.job.metrics
    assert problems == []
    assert (str(found.value), found.high) == ("nan", math.inf)
    assert [str(value) for _, value in found.history] == ["1.0", "nan", "-inf"]
