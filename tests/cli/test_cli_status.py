"""`status` and `ps` say what a person needs first, and nothing that is not known."""

from __future__ import annotations

import math

import pytest

from cockpit.cli.causes import describe, ending_of, headline, victims_text
from cockpit.cli.figures import range_text, rate_text, seconds_text, sparkline, value_text
from cockpit.cli.jobtables import ps_table
from cockpit.cli.statustext import status_text
from cockpit.model.types import Cause, Generation, Job, Link, LinkState
from cockpit.protocol.records import Watch
from tests.model.building import Cluster, commands, leave, running
from tests.model.scenarios import JOB, fold


def lines(job: Job) -> list[str]:
    return status_text(job).splitlines()


def row(job: Job, rank: int) -> str:
    """The line of a rank."""
    text = status_text(job).partition("RANK  NODE")[2]
    return next(line for line in text.splitlines()[1:] if line.split()[:1] == [str(rank)])


# -- the first cause -----------------------------------------------------------------------------


def test_the_first_cause_comes_first_with_what_it_means_and_what_to_do() -> None:
    shown = lines(fold("operator_restart_then_out_of_memory"))
    assert shown[0] == f"train  {JOB}  failed, exit code 1"
    assert shown[1].startswith("first cause: GPU out of memory: rank 2 on gpu02 exited with 1: ")
    assert shown[2].startswith("  hint: smaller batch")
    assert shown[3:6] == [
        "  its last lines:",
        "  ┊ Traceback (most recent call last):",
        "  ┊ torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB",
    ]
    assert shown[6] == "  2 other ranks failed then:"
    assert "Connection closed by peer" in shown[7]


def test_a_cause_that_no_rule_knows_is_shown_bare() -> None:
    text = status_text(fold("rank_raises"))
    assert "first cause: rank 3 on gpu02 exited with 7: RuntimeError: boom from rank 3\n" in text
    assert "hint" not in text
    assert "last lines" not in text


def test_last_lines_that_only_repeat_the_message_are_left_out() -> None:
    cluster = running()
    failure = {"local_rank": 0, "at": 5.0, "exception": "ValueError", "message": "ValueError: x"}
    cluster.failed(0, 5.0, 0, {**failure, "tail": ["", "ValueError: x"]})
    assert "last lines" not in status_text(cluster.end(9.0).job())


def test_more_victims_than_fit_are_counted() -> None:
    cluster = running(1, 8)
    first = {"local_rank": 0, "at": 5.0, "exception": "ValueError"}
    peers = [{"local_rank": n, "at": 6.0, "message": "Connection closed by peer"}
             for n in range(1, 8)]  # fmt: skip
    cluster.failed(0, 6.0, 0, first, *peers)
    shown = lines(cluster.end(9.0).job())
    assert "  7 other ranks failed then:" in shown
    assert "    and 4 more" in shown


# -- ranks ---------------------------------------------------------------------------------------


def test_a_rank_shows_stage_step_rate_and_age() -> None:
    cluster = running()
    cluster.beats(
        0, 10.0, 0, {"step": 48, "metrics": {"loss": 1.5}},
        {"step": 50, "ft": {"beats": 1, "age": 1.0, "sections": ["step", "io"]}},
    )  # fmt: skip
    silent = {"step": 40, "stage": "silent", "age": 31.0, "limit": 30.0}
    cluster.beats(1, 10.0, 0, silent, {"stage": "none", "beats": 0, "step": None})
    job = cluster.job(10.5)
    assert row(job, 0).split() == [
        "0", "gpu01", "0", "100", "running", "training", "48", "(-2)", "2/s", "0.7", "s", "ago",
        "1.5",
    ]  # fmt: skip
    assert "(monitor 1.5 s ago)" in row(job, 1)
    assert "step, io" in row(job, 1)
    assert "silent 32 s" in row(job, 2)
    assert "2/s" not in row(job, 2)
    assert "no beats" in row(job, 3)


