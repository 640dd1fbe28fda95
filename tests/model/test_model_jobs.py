"""Recorded journals of whole jobs fold into what a person would call the truth."""

from __future__ import annotations

import msgspec
import pytest

from cockpit.cli.statustext import status_text
from cockpit.model.documents import status_document
from cockpit.model.jobs import JobModel
from cockpit.model.journals import GapError
from cockpit.model.types import JobState, Link, LinkState, Metric, NodeState, RankState
from tests.model.scenarios import (
    JOB,
    ONLINE,
    T0,
    fold,
    journals,
    line,
    model,
    plan,
    record,
)

NOW = T0 + 1000.0


def reasons(job) -> list[str]:  # type: ignore[no-untyped-def]
    return [item.reason for item in job.history]


def test_a_job_whose_every_node_ends_well_succeeded() -> None:
    job = fold("success")
    assert (job.state, job.exit_code, job.cause, job.restarts) == (JobState.SUCCEEDED, 0, None, 0)
    assert reasons(job) == ["succeeded"]
    assert (job.history[0].world_size, job.history[0].nodes) == (4, 2)
    assert job.flags == ()
    assert (job.started_at, job.ended_at) == (T0 + 0.52, T0 + 31.3)
    assert [rank.rank for node in job.nodes for rank in node.ranks] == [0, 1, 2, 3]
    assert {rank.state for node in job.nodes for rank in node.ranks} == {RankState.SUCCEEDED}


def test_the_rank_that_raised_is_the_cause_and_not_its_three_victims() -> None:
    job = fold("rank_raises")
    assert (job.state, job.exit_code) == (JobState.FAILED, 7)
    assert job.cause is not None
    assert (job.cause.kind, job.cause.node, job.cause.rank) == ("exit", "gpu02", 3)
    assert job.cause.message == "RuntimeError: boom from rank 3"
    assert job.history[0].cause == job.cause
    assert {rank.state for node in job.nodes for rank in node.ranks} == {RankState.FAILED}


def test_a_killed_rank_makes_a_new_generation_and_the_job_may_still_succeed() -> None:
    job = fold("rank_killed_recovers")
    assert (job.state, job.exit_code, job.restarts) == (JobState.SUCCEEDED, 0, 1)
    assert reasons(job) == ["failed", "succeeded"]
    cause = job.history[0].cause
    assert cause is not None
    assert (cause.kind, cause.signal, cause.rank, cause.node) == ("signal", 9, 2, "gpu02")
    assert cause.message == "killed by SIGKILL"
    assert job.cause is None


def test_when_restarts_are_used_up_the_last_generation_names_the_cause() -> None:
    job = fold("restarts_exhausted")
    assert (job.state, job.exit_code, job.restarts) == (JobState.FAILED, 3, 3)
    assert reasons(job) == ["failed"] * 4
    assert job.cause is not None
    assert job.cause.message == "ValueError: bad batch in generation 3"
    assert job.cause.generation == 3


def test_a_cancel_names_who_did_it_and_what_had_to_be_swept() -> None:
    job = fold("cancelled_with_sweep")
    assert (job.state, job.exit_code, job.cancelled_by) == (JobState.CANCELLED, 130, "bob@desk")
    assert job.cause is not None
    assert (job.cause.kind, job.cause.message) == ("cancelled", "cancelled by bob@desk")
    assert reasons(job) == ["cancelled"]
    assert [item.command for item in job.nodes[1].swept] == ["tensorboard --logdir runs", "evil"]
    assert job.nodes[0].swept == ()


def test_a_start_that_failed_on_one_node_is_no_cancel_though_the_others_were_cancelled() -> None:
    job = fold("start_failed_on_one_node")
    assert (job.state, job.exit_code) == (JobState.FAILED, 1)
    assert job.cause is not None
    assert (job.cause.kind, job.cause.node) == ("start_failed", "gpu02")
    assert "cannot execute /opt/venv/bin/python" in job.cause.message


