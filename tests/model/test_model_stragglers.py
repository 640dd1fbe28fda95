"""A straggler stands apart from its peers, for longer than a moment and by more than noise."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cockpit.model.fleet import FleetModel
from cockpit.model.medians import median, median_without
from cockpit.model.stragglers import gpu_stragglers, mark, slow_ranks
from cockpit.model.types import Gpu, Job, Node
from tests.model.building import ranks_of, running
from tests.model.scenarios import ONLINE, T0


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=9), st.integers(0, 8))
def test_the_median_of_the_others_leaves_out_just_one(values: list[float], index: int) -> None:
    gone = values[index % len(values)]
    others = list(values)
    others.remove(gone)
    assert median_without(sorted(values), gone) == median(others)


@pytest.mark.parametrize(
    ("own", "slow"),
    [
        ([0.4, 0.4, 0.4, 0.9], {3}),
        ([0.4, 0.4, 0.4, 0.5], set()),  # less than half as much again
        ([0.004, 0.004, 0.004, 0.04], set()),  # ten times as slow, but by 36 ms only
        ([0.4, 0.4, 0.9, 0.9], {2, 3}),
        ([0.4, 0.7], set()),  # of two, nobody knows who is the usual one
        ([0.4, 0.9], {1}),
        ([0.9], set()),
        ([], set()),
        ([0.0, 0.0, 0.0, 0.06], {3}),
    ],
)
def test_who_is_slow(own: list[float], slow: set[int]) -> None:
    assert slow_ranks({rank: [time] * 3 for rank, time in enumerate(own)}) == slow


@pytest.mark.parametrize("times", [[0.9, 0.9], [0.9, 0.4, 0.9], [0.4, 0.9, 0.9]])
def test_a_moment_is_not_enough(times: list[float]) -> None:
    assert slow_ranks({0: [0.4] * 3, 1: [0.4] * 3, 2: times}) == frozenset()


def slow_job(digests: int = 3, **last: object) -> Job:
    cluster = running()
    for n in range(digests):
        cluster.beats(0, 10.0 + n, 0, {"own": 0.4}, {"own": 0.4})
        cluster.beats(1, 10.0 + n, 0, {"own": 0.4}, {"own": 0.9, **last})
    return cluster.job(10.0 + digests)


def test_a_slow_rank_is_marked_in_the_snapshot_and_the_job_says_so() -> None:
    job = slow_job()
    assert [rank.straggler for rank in ranks_of(job)] == [False, False, False, True]
    assert job.flags == ("straggler",)
    assert slow_job(2).flags == ()


def test_a_rank_that_does_not_train_is_no_straggler() -> None:
    assert slow_job(stage="silent", age=200.0).flags == ()


# -- by GPU --------------------------------------------------------------------------------------


def node(name: str, *gpus: Gpu, **fields: object) -> Node:
    return Node(name=name, cluster="lab", link=ONLINE, gpus=gpus, **fields)  # type: ignore[arg-type]


def gpu(index: int, clock: int = 1980, power: float = 650.0, used: float = 97.0) -> Gpu:
    return Gpu(index=index, sm_clock=clock, power=power, utilization=used)


def training() -> Job:
    cluster = running()
    for n in (0, 1):
        cluster.beats(n, 10.0, 0, {}, {})
    return cluster.job(10.0)


HEALTHY = node("gpu01", gpu(0), gpu(1))


@pytest.mark.parametrize(
    ("second", "slow"),
    [
        ([gpu(0), gpu(1)], set()),
        ([gpu(0), gpu(1, clock=1200)], {3}),
        ([gpu(0), gpu(1, power=300.0)], {3}),
        ([gpu(0), gpu(1, clock=1700)], set()),
        ([gpu(0), gpu(1, power=300.0, used=40.0)], set()),  # it has less to do: no comparison
        ([gpu(0), Gpu(index=1)], set()),
        ([gpu(0), gpu(1, clock=1200), gpu(2)], set()),  # which GPU is whose cannot be told
        ([gpu(1, clock=1200), gpu(0)], {3}),
    ],
)
def test_a_rank_on_a_slow_gpu_is_found(second: list[Gpu], slow: set[int]) -> None:
    assert gpu_stragglers(training(), [HEALTHY, node("gpu02", *second)]) == slow


def test_two_gpus_are_too_few_to_compare() -> None:
    assert gpu_stragglers(training(), [node("gpu02", gpu(0), gpu(1, clock=600))]) == frozenset()


def test_simulated_figures_accuse_nobody() -> None:
    made_up = node("gpu02", gpu(0), gpu(1, clock=1200), simulated=True)
    assert gpu_stragglers(training(), [HEALTHY, made_up]) == frozenset()


def test_a_node_of_that_name_in_another_cluster_is_another_node() -> None:
    other = Node(name="gpu02", cluster="prod", link=ONLINE, gpus=(gpu(0), gpu(1, clock=1200)))
    assert gpu_stragglers(training(), [HEALTHY, other]) == frozenset()


def test_marks_add_to_those_by_time() -> None:
    job = slow_job()
    assert mark(job, frozenset({3})) is job
    marked = mark(job, frozenset({0}))
    assert [rank.straggler for rank in ranks_of(marked)] == [True, False, False, True]
    assert marked.flags == ("straggler",)


def test_the_fleet_marks_slow_gpus_and_stays_the_same_object_while_nothing_changed() -> None:
    cluster = running()
    for n in (0, 1):
        cluster.beats(n, 10.0, 0, {}, {})
    model = cluster.model()
    fleet = FleetModel(clock=lambda: T0 + 10.0)
    fleet.job(model)
    for name, clock in (("gpu01", 1980), ("gpu02", 900)):
        fleet.node(name, "lab", ONLINE)
        sample = {"gpus": [
            {"index": n, "state": "ok", "sm_clock": clock if n else 1980, "power": 600.0,
             "utilization": 97.0}
            for n in (0, 1)
        ]}  # fmt: skip
        fleet.sample(name, "lab", sample, 5.0)
    (job,) = fleet.snapshot().jobs
    assert [rank.straggler for rank in ranks_of(job)] == [False, False, False, True]
    assert fleet.snapshot().jobs[0] is job
    fleet.sample("gpu02", "lab", {"gpus": []}, 5.9)
    assert fleet.snapshot().jobs[0] is job, "GPUs are not compared again within a second"
    fleet.sample("gpu02", "lab", {"gpus": []}, 6.0)
    assert fleet.snapshot().jobs[0].flags == ()
