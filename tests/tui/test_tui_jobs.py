"""The list of jobs: order, filters, marks, columns, and jobs that are only remembered."""

from __future__ import annotations

import dataclasses
import math

import msgspec
import pytest
from textual.widgets import Input
from tui_screen import Opener, Screen
from tui_world import AWAY, WALL, failed_job, healthy, job, job_node, node, recovered_job

from cockpit.errors import UsageError
from cockpit.model.types import Fleet, Job, JobState, Metric, Stage
from cockpit.protocol.records import CodeRef, JobRecord
from cockpit.protocol.secretref import SecretRef
from cockpit.tui.actions import BY_ID
from cockpit.tui.dialogs import ConfirmDialog
from cockpit.tui.draw.spans import plain
from cockpit.tui.frame import Frame
from cockpit.tui.jobs import describe, joblist, trends
from cockpit.tui.jobs.joblist import COLUMNS, Rows, arranged, item_of, tally
from cockpit.tui.jobs.jobs import JobsView
from cockpit.tui.sifting import Sift
from cockpit.tui.widgets.grid import widths_for
from tests.model.building import commands

replace = msgspec.structs.replace


def _row(screen: Screen, name: str) -> str:
    return next(line for line in screen.text.splitlines() if name in line)


def remembered(state: JobState = JobState.RUNNING) -> Job:
    return replace(job("old-1", "yesterday", state=state), seen_at=WALL - 7200)


def many() -> tuple[Job, ...]:
    return (
        job("a-1", "alpha", state=JobState.SUCCEEDED),
        failed_job(),
        job("b-1", "beta", state=JobState.STAGING),
        remembered(),
        replace(job("c-1", "gamma"), flags=("stalled",)),
        recovered_job(),
    )


def names(jobs: list[Job]) -> list[str]:
    return [each.name for each in jobs]


def test_what_runs_comes_first_then_what_waits_then_what_is_only_remembered_then_the_ended() -> (
    None
):
    found = names(arranged(many(), "state", "all", Sift()))
    assert found == ["gamma", "ablate", "beta", "yesterday", "dpo", "alpha"]


def test_other_orders_are_newest_first_and_by_name() -> None:
    assert arranged(many(), "newest", "all", Sift()) == list(many())
    assert names(arranged(many(), "name", "all", Sift()))[:3] == ["ablate", "alpha", "beta"]


def test_only_those_not_ended_or_only_problems_are_shown() -> None:
    open_ones = names(arranged(many(), "newest", "not ended", Sift()))
    assert open_ones == ["beta", "yesterday", "gamma", "ablate"]
    assert names(arranged(many(), "newest", "problems", Sift())) == ["dpo", "gamma"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("dpo", ["dpo"]),
        ("stalled", ["gamma"]),
        ("/^(alpha|beta)/", ["alpha", "beta"]),
        ("70b.yaml failed", ["dpo"]),
        ("!running", ["alpha", "dpo", "beta"]),
    ],
)
def test_a_filter_looks_at_name_id_state_flags_and_command(
    pattern: str, expected: list[str]
) -> None:
    assert names(arranged(many(), "newest", "all", Sift(pattern))) == expected


def test_the_counts_tell_running_waiting_remembered_failed_and_done() -> None:
    assert plain(tally(many())) == "[2 running · 1 waiting · 1 last seen · 1 failed · 1 done]"
    assert tally(()) == ()


@pytest.mark.parametrize("width", [58, 78, 118, 200])
def test_columns_give_way_to_the_width_and_the_name_never_does(width: int) -> None:
    widths = widths_for(COLUMNS, width)
    shown = {column.title for column, size in zip(COLUMNS, widths, strict=True) if size}
    assert {"STATE", "NAME", "NODES", "RUNTIME"} <= shown
    assert sum(widths) + sum(1 for size in widths if size) - 1 <= width
    assert ("BY" in shown) is (width == 200)


