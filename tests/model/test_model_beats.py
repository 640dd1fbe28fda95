"""What is known of beats: as old as it is, never healthier than its watcher, never a verdict."""

from __future__ import annotations

import itertools
import math

import pytest

from cockpit.model.beats import SILENCE
from cockpit.model.history import POINTS, History, evenly
from cockpit.model.jobs import AGE_STEP
from cockpit.model.types import JobState, LinkState, RankState, Stage
from cockpit.protocol.records import Watch
from tests.model.building import Cluster, ranks_of, running
from tests.model.scenarios import ONLINE, T0, Link


def beating() -> Cluster:
    cluster = running()
    for node in (0, 1):
        cluster.beats(node, 10.0, 0, {"step": 41}, {"step": 42, "metrics": {"loss": 2.5}})
    return cluster


def test_a_rank_shows_the_newest_that_its_node_said_of_it() -> None:
    cluster = beating()
    cluster.beats(0, 11.0, 0, {"step": 43, "beats": 44, "interval": 0.25, "own": 0.1}, {"step": 42})
    job = cluster.job(11.0)
    first = ranks_of(job)[0]
    assert (first.stage, first.step, first.beats) == (Stage.TRAINING, 43, 44)
    assert (first.step_time, first.own_time, first.beat_limit) == (0.25, 0.1, 120.0)
    assert job.steps == (41, 43)
    assert ranks_of(job)[3].metrics == {"loss": 2.5}
    assert job.flags == ()


def test_the_age_of_a_beat_goes_on_growing_between_digests() -> None:
    model = beating().model()
    ages = [ranks_of(model.snapshot(T0 + at))[0].beat_age for at in (10.0, 11.0, 13.5)]
    assert ages == [0.2, 1.2, 3.7]


def test_a_snapshot_of_a_job_that_beats_is_the_same_object_for_a_moment_and_then_moves() -> None:
    model = beating().model()
    first = model.snapshot(T0 + 11.0)
    assert model.snapshot(T0 + 11.0 + AGE_STEP * 0.9) is first
    later = model.snapshot(T0 + 11.0 + AGE_STEP)
    assert later is not first
    assert ranks_of(later)[0].beat_age == pytest.approx(1.2 + AGE_STEP)


def test_the_clock_of_the_node_is_taken_off_an_age() -> None:
    cluster = beating()
    cluster.links["gpu01"] = Link(state=LinkState.ONLINE, clock_offset=-3.0)
    assert ranks_of(cluster.job(14.0))[0].beat_age == pytest.approx(1.2)


def test_an_age_is_never_less_than_its_node_said_though_a_clock_runs_ahead() -> None:
    assert ranks_of(beating().job(5.0))[0].beat_age == 0.2


@pytest.mark.parametrize("ahead", [SILENCE + 1, 3600.0])
def test_a_word_from_the_future_is_of_a_clock_that_was_set_back_and_of_no_known_age(
    ahead: float,
) -> None:
    cluster = beating()
    model = cluster.model()
    back = Link(state=LinkState.ONLINE, clock_offset=-ahead)
    model.link("gpu01", back)
    rank = ranks_of(model.snapshot(T0 + 10.0))[0]
    assert (rank.stage, rank.beat_age, rank.step) == (Stage.UNKNOWN, None, 41)
    assert ranks_of(model.snapshot(T0 + 10.0))[3].stage is Stage.TRAINING
    cluster.links["gpu01"] = back
    cluster.beats(0, 10.0 - ahead, 0, {"step": 42}, {"step": 42})
    assert ranks_of(cluster.job(10.0))[0].stage is Stage.TRAINING


def test_a_generation_that_began_in_the_future_is_of_no_known_age_either() -> None:
    cluster = beating().generation(1, 12.0)
    cluster.links["gpu01"] = Link(state=LinkState.ONLINE, clock_offset=-3600.0)
    assert ranks_of(cluster.job(13.0))[0].stage is Stage.UNKNOWN


def test_when_its_watcher_falls_silent_a_rank_is_unknown_and_keeps_its_last_figures() -> None:
    model = beating().model()
    assert ranks_of(model.snapshot(T0 + 10.0 + SILENCE - 1))[0].stage is Stage.TRAINING
    rank = ranks_of(model.snapshot(T0 + 10.0 + SILENCE + 1))[0]
    assert (rank.stage, rank.beat_age, rank.step) == (Stage.UNKNOWN, None, 41)