def test_a_job_without_beats_has_no_columns_for_them_and_is_not_called_stalled() -> None:
    text = status_text(running().job(10.0))
    for word in ("STAGE", "STEP", "RATE", "LAST BEAT", "stall", "no beats", "metrics"):
        assert word not in text


def test_why_nothing_beats_is_said_once() -> None:
    cluster = running()
    quiet = {"stage": "none", "beats": 0, "step": None, "age": None, "interval": None}
    for node in (0, 1):
        cluster.beats(node, 10.0, 0, *[{**quiet, "note": "torch has no hook"}] * 2)
    text = status_text(cluster.job(10.5))
    assert text.count("no beats: torch has no hook") == 1
    assert "STAGE" not in text


def test_what_nobody_watches_any_more_is_unknown() -> None:
    cluster = running()
    for node in (0, 1):
        cluster.beats(node, 10.0, 0, {}, {})
    shown = row(cluster.job(60.0), 0)
    assert "unknown" in shown
    assert "ago" not in shown


def test_a_straggler_is_marked() -> None:
    cluster = running()
    for at in (10.0, 11.0, 12.0):
        cluster.beats(0, at, 0, {"own": 0.3}, {"own": 0.3})
        cluster.beats(1, at, 0, {"own": 0.3}, {"own": 1.2})
    job = cluster.job(12.0)
    assert "training, straggler" in row(job, 3)
    assert "1.2 s" in row(job, 3)
    assert "300 ms" in row(job, 0)


# -- stalls, metrics, history --------------------------------------------------------------------


def test_a_stall_says_where_and_how_to_look_into_it() -> None:
    cluster = running()
    cluster.stalled(1, 9.0, 0, (2, 10), message="rank 2 has been silent")
    cluster.say(1, "events", 9.5, "stacks", path="stacks/0.json", reason="stall", generation=0)
    text = status_text(cluster.job(10.0))
    assert "STALLED on gpu02" in text
    assert f"`cockpit stacks {JOB}`" in text
    assert f"`cockpit stacks --last {JOB}`" in text
    cluster.say(1, "events", 11.0, "recovered", generation=0)
    text = status_text(cluster.job(12.0))
    assert "stalled on gpu02 for 2.0 s, and recovered" in text


def test_a_stall_of_an_earlier_generation_is_left_to_the_history() -> None:
    text = status_text(fold("stall_restarted"))
    assert "STALLED" not in text
    assert "stalled    stall: 4 ranks silent for 31 s at step 41 (limit 30 s)" in text


def test_the_history_says_who_restarted_and_what_failed_then() -> None:
    text = status_text(fold("operator_restart_then_out_of_memory"))
    assert "restarted by bob@desk  1 rank failed then" in text


def test_metrics_have_their_value_their_course_and_their_spread() -> None:
    cluster = running()
    for n in range(8):
        cluster.beats(0, 10.0 + n, 0, {"metrics": {"loss": 2.5 - n / 10}},
                      {"metrics": {"loss": 2.0}})  # fmt: skip
    (line,) = [x for x in lines(cluster.job(17.0)) if x.startswith("  loss ")]
    assert line.split() == ["loss", "1.8", "█▇▆▅▄▃▂▁", "1.8", "to", "2", "over", "the", "ranks"]


def test_a_flag_that_says_finished_is_shown_where_one_was_asked_for() -> None:
    cluster = running(finished_flag="/tmp/flag").succeed(0, 9.0)
    assert "finished flag: not there" in status_text(cluster.job())
    assert "finished flag" not in status_text(fold("success"))


# -- ps ------------------------------------------------------------------------------------------


def test_ps_shows_steps_and_rates_only_where_something_beats() -> None:
    assert "STEP" not in ps_table([fold("success")])
    cluster = running()
    cluster.beats(0, 10.0, 0, {"step": 48}, {"step": 50})
    header, first, second = ps_table([cluster.job(10.0), fold("success")]).splitlines()
    assert header.split()[5:7] == ["STEP", "RATE"]
    assert first.split()[5:7] == ["48-50", "2/s"]
    assert "48" not in second


