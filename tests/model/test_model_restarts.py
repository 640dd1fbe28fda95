"""Why each generation ended: a failure, a person, a stall or the set of nodes; and who was hit."""

from __future__ import annotations

import msgspec
import pytest

from cockpit.model.generations import VICTIMS
from cockpit.model.rules import Rules
from cockpit.model.types import Generation, Job, JobState, Link, LinkState
from cockpit.profiles.types import Rule
from tests.model.building import Cluster, running
from tests.model.scenarios import fold

PEER = "RuntimeError: [pair.cc:538] Connection closed by peer [10.0.0.2]:58054"


def asked(at: float = 20.0, by: str = "ada@laptop", **fields: object) -> Cluster:
    cluster = running(**fields)  # type: ignore[arg-type]
    cluster.everywhere("launcher", at, "restarting", generation=0, by=by, reason="try again")
    cluster.everywhere("launcher", at + 0.2, "stopping", generation=0)
    return cluster


def first(job: Job) -> Generation:
    return job.history[0]


def test_a_restart_that_a_person_asked_for_is_no_failure_and_names_the_person() -> None:
    job = asked().generation(1, 23.0).job(24.0)
    assert [item.reason for item in job.history] == ["operator", ""]
    assert [item.by for item in job.history] == ["ada@laptop", ""]
    assert (first(job).cause, job.cause, job.restarts) == (None, None, 1)
    assert first(job).ended_at == job.history[1].started_at - 2.8


def test_a_generation_whose_end_was_asked_for_has_ended_before_the_next_one_forms() -> None:
    job = asked().job(21.0)
    assert (first(job).reason, job.state) == ("operator", JobState.RUNNING)


@pytest.mark.parametrize(
    "failure",
    [
        {"exception": "ValueError", "message": "ValueError: interrupted"},
        {"exit_code": None, "signal": 9},
        {"exception": "RuntimeError", "message": PEER},
    ],
)
def test_what_fails_after_the_request_is_a_victim_whatever_it_says(
    failure: dict[str, object],
) -> None:
    cluster = asked()
    cluster.failed(1, 20.6, 0, {"local_rank": 0, "at": 20.5, **failure})
    job = cluster.generation(1, 23.0).job(24.0)
    assert (first(job).reason, first(job).cause) == ("operator", None)
    assert [victim.rank for victim in first(job).victims] == [2]


def test_what_failed_before_the_request_is_the_cause() -> None:
    cluster = asked()
    failure = {"local_rank": 0, "at": 19.0, "exception": "ValueError", "message": "ValueError: x"}
    cluster.failed(1, 19.1, 0, failure)
    job = cluster.generation(1, 23.0).job(24.0)
    assert first(job).reason == "failed"
    assert first(job).cause is not None
    assert first(job).cause.rank == 2


def test_before_and_after_are_told_by_the_nodes_own_clock() -> None:
    cluster = asked()
    # gpu02 is 3 s ahead, and no link says so: both of its stamps are off in the same way.
    for event in cluster.events[0, 1, "launcher"]:
        if event["kind"] == "restarting":
            event["at"] = float(str(event["at"])) + 3.0
    cluster.failed(1, 23.1, 0, {"local_rank": 0, "at": 22.9, "exception": "ValueError"})
    assert first(cluster.generation(1, 25.0).job(26.0)).reason == "failed"
    cluster.events[0, 1, "launcher"][-2]["failures"][0]["at"] += 0.2  # type: ignore[index]
    assert first(cluster.job(26.0)).reason == "operator"


def test_a_node_that_says_nothing_of_the_request_is_bound_by_the_others() -> None:
    cluster = running()
    cluster.say(0, "launcher", 20.0, "restarting", generation=0, by="ada@laptop", reason="")
    cluster.failed(1, 20.3, 0, {"local_rank": 0, "at": 20.2, "exception": "ValueError"})
    assert first(cluster.generation(1, 23.0).job(24.0)).reason == "operator"


def test_an_unhealthy_group_alone_is_a_change_of_membership() -> None:
    cluster = running()
    cluster.everywhere("launcher", 20.0, "group", generation=0, state="UNHEALTHY", failures=[])
    assert first(cluster.generation(1, 23.0).job(24.0)).reason == "membership"


def test_ranks_that_never_come_back_after_a_restart_are_no_operators_doing() -> None:
    cluster = asked()
    cluster.everywhere(
        "launcher", 80.0, "rendezvous_failed", type="RendezvousError", message="store is gone"
    )
    job = cluster.end(81.0).job()
    assert job.state is JobState.FAILED
    assert job.cause is not None
    assert (job.cause.kind, job.cause.message) == ("launcher", "RendezvousError: store is gone")