@pytest.mark.parametrize("state", [LinkState.RECONNECTING, LinkState.UNREACHABLE])
def test_out_of_reach_nothing_looks_healthy(state: LinkState) -> None:
    model = beating().model()
    model.link("gpu02", Link(state=state))
    stages = [rank.stage for rank in ranks_of(model.snapshot(T0 + 10.5))]
    assert stages == [Stage.TRAINING, Stage.TRAINING, Stage.UNKNOWN, Stage.UNKNOWN]
    model.link("gpu02", ONLINE)
    assert ranks_of(model.snapshot(T0 + 10.5))[3].stage is Stage.TRAINING


def test_a_rank_that_nothing_beats_in_has_no_beats_and_is_not_stalled() -> None:
    cluster = running()
    said = {"stage": "none", "beats": 0, "step": None, "age": None, "limit": None, "interval": None,
            "note": "no optimizer hook"}  # fmt: skip
    cluster.beats(0, 10.0, 0, said, said)
    job = cluster.job(10.5)
    first, other = ranks_of(job)[0], ranks_of(job)[3]
    assert (first.stage, first.beats, first.beat_age) == (Stage.NONE, None, None)
    assert first.note == "no optimizer hook"
    assert (other.stage, other.note) == (Stage.NONE, "")
    assert (job.flags, job.steps, job.metrics) == ((), None, ())


def test_a_silent_rank_is_silent_as_its_node_says() -> None:
    cluster = running()
    cluster.beats(0, 40.0, 0, {"stage": "silent", "age": 31.0, "limit": 30.0}, {})
    rank = ranks_of(cluster.job(41.0))[0]
    assert (rank.stage, rank.beat_age, rank.beat_limit) == (Stage.SILENT, 32.0, 30.0)


def test_a_stage_that_is_not_known_is_unknown_and_not_healthy() -> None:
    cluster = running()
    cluster.beats(0, 10.0, 0, {"stage": "levitating"}, {})
    assert ranks_of(cluster.job(10.0))[0].stage is Stage.UNKNOWN


def test_ranks_of_a_new_generation_start_anew() -> None:
    cluster = beating().generation(1, 12.0)
    assert {rank.stage for rank in ranks_of(cluster.job(13.0))} == {Stage.STARTING}
    assert {rank.step for rank in ranks_of(cluster.job(13.0))} == {None}
    assert ranks_of(cluster.job(12.0 + SILENCE + 1))[0].stage is Stage.UNKNOWN
    cluster.beats(0, 13.0, 1, {"step": 0}, {"step": 0})
    assert [rank.stage for rank in ranks_of(cluster.job(13.0))[:2]] == [Stage.TRAINING] * 2


def test_an_ended_rank_has_ended_with_its_last_step_and_no_age() -> None:
    cluster = beating().succeed(0, 20.0)
    rank = ranks_of(cluster.job(20.0))[0]
    assert (rank.state, rank.stage) == (RankState.SUCCEEDED, Stage.ENDED)
    assert (rank.step, rank.beat_age) == (41, None)


def test_beats_decide_nothing_about_the_job() -> None:
    with_beats, without = beating(), running()
    with_beats.beats(0, 50.0, 0, {"stage": "silent", "age": 400.0}, {"stage": "ended"})
    for cluster in (with_beats, without):
        cluster.succeed(0, 60.0)
    a, b = with_beats.job(), without.job()
    assert (a.state, a.cause, a.history) == (b.state, b.cause, b.history)
    assert a.state is JobState.SUCCEEDED


def test_an_attempt_is_over_though_its_beats_were_never_read() -> None:
    cluster = beating().succeed(0, 20.0)
    for node in (0, 1):
        del cluster.events[0, node, "beats"]
    assert cluster.job().state is JobState.SUCCEEDED


def test_what_the_rank_monitor_of_ft_launcher_heard_is_shown() -> None:
    cluster = running()
    heard = {"beats": 3, "age": 1.5, "sections": ["step", "checkpoint"]}
    cluster.beats(0, 10.0, 0, {"ft": heard}, {})
    first, second = ranks_of(cluster.job(11.0))[:2]
    assert (first.sections, first.monitor_age) == (("step", "checkpoint"), 2.5)
    assert (second.sections, second.monitor_age) == ((), None)


# -- metrics of the job --------------------------------------------------------------------------


def test_a_metric_of_the_job_is_its_lowest_ranks_with_the_range_over_all() -> None:
    cluster = running()
    for at in (10.0, 11.0):
        cluster.beats(0, at, 0, {"metrics": {}}, {"metrics": {"loss": at, "lr": 0.1}})
        cluster.beats(1, at, 0, {"metrics": {"loss": at - 2}}, {"metrics": {"loss": at + 2}})
    metrics = {metric.name: metric for metric in cluster.job(11.0).metrics}
    assert list(metrics) == ["loss", "lr", "step", "step_time"]
    loss = metrics["loss"]
    assert (loss.rank, loss.value, loss.low, loss.high) == (1, 11.0, 9.0, 13.0)
    assert loss.history == ((T0 + 10.0, 10.0), (T0 + 11.0, 11.0))
    assert (metrics["step"].rank, metrics["step"].value) == (0, 10.0)
    assert metrics["step_time"].value == 0.5