# -- jobs without ranks -------------------------------------------------------------------------


def half() -> Cluster:
    """A command on two nodes that has failed on the first."""
    cluster = commands()
    leave(cluster, 0, 5.0, 7)
    return cluster


def test_a_command_that_failed_on_one_node_is_told_while_the_other_runs() -> None:
    shown = lines(half().job(6.0))
    assert shown[0] == f"train  {JOB}  running"
    assert shown[1] == "last failure: the command on gpu01 exited with 7"
    assert "cluster lab, launcher command (command), 2 nodes, restarts 0" in "\n".join(shown)
    node = next(line for line in shown if line.startswith("gpu01"))
    assert node.split() == ["gpu01", "0", "failed", "7", "online", "exit", "7"]
    assert next(line for line in shown if line.startswith("gpu02")).split()[-1] == "online"
    words = "-- on 2 running the command on gpu01 exited with 7"
    assert " ".join(shown[-1].split()).endswith(words)


def test_what_failed_before_a_cancel_is_told_beside_it() -> None:
    cluster = half()
    for node in (0, 1):
        cluster.say(node, "events", 8.0, "cancel", by="ada@laptop", reason="Ctrl-C")
    leave(cluster, 1, 8.1, signal=15, outcome="cancelled")
    shown = lines(cluster.job())
    assert shown[:3] == [
        f"train  {JOB}  cancelled, exit code 130",
        "first cause: cancelled by ada@laptop",
        "failed before that: the command on gpu01 exited with 7",
    ]
    assert shown[-1].endswith("cancelled  the command on gpu01 exited with 7")


def test_a_node_that_vanished_without_an_exit_code_says_why_it_failed() -> None:
    cluster = commands()
    words = "the launcher process ended while no supervisor watched it"
    cluster.say(0, "events", 5.0, "ended", outcome="failed", code=None, signal=None, message=words)
    text = status_text(cluster.job(6.0))
    assert "last failure: the launcher process on gpu01 ended while no supervisor" in text
    assert next(line for line in text.splitlines() if line.startswith("gpu01")).endswith(words)


def test_ranks_that_are_not_there_yet_are_not_counted() -> None:
    assert "2 nodes, -- ranks," in status_text(Cluster(2).start().job(0.5))
    assert "1 node, 2 ranks," in status_text(running(1, 2).job(5.0))


# -- words and numbers ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cause", "text"),
    [
        (Cause(kind="exit", node="n1", rank=3, exit_code=7, message="ValueError: x"),
         "rank 3 on n1 exited with 7: ValueError: x"),
        (Cause(kind="exit", node="n1", rank=3, exit_code=7, message="exited with code 7"),
         "rank 3 on n1 exited with 7"),
        (Cause(kind="signal", node="n1", rank=3, signal=9, message="killed by SIGKILL"),
         "rank 3 on n1: killed by SIGKILL"),
        (Cause(kind="stall", node="n1", rank=3, message="rank 3 silent for 31 s"),
         "stall on n1: rank 3 silent for 31 s"),
        (Cause(kind="stall", message="4 ranks silent"), "stall: 4 ranks silent"),
        (Cause(kind="exit", node="n1", exit_code=7, message="exited with code 7"),
         "the command on n1 exited with 7"),
        (Cause(kind="signal", node="n1", signal=11, message="killed by SIGSEGV"),
         "the command on n1 was killed by SIGSEGV"),
        (Cause(kind="oom", node="n1", signal=9, message="killed by the kernel: out of memory"),
         "the command on n1 was killed by the kernel: out of memory"),
        (Cause(kind="signal", node="n1", message="the launcher process was killed by SIGKILL"),
         "the launcher process on n1 was killed by SIGKILL"),
        (Cause(kind="launcher", node="n1", message="the world that formed has 1 node of 2"),
         "n1: the world that formed has 1 node of 2"),
        (Cause(kind="node_lost", node="n1", message="n1 was restarted while the job ran on it"),
         "n1 was restarted while the job ran on it"),
        (Cause(kind="cancelled", message="cancelled by ada"), "cancelled by ada"),
    ],
)  # fmt: skip
def test_a_cause_reads_as_one_line(cause: Cause, text: str) -> None:
    assert describe(cause) == headline(cause) == text


