"""One job: its attempts as a line, its ranks by node, what is hidden, and what stays quick."""

from __future__ import annotations

import msgspec
import pytest
from test_tui_insight import stalled
from tui_screen import Opener, Screen
from tui_world import (
    AWAY,
    BOOM,
    MONO,
    WALL,
    FakeLine,
    failed_job,
    healthy,
    job,
    job_node,
    node,
    origin,
    recovered_job,
)

from cockpit.model.stacks import read, report
from cockpit.model.types import (
    Cause,
    Fleet,
    Generation,
    GpuProcess,
    Job,
    JobState,
    Metric,
    NodeState,
    RankState,
    Stage,
    Stall,
)
from cockpit.tui.actions import View
from cockpit.tui.draw.spans import plain, width_of
from cockpit.tui.draw.words import cause_line, verdict
from cockpit.tui.jobs import attempts, jobhead, ranktable
from cockpit.tui.jobs.job import JobView
from cockpit.tui.jobs.ranktable import RankItem, RankRows
from tests.model.building import commands, leave

replace = msgspec.structs.replace


def _row(screen: Screen, name: str) -> str:
    return next(line for line in screen.text.splitlines() if name in line)


# ----------------------------------------------------------------------- the attempts


def generation(
    attempt: int, number: int, start: float, end: float | None, **more: object
) -> Generation:
    return Generation(
        attempt=attempt,
        generation=number,
        started_at=WALL + start,
        ended_at=None if end is None else WALL + end,
        world_size=8,
        nodes=1,
        **more,  # type: ignore[arg-type]
    )


XID = Cause(kind="signal", node="n031", rank=4, signal=9, label="Xid 79", at=WALL + 100)


def story() -> tuple[Generation, ...]:
    return (
        generation(0, 0, 0, 100, cause=XID, reason="failed"),
        generation(1, 0, 110, 310, reason="operator", by="ada"),
        generation(2, 0, 320, None),
    )


def _drawn(history: tuple[Generation, ...], width: int, selected: str = "") -> str:
    return plain(attempts.drawn(history, width, WALL + 400, selected).spans)


def test_attempts_are_bars_as_long_as_they_ran_with_what_ended_each() -> None:
    line = _drawn(story(), 100)
    first, second, third = (line.index(f" {number} ") for number in (0, 1, 2))
    assert first < line.index("┤✖ n031 Xid 79") < second < line.index("┤↻ restarted by ada") < third
    assert line.endswith("▶")
    bars = [part.count("─") for part in line.split("├")[1:]]
    assert bars[1] > bars[0]
    assert bars[1] > bars[2]


def test_generations_of_one_attempt_have_both_numbers_and_the_chosen_one_has_brackets() -> None:
    history = (generation(0, 0, 0, 10, reason="membership"), generation(0, 1, 20, None))
    line = _drawn(history, 80, "0.0")
    assert "[0.0]" in line
    assert " 0.1 " in line
    assert "⇄ nodes came or went" in line


@pytest.mark.parametrize("width", [20, 40, 58, 78, 118, 200])
def test_however_many_attempts_the_line_fits_and_the_newest_is_on_it(width: int) -> None:
    history = tuple(
        generation(n, 0, n * 10, n * 10 + 8, cause=XID, reason="failed") for n in range(60)
    )
    line = attempts.drawn((*history, generation(60, 0, 600, None)), width, WALL + 700)
    assert width_of(line.spans) <= width
    assert " 60 " in plain(line.spans)
    assert "⋯" in plain(line.spans)


def test_wide_characters_in_a_cause_do_not_break_the_width() -> None:
    wide = replace(XID, node="節点", label="エラー" * 10)
    line = attempts.drawn((generation(0, 0, 0, 9, cause=wide),), 60, WALL)
    assert width_of(line.spans) <= 60