def test_history_goes_on_over_generations_and_over_nodes() -> None:
    cluster = running(2, 1)
    cluster.beats(0, 10.0, 0, {"metrics": {"loss": 3.0}})
    cluster.generation(1, 12.0, shift=1)
    cluster.beats(1, 13.0, 1, {"rank": 0, "metrics": {"loss": 2.0}})
    loss = cluster.job(13.0).metrics[0]
    assert [value for _, value in loss.history] == [3.0, 2.0]


def test_a_metric_that_nobody_reports_at_the_moment_stays_as_it_was() -> None:
    cluster = running()
    cluster.beats(0, 10.0, 0, {"metrics": {"loss": 3.0}}, {})
    cluster.generation(1, 12.0)
    assert cluster.job(12.5).metrics[0].value == 3.0


def test_a_metric_of_the_user_called_step_time_is_the_users() -> None:
    cluster = running(1, 1)
    cluster.beats(0, 10.0, 0, {"metrics": {"step_time": 7.0}})
    (metric,) = (m for m in cluster.job(10.0).metrics if m.name == "step_time")
    assert (metric.value, metric.history) == (7.0, ((T0 + 10.0, 7.0),))


def test_what_is_no_number_is_no_metric() -> None:
    cluster = running(1, 1)
    cluster.beats(0, 10.0, 0, {"metrics": {"loss": math.nan, "lr": None, "ok": 1}})
    assert ranks_of(cluster.job(10.0))[0].metrics == {"ok": 1.0}


def test_a_long_history_is_thinned_evenly_and_ends_with_the_newest() -> None:
    history = History()
    for second in range(100_000):
        history.add(float(second), float(second))
    points = history.points()
    assert POINTS // 3 <= len(points) <= POINTS
    assert (points[0], points[-1]) == ((0.0, 0.0), (99_999.0, 99_999.0))
    gaps = [b[0] - a[0] for a, b in itertools.pairwise(points)]
    assert max(gaps) < 4 * sum(gaps) / len(gaps)


def test_a_clock_that_jumps_back_loses_no_newest_point() -> None:
    history = History()
    for at in [*range(1000), *range(500, 1500)]:
        history.add(float(at), 1.0 if at < 1499 else 2.0)
    assert history.points()[-1] == (1499.0, 2.0)
    assert len(history.points()) <= POINTS


def test_few_points_are_kept_as_they_are() -> None:
    assert evenly([(1.0, 2.0), (2.0, 3.0)], 10) == [(1.0, 2.0), (2.0, 3.0)]
    assert evenly([(1.0, float(n)) for n in range(20)], 5)[-1] == (1.0, 19.0)


def test_a_metric_that_becomes_nan_is_nan_and_its_history_keeps_the_gap() -> None:
    cluster = running(1, 2)
    for n, value in enumerate([2.0, "nan", 1.0, "nan"]):
        cluster.beats(0, 10.0 + n, 0, {"metrics": {"loss": value}}, {"metrics": {"loss": 3.0}})
    job = cluster.job(13.0)
    assert math.isnan(ranks_of(job)[0].metrics["loss"])
    (loss,) = (metric for metric in job.metrics if metric.name == "loss")
    assert math.isnan(loss.value)
    assert (loss.low, loss.high) == (3.0, 3.0)
    assert [value for _, value in loss.history] == [2.0, math.nan, 1.0, math.nan]
    assert job.metrics == cluster.job(13.0).metrics


@pytest.mark.parametrize("word", ["NaN", "1.5", "", "infinity", "nan\n"])
def test_only_the_three_words_stand_for_values(word: str) -> None:
    cluster = running(1, 1)
    cluster.beats(0, 10.0, 0, {"metrics": {"loss": word, "ok": "-inf"}})
    assert ranks_of(cluster.job(10.0))[0].metrics == {"ok": -math.inf}


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({}, ""),
        ({"kind": "command"}, "plain command"),
        ({"argv": ("torchrun", "--no-python", "ls")}, "plain command"),
        ({"watch": Watch(instrument=False)}, "instrument = false"),
    ],
)
def test_a_job_says_why_nothing_of_it_can_beat(fields: dict[str, object], why: str) -> None:
    assert running(**fields).job().no_beats == why  # type: ignore[arg-type]
