"""Who follows a job hears of restarts, stalls and stacks as they happen, each once."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from cockpit.cli.follow import Follower
from cockpit.cli.printer import Printer
from cockpit.model.types import Job
from tests.model.building import JOB, Cluster, commands, leave, running
from tests.model.scenarios import fold


class Log:
    """The log of a job that prints nothing."""

    def poll(self) -> list[object]:
        return []

    def drain(self) -> Iterator[list[object]]:
        return iter(())

    async def complete(self, **_: object) -> list[str]:
        return []

    def close(self) -> None:
        pass


class Script:
    """A controller whose job goes through these snapshots."""

    def __init__(self, *jobs: Job) -> None:
        self._jobs = list(jobs)

    def log(self, *_: object, **__: object) -> Log:
        return Log()

    def job(self, _: str) -> Job:
        return self._jobs.pop(0) if len(self._jobs) > 1 else self._jobs[0]


async def follow(
    *jobs: Job, as_json: bool = False, first_attempt: int = 0
) -> tuple[list[str], int]:
    """What is said, and the exit code."""
    said: list[str] = []
    follower = Follower(
        Script(*jobs),  # type: ignore[arg-type]
        JOB,
        Printer(as_json=as_json, colour=False),
        said.append,
        cancel_on_interrupt=False,
        contact_timeout=60.0,
        first_attempt=first_attempt,
    )
    return said, await follower.follow()


def stalled() -> Cluster:
    cluster = running()
    cluster.stalled(1, 40.0, 0, (3, 41), message="rank 3 has been silent", action="restart")
    return cluster


def kept(cluster: Cluster) -> Cluster:
    cluster.say(1, "events", 41.0, "stacks", path="stacks/0.json", reason="stall", generation=0)
    return cluster


def recovered() -> Cluster:
    cluster = kept(stalled())
    cluster.say(1, "events", 42.0, "recovered", generation=0)
    return cluster


async def test_a_stall_is_told_when_it_comes_when_its_stacks_are_kept_and_when_it_is_over() -> None:
    end = recovered().succeed(0, 50.0).job()
    snapshots = [running(), stalled(), stalled(), kept(stalled()), recovered()]
    said, code = await follow(*(cluster.job(45.0) for cluster in snapshots), end)
    assert said == [
        "4 ranks running on 2 nodes",
        "stalled on gpu02: rank 3 has been silent; the ranks are restarted",
        f"stacks kept: see `cockpit stacks --last {JOB}`",
        "recovered on gpu02: its ranks beat again",
        "job train succeeded",
    ]
    assert code == 0


async def test_programs_get_stalls_and_recoveries_as_events(
    capsys: pytest.CaptureFixture[str],
) -> None:
    end = recovered().succeed(0, 50.0).job()
    await follow(running().job(30.0), stalled().job(41.0), recovered().job(45.0), end, as_json=True)
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["event"] for event in events] == [
        "job", "job", "stalled", "job", "recovered", "job",
    ]  # fmt: skip
    told, over = events[2], events[4]
    assert (told["type"], told["job"], told["flags"]) == ("event", JOB, ["stalled"])
    assert (told["stall"]["node"], told["stall"]["ranks"]) == ("gpu02", [3])
    assert told["stall"]["recovered_at"] is None
    assert over["stall"]["recovered_at"] == "2026-01-01T00:00:42.000+00:00"


async def test_restarts_are_told_with_who_asked_or_what_failed() -> None:
    said, code = await follow(fold("operator_restart_then_out_of_memory"))
    assert said[:2] == [
        "4 ranks running on 2 nodes",
        "generation 0 ended: restarted by bob@desk",
    ]
    assert said[2] == "4 ranks running on 2 nodes (attempt 0, generation 1)"
    assert said[3].startswith("generation 1 ended: GPU out of memory: rank 2 on gpu02 exited")
    assert said[-1].startswith("job train failed: GPU out of memory: rank 2 on gpu02")
    assert "(hint: smaller batch" in said[-1]
    assert code == 1


async def test_a_generation_that_a_stall_ended_says_so_once() -> None:
    said, _ = await follow(fold("stall_restarted"), fold("stall_restarted"))
    ends = [text for text in said if "ended" in text]
    assert ends == ["generation 0 ended: stall: 4 ranks silent for 31 s at step 41 (limit 30 s)"]


async def test_a_node_without_ranks_that_ended_badly_is_told_once_while_the_others_run() -> None:
    cluster = commands(3)
    begun = cluster.job(1.0)
    leave(cluster, 0, 5.0, 7)
    leave(cluster, 1, 5.0, 7)
    half = cluster.job(6.0)
    for node in range(3):
        cluster.say(node, "events", 8.0, "cancel", by="ada@laptop", reason="Ctrl-C")
    leave(cluster, 2, 8.1, signal=15, outcome="cancelled")
    said, code = await follow(begun, half, half, cluster.job())
    assert said == [
        "gpu01, gpu02 failed: exit 7",
        "attempt 0 ended: cancelled, after the command on gpu01 exited with 7",
        "job train cancelled: cancelled by ada@laptop;"
        " failed before that: the command on gpu01 exited with 7",
    ]
    assert code == 130


async def test_what_a_jobs_last_line_says_of_a_node_is_not_said_twice() -> None:
    cluster = commands()
    leave(cluster, 0, 5.0, 7)
    leave(cluster, 1, 6.0, signal=9)
    said, code = await follow(commands().job(1.0), cluster.job())
    assert said == [
        "gpu02 failed: SIGKILL",
        "attempt 0 ended: the command on gpu01 exited with 7",
        "job train failed: the command on gpu01 exited with 7",
    ]
    assert code == 7


async def test_generations_of_several_attempts_are_told_apart() -> None:
    said, _ = await follow(fold("second_attempt"))
    ends = [text.partition(":")[0] for text in said if " ended" in text]
    assert ends == ["attempt 0, generation 0 ended"]


async def test_who_follows_a_new_attempt_hears_how_the_last_one_ended_not_how_it_began() -> None:
    said, _ = await follow(fold("second_attempt"), first_attempt=1)
    running = [text for text in said if "running on" in text]
    assert running
    assert all("attempt 1" in text for text in running)
    assert any(text.startswith("attempt 0, generation 0 ended: ") for text in said)


async def test_where_a_stalled_job_hangs_is_told_once_all_its_nodes_know(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def hung(*told: int) -> Cluster:
        cluster = running(2, 1)
        for node in (0, 1):
            cluster.stalled(node, 40.0, 0, (node, 20), message="silent")
        for node in told:
            cluster.say(
                node, "events", 41.0, "stacks", path="s", reason="stall", generation=0,
                ranks=[{"rank": node, "frames": [
                    {"file": "hang.py", "line": node + 6, "function": "read"}]}],
            )  # fmt: skip
        return cluster

    end = hung(0, 1).succeed(0, 50.0).job()
    where = "stalled: rank 0 (gpu01) is in hang.py:6 read, rank 1 (gpu02) in hang.py:7 read"
    jobs = [hung().job(42.0), hung(0).job(42.0), hung(0, 1).job(42.0), hung(0, 1).job(42.0)]
    said, _ = await follow(*jobs, end)
    assert [text for text in said if text.startswith("stalled: ")] == [where]
    # A node that keeps none is not waited for.
    monkeypatch.setattr("cockpit.cli.follow.STACKS_PATIENCE", 0.0)
    said, _ = await follow(*jobs[:2], end)
    assert "stalled: rank 0 (gpu01) is in hang.py:6 read" in said


async def test_a_straggler_is_named_once() -> None:
    cluster = running()
    for at in (10.0, 11.0, 12.0):
        cluster.beats(0, at, 0, {"own": 0.3}, {"own": 0.3})
        cluster.beats(1, at, 0, {"own": 0.3}, {"own": 1.2})
    job = cluster.job(12.0)
    said, _ = await follow(job, job, cluster.succeed(0, 20.0).job())
    assert said.count("rank 3 on gpu02 is slower than its peers") == 1


async def test_the_first_cause_is_named_once_every_node_has_told_its_part(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = {"exception": "ValueError", "message": "ValueError: x"}
    cluster = running()
    cluster.failed(1, 5.3, 0, {"local_rank": 0, "at": 5.2, **words})
    half = cluster.job(6.0)
    cluster.failed(0, 5.4, 0, {"local_rank": 1, "at": 5.1, **words})
    whole = cluster.job(6.0)
    end = cluster.end(9.0).job()

    def ends(said: list[str]) -> list[str]:
        return [text for text in said if text.startswith("generation")]

    named = "generation 0 ended: rank 1 on gpu01 and 1 other alike exited with 1: ValueError: x"
    assert ends((await follow(half, half, whole, end))[0]) == [named]
    # A node that is out of reach is not waited for.
    monkeypatch.setattr("cockpit.cli.follow.NAMING_PATIENCE", 0.0)
    said = ends((await follow(half, half, end))[0])
    assert said == ["generation 0 ended: rank 2 on gpu02 exited with 1: ValueError: x"]