@pytest.mark.parametrize(
    ("reason", "by", "text"),
    [
        ("", "", "running"),
        ("failed", "", "failed"),
        ("membership", "", "the set of nodes changed"),
        ("operator", "ada@laptop", "restarted by ada@laptop"),
        ("operator", "", "restarted on request"),
        ("stall", "", "stalled"),
    ],
)
def test_an_end_reads_as_words(reason: str, by: str, text: str) -> None:
    item = Generation(attempt=0, generation=0, started_at=0.0, reason=reason, by=by)
    assert (ending_of(item), victims_text(item)) == (text, "")


@pytest.mark.parametrize(
    ("figure", "text"),
    [
        (rate_text(None), ""),
        (rate_text(0.0), ""),
        (rate_text(0.08), "12.5/s"),
        (rate_text(4.25), "4.25 s/step"),
        (seconds_text(0.42), "0.4 s"),
        (seconds_text(31.4), "31 s"),
        (seconds_text(1800.0), "30 min"),
        (seconds_text(9000.0), "2.5 h"),
        (value_text(2.13456), "2.135"),
        (value_text(123456.0), "123456"),
        (value_text(0.00012345), "0.0001234"),
        (range_text(1.0, 1.0), "1"),
        (range_text(1.0, 2.5), "1 to 2.5"),
    ],
)
def test_figures_read_well(figure: str, text: str) -> None:
    assert figure == text


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ([], ""),
        ([1.0], ""),
        ([0.0, 1.0, 2.0, 3.0], "▁▃▆█"),
        ([5.0, 5.0, 5.0], "▁▁▁"),
    ],
)
def test_a_sparkline_is_scaled_to_what_it_shows(values: list[float], line: str) -> None:
    assert sparkline([(float(n), value) for n, value in enumerate(values)], 40) == line


def test_a_sparkline_keeps_its_width_and_leaves_times_without_values_blank() -> None:
    assert len(sparkline([(float(n), float(n)) for n in range(1000)], 40)) == 40
    assert sparkline([(0.0, 1.0), (1.0, 2.0), (8.0, 1.0), (9.0, 2.0)], 4) == "▁  ▁"


# -- what is not there is said in words ------------------------------------------------------------


def test_a_metric_that_became_nan_is_shown_as_such_with_a_gap() -> None:
    cluster = running(1, 2)
    for n, value in enumerate([3.0, 2.0, "nan", 1.0, "nan"]):
        cluster.beats(0, 10.0 + n, 0, {"metrics": {"loss": value}}, {"metrics": {"loss": 2.0}})
    job = cluster.job(14.0)
    assert row(job, 0).split()[-1] == "nan"
    (line,) = [x for x in lines(job) if x.startswith("  loss ")]
    assert line.split("nan", 1)[1] == "  █▅ ▁   nan on 1 rank"


def test_values_that_cannot_be_drawn_are_gaps() -> None:
    assert sparkline([(0.0, math.nan), (1.0, math.inf)], 40) == ""
    assert [value_text(value) for value in (math.nan, -math.inf)] == ["nan", "-inf"]
    # A share of the time that holds one of them is a gap as well.
    points = [(float(n), math.nan if n == 3 else float(n)) for n in range(8)]
    assert sparkline(points, 4) == "▁ ▆█"


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"kind": "command"}, "no beats: plain command"),
        ({"watch": Watch(instrument=False)}, "no beats: instrument = false"),
    ],
)
def test_a_job_that_cannot_beat_says_why(fields: dict[str, object], line: str) -> None:
    assert lines(running(**fields).job()).count(line) == 1  # type: ignore[arg-type]