def _cells(each: Job, rows: Rows | None = None) -> dict[str, str]:
    row = (rows or Rows()).row(item_of(each, WALL, marked=False))
    return {
        column.title: plain(cell.spans) for column, cell in zip(COLUMNS, row.cells, strict=True)
    }


def test_a_row_says_step_rate_restarts_and_the_first_metric() -> None:
    members = tuple(
        replace(rank, stage=Stage.TRAINING, step=1200 + rank.rank, step_time=0.25)
        for rank in job_node(0).ranks
    )
    loss = Metric(name="loss", rank=0, value=math.nan, low=math.nan, high=math.nan)
    step = Metric(name="step", rank=0, value=1.0, low=1.0, high=1.0)
    running = replace(job(nodes=(job_node(0, members=members),)), metrics=(step, loss), restarts=1)
    cells = _cells(running)
    assert cells["STEP"] == "1200"
    assert cells["RATE"] == "4it/s"
    assert cells["RST"] == "0/3+1", "a restart that cost nothing of the budget is told apart"
    assert cells["METRIC"] == "loss nan"
    tones = {span.tone for span in Rows().row(item_of(running, WALL, False)).cells[10].spans}
    assert "bad" in tones


def test_a_job_that_is_only_remembered_has_another_shape_and_an_age_instead_of_a_runtime() -> None:
    cells = _cells(remembered())
    assert cells["STATE"] == "? running"
    assert cells["RUNTIME"] == "? 2h00m"
    assert _cells(remembered(JobState.SUCCEEDED))["STATE"] == "✔ succeeded"


def test_nodes_out_of_reach_are_counted_only_where_a_node_says_that_the_job_runs() -> None:
    nodes = (job_node(0), job_node(1, link=AWAY))
    assert _cells(job(nodes=nodes))["NODES"] == "1/2"
    assert _cells(replace(job(nodes=nodes), seen_at=WALL))["NODES"] == "2"


def test_what_is_told_of_a_job_is_told_once_per_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(joblist, "metric_of", lambda each: asked.append(each.id))
    rows = Rows()
    first = job()
    for _ in range(5):
        _cells(first, rows)
    assert asked == [first.id]
    _cells(replace(first, restarts=1), rows)
    assert asked == [first.id] * 2
    rows.keep(())
    assert rows._told == {}


# --------------------------------------------------------------------------- trends


def _frame(mono: float, level: float, *, age: float = 0.0) -> Frame:
    nodes = (
        replace(node("gpu01", level=level, count=1), sampled_at=mono - age),
        replace(node("gpu02", level=0, count=1), sampled_at=mono - age),
    )
    alone = job(nodes=(job_node(0),))
    return Frame(Fleet(revision=1, nodes=nodes, jobs=(alone, failed_job())), mono, WALL)


def test_a_trend_is_the_mean_of_the_nodes_of_the_job_and_old_figures_are_a_gap() -> None:
    kept = trends.Trends()
    assert kept.observe(_frame(100.0, 80))
    assert not kept.observe(_frame(105.0, 10)), "one point in ten seconds"
    assert kept.observe(_frame(110.0, 40, age=60.0))
    assert kept.observe(_frame(140.0, 60))
    assert kept.of("llama-1a2b", 10) == [0.8, None, None, None, 0.6]
    assert kept.fleet((), 10) == [0.4, None, None, None, 0.3]
    assert kept.of("dpo-77aa", 10) == []


def test_a_trend_is_bounded_and_fits_its_cells() -> None:
    kept = trends.Trends()
    for number in range(200):
        kept.observe(_frame(100.0 + number * trends.EVERY, 50))
    assert len(kept.of("llama-1a2b", 1000)) == trends.POINTS
    assert kept.of("llama-1a2b", 12) == [0.5] * 12
    assert kept.of("llama-1a2b", 0) == ()


