"""Nodes that know of no round: a failure of one of them shows while the others run, and stays."""

from __future__ import annotations

import itertools
from random import Random

import pytest

from cockpit.cli.causes import describe
from cockpit.model.jobs import JobModel
from cockpit.model.restarts import before_cancel
from cockpit.model.types import Job, JobState, NodeState
from tests.model.building import Cluster, commands, leave
from tests.model.scenarios import ONLINE, T0, plan


def cancel(cluster: Cluster, at: float) -> Cluster:
    """Somebody cancels a job whose first node has ended."""
    for node in (0, 1):
        cluster.say(node, "events", at, "cancel", by="ada@laptop", reason="Ctrl-C")
    leave(cluster, 1, at + 0.1, signal=15, outcome="cancelled")
    return cluster


def failed(**end: int) -> Cluster:
    cluster = commands()
    leave(cluster, 0, 5.0, **end)
    return cluster


def test_a_failed_node_is_the_cause_while_the_others_run() -> None:
    job = failed(code=7).job(6.0)
    assert (job.state, job.exit_code) == (JobState.RUNNING, None)
    assert job.cause is not None
    assert (job.cause.kind, job.cause.node, job.cause.exit_code) == ("exit", "gpu01", 7)
    (generation,) = job.history
    assert (generation.cause, generation.reason, generation.ended_at) == (job.cause, "", None)
    assert [(node.state, node.why) for node in job.nodes] == [
        (NodeState.FAILED, "exited with code 7"),
        (NodeState.RUNNING, ""),
    ]


def test_a_later_cancel_does_not_hide_what_failed_before() -> None:
    job = cancel(failed(code=7), 8.0).job()
    assert (job.state, job.exit_code, job.cancelled_by) == (
        JobState.CANCELLED, 130, "ada@laptop",
    )  # fmt: skip
    assert job.cause is not None
    assert job.cause.kind == "cancelled"
    (generation,) = job.history
    assert generation.cause is not None
    assert (generation.reason, generation.cause.node, generation.cause.exit_code) == (
        "cancelled", "gpu01", 7,
    )  # fmt: skip
    assert before_cancel(job) == generation.cause


def test_what_ends_by_a_cancel_is_no_failure() -> None:
    cluster = commands()
    for node in (0, 1):
        cluster.say(node, "events", 4.0, "cancel", by="ada@laptop", reason="Ctrl-C")
    leave(cluster, 0, 5.0, signal=15, outcome="cancelled")
    leave(cluster, 1, 5.0, signal=15, outcome="cancelled")
    job = cluster.job()
    assert job.history[0].cause == job.cause
    assert before_cancel(job) is None


@pytest.mark.parametrize(("signal", "words"), [(11, "killed by SIGSEGV"), (9, "killed by SIGKILL")])
def test_a_command_that_died_by_a_signal_is_told_so(signal: int, words: str) -> None:
    job = failed(signal=signal).job(6.0)
    assert job.cause is not None
    assert (job.cause.kind, job.cause.signal, job.nodes[0].why) == ("signal", signal, words)


def test_a_launcher_process_that_ended_before_any_rank_ran_is_the_cause_while_others_wait() -> None:
    cluster = Cluster(2).start()
    cluster.end_node(0, 5.0, code=3)
    job = cluster.job(6.0)
    assert job.state is JobState.STARTING
    assert job.cause is not None
    assert (job.cause.node, job.cause.exit_code) == ("gpu01", 3)
    assert job.nodes[0].why == "the launcher process exited with code 3"
    assert [item.cause for item in job.history] == [job.cause]


def test_a_rank_that_failed_before_a_cancel_stays_the_cause_of_its_generation() -> None:
    cluster = Cluster().start().generation(0, 1.0)
    cluster.failed(0, 5.0, 0, {"local_rank": 1, "at": 4.9, "exit_code": 7})
    cluster.end_node(0, 5.5, code=1)
    assert before_cancel(cluster.job(6.0)) is None
    for node in (0, 1):
        cluster.say(node, "events", 8.0, "cancel", by="ada@laptop", reason="Ctrl-C")
    cluster.end_node(1, 9.0, "cancelled", 1)
    job = cluster.job()
    found = before_cancel(job)
    assert job.state is JobState.CANCELLED
    assert found is not None
    assert (found.rank, found.node, found.exit_code) == (1, "gpu01", 7)
    assert job.history[-1].cause == found


def test_a_failure_that_a_restart_has_mended_is_not_told_with_a_later_cancel() -> None:
    cluster = Cluster().start().generation(0, 1.0)
    cluster.failed(0, 5.0, 0, {"local_rank": 1, "at": 4.9, "exit_code": 7})
    cluster.generation(1, 6.0)
    for node in (0, 1):
        cluster.say(node, "events", 8.0, "cancel", by="ada@laptop", reason="Ctrl-C")
    job = cluster.end(9.0, "cancelled", 1).job()
    assert job.history[0].cause is not None
    assert before_cancel(job) is None


@pytest.mark.parametrize("end", ["running", "cancelled", "failed"])
@pytest.mark.parametrize("seed", range(5))
def test_any_order_of_arrival_gives_the_same_picture(end: str, seed: int) -> None:
    cluster = failed(code=7)
    if end == "cancelled":
        cancel(cluster, 8.0)
    elif end == "failed":
        leave(cluster, 1, 5.0, 3)
    random = Random(seed)
    pieces = {where: data.splitlines(keepends=True) for where, data in cluster.data().items()}
    turns = [where for where, lines in pieces.items() for _ in lines]
    random.shuffle(turns)
    model = JobModel(cluster.record)
    model.plan(plan(2))
    for name in ("gpu01", "gpu02"):
        model.link(name, ONLINE)
    fed = dict.fromkeys(pieces, 0)
    for where in turns:
        offsets = [0, *itertools.accumulate(len(line) for line in pieces[where])]
        model.feed(*where, offsets[fed[where]], pieces[where][fed[where]])
        fed[where] += 1
        model.snapshot(T0 + 9.0)
    seen: Job = model.snapshot(T0 + 1000.0)
    assert seen == cluster.job()
    assert seen.history[0].cause is not None
    assert seen.history[0].cause.exit_code == 7


def test_what_vanished_before_a_cancel_is_told_though_its_node_told_of_it_later() -> None:
    cluster = commands()
    words = "the launcher process ended while no supervisor watched it"
    cluster.say(0, "events", 5.0, "adopted", launcher_alive=False)
    for node in (0, 1):
        cluster.say(node, "events", 5.1, "cancel", by="ada@laptop", reason="Ctrl-C")
    cluster.say(0, "events", 5.2, "launcher_exited", code=None, signal=None, oom=False)
    cluster.say(0, "events", 5.3, "ended", outcome="failed", code=None, signal=None, message=words)
    leave(cluster, 1, 5.4, signal=15, outcome="cancelled")
    job = cluster.job()
    found = before_cancel(job)
    assert job.state is JobState.CANCELLED
    assert found is not None
    assert (found.node, found.message, found.at) == ("gpu01", words, T0 + 5.0)
    assert job.nodes[0].why == words


def test_a_command_whose_end_nobody_saw_is_called_the_command() -> None:
    cluster = commands()
    cluster.say(0, "events", 5.3, "ended", outcome="failed", code=None, signal=None)
    job = cluster.job(6.0)
    assert job.cause is not None
    assert describe(job.cause) == "the command on gpu01 ended, its exit code is unknown"