def test_a_stall_that_was_open_when_the_job_ended_is_told_and_its_stacks_once() -> None:
    cluster = running()
    for node in (0, 1):
        cluster.stalled(node, 9.0, 0, (2 * node, 10), message=f"rank {2 * node} has been silent")
        cluster.say(node, "events", 9.5, "stacks", path="s.json", reason="stall", generation=0)
    shown = lines(cluster.end(20.0).job())
    told = [line for line in shown if line.startswith("stalled on gpu0")]
    assert [line.rpartition(": ")[2] for line in told] == [
        "rank 0 has been silent",
        "rank 2 has been silent",
    ]
    assert all(" at 2" in line for line in told)
    assert sum("stacks were kept" in line for line in shown) == 1


def test_ranks_of_a_node_out_of_reach_are_not_left_out_without_a_word() -> None:
    cluster = running()
    cluster.links["gpu02"] = Link(state=LinkState.UNREACHABLE, why="timed out")
    del cluster.events[0, 1, "launcher"], cluster.events[0, 1, "events"]
    text = status_text(cluster.job(10.0))
    assert "ranks of gpu02: unknown, gpu02 is unreachable\n" in text + "\n"
    assert "ranks of gpu01" not in text


# -- restarts --------------------------------------------------------------------------------------


def failing(cluster: Cluster, at: float, generation: int) -> Cluster:
    failure = {"local_rank": 0, "at": at, "exception": "ValueError", "message": "ValueError: x"}
    cluster.failed(0, at, generation, failure)
    return cluster


def test_a_failure_is_called_a_restart_only_once_there_was_one() -> None:
    cluster = failing(running(), 5.0, 0)
    assert lines(cluster.job(6.0))[1].startswith("last failure: rank 0")
    assert lines(cluster.generation(1, 7.0).job(8.0))[1].startswith("last restart: rank 0")


def test_only_restarts_that_the_budget_paid_for_are_set_against_it() -> None:
    cluster = failing(running(), 5.0, 0).generation(1, 7.0)
    cluster.everywhere("launcher", 9.0, "restarting", generation=1, by="ada@laptop")
    cluster.generation(2, 11.0)
    text = status_text(cluster.job(12.0))
    assert "restarts 2 (1 by failure, of at most 3 an attempt; 1 asked for)\n" in text
    cluster.everywhere("launcher", 13.0, "restarting", generation=2, by="on_stall")
    text = status_text(cluster.generation(3, 14.0).job(15.0))
    assert "restarts 3 (1 by failure, of at most 3 an attempt; 1 after stalls; 1 asked" in text
    cluster.everywhere("launcher", 16.0, "restarting", generation=3, by="ada@laptop", cost=True)
    text = status_text(cluster.generation(4, 17.0).job(18.0))
    assert "restarts 4 (2 by failure" in text
    assert "restarts 0 (at most 3 an attempt)" in status_text(running().job(2.0))


# -- ranks that fail alike -------------------------------------------------------------------------


def test_one_bug_of_all_ranks_is_told_of_all_and_of_none_as_a_victim() -> None:
    cluster = running()
    words = {"exception": "ModuleNotFoundError", "message": "ModuleNotFoundError: No module 'x'"}
    for node in (1, 0):
        cluster.failed(node, 5.0, 0, *({"local_rank": n, **words} for n in (1, 0)))
    text = status_text(cluster.end(9.0).job())
    assert "all 4 ranks exited with 1: ModuleNotFoundError: No module 'x'" in text
    assert "failed then" not in text


def test_some_ranks_that_fail_alike_are_counted_beside_the_first() -> None:
    cluster = running()
    words = {"exception": "ValueError", "message": "ValueError: x"}
    cluster.failed(1, 6.0, 0, {"local_rank": 0, "at": 5.0, **words})
    cluster.failed(
        0,
        6.0,
        0,
        {"local_rank": 1, "at": 5.0, **words},
    )
    job = cluster.end(9.0).job()
    assert job.cause is not None
    assert describe(job.cause) == "rank 1 on gpu01 and 1 other alike exited with 1: ValueError: x"