def test_the_trend_of_the_fleet_is_that_of_the_chosen_clusters() -> None:
    kept = trends.Trends()
    both = (
        replace(node("a", level=90, count=1), sampled_at=100.0),
        replace(node("b", level=50, count=1), sampled_at=100.0),
        replace(node("c", level=10, count=1), sampled_at=100.0, cluster="prod"),
    )
    kept.observe(Frame(Fleet(revision=1, nodes=both), 100.0, WALL))
    assert kept.fleet((), 10) == [0.5]
    assert kept.fleet({"lab"}, 10) == [0.7]
    assert kept.fleet({"prod"}, 10) == [0.1]
    assert kept.fleet({"gone"}, 10) == [None]


def test_the_trend_of_a_job_that_is_gone_is_forgotten() -> None:
    kept = trends.Trends()
    kept.observe(_frame(100.0, 80))
    kept.observe(Frame(Fleet(revision=2, nodes=_frame(110.0, 1).fleet.nodes), 110.0, WALL))
    assert kept.of("llama-1a2b", 10) == []


# --------------------------------------------------------------------------- the view


def _world() -> Fleet:
    return replace(healthy(), jobs=many())


@pytest.mark.parametrize("size", [(120, 36), (80, 24), (60, 15)])
async def test_the_title_counts_and_the_remembered_job_says_when_it_was_seen(
    opened: Opener, size: tuple[int, int]
) -> None:
    async with opened(_world(), size=size) as screen:
        await screen.press("2")
        assert screen.text.splitlines()[1].startswith(" Jobs [2 running · 1 waiting")
        for _ in range(3):
            await screen.press("j")
        assert screen.app.job is not None
        assert screen.app.job.name == "yesterday"
        assert "? last seen 2h00m ago: no node that was asked knows it now" in screen.text


async def test_sort_and_show_go_round_and_are_remembered(opened: Opener) -> None:
    async with opened(_world()) as screen:
        await screen.press("2")
        assert "sort: state" in screen.text
        await screen.press("S", "S")
        assert "sort: name" in screen.text
        await screen.press("f")
        assert "only: not ended" in screen.text
        assert "4/6 shown" in screen.text
        view = screen.app.query_one(JobsView)
        memory = view.memory()
        assert memory == {"sort": "name", "show": "not ended", "filter": ""}
        await screen.press("f", "f", "S")
        view.recall({"sort": "newest", "show": "problems", "filter": "dpo"})
        assert view.memory() == {"sort": "newest", "show": "problems", "filter": "dpo"}
        view.recall({"sort": 3, "show": ["x"], "filter": None, "other": 1})
        assert view.memory() == {"sort": "newest", "show": "problems", "filter": "dpo"}


async def test_a_filter_is_typed_inverted_and_cleared(opened: Opener) -> None:
    async with opened(_world()) as screen:
        await screen.press("2", "slash", *"beta")
        assert "filter: beta" in screen.text
        assert isinstance(screen.app.focused, Input)
        assert "alpha" not in screen.text
        await screen.press("enter")
        assert not isinstance(screen.app.focused, Input)
        await screen.press("exclamation_mark")
        assert "alpha" in screen.text
        assert "◌ staging" not in screen.text
        await screen.press("escape")
        assert "◌ staging" in screen.text
        assert screen.app.view.value == "jobs"
        await screen.press("exclamation_mark")
        assert "no filter is set" in screen.said[-1]


async def test_a_bad_expression_says_so_and_hides_nothing(opened: Opener) -> None:
    async with opened(_world()) as screen:
        await screen.press("2")
        screen.app.query_one(JobsView).set_filter("/(/")
        await screen.pulse()
        assert "not a regular expression" in screen.text
        assert "alpha" in screen.text


async def test_a_filter_that_fits_nothing_says_how_to_see_the_rest(opened: Opener) -> None:
    async with opened(_world()) as screen:
        await screen.press("2")
        screen.app.query_one(JobsView).set_filter("nothing like this")
        await screen.pulse()
        assert "6 jobs are hidden; esc shows them" in screen.text