def test_claims_withdrawn_everywhere_are_a_failed_start() -> None:
    job = fold("withdrawn_everywhere")
    assert (job.state, job.exit_code) == (JobState.FAILED, 69)
    assert job.cause is not None
    assert job.cause.kind == "start_failed"
    assert "no Python 3.9" in job.cause.message
    assert {node.state for node in job.nodes} == {NodeState.WITHDRAWN}


def test_a_node_that_joins_later_makes_a_new_generation_without_a_failure() -> None:
    job = fold("third_node_joins")
    assert (job.state, job.exit_code, job.restarts) == (JobState.SUCCEEDED, 0, 1)
    assert reasons(job) == ["membership", "succeeded"]
    assert [item.nodes for item in job.history] == [2, 3]
    assert job.history[0].cause is None
    assert job.history[0].ended_at == T0 + 22.0
    assert "degraded" not in job.flags


def test_a_rebooted_node_is_the_cause_and_not_the_time_out_it_left_behind() -> None:
    job = fold("node_lost")
    assert (job.state, job.exit_code) == (JobState.FAILED, 1)
    assert job.cause is not None
    assert (job.cause.kind, job.cause.node) == ("node_lost", "gpu02")
    assert job.nodes[1].state is NodeState.LOST


def test_exit_0_of_a_node_that_trained_alone_is_no_success() -> None:
    job = fold("one_node_alone")
    assert (job.state, job.exit_code) == (JobState.FAILED, 1)
    assert job.cause is not None
    assert job.cause.kind == "launcher"
    assert job.cause.message == (
        "the world that formed has 1 node of 2 (clocks of the nodes apart?)"
    )


def test_exit_0_of_one_node_after_the_other_was_killed_is_no_success() -> None:
    job = fold("launcher_killed_peer_exits_0")
    assert (job.state, job.exit_code) == (JobState.FAILED, 137)
    assert job.cause is not None
    assert (job.cause.kind, job.cause.node) == ("signal", "gpu02")
    assert job.cause.message == "the launcher process was killed by SIGKILL"


def test_an_elastic_job_that_lost_a_node_succeeds_degraded() -> None:
    job = fold("elastic_node_drops_out")
    assert (job.state, job.exit_code) == (JobState.SUCCEEDED, 0)
    assert "degraded" in job.flags
    assert reasons(job) == ["failed", "succeeded"]
    cause = job.history[0].cause
    assert cause is not None and cause.node == "gpu03"


def test_the_kernels_out_of_memory_kill_is_told_from_any_other_kill() -> None:
    job = fold("oom_killed")
    assert job.cause is not None
    assert (job.cause.kind, job.cause.rank, job.exit_code) == ("oom", 2, 137)


def test_history_holds_the_generations_of_every_attempt_and_the_newest_decides() -> None:
    job = fold("second_attempt")
    assert (job.state, job.attempt, job.restarts) == (JobState.SUCCEEDED, 1, 1)
    assert [(item.attempt, item.generation) for item in job.history] == [(0, 0), (1, 0)]
    assert reasons(job) == ["cancelled", "succeeded"]
    assert job.started_at == T0 + 0.52


