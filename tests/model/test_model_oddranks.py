"""The stacks that nodes keep at a stall tell whom the others wait for; without them nobody is."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import pytest

from cockpit.model.oddranks import Seen, culprit, summary
from cockpit.model.restarts import before_cancel
from cockpit.model.stackwords import Frame
from cockpit.model.types import Cause
from tests.model.building import Cluster, running
from tests.model.scenarios import T0
from tests.model.test_model_stacks import ALL_REDUCE, BACKWARD, LOADER, MAIN, READ_SHARD, frames

HANG = frames("hang.py:6 read_shard_forever", *MAIN)
ITEM = frames(*MAIN)
BARRIER = frames("/x/site-packages/torch/distributed/distributed_c10d.py:9 barrier", *MAIN)

Stack = tuple[Frame, ...]


def seen(*stacks: Stack) -> list[Seen]:
    return [
        Seen(rank=rank, node=f"node{rank // 2}", node_rank=rank // 2, stack=stack)
        for rank, stack in enumerate(stacks)
    ]


@pytest.mark.parametrize(
    ("stacks", "rank"),
    [
        ((ALL_REDUCE, HANG), 1),
        ((HANG, BACKWARD), 0),
        ((ALL_REDUCE, LOADER, BACKWARD, BACKWARD), 1),
        ((READ_SHARD, ALL_REDUCE, ALL_REDUCE), 0),
        # Nobody waits as far as Python sees, yet most sit in one line.
        ((ITEM, ITEM, HANG, ITEM), 2),
        # All wait, one of them for something else.
        ((ALL_REDUCE, ALL_REDUCE, BARRIER), 2),
        # A rank without a stack is no evidence.
        ((ALL_REDUCE, HANG, ()), 1),
        ((ALL_REDUCE, ALL_REDUCE), None),
        ((HANG, READ_SHARD), None),
        ((HANG, HANG, ALL_REDUCE), None),
        ((HANG, ()), None),
        ((), None),
    ],
)
def test_one_rank_that_does_not_wait_while_others_do_is_the_culprit(
    stacks: tuple[Stack, ...], rank: int | None
) -> None:
    for ranks in itertools.permutations(seen(*stacks)):
        found = culprit(ranks)
        assert (found.rank if found else None) == rank


def test_the_summary_begins_with_whom_the_others_wait_for() -> None:
    assert summary(seen(ALL_REDUCE, HANG)) == (
        "rank 1 (node0) is in hang.py:6 read_shard_forever, rank 0 (node0) in all_reduce"
    )
    assert summary(seen(ALL_REDUCE, HANG, HANG)) == (
        "ranks 1 and 2 are in hang.py:6 read_shard_forever, rank 0 (node0) in all_reduce"
    )
    assert summary(seen(ALL_REDUCE, ALL_REDUCE)) == "all 2 ranks are in all_reduce"
    assert summary([]) == summary(seen(())) == ""


# -- in a job ------------------------------------------------------------------------------------


def stacks(cluster: Cluster, node: int, at: float, where: Mapping[int, Stack]) -> None:
    ranks = [
        {
            "rank": rank,
            "frames": [
                {"file": frame.file, "line": frame.line, "function": frame.function}
                for frame in stack
            ],
        }
        for rank, stack in where.items()
    ]
    cluster.say(
        node, "events", at, "stacks", path="stacks/0.json", reason="stall", generation=0,
        ranks=ranks,
    )  # fmt: skip


def hanging(action: str = "warn") -> Cluster:
    """Both ranks are silent at one step; rank 1 on gpu02 is why."""
    cluster = running(2, 1)
    for node in (0, 1):
        cluster.stalled(node, 40.0 + node / 10, 0, (node, 20), action=action, message="silent")
    return cluster


def test_a_stall_says_where_its_ranks_are_once_their_nodes_have_told() -> None:
    cluster = hanging()
    assert {stall.where for stall in cluster.job(41.0).stalls} == {""}
    stacks(cluster, 0, 41.0, {0: ALL_REDUCE})
    stacks(cluster, 1, 41.0, {1: HANG})
    (where,) = {stall.where for stall in cluster.job(42.0).stalls}
    assert (
        where == "rank 1 (gpu02) is in hang.py:6 read_shard_forever, rank 0 (gpu01) in all_reduce"
    )


def test_the_stall_that_ended_a_generation_names_the_rank_that_the_others_waited_for() -> None:
    cluster = hanging("restart")
    stacks(cluster, 0, 41.0, {0: ALL_REDUCE})
    stacks(cluster, 1, 41.0, {1: HANG})
    cluster.everywhere("launcher", 42.0, "restarting", generation=0, by="on_stall", reason="x")
    cause = cluster.generation(1, 43.0).job(44.0).cause
    assert isinstance(cause, Cause)
    assert (cause.kind, cause.node, cause.rank) == ("stall", "gpu02", 1)
    assert cause.message == (
        "2 ranks silent for 31 s at step 20 (limit 30 s);"
        " rank 1 (gpu02) is in hang.py:6 read_shard_forever, rank 0 (gpu01) in all_reduce"
    )


def test_a_rank_that_was_not_silent_is_no_culprit() -> None:
    cluster = running(1, 2)
    cluster.stalled(0, 40.0, 0, (0, 20), action="cancel", message="silent")
    stacks(cluster, 0, 41.0, {0: ALL_REDUCE, 1: HANG})
    (stall,) = cluster.job(42.0).stalls
    assert stall.where == "rank 0 (gpu01) is in all_reduce"


def declared_by_one(*silent: int) -> Cluster:
    """gpu01 declared a stall of `silent` and kept its stacks; a restart is announced everywhere."""
    cluster = running(2, 2)
    ranks = [(rank, 20) for rank in silent]
    cluster.stalled(0, 40.0, 0, *ranks, action="restart", message="silent")
    stacks(cluster, 0, 40.5, {0: ITEM, 1: ALL_REDUCE})
    cluster.everywhere("launcher", 41.0, "restarting", generation=0, by="on_stall", reason="x")
    return cluster


def test_the_culprit_is_found_on_a_node_that_declared_nothing_and_kept_its_stacks() -> None:
    cluster = declared_by_one(1)
    stacks(cluster, 1, 41.5, {2: HANG, 3: ALL_REDUCE})
    job = cluster.generation(1, 43.0).job(44.0)
    assert isinstance(job.cause, Cause)
    assert (job.cause.node, job.cause.rank) == ("gpu02", 2)
    (stall,) = job.stalls
    assert stall.where.startswith("rank 2 (gpu02) is in hang.py:6 read_shard_forever")
    (other,) = stall.others
    assert (other.node, other.node_rank, other.at) == ("gpu02", 1, T0 + 41.5)
    assert other.path.endswith("nodes/1/stacks/0.json")


@pytest.mark.parametrize("silent", [(0, 1), (0,), (1,)])
def test_nobody_is_accused_while_a_node_has_not_told_its_stacks(silent: tuple[int, ...]) -> None:
    cause = declared_by_one(*silent).generation(1, 43.0).job(44.0).cause
    assert isinstance(cause, Cause)
    assert (cause.kind, cause.rank) == ("stall", None)


def test_a_node_that_was_lost_is_not_waited_for() -> None:
    cluster = declared_by_one(0, 1)
    cluster.say(1, "events", 43.0, "ended", outcome="lost", code=None, signal=None)
    cluster.say(0, "events", 43.0, "ended", outcome="failed", code=1, signal=None)
    history = cluster.job(44.0).history
    causes = [item.cause for item in history if item.cause is not None]
    assert [(cause.kind, cause.rank) for cause in causes] == [("stall", 0)]


def test_stacks_of_a_stall_that_the_node_recovered_from_give_way_to_newer_ones() -> None:
    cluster = running(2, 1)
    cluster.stalled(1, 10.0, 0, (1, 5))
    stacks(cluster, 1, 10.5, {1: ALL_REDUCE})
    cluster.say(1, "events", 12.0, "recovered", generation=0)
    cluster.stalled(0, 40.0, 0, (0, 20), action="restart", message="silent")
    stacks(cluster, 0, 40.5, {0: ALL_REDUCE})
    cluster.everywhere("launcher", 41.0, "restarting", generation=0, by="on_stall", reason="x")
    stacks(cluster, 1, 41.5, {1: HANG})
    job = cluster.generation(1, 43.0).job(44.0)
    assert isinstance(job.cause, Cause)
    assert (job.cause.node, job.cause.rank) == ("gpu02", 1)
    assert job.stalls[0].where.startswith("rank 1 (gpu02) is in hang.py:6")


def test_what_hung_when_somebody_cancelled_is_told() -> None:
    cluster = hanging()
    stacks(cluster, 0, 41.0, {0: ALL_REDUCE})
    stacks(cluster, 1, 41.0, {1: HANG})
    cluster.everywhere("events", 50.0, "cancel", by="ada@laptop", reason="Ctrl-C")
    found = before_cancel(cluster.end(51.0, "cancelled", 1).job())
    assert found is not None
    assert found.message.startswith("silent; rank 1 (gpu02) is in hang.py:6")


def test_words_of_a_stack_are_made_harmless() -> None:
    cluster = hanging()
    stacks(cluster, 1, 41.0, {1: (Frame("/w/\x1b[31mhang.py", 6, "f\x07"),)})
    assert cluster.job(42.0).stalls[0].where == "rank 1 (gpu02) is in hang.py:6 f"