async def test_hostile_names_are_shown_as_they_are_and_break_nothing(opened: Opener) -> None:
    bad = job("x-1", "[/data/x] [bold]\x1b]0;own\x07")
    async with opened(Fleet(revision=1, jobs=(bad,)), size=(200, 36)) as screen:
        await screen.press("2")
        assert "[/data/x] [bold]" in screen.text
        assert "\x1b" not in screen.text
        await screen.press("d")
        assert "[/data/x] [bold]" in screen.text
        await screen.press("escape", "ctrl+d")
        assert "Cancel [/data/x] [bold]" in screen.text
        await screen.press("escape", "3")
        assert screen.text.splitlines()[1].startswith(" [/data/x] [bold]")


async def test_figures_of_nodes_alone_do_not_draw_the_list_again(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        await screen.press("2")
        grid = screen.app.query_one("#jobs-grid")
        calls: list[object] = []
        grid.lines = lambda *size: calls.append(size) or []  # type: ignore[attr-defined]
        for level in range(5):
            screen.source.fleet = replace(
                screen.source.fleet,
                revision=screen.source.fleet.revision + 1,
                nodes=(node("gpu01", level=level),),
            )
            screen.app.pulse()
        assert calls == []
        screen.source.change(replace(job(), restarts=1))
        screen.app.pulse()
        assert len(calls) == 1


# ------------------------------------------------------------------ marks, orders, words


async def test_marked_jobs_are_shown_counted_and_cancelled_together(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        await screen.press("2", "space", "space")
        assert "◆ 2 marked" in screen.text
        assert _row(screen, "ablate").startswith("  ◆")
        await screen.press("ctrl+d")
        assert "Cancel 2 jobs?" in screen.text
        assert "llama (llama-1a2b): 4 ranks on 2 nodes (gpu01, gpu02)" in screen.text
        assert "ablate (abl-9f9f)" in screen.text
        await screen.press(*"2 job", "enter")
        assert screen.source.orders.given == []
        await screen.press("s", "enter")
        assert screen.source.orders.given == [("cancel", "llama-1a2b"), ("cancel", "abl-9f9f")]
        assert "0 of 2 jobs are done" in screen.text
        assert "llama gpu01" in screen.text
        assert "ablate gpu02" in screen.text


async def test_marked_jobs_that_have_ended_are_not_cancelled_again(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        await screen.press("2", "G", "space", "ctrl+d")
        assert "every marked job has ended already" in screen.said[-1]
        assert screen.app.screen is screen.app.screen_stack[0]


async def test_a_remembered_job_cannot_be_ordered_about(opened: Opener) -> None:
    async with opened(Fleet(revision=1, jobs=(remembered(),))) as screen:
        for key in ("ctrl+d", "R"):
            await screen.press("2", key)
            assert "yesterday is only remembered" in screen.said[-1]
            assert screen.app.screen is screen.app.screen_stack[0]
        await screen.press("ctrl+r")
        assert "yesterday does not run" in screen.said[-1]


async def test_a_remembered_job_is_not_counted_as_running(opened: Opener) -> None:
    fleet = replace(healthy(), jobs=(remembered(),))
    async with opened(fleet) as screen:
        assert "0 running" in screen.text.splitlines()[0]
        assert screen.app.running_jobs() == []
        assert "yesterday" not in screen.text


async def test_words_name_a_job_by_name_id_or_the_beginning_of_one(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        words = {name: BY_ID[name].words for name in ("view.job", "job.cancel", "job.restart")}
        assert all(word is not None and word.run is not None for word in words.values())
        show, cancel = words["view.job"], words["job.cancel"]
        assert show is not None and show.run is not None
        assert cancel is not None and cancel.run is not None
        assert "dpo" in show.offers(screen.app)
        assert "abl-9f9f" in cancel.offers(screen.app)
        show.run(screen.app, "abl-9")
        await screen.pulse()
        assert screen.text.splitlines()[1].startswith(" ablate")
        with pytest.raises(UsageError, match="dpo has ended already"):
            cancel.run(screen.app, "dpo")
        with pytest.raises(UsageError, match="no job 'nothing'"):
            show.run(screen.app, "nothing")
        cancel.run(screen.app, "llama")
        await screen.pulse()
        assert isinstance(screen.app.screen, ConfirmDialog)
        assert "Cancel llama?" in screen.text


# --------------------------------------------------------------------------- describe


def record() -> JobRecord:
    return JobRecord(
        id="llama-1a2b",
        name="llama",
        created_at=WALL,
        created_by="ada@laptop",
        cluster="lab",
        launcher="ddp",
        kind="torchrun",
        min_nodes=2,
        max_nodes=4,
        nproc_per_node=8,
        command=("train.py",),
        argv=("torchrun", "train.py", "--note", "a b"),
        env={"NCCL_DEBUG": "WARN", "WANDB_API_KEY": "wandb-1234", "EVIL": "\x1b]0;x\x07[b]"},
        secrets={"HF_TOKEN": SecretRef(env="MY_TOKEN")},
        working_dir="/home/ada/code",
        code=CodeRef("8f21c0aa", 2048, 7),
        max_restarts=3,
        grace=30.0,
    )


def test_a_description_has_argv_plan_and_code_and_masks_what_is_secret() -> None:
    text = "\n".join(plain(line.spans) for line in describe.lines(job(), record(), WALL))
    assert "torchrun train.py --note 'a b'" in text
    assert "8f21c0aa (2.0K, 7 files)" in text
    assert "NCCL_DEBUG=WARN" in text
    assert "2 to 4 nodes, 8 ranks on each" in text
    assert "30 s between SIGTERM and SIGKILL" in text
    assert f"HF_TOKEN={describe.MASK}  from $MY_TOKEN of the controller" in text
    assert f"WANDB_API_KEY={describe.MASK}" in text
    assert "wandb-1234" not in text
    assert "\x1b" not in text
    assert "1 gpu02" in text


def test_a_plain_command_is_described_without_ranks() -> None:
    plan = dataclasses.replace(record(), kind="command", nproc_per_node=1)
    command = commands().job(2.0)
    text = "\n".join(plain(line.spans) for line in describe.lines(command, plan, WALL))
    assert "2 to 4 nodes\n" in text
    assert "2 nodes\n" in text
    assert "rank" not in text
    one = dataclasses.replace(record(), nproc_per_node=1)
    text = "\n".join(plain(line.spans) for line in describe.lines(command, one, WALL))
    assert "2 to 4 nodes, 1 rank on each" in text


def test_without_a_record_the_description_says_what_is_known() -> None:
    text = "\n".join(plain(line.spans) for line in describe.lines(remembered(), None, WALL))
    assert "last seen    2h00m ago" in text
    assert "train.py --config 70b.yaml" in text


@pytest.mark.parametrize("size", [(120, 36), (60, 15)])
async def test_d_opens_the_description_and_esc_closes_it(
    opened: Opener, size: tuple[int, int]
) -> None:
    async with opened(healthy(), size=size) as screen:
        screen.source.records["llama-1a2b"] = record()
        await screen.press("2", "d")
        assert "llama — esc closes" in screen.text
        assert "launched" in screen.text
        await screen.press("G")
        assert "gpu02" in screen.text
        await screen.press("escape")
        assert screen.app.screen is screen.app.screen_stack[0]


async def test_what_the_list_has_no_room_for_stands_below_it(opened: Opener) -> None:
    async with opened(healthy(), size=(120, 30)) as screen:
        await screen.press("2")
        assert "LAUNCHER" not in screen.text
        assert "lab · ddp · by ada@laptop" in screen.text
    async with opened(healthy(), size=(200, 30)) as screen:
        await screen.press("2")
        assert "LAUNCHER" in screen.text
        assert "lab · ddp" not in screen.text