def test_a_clock_that_is_an_hour_off_does_not_make_a_victim_the_first() -> None:
    def shifted(rank: int, at: float, message: str) -> bytes:
        failures = [
            {"rank": rank, "local_rank": 0, "exit_code": 1, "at": T0 + at, "message": message}
        ]
        return (
            line("generation", 0, at - 5, generation=0, group_rank=rank, group_world_size=2,
                 world_size=2, ranks=[])
            + line("group", 1, at, generation=0, state="FAILED", failures=failures)
            + line("launcher_exit", 2, at + 1, code=1)
        )  # fmt: skip

    def ended(at: float) -> bytes:
        return line("claimed", 0, 0.0) + line(
            "started", 1, 0.1, process={"pid": 5}
        ) + line("ended", 2, at, outcome="failed", code=1)  # fmt: skip

    job = JobModel(record())
    job.plan(plan(2))
    job.feed(0, 0, "launcher", 0, shifted(0, 10.5, "ValueError: second"))
    job.feed(0, 1, "launcher", 0, shifted(1, 3610.0, "ValueError: first"))
    job.feed(0, 0, "events", 0, ended(12.0))
    job.feed(0, 1, "events", 0, ended(3612.0))
    job.link("gpu01", Link(state=LinkState.ONLINE, clock_offset=0.01))
    assert job.snapshot(NOW).cause.message == "ValueError: second"  # type: ignore[union-attr]
    job.link("gpu02", Link(state=LinkState.ONLINE, clock_offset=3600.0))
    assert job.snapshot(NOW).cause.message == "ValueError: first"  # type: ignore[union-attr]


# -- journals of real runs (torch 2.13, gloo, two nodes of two ranks on loopback) ----------------


def test_a_real_run_whose_rank_3_raised_and_then_aborted_on_its_way_out() -> None:
    job = fold("recorded_rank_raises")
    assert (job.state, job.exit_code) == (JobState.FAILED, 1)
    assert job.cause is not None
    assert (job.cause.kind, job.cause.node, job.cause.rank) == ("exit", "gpu02", 3)
    assert (job.cause.message, job.cause.signal) == ("RuntimeError: boom from rank 3", 6)


def test_a_real_run_that_recovered_from_a_kill_of_rank_2() -> None:
    job = fold("recorded_rank_killed")
    assert (job.state, job.exit_code, job.restarts) == (JobState.SUCCEEDED, 0, 1)
    assert reasons(job) == ["failed", "succeeded"]
    cause = job.history[0].cause
    assert cause is not None
    assert (cause.kind, cause.rank, cause.signal) == ("signal", 2, 9)


def test_a_real_run_that_was_cancelled() -> None:
    job = fold("recorded_cancel")
    assert (job.state, job.exit_code) == (JobState.CANCELLED, 130)
    assert (job.cancelled_by, reasons(job)) == ("ada@laptop", ["cancelled"])
    assert {rank.state for node in job.nodes for rank in node.ranks} == {RankState.STOPPED}


# -- what is not over is not called over -------------------------------------------------------


def test_a_job_is_not_over_while_one_node_is_unknown() -> None:
    job = model("success")
    for (attempt, rank, journal), data in journals("success").items():
        if rank == 0:
            job.feed(attempt, rank, journal, 0, data)
    seen = job.snapshot(NOW)
    assert seen.state is JobState.RUNNING
    assert seen.exit_code is None
    assert seen.flags == ("unknown_nodes",)
    assert seen.nodes[1].state is NodeState.MISSING


def test_a_lost_link_changes_the_link_and_a_flag_and_nothing_else() -> None:
    job = model("success")
    for (attempt, rank, journal), data in journals("success").items():
        head = data[: data.rindex(b'{"seq"')] if journal == "events" else data
        job.feed(attempt, rank, journal, 0, head)
    before = job.snapshot(NOW)
    job.link("gpu02", Link(state=LinkState.UNREACHABLE, why="no route to host"))
    after = job.snapshot(NOW)
    assert before.state is after.state is JobState.RUNNING
    assert (before.flags, after.flags) == ((), ("unknown_nodes",))
    assert after.nodes[1].link.why == "no route to host"
    assert after.nodes[1].ranks == before.nodes[1].ranks


def test_a_job_is_not_judged_before_its_launcher_journals_were_read_to_the_end() -> None:
    job = model("rank_raises")
    feeds = journals("rank_raises")
    for where, data in feeds.items():
        if where[2] == "events":
            job.feed(*where, 0, data)
    assert job.snapshot(NOW).state is not JobState.FAILED
    for where, data in feeds.items():
        if where[2] == "launcher":
            assert not job.snapshot(NOW).state.ended
            job.feed(*where, 0, data)
    assert job.snapshot(NOW).exit_code == 7