def test_restarts_are_counted_by_rounds_whatever_torch_counts() -> None:
    cluster = running()
    for number in range(1, 4):
        cluster.generation(number, 10.0 * number)
    for events in cluster.events.values():
        for event in events:
            event["restart_count"] = 7
    assert cluster.job(40.0).restarts == 3


# -- victims -------------------------------------------------------------------------------------


def many_victims() -> Cluster:
    cluster = running(2, 8)
    failures = [
        {"local_rank": n, "at": 10.0 + (8 - n) / 10, "exception": "RuntimeError", "message": PEER,
         "tail": ["a", "b"]}
        for n in range(8)
    ]  # fmt: skip
    cluster.failed(0, 11.0, 0, *failures)
    culprit = {"local_rank": 3, "at": 10.05, "exception": "ValueError", "tail": ["x", "y"]}
    cluster.failed(1, 11.0, 0, culprit, *[f for f in failures if f["local_rank"] != 3])
    return cluster


def test_what_the_others_saw_then_is_kept_in_order_of_time() -> None:
    generation = first(many_victims().generation(1, 13.0).job(14.0))
    assert generation.cause is not None
    assert (generation.cause.rank, generation.cause.tail) == (11, ("x", "y"))
    assert (len(generation.victims), generation.victim_count) == (VICTIMS, 15)
    times = [victim.at for victim in generation.victims]
    assert times == sorted(times, key=lambda at: at or 0.0)
    assert {victim.message for victim in generation.victims} == {PEER}
    assert {victim.tail for victim in generation.victims} == {()}


def test_a_rank_that_failed_alone_has_no_victims() -> None:
    cluster = running()
    cluster.failed(0, 10.0, 0, {"local_rank": 0, "exception": "ValueError"})
    generation = first(cluster.generation(1, 13.0).job(14.0))
    assert (generation.victims, generation.victim_count) == ((), 0)


def test_an_abort_whose_last_words_are_about_a_peer_is_a_victim() -> None:
    cluster = running()
    abort = {"local_rank": 0, "at": 10.0, "exit_code": None, "signal": 6}
    cluster.failed(0, 10.1, 0, {**abort, "tail": ["terminate called", f"what(): {PEER}"]})
    cluster.failed(1, 10.1, 0, {**abort, "at": 10.05})
    cause = first(cluster.generation(1, 13.0).job(14.0)).cause
    assert cause is not None and cause.rank == 2


# -- what rules and GPUs say of it ---------------------------------------------------------------


def killed(**fields: object) -> Cluster:
    cluster = running()
    failure = {"local_rank": 1, "at": 50.0, "exit_code": None, "signal": 6, **fields}
    cluster.failed(1, 50.1, 0, failure)
    return cluster


def xid(cluster: Cluster, node: int, at: float, number: int) -> None:
    cluster.say(node, "events", at, "xid", gpu="0000:3b:00", number=number, message="pid=1")


def label_of(cluster: Cluster, rules: Rules | None = None) -> str:
    cause = cluster.end(55.0).job(rules=rules).cause
    assert cause is not None
    return cause.label


def test_the_exception_the_message_and_the_tail_are_kept_with_the_cause() -> None:
    cluster = killed(
        exit_code=1, signal=None, exception="OutOfMemoryError",
        message="torch.OutOfMemoryError: CUDA out of memory.", tail=["Traceback", "  File …"],
    )  # fmt: skip
    cause = cluster.end(55.0).job().cause
    assert cause is not None
    assert (cause.exception, cause.tail) == ("OutOfMemoryError", ("Traceback", "  File …"))
    assert (cause.label, "expandable_segments" in cause.hint) == ("GPU out of memory", True)


def test_an_xid_shortly_before_a_failure_on_the_same_node_explains_it() -> None:
    cluster = killed()
    xid(cluster, 1, 20.0, 13)
    xid(cluster, 1, 49.0, 79)
    assert label_of(cluster) == "GPU fell off the bus (Xid 79)"


@pytest.mark.parametrize(("node", "at"), [(0, 49.0), (1, -20.0), (1, 70.0)])
def test_an_xid_elsewhere_or_at_another_time_explains_nothing(node: int, at: float) -> None:
    cluster = killed()
    xid(cluster, node, at, 79)
    assert label_of(cluster) == "a native library aborted"