def test_a_generation_in_full_has_its_cause_its_victims_and_the_last_words() -> None:
    cause = replace(XID, tail=("Traceback", "  boom [x]"))
    item = generation(
        0, 0, 0, 100, cause=cause, victims=(Cause(kind="signal", node="n2", rank=9, signal=6),),
        victim_count=7,
    )  # fmt: skip
    text = [plain(line.spans) for line in attempts.in_full(item, 5)]
    assert "attempt 0 gen 0" in text[0]
    assert "rank 4 on n031: SIGKILL: Xid 79" in text[0]
    assert "then 7 other ranks" in text[1]
    assert "rank 9 on n2: SIGABRT" in text[1]
    assert text[2:] == [" │ Traceback", " │   boom [x]"]
    assert len(attempts.in_full(item, 2)) == 2


async def test_comma_and_full_stop_go_through_the_attempts(opened: Opener) -> None:
    history = story()
    told = replace(history[0], cause=replace(XID, tail=("last words [x]",)))
    many = replace(job(), history=(told, *history[1:]), attempt=2)
    for size in ((120, 36), (60, 15)):
        async with opened(Fleet(revision=1, jobs=(many,)), size=size) as screen:
            await screen.press("3")
            assert "[" not in _row(screen, "├")
            await screen.press("comma")
            assert "[1]" in _row(screen, "├")
            assert "attempt 1 gen 0" in screen.text
            await screen.press("comma", "comma")
            assert "[0]" in _row(screen, "├")
            assert "last words [x]" in screen.text
            await screen.press("full_stop", "full_stop")
            assert "[" not in _row(screen, "├")
            assert "attempt 0 gen 0" not in screen.text


async def test_the_last_words_of_a_failed_job_are_there_without_being_asked_for(
    opened: Opener,
) -> None:
    failed = failed_job()
    cause = replace(BOOM, tail=("Traceback", "RuntimeError: boom"))
    ended = replace(failed, cause=cause, history=(replace(failed.history[0], cause=cause),))
    async with opened(Fleet(revision=1, jobs=(ended,))) as screen:
        await screen.press("3")
        assert " │ RuntimeError: boom" in screen.text


# --------------------------------------------------------------------------- the rows


def big(nodes: int = 126, each: int = 8) -> Job:
    return job(
        nodes=tuple(replace(job_node(n, count=each), name=f"n{n:03d}") for n in range(nodes))
    )


def with_rank(base: Job, rank: int, **changes: object) -> Job:
    nodes = tuple(
        replace(
            node,
            ranks=tuple(replace(r, **changes) if r.rank == rank else r for r in node.ranks),
        )
        for node in base.nodes
    )
    return replace(base, nodes=nodes)


def keys(items: list[RankItem]) -> list[str]:
    return [item.key for item in items]


def test_few_ranks_have_a_row_each_and_many_are_folded_into_their_node() -> None:
    assert keys(ranktable.items(job())) == ["0:", "0:0", "0:1", "1:", "1:2", "1:3"]
    items = ranktable.items(big())
    assert len(items) == 126
    assert all(item.fold == "▸" for item in items)


def test_a_node_is_unfolded_or_folded_by_hand() -> None:
    assert keys(ranktable.items(big(), {3}))[2:6] == ["2:", "3:", "3:24", "3:25"]
    assert keys(ranktable.items(job(), {0})) == ["0:", "1:", "1:2", "1:3"]


def test_problems_come_first_and_are_never_folded_away() -> None:
    silent = with_rank(big(), 720, stage=Stage.SILENT)
    slow = with_rank(silent, 17, straggler=True)
    failed = replace(
        with_rank(slow, 723, state=RankState.FAILED),
        cause=Cause(kind="exit", node="n090", rank=723, generation=0),
    )
    found = ranktable.items(failed)
    assert keys(found)[:5] == ["90:", "90:720", "90:723", "2:", "2:17"]
    assert found[2].culprit
    assert len(found) == 126 + 3


def test_only_problems_counts_what_it_hides() -> None:
    slow = with_rank(big(), 17, straggler=True)
    found = ranktable.items(slow, only_problems=True)
    assert keys(found) == ["2:", "2:17", "more"]
    assert found[-1].text == "⋮ 125 more · all ●"
    assert ranktable.items(big(), only_problems=True)[0].text == "no problems · 126 nodes, all ●"