def test_a_launcher_that_was_killed_is_judged_once_the_size_of_its_journal_is_known() -> None:
    launcher = line(
        "generation", 0, 1.0, generation=0, group_rank=0, group_world_size=1, world_size=1, ranks=[]
    )
    job = JobModel(record(1))
    job.plan(plan(1))
    job.feed(0, 0, "launcher", 0, launcher[:-1])
    job.feed(
        0, 0, "events", 0,
        line("claimed", 0, 0.0) + line("started", 1, 0.5, process={"pid": 7})
        + line("launcher_exited", 2, 9.0, code=None, signal=9, oom=False)
        + line("ended", 3, 9.1, outcome="failed", code=None, signal=9),
    )  # fmt: skip
    assert job.snapshot(NOW).state is JobState.STARTING
    job.sized(0, 0, "launcher", len(launcher))
    assert not job.snapshot(NOW).state.ended
    job.feed(0, 0, "launcher", len(launcher) - 1, b"\n")
    seen = job.snapshot(NOW)
    assert (seen.state, seen.exit_code) == (JobState.FAILED, 137)


def test_a_node_that_never_got_the_attempt_does_not_hold_it_up() -> None:
    job = model("withdrawn_everywhere")
    where = (0, 0, "events")
    job.feed(*where, 0, journals("withdrawn_everywhere")[where])
    assert job.snapshot(NOW).state is JobState.STAGING
    job.absent(0, 1)
    assert job.snapshot(NOW).state is JobState.FAILED


def test_a_job_walks_from_staging_over_starting_to_running() -> None:
    job = JobModel(record(1))
    assert job.snapshot(NOW).state is JobState.STAGING
    job.plan(plan(1))
    states = []
    position = 0
    for data in (
        line("claimed", 0, 0.0),
        line("go", 1, 0.1),
        line("started", 2, 0.2, process={"pid": 77}),
    ):
        job.feed(0, 0, "events", position, data)
        position += len(data)
        seen = job.snapshot(NOW)
        states.append((seen.state, seen.nodes[0].state))
    assert states == [
        (JobState.STAGING, NodeState.CLAIMED),
        (JobState.STAGING, NodeState.CLAIMED),
        (JobState.STARTING, NodeState.STARTING),
    ]
    rank = {"rank": 0, "local_rank": 0, "process": {"pid": 99}}
    job.feed(
        0, 0, "launcher", 0,
        line("generation", 0, 2.0, generation=0, group_rank=0, group_world_size=1, world_size=1,
             ranks=[rank]),
    )  # fmt: skip
    seen = job.snapshot(NOW)
    assert (seen.state, seen.nodes[0].state) == (JobState.RUNNING, NodeState.RUNNING)
    assert (seen.nodes[0].pid, seen.nodes[0].ranks[0].pid) == (77, 99)
    assert seen.nodes[0].ranks[0].state is RankState.RUNNING
    job.feed(0, 0, "events", position, line("cancel", 3, 5.0, by="eve@home"))
    seen = job.snapshot(NOW)
    assert (seen.state, seen.flags) == (JobState.RUNNING, ("cancelling",))
    assert seen.nodes[0].state is NodeState.CANCELLING


def plain(outcomes: list[tuple[int | None, int | None]]) -> JobModel:
    """A job of kind "command", its nodes ended with these codes and signals."""
    job = JobModel(record(len(outcomes), kind="command"))
    job.plan(plan(len(outcomes)))
    for rank, (code, number) in enumerate(outcomes):
        outcome = "succeeded" if code == 0 else "failed"
        job.feed(
            0, rank, "events", 0,
            line("claimed", 0, 0.0) + line("started", 1, 1.0, process={"pid": 7})
            + line("launcher_exited", 2, 9.0 - rank, code=code, signal=number)
            + line("ended", 3, 9.5, outcome=outcome, code=code, signal=number),
        )  # fmt: skip
    return job