def test_an_xid_on_a_node_whose_clock_is_off_counts_by_the_nodes_clock() -> None:
    cluster = killed()
    xid(cluster, 1, 49.0, 79)
    cluster.links["gpu01"] = Link(state=LinkState.ONLINE, clock_offset=0.0)
    cluster.links["gpu02"] = Link(state=LinkState.ONLINE, clock_offset=3600.0)
    assert label_of(cluster) == "GPU fell off the bus (Xid 79)"


def test_a_rank_that_says_why_it_failed_is_believed_before_an_xid() -> None:
    cluster = killed(exception="X", message="X: CUDA out of memory", exit_code=1, signal=None)
    xid(cluster, 1, 49.0, 79)
    assert label_of(cluster) == "GPU out of memory"


def test_an_xid_that_no_rule_knows_is_named_by_its_number() -> None:
    cluster = killed()
    xid(cluster, 1, 49.0, 4711)
    assert label_of(cluster) == "GPU error Xid 4711"


def test_a_rule_of_the_user_comes_before_the_built_in_ones() -> None:
    mine = Rule(name="mine", pattern="batch (\\d+)", cause="bad batch {1}", hint="skip it")
    cluster = killed(exception="X", message="X: CUDA out of memory in batch 7", exit_code=1)
    assert label_of(cluster, Rules([mine])) == "bad batch 7"


def test_a_label_changes_nothing_about_who_is_blamed() -> None:
    job = many_victims().end(20.0).job()
    assert job.cause is not None
    victims = {victim.label for victim in job.history[0].victims}
    assert (job.cause.rank, job.cause.label, victims) == (11, "", {"another rank went away"})


# -- the finished flag ---------------------------------------------------------------------------


@pytest.mark.parametrize(("there", "finished"), [(True, True), (False, False)])
def test_whether_training_said_that_it_is_done_is_known_at_the_end(
    there: bool, finished: bool
) -> None:
    cluster = running(finished_flag="/tmp/flag")
    assert cluster.job(5.0).finished is None
    if there:
        cluster.say(1, "events", 29.0, "finished_flag", path="/tmp/flag")
    assert cluster.succeed(0, 30.0).job().finished is finished


def test_a_job_without_a_flag_says_nothing_of_one() -> None:
    assert running().succeed(0, 30.0).job().finished is None


def test_a_job_survives_being_written_down_and_read_again() -> None:
    job = many_victims().end(20.0).job()
    assert msgspec.json.decode(msgspec.json.encode(job), type=Job) == job


# -- whole stories -------------------------------------------------------------------------------


def test_a_job_that_was_restarted_after_a_stall_succeeds_and_tells_of_it() -> None:
    job = fold("stall_restarted")
    assert (job.state, job.exit_code, job.restarts) == (JobState.SUCCEEDED, 0, 1)
    assert [item.reason for item in job.history] == ["stall", "succeeded"]
    assert job.cause is None
    assert [stall.node for stall in job.stalls] == ["gpu02", "gpu01"]
    assert all(stall.stacks.endswith("/stacks/0.json") for stall in job.stalls)
    assert job.steps == (45, 45)
    assert [metric.name for metric in job.metrics] == ["loss", "step", "step_time"]
    assert len(job.metrics[0].history) == 11


def test_a_job_that_was_ended_after_a_stall_names_the_rank_that_was_behind() -> None:
    job = fold("stall_cancelled")
    assert (job.state, job.exit_code) == (JobState.FAILED, 1)
    assert job.cause is not None
    assert (job.cause.kind, job.cause.node, job.cause.rank) == ("stall", "gpu02", 3)


def test_a_restart_by_a_person_and_a_failure_for_good_are_told_apart() -> None:
    job = fold("operator_restart_then_out_of_memory")
    assert (job.state, job.exit_code, job.restarts) == (JobState.FAILED, 1, 1)
    assert [(item.reason, item.by) for item in job.history] == [
        ("operator", "bob@desk"), ("failed", ""),
    ]  # fmt: skip
    assert job.cause is not None
    assert (job.cause.label, job.cause.rank) == ("GPU out of memory", 2)
    assert [victim.rank for victim in job.history[1].victims] == [0, 1]
    assert job.stalls[0].recovered_at is not None


def test_a_restart_that_was_refused_is_told_and_explains_no_end() -> None:
    cluster = running()
    cluster.everywhere("launcher", 20.0, "restarting", generation=0, by="ada@laptop", reason="")
    cluster.everywhere(
        "launcher",
        22.0,
        "restart_refused",
        generation=0,
        id="x",
        reason="another node has finished",
    )
    job = cluster.job(23.0)
    assert (first(job).reason, first(job).ended_at) == ("", None)
    for node in job.nodes:
        assert list(node.notes) == ["the ranks are not restarted: another node has finished"]