@pytest.mark.parametrize(
    ("changes", "trouble"),
    [
        ({"link": AWAY}, "unreachable"),
        ({"state": NodeState.LOST}, "lost"),
        ({"state": NodeState.FAILED, "ranks": ()}, "failed"),
        ({"state": NodeState.SUCCEEDED, "link": AWAY}, ""),
    ],
)
def test_what_is_wrong_with_a_node(changes: dict[str, object], trouble: str) -> None:
    each = replace(job_node(0), **changes)
    assert ranktable.node_trouble(job(nodes=(each,)), each) == trouble


def test_ranks_that_a_failure_took_along_are_no_problems_of_their_own() -> None:
    found = ranktable.items(failed_job(), only_problems=True)
    assert keys(found) == ["1:", "1:3", "more"]
    assert found[-1].text == "⋮ 1 more · without a failure of their own"


def _cells(each: Job, item: RankItem, rows: RankRows) -> dict[str, str]:
    rows.begin(each)
    return {
        column.title: plain(cell.spans)
        for column, cell in zip(ranktable.COLUMNS, rows.row(item).cells, strict=True)
    }


def _rows(machine: object) -> RankRows:
    rows = RankRows()
    rows.mono = MONO
    rows.machine = lambda _: machine  # type: ignore[assignment,return-value]
    return rows


def test_a_rank_shows_the_gpu_that_its_process_is_on() -> None:
    each = job()
    first = each.nodes[0]
    machine = node("gpu01", level=90, count=8)
    assert ranktable.gpu_of(each, first, first.ranks[1], machine) == machine.gpus[1]
    on_six = tuple(
        replace(gpu, processes=(GpuProcess(pid=first.ranks[1].pid, job=each.id),))
        if gpu.index == 6
        else gpu
        for gpu in machine.gpus
    )
    told = replace(machine, gpus=on_six)
    assert ranktable.gpu_of(each, first, first.ranks[1], told) == on_six[6]
    assert ranktable.gpu_of(each, first, first.ranks[0], told) is None, "it could be any of them"
    few = replace(machine, gpus=machine.gpus[:1])
    assert ranktable.gpu_of(each, first, first.ranks[0], few) is None


def test_old_gpu_figures_are_drawn_old_and_those_of_an_ended_job_not_at_all() -> None:
    each = job()
    item = RankItem(each.nodes[0], each.nodes[0].ranks[0])
    fresh, old = node("gpu01", level=90), node("gpu01", level=90, age=60.0)
    assert "90%" in _cells(each, item, _rows(fresh))["GPU"]
    rows = _rows(old)
    rows.begin(each)
    gpu = rows.row(item).cells[8]
    assert {span.tone for span in gpu.spans} == {"stale"}
    assert _cells(replace(each, state=JobState.SUCCEEDED), item, _rows(fresh))["GPU"] == ""


def test_a_step_is_set_against_the_median_of_all_ranks() -> None:
    each = with_rank(big(5), 5, step=1158)
    found = ranktable.items(each, {0})
    rows = _rows(None)
    assert _cells(each, found[0], rows)["Δ"] == "-42"
    assert _cells(each, next(i for i in found if i.key == "0:5"), rows)["Δ"] == "-42"
    assert _cells(each, next(i for i in found if i.key == "0:4"), rows)["Δ"] == "0"


def test_columns_that_say_nothing_of_a_job_take_no_room() -> None:
    def shown(each: Job, gpus: bool = True) -> set[str]:
        columns = ranktable.columns_for(each, gpus=gpus)
        return {column.title for column in columns if column.width}

    assert "EXIT" not in shown(job())
    assert "EXIT" in shown(failed_job())
    assert "GPU" in shown(job())
    assert not {"GPU", "BEAT"} & shown(failed_job())
    assert "GPU" not in shown(job(), gpus=False)
    assert "STEP" not in shown(job(nodes=(job_node(0, members=()),)))


# --------------------------------------------------------------------------- the view