def test_a_plain_command_succeeds_when_it_does_on_every_node() -> None:
    job = plain([(0, None), (0, None)]).snapshot(NOW)
    assert (job.state, job.exit_code) == (JobState.SUCCEEDED, 0)
    assert [(item.generation, item.nodes, item.reason) for item in job.history] == [
        (0, 2, "succeeded")
    ]


@pytest.mark.parametrize(
    ("outcomes", "exit_code", "kind"),
    [
        ([(0, None), (5, None)], 5, "exit"),
        ([(4, None), (5, None)], 5, "exit"),
        ([(None, 11), (0, None)], 139, "signal"),
    ],
)
def test_a_plain_command_gives_its_own_code_the_earliest_first(
    outcomes: list[tuple[int | None, int | None]], exit_code: int, kind: str
) -> None:
    job = plain(outcomes).snapshot(NOW)
    assert (job.state, job.exit_code) == (JobState.FAILED, exit_code)
    assert job.cause is not None and job.cause.kind == kind


def test_a_job_without_hooks_says_so_and_trusts_the_exit_codes() -> None:
    job = JobModel(record(1))
    job.plan(plan(1))
    launcher = line("launcher", 0, 0.0, process={"pid": 1}) + line(
        "hook_missing", 1, 0.1, name="_start_workers"
    )
    job.feed(0, 0, "launcher", 0, launcher)
    events = line("claimed", 0, 0.0) + line("started", 1, 0.1, process={"pid": 1})
    job.feed(0, 0, "events", 0, events)
    seen = job.snapshot(NOW)
    assert (seen.state, seen.flags) == (JobState.RUNNING, ("uninstrumented",))
    assert seen.nodes[0].notes == ("not instrumented: _start_workers is missing",)
    job.feed(0, 0, "events", len(events), line("ended", 2, 5.0, outcome="succeeded", code=0))
    job.sized(0, 0, "launcher", len(launcher))
    assert job.snapshot(NOW).state is JobState.SUCCEEDED


def test_an_exit_code_of_0_without_the_ranks_word_of_success_is_no_success() -> None:
    feeds = journals("success")
    job = model("success")
    for where, data in feeds.items():
        if where == (0, 1, "launcher"):
            data = b"".join(x for x in data.splitlines(True) if b'"group"' not in x)
            data += b"\n" * (len(feeds[where]) - len(data))
        job.feed(*where, 0, data)
    seen = job.snapshot(NOW)
    assert (seen.state, seen.exit_code) == (JobState.FAILED, 1)


def test_a_rendezvous_that_waits_long_after_a_first_generation_is_shown_as_waiting() -> None:
    job = JobModel(record(1))
    job.plan(plan(1))
    job.feed(0, 0, "events", 0, line("claimed", 0, 0.0))
    job.feed(
        0, 0, "launcher", 0,
        line("rendezvous_begin", 0, 0.0)
        + line("generation", 1, 2.0, generation=0, group_world_size=1, world_size=0, ranks=[])
        + line("stopping", 2, 10.0, generation=0) + line("rendezvous_begin", 3, 11.0),
    )  # fmt: skip
    assert job.snapshot(T0 + 12.0).flags == ()
    assert job.snapshot(T0 + 30.0).flags == ("waiting",)


def test_notes_of_a_node_are_kept_once_each_and_gaps_add_up() -> None:
    job = JobModel(record(1))
    gap = {"path": "logs/0/0.out", "start": 0, "end": 1000}
    job.feed(
        0, 0, "events", 0,
        line("claimed", 0, 0.0) + line("note", 1, 1.0, level="warn", message="disk \x1b[1mfull")
        + line("note", 2, 2.0, level="warn", message="disk full")
        + line("log_gap", 3, 3.0, **gap) + line("log_gap", 4, 4.0, **gap | {"end": 500})
        + line("adopted", 5, 5.0, launcher_alive=True),
    )  # fmt: skip
    assert job.snapshot(NOW).nodes[0].notes == (
        "disk full",
        "logs/0/0.out: 1500 bytes dropped",
        "the supervisor was lost and replaced",
    )


