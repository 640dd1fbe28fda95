"""A stall is shown while it lasts; what it ended is blamed on it, and on a rank where it can be."""

from __future__ import annotations

import pytest

from cockpit.model.stalls import ON_STALL
from cockpit.model.types import Cause, Job, JobState
from cockpit.node.supervise.generations import ON_STALL as NODES_WORD
from tests.model.building import JOB, Cluster, running
from tests.model.scenarios import T0

WORDS = "ranks 0-3 have been silent for 31 s at step 41 (limit 30 s)"
ALL = [(0, 41), (1, 41), (2, 41), (3, 41)]


def restarted(*silent: tuple[int, int | None]) -> Cluster:
    """A job whose watchers restarted generation 0 because of a stall of these ranks."""
    cluster = running()
    for node in (0, 1):
        mine = [item for item in silent if item[0] // 2 == node]
        if mine:
            cluster.stalled(node, 40.0 + node / 10, 0, *mine, action="restart", message=WORDS)
    cluster.everywhere("launcher", 41.0, "restarting", generation=0, by=ON_STALL, reason=WORDS)
    cluster.everywhere("launcher", 41.2, "stopping", generation=0)
    return cluster.generation(1, 43.0)


def cause_of(cluster: Cluster) -> Cause:
    job = cluster.job(44.0)
    assert [item.reason for item in job.history] == ["stall", ""]
    assert job.history[0].cause is not None
    return job.history[0].cause


def test_the_word_for_who_restarted_is_the_one_that_nodes_write() -> None:
    assert ON_STALL == NODES_WORD


# -- the flag ------------------------------------------------------------------------------------


def test_a_job_is_stalled_from_the_declaration_to_the_recovery() -> None:
    cluster = running()
    assert "stalled" not in cluster.job(30.0).flags
    cluster.stalled(1, 40.0, 0, (3, 41), message=WORDS)
    job = cluster.job(41.0)
    assert (job.state, job.flags) == (JobState.RUNNING, ("stalled",))
    (stall,) = job.stalls
    assert (stall.node, stall.node_rank, stall.ranks, stall.at) == ("gpu02", 1, (3,), T0 + 40.0)
    assert (stall.action, stall.message, stall.recovered_at) == ("warn", WORDS, None)
    cluster.say(1, "events", 50.0, "recovered", generation=0)
    job = cluster.job(51.0)
    assert job.flags == ()
    assert job.stalls[0].recovered_at == T0 + 50.0


def test_a_stall_of_an_earlier_generation_is_no_stall_of_this_one() -> None:
    assert "stalled" not in restarted(*ALL).job(44.0).flags


def test_a_stall_that_goes_on_when_the_job_ends_is_no_stall_of_an_ended_job() -> None:
    cluster = running()
    cluster.stalled(1, 40.0, 0, (3, 41))
    assert cluster.end(50.0).job().flags == ()


def test_a_warning_alone_ends_nothing_and_is_no_cause() -> None:
    cluster = running()
    cluster.stalled(1, 40.0, 0, (3, 41))
    job = cluster.job(41.0)
    assert (job.cause, job.history[0].reason) == (None, "")


def test_ranks_that_join_a_stall_belong_to_it_and_what_is_done_stays() -> None:
    cluster = running()
    cluster.stalled(1, 40.0, 0, (3, 41), action="restart")
    cluster.stalled(1, 51.0, 0, (2, 42), (3, 41), action="warn", message="two of them")
    (stall,) = cluster.job(52.0).stalls
    assert (stall.ranks, stall.at) == ((2, 3), T0 + 40.0)
    assert (stall.action, stall.message) == ("restart", "two of them")


def test_stalls_are_listed_newest_first() -> None:
    cluster = running()
    for at in (40.0, 60.0):
        cluster.stalled(0, at, 0, (0, 41))
        cluster.say(0, "events", at + 1, "recovered", generation=0)
    assert [stall.at for stall in cluster.job(70.0).stalls] == [T0 + 60.0, T0 + 40.0]


@pytest.mark.parametrize("first", ["stalled", "stacks"])
def test_stacks_that_were_kept_belong_to_the_stall_whichever_is_told_first(first: str) -> None:
    cluster = running()
    for kind in ("stalled", "stacks") if first == "stalled" else ("stacks", "stalled"):
        if kind == "stalled":
            cluster.stalled(1, 40.0, 0, (3, 41))
        else:
            cluster.say(
                1, "events", 40.1, "stacks", path="stacks/0.json", reason="stall", generation=0
            )
    cluster.say(1, "events", 42.0, "stacks", path="stacks/1.json", reason="asked", generation=0)
    (stall,) = cluster.job(43.0).stalls
    assert stall.stacks == f"jobs/{JOB}/attempts/0/nodes/1/stacks/0.json"


# -- the cause -----------------------------------------------------------------------------------


def test_a_restart_after_a_stall_is_a_stall_and_names_the_rank_that_was_behind() -> None:
    cause = cause_of(restarted((0, 42), (1, 42), (2, 42), (3, 41)))
    assert (cause.kind, cause.node, cause.rank) == ("stall", "gpu02", 3)
    assert cause.message == (
        "rank 3 silent for 31 s at step 41 (limit 30 s); 3 ranks more, a step or more ahead"
    )
    assert (cause.at, cause.generation) == (T0 + 40.0, 0)
    assert "cockpit stacks --last" in cause.hint


def test_ranks_that_are_silent_at_the_same_step_accuse_nobody() -> None:
    cause = cause_of(restarted(*ALL))
    assert (cause.node, cause.rank) == ("", None)
    assert cause.message == "4 ranks silent for 31 s at step 41 (limit 30 s)"


def test_the_only_silent_rank_is_named() -> None:
    cause = cause_of(restarted((1, 41)))
    assert (cause.node, cause.rank) == ("gpu01", 1)
    assert cause.message == "rank 1 silent for 31 s at step 41 (limit 30 s)"


def test_a_rank_that_never_beat_is_behind_all_that_did() -> None:
    cause = cause_of(restarted((0, 5), (1, 5), (2, None)))
    assert cause.rank == 2
    assert cause.message.startswith("rank 2 silent for 31 s without a first beat (limit 30 s)")


def test_ranks_that_fail_because_they_are_restarted_are_no_cause_and_no_failure() -> None:
    cluster = restarted(*ALL)
    cluster.failed(0, 41.5, 0, {"local_rank": 0, "at": 41.4, "exception": "ValueError"})
    job = cluster.job(44.0)
    assert job.history[0].cause is not None
    assert job.history[0].cause.kind == "stall"
    assert [victim.rank for victim in job.history[0].victims] == [0]


def test_a_stall_without_its_declaration_is_told_in_the_words_of_the_restart() -> None:
    cause = cause_of(restarted())
    assert (cause.kind, cause.rank, cause.message) == ("stall", None, WORDS)


def test_a_restart_by_a_person_during_a_stall_is_the_persons() -> None:
    cluster = running()
    cluster.stalled(0, 40.0, 0, (0, 41))
    cluster.everywhere("launcher", 50.0, "restarting", generation=0, by="ada@laptop", reason="")
    job = cluster.generation(1, 52.0).job(53.0)
    assert (job.history[0].reason, job.history[0].by) == ("operator", "ada@laptop")
    assert job.history[0].cause is None


def cancelled(*, stopped: bool) -> Cluster:
    """Node gpu02 saw a stall and ended the job; with `stopped`, gpu01 was told to end by it."""
    cluster = running()
    cluster.stalled(1, 40.0, 0, (2, 41), (3, 41), action="cancel", message=WORDS)
    for node in (0, 1) if stopped else (1,):
        cluster.say(node, "launcher", 42.0, "launcher_exc", type="Stopped", message=WORDS)
    if not stopped:
        lost = {"local_rank": 0, "message": "Connection closed by peer [10.0.0.2]:1"}
        cluster.failed(0, 42.5, 0, {**lost, "exception": "RuntimeError"})
    return cluster.end(45.0)


@pytest.mark.parametrize("stopped", [True, False])
def test_a_job_that_its_watchers_ended_has_failed_of_a_stall_with_code_1(stopped: bool) -> None:
    job = cancelled(stopped=stopped).job()
    assert (job.state, job.exit_code, job.cancelled_by) == (JobState.FAILED, 1, "")
    assert job.cause is not None
    assert (job.cause.kind, job.cause.node, job.cause.rank) == ("stall", "gpu02", None)
    assert job.cause.message == "2 ranks silent for 31 s at step 41 (limit 30 s)"
    assert [item.reason for item in job.history] == ["stall"]


def test_a_node_that_was_told_to_end_knows_why_though_the_one_that_saw_it_is_unknown() -> None:
    cluster = running(1, 2)
    cluster.say(0, "launcher", 42.0, "launcher_exc", type="Stopped", message=WORDS)
    job = cluster.end(45.0).job()
    assert job.cause is not None
    assert (job.cause.kind, job.cause.message, job.exit_code) == ("stall", WORDS, 1)


def test_a_person_who_cancels_before_the_watchers_act_has_cancelled_it() -> None:
    cluster = running()
    cluster.everywhere("events", 39.0, "cancel", by="ada@laptop", reason="Ctrl-C")
    cluster.stalled(1, 40.0, 0, (3, 41), action="cancel", message=WORDS)
    job = cluster.end(45.0, "cancelled", 1).job()
    assert (job.state, job.exit_code, job.cancelled_by) == (JobState.CANCELLED, 130, "ada@laptop")


# -- ft_launcher's rank monitors -----------------------------------------------------------------


def timed_out(*ranks: int) -> Job:
    cluster = running()
    for rank in ranks:
        cluster.say(
            rank // 2, "launcher", 40.0, "ft_timeout", generation=0, rank=rank,
            local_rank=rank % 2, pid=1, message="no heartbeat for 30 s",
        )  # fmt: skip
        killed = {"local_rank": rank % 2, "exit_code": None, "signal": 9, "at": 39.9}
        cluster.failed(rank // 2, 40.2, 0, killed)
    return cluster.generation(1, 44.0).job(45.0)


def test_a_rank_that_its_monitor_ended_has_stalled_and_was_not_just_killed() -> None:
    job = timed_out(3)
    assert job.history[0].reason == "stall"
    cause = job.history[0].cause
    assert cause is not None
    assert (cause.kind, cause.node, cause.rank) == ("stall", "gpu02", 3)
    assert cause.message == "rank 3 silent: no heartbeat for 30 s"


def test_monitors_that_time_out_together_accuse_nobody() -> None:
    cause = timed_out(0, 1, 2, 3).history[0].cause
    assert cause is not None
    assert (cause.rank, cause.message) == (None, "4 ranks silent: no heartbeat for 30 s")