async def test_enter_folds_a_node_and_goes_from_a_rank_to_its_log(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        screen.source.write(
            "llama-1a2b",
            FakeLine(origin(0), WALL, b"said by the first"),
            FakeLine(origin(1), WALL, b"said by the second"),
        )
        await screen.press("3", "g")
        assert " r1 local 1" in screen.text
        await screen.press("enter")
        assert "▸ gpu01 r0-1" in screen.text
        assert " r1 local 1" not in screen.text
        await screen.press("u")
        assert " r3 local 1" not in screen.text
        await screen.press("u")
        assert " r1 local 1" in screen.text
        await screen.press("j", "j", "enter")
        assert screen.app.view is View.LOGS
        assert "said by the second" in screen.text
        assert "said by the first" not in screen.text
        await screen.press("3", "j", "j", "enter")
        assert screen.app.view is View.LOGS
        assert "said by" not in screen.text, "a rank that wrote nothing"


async def test_f_shows_problems_only_and_says_how_many_are_hidden(opened: Opener) -> None:
    slow = with_rank(big(), 619, straggler=True)
    async with opened(Fleet(revision=1, jobs=(slow,))) as screen:
        await screen.press("3")
        assert "1 of 126 nodes with problems" in screen.text
        await screen.press("f")
        assert "⋮ 125 more · all ●" in screen.text
        assert "r619" in screen.text
        view = screen.app.query_one(JobView)
        assert view.memory() == {"problems": True}
        await screen.press("G", "enter")
        assert "⋮ 125 more" not in screen.text
        view.recall({"problems": True})
        assert view.memory() == {"problems": True}


async def test_a_node_of_the_job_is_selected_and_marked_like_in_the_fleet(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        await screen.press("3", "g")
        assert screen.app.node is not None
        assert screen.app.node.name == "gpu01"
        view = screen.app.query_one(JobView)
        assert view.mark_key == "lab/gpu01"
        assert view.mark_order == ["lab/gpu01", "lab/gpu02"]
        await screen.press("space")
        assert screen.app.marks.keys == {"lab/gpu01"}
        assert "◆ ▾ gpu01" in screen.text
        assert view.mark_key == "", "the cursor went on to a rank, which cannot be marked"
        assert screen.app.node.name == "gpu01"


@pytest.mark.parametrize("size", [(120, 36), (80, 24), (60, 15)])
async def test_the_first_failure_is_on_the_screen_before_any_scrolling(
    opened: Opener, size: tuple[int, int]
) -> None:
    base = with_rank(big(), 723, state=RankState.FAILED, exit_code=7, message="boom [rank723]")
    cause = Cause(kind="exit", node="n090", rank=723, exit_code=7, generation=0, message="boom")
    dead = replace(base, state=JobState.FAILED, cause=cause, exit_code=7)
    async with opened(Fleet(revision=1, jobs=(dead,)), size=size) as screen:
        await screen.press("3")
        assert "✖ first rank 723 on n090: exit 7: boom" in screen.text
        assert "not recovered" in screen.text
        assert "r723" in _row(screen, "❯")
        assert screen.text.splitlines().index(_row(screen, "n090 r720")) > 5
        assert "◀ first" in _row(screen, "❯")


async def test_the_last_line_of_a_rank_is_the_newest_of_the_log(opened: Opener) -> None:
    async with opened(healthy(), size=(160, 36)) as screen:
        screen.source.write(
            "llama-1a2b",
            FakeLine(origin(0), WALL, b"older"),
            FakeLine(origin(0), WALL, b"newest \x1b]0;x\x07[rank0] [/x]"),
            FakeLine(origin(0), WALL, b"   "),
        )
        await screen.press("3")
        assert "│ newest [rank0] [/x]" in _row(screen, "r0 local 0")


async def test_a_remembered_job_says_when_it_was_seen_and_shows_no_age_of_links(
    opened: Opener,
) -> None:
    old = replace(
        job(nodes=(job_node(0), job_node(1, link=AWAY))), seen_at=WALL - 7200, name="yesterday"
    )
    async with opened(Fleet(revision=1, jobs=(old,)), focus_job=old.id) as screen:
        assert "? running · ? last seen 2h00m ago" in screen.text
        assert "unreachable" not in screen.text


async def test_the_view_follows_the_size_of_the_terminal(opened: Opener) -> None:
    async with opened(Fleet(revision=1, jobs=(recovered_job(),))) as screen:
        await screen.press("3")
        assert "ATTEMPT" in screen.text
        assert len(_row(screen, "├").rstrip()) > 110
        await screen.resize(60, 15)
        assert "ATTEMPT" not in screen.text
        assert "▶" in _row(screen, "├")


async def test_of_1008_ranks_only_those_on_the_screen_are_drawn(opened: Opener) -> None:
    base = big()
    fleet = Fleet(revision=1, nodes=tuple(node(f"n{n:03d}") for n in range(126)), jobs=(base,))
    async with opened(fleet) as screen:
        await screen.press("3")
        drawn: list[RankItem] = []
        rows = screen.app.query_one(JobView)._rows
        grid = screen.app.query_one("#job-ranks")
        grid._row = lambda item: drawn.append(item) or rows.row(item)  # type: ignore[attr-defined]
        built: list[Job] = []
        real = ranktable.items
        try:
            ranktable.items = lambda each, *more, **options: (  # type: ignore[assignment]
                built.append(each) or real(each, *more, **options)
            )
            for step in range(3):
                screen.source.change(with_rank(base, 5, step=1201 + step))
                screen.app.pulse()
            assert len(built) == 3
            for level in range(5):
                screen.source.change(nodes=(node("n000", level=level),))
                screen.app.pulse()
            assert len(built) == 3, "figures of nodes do not build the rows again"
        finally:
            ranktable.items = real
        assert len(drawn) <= 8 * 40, "only rows on the screen are drawn"


# -------------------------------------------------------------------------- the stacks


def _stacks() -> object:
    stack = [{"file": "/home/ada/data.py", "line": 41, "function": "read_shard"}]
    thread = {"name": "", "main": True, "frames": stack}
    rank = {"rank": 0, "local_rank": 0, "pid": 9, "how": "signal", "error": "", "threads": [thread]}
    answer = {"taken_at": WALL, "generation": 0, "ranks": [rank]}
    return report([read("gpu01", 0, answer)], [], taken_at=WALL)


async def test_the_stacks_of_the_newest_stall_are_shown_on_request_and_of_an_ended_job_at_once(
    opened: Opener,
) -> None:
    base = stalled()
    kept = replace(base, stalls=(replace(base.stalls[0], stacks="stalls/0"),))
    ended = replace(kept, state=JobState.FAILED, flags=())
    for each, pressed in ((kept, ("b", "s")), (ended, ("b",))):
        async with opened(Fleet(revision=1, jobs=(each,))) as screen:
            asked: list[str] = []

            async def recall(job_id: str, asked: list[str] = asked) -> object:
                asked.append(job_id)
                return _stacks()

            screen.source.report = _stacks()  # type: ignore[assignment]
            screen.source.kept_stacks = recall  # type: ignore[method-assign,assignment]
            await screen.press("3", *pressed)
            await screen.app.workers.wait_for_complete()
            await screen.pulse()
            assert asked == [each.id]
            assert "read_shard" in screen.text


async def test_an_ended_job_without_kept_stacks_has_none(opened: Opener) -> None:
    async with opened(Fleet(revision=1, jobs=(failed_job(),))) as screen:
        await screen.press("3", "b")
        assert "dpo does not run" in screen.said[-1]


# ------------------------------------------------------- the head: cause, verdict, first lines


def _staged(stage: Stage, *, started: float = -290, **changes: object) -> Job:
    base = recovered_job()
    step = 7 if stage is Stage.TRAINING else None
    nodes = tuple(
        replace(each, ranks=tuple(replace(r, stage=stage, step=step) for r in each.ranks))
        for each in base.nodes
    )
    newest = replace(base.history[-1], started_at=WALL + started)
    return replace(base, nodes=nodes, history=(*base.history[:-1], newest), **changes)


@pytest.mark.parametrize(
    ("each", "words"),
    [
        (_staged(Stage.TRAINING), "recovered: generation 1"),
        (_staged(Stage.STARTING), "restarted: generation 1 of attempt 0 is starting"),
        (_staged(Stage.NONE, started=-11), "recovered: generation 1"),
        (_staged(Stage.NONE, started=-9), "restarted: generation 1 of attempt 0 is starting"),
        (_staged(Stage.TRAINING, flags=("cancelling",), cancelled_by="ada"),
         "the job is being cancelled by ada"),
        (_staged(Stage.TRAINING, flags=("unknown_nodes",)), "some of its nodes are out of reach"),
        (_staged(Stage.TRAINING, flags=("degraded",)), "but not with all of its nodes"),
    ],
)  # fmt: skip
def test_a_job_has_recovered_only_when_its_new_ranks_are_at_work(each: Job, words: str) -> None:
    sentence, tone = verdict(each, WALL)
    assert words in sentence
    assert (tone == "ok") is sentence.startswith("recovered")


def test_a_lost_node_is_no_recovery() -> None:
    base = _staged(Stage.TRAINING)
    lost = replace(base.nodes[1], state=NodeState.LOST)
    assert verdict(replace(base, nodes=(base.nodes[0], lost)), WALL)[1] == "warn"


def test_the_hint_belongs_to_the_cause() -> None:
    hinted = replace(failed_job(), cause=replace(BOOM, hint="lower the batch size"))
    first, hint, last = (plain(row.spans) for row in jobhead.cause(hinted, WALL))
    assert "boom" in first
    assert hint.strip() == "hint: lower the batch size"
    assert "hint" not in last
    assert len(jobhead.cause(hinted, WALL, tall=False)) == 2


def _cancelled(*past: Generation, stalls: tuple[Stall, ...] = ()) -> Job:
    wish = Cause(kind="cancelled", message="cancelled by ada", at=WALL)
    last = generation(0, len(past), -50, 0, cause=wish, reason="cancelled")
    return replace(
        job(state=JobState.CANCELLED, cause=wish, history=(*past, last)),
        cancelled_by="ada", stalls=stalls,
    )  # fmt: skip


def _head(each: Job) -> str:
    return "\n".join(plain(row.spans) for row in jobhead.cause(each, WALL))


def test_a_cancel_is_no_cause_and_is_told_once() -> None:
    assert _head(_cancelled()) == " ■ the job was cancelled by ada"
    head = _head(_cancelled(generation(0, 0, -100, -60, cause=XID, reason="failed")))
    assert "✖ first" in head
    assert "Xid 79" in head
    assert head.count("cancelled") == 1
    assert attempts.ended_by(_cancelled().history[-1]) == ("■ cancelled by ada", "warn")


def test_the_stall_that_somebody_ended_is_what_came_first() -> None:
    stall = Stall(
        attempt=0, generation=0, node="gpu02", ranks=(3,), at=WALL - 5, action="warn",
        message="no beat for 31 s",
    )  # fmt: skip
    head = _head(_cancelled(stalls=(stall,)))
    assert "rank 3 on gpu02: stalled: no beat for 31 s" in head
    over = replace(stall, recovered_at=WALL - 2)
    assert "stalled" not in _head(_cancelled(stalls=(over,)))
    wish = _cancelled(stalls=(stall,)).history[0]
    again = replace(
        job(history=(wish, generation(1, 0, 1, None))),
        cause=wish.cause, attempt=1, restarts=1, stalls=(stall,),
    )  # fmt: skip
    assert "stalled: no beat for 31 s" in _head(again)
    assert "cancelled" not in _head(again)


def test_all_ranks_alike_name_the_first_and_nothing_is_said_twice() -> None:
    everyone = Cause(kind="exit", node="gpu02", rank=3, exit_code=1, message="boom", alike=3,
                     everyone=True)  # fmt: skip
    assert cause_line(everyone) == "all 4 ranks, first rank 3 on gpu02: exit 1: boom"
    killed = Cause(kind="signal", node="n1", rank=0, signal=9, label="killed from outside",
                   message="killed by SIGKILL")  # fmt: skip
    assert cause_line(killed) == "rank 0 on n1: SIGKILL: killed from outside"
    proof = replace(killed, message="killed by SIGKILL (by pid 7)")
    assert cause_line(proof).endswith("killed from outside: (by pid 7)")


def test_a_cause_without_a_rank_is_the_commands_or_its_launcher_processs() -> None:
    command = Cause(kind="exit", node="n1", exit_code=7, message="exited with code 7")
    assert cause_line(command) == "the command on n1: exit 7"
    message = "the launcher process was killed by SIGKILL"
    launcher = Cause(kind="signal", node="n1", signal=9, message=message)
    assert cause_line(launcher) == "the launcher process on n1: was killed by SIGKILL"
    assert cause_line(Cause(kind="start_failed", node="n1", message="no python")) == (
        "n1: could not start: no python"
    )


def test_a_node_of_a_command_that_failed_is_no_recovery_while_the_others_run() -> None:
    cluster = commands()
    leave(cluster, 0, 5.0, 7)
    job = cluster.job(6.0)
    first, last = (plain(each.spans) for each in jobhead.cause(job, job.created_at + 1000))
    assert first.endswith("the command on gpu01: exit 7")
    assert last == " → gpu01 failed: 1 node goes on"
    assert attempts.ended_by(job.history[0]) == ("● runs on; ✖ the command on gpu01: exit 7", "bad")


def test_flags_stand_right_behind_the_state_and_a_metric_without_step_has_its_blank() -> None:
    flagged = replace(recovered_job(), flags=("unknown_nodes", "cancelling"))
    first = plain(jobhead.header(flagged, WALL)[0].spans)
    assert "● running · ? a node is silent · ◍ being cancelled · " in first
    mute = tuple(
        replace(each, ranks=tuple(replace(r, step=None) for r in each.ranks))
        for each in job().nodes
    )
    loss = Metric(name="loss", rank=0, value=1.0, low=1.0, high=1.0)
    progress = jobhead.progress(replace(job(nodes=mute), metrics=(loss,)))
    assert progress is not None
    assert plain(progress.spans).startswith(" loss ")
    stepping = jobhead.progress(job())
    assert stepping is not None
    assert plain(stepping.spans).startswith(" step ")


def test_the_first_of_two_failed_ranks_is_counted_too() -> None:
    base = failed_job()
    both = tuple(replace(r, state=RankState.FAILED) for r in base.nodes[1].ranks)
    each = replace(base, nodes=(base.nodes[0], replace(base.nodes[1], ranks=both)))
    items = ranktable.items(each)
    at = next(i for i in items if i.node is each.nodes[1] and i.rank is None)
    assert "2 ranks failed" in _cells(each, at, _rows(None))[""]


# --------------------------------------------------------- nodes that tell nothing any more


def _silent_cells(link: object, age: float) -> tuple[dict[str, str], dict[str, str]]:
    base = with_rank(job(), 2, stage=Stage.TRAINING, step_time=0.5, beat_age=0.4)
    each = replace(base, nodes=(base.nodes[0], replace(base.nodes[1], link=link)))
    rows = _rows(node("gpu02", age=age))
    rows.wall = WALL
    rows.last = {("gpu02", 2): "step 9 loss 1"}
    items = [item for item in ranktable.items(each) if item.node is each.nodes[1]]
    rank = next(item for item in items if item.rank is not None and item.rank.rank == 2)
    return _cells(each, items[0], rows), _cells(each, rank, rows)


def test_a_node_without_fresh_figures_and_its_ranks_are_not_drawn_alive() -> None:
    top, rank = _silent_cells(job_node(0).link, 9.0)
    assert top["DOING"] == "? running"
    assert "no sample for 9s" in top[""]
    assert rank["DOING"] == "? training"
    assert not rank["RATE"]
    assert "step 9" not in rank[""]
    away, _ = _silent_cells(AWAY, 0.5)
    assert away["DOING"] == "? running"
    assert "41s" in away[""]


def test_a_node_with_fresh_figures_is_drawn_alive() -> None:
    top, rank = _silent_cells(job_node(0).link, 0.5)
    assert top["DOING"] == "● running"
    assert rank["DOING"] == "● training"
    assert rank["RATE"]
    assert "step 9" in rank[""]


async def test_nodes_that_fell_silent_are_counted_above_the_rows(opened: Opener) -> None:
    fleet = Fleet(revision=1, nodes=(node("gpu01"), node("gpu02", age=9.0)), jobs=(job(),))
    async with opened(fleet) as screen:
        await screen.press("3")
        assert "? 1 of 2 nodes silent" in screen.text