def test_feeding_returns_new_events_with_their_origin() -> None:
    job = model("success")
    data = journals("success")[(0, 1, "events")]
    events = job.feed(0, 1, "events", 0, data)
    assert [event.kind for event in events][:2] == ["claimed", "go"]
    assert {(event.job, event.node, event.journal) for event in events} == {
        (JOB, "gpu02", "events")
    }
    assert job.feed(0, 1, "events", 0, data) == ()


def test_missing_bytes_are_refused_with_the_position_to_follow_from() -> None:
    job = model("success")
    with pytest.raises(GapError) as caught:
        job.feed(0, 0, "events", 10, b"x")
    assert caught.value.expected == 0


def test_a_snapshot_is_the_same_object_while_nothing_changed() -> None:
    job = model("success")
    first = job.snapshot(NOW)
    job.link("gpu01", ONLINE)
    job.plan(plan(2))
    assert job.snapshot(NOW + 1) is first


def test_a_node_whose_supervisor_is_gone_says_so_until_it_is_back_or_the_attempt_has_ended() -> (
    None
):
    job = JobModel(record(1))
    job.plan(plan(1))
    begun = line("claimed", 0, 0.0) + line("started", 1, 0.1, process={"pid": 1})
    job.feed(0, 0, "events", 0, begun)
    job.supervised(0, 0, True)
    watched = job.snapshot(NOW)
    assert watched.nodes[0].supervised
    job.supervised(0, 0, False)
    alone = job.snapshot(NOW)
    assert not alone.nodes[0].supervised
    assert alone.nodes[0].notes == ("no supervisor watches over it",)
    assert "gpu01: no supervisor watches over it" in status_text(alone)
    assert status_document(alone)["nodes"][0]["supervised"] is False
    job.supervised(0, 0, False)
    assert job.snapshot(NOW) is alone
    job.supervised(0, 0, True)
    assert job.snapshot(NOW) == watched
    job.supervised(0, 0, False)
    job.feed(0, 0, "events", len(begun), line("ended", 2, 5.0, outcome="succeeded", code=0))
    ended = job.snapshot(NOW)
    assert (ended.nodes[0].supervised, ended.nodes[0].notes) == (True, ())
    job.supervised(0, 0, True)
    job.supervised(0, 0, False)
    assert job.snapshot(NOW) is ended


def test_hostile_names_are_clean_in_the_snapshot() -> None:
    job = JobModel(record(name="a\x1b[2Jb", command=("x\x07y",)))
    seen = job.snapshot(NOW)
    assert (seen.name, seen.command) == ("ab", ("xy",))


def test_an_ended_job_keeps_the_figures_that_it_was_seen_with_until_its_beats_are_read() -> None:
    folded = model("cancelled_with_sweep")
    for (attempt, node_rank, journal), data in journals("cancelled_with_sweep").items():
        folded.feed(attempt, node_rank, journal, 0, data)
    ended = folded.snapshot(NOW)
    nodes = tuple(
        msgspec.structs.replace(
            node,
            ranks=tuple(msgspec.structs.replace(rank, step=40 + rank.rank) for rank in node.ranks),
        )
        for node in ended.nodes
    )
    loss = Metric(name="loss", rank=0, value=1.5, low=1.5, high=1.5)
    folded.known_end(msgspec.structs.replace(ended, nodes=nodes, metrics=(loss,)))
    known = folded.snapshot(NOW)
    assert ended.steps is None
    assert known.steps is not None
    assert known.steps[0] == 40
    assert known.metrics == (loss,)
    assert (known.state, known.history) == (ended.state, ended.history)
