"""What the four views show of the world, as text."""

from __future__ import annotations

import msgspec
import pytest
from tui_screen import Opener
from tui_world import (
    AWAY,
    BOOM,
    chatter,
    failed_job,
    healthy,
    job,
    job_node,
    large,
    node,
    ranks,
    recovered_job,
    troubled,
)

from cockpit.errors import NodeError
from cockpit.model.types import Fleet, Gpu, JobState, Leftover, NodeState


def _row(text: str, name: str) -> str:
    return next(line for line in text.splitlines() if name in line)


async def test_old_figures_are_shown_with_their_age_and_never_as_zero(opened: Opener) -> None:
    async with opened(troubled()) as screen:
        row = _row(screen.text, "gpu03")
        assert "? 9s" in row
        assert "70%" in row
        assert " 0%" not in row
        screen.frozen.passed = 61
        await screen.pulse()
        assert "? 1m10s" in _row(screen.text, "gpu03")
        assert "? 1m01s" in _row(screen.text, "gpu01")


async def test_an_unreachable_node_says_why_and_keeps_its_jobs(opened: Opener) -> None:
    async with opened(troubled()) as screen:
        row = _row(screen.text, "gpu02")
        assert "✖ 41s" in row
        assert "unreachable: ssh ada@gpu02.lab: Connection refused [port 22]" in row
        assert "llama" in row
        detail = screen.text.splitlines()[-2]
        assert "Connection refused [port 22] (3 tries) — is the machine up?" in detail


async def test_made_up_figures_are_called_simulated(opened: Opener) -> None:
    for size in ((120, 36), (60, 15)):
        async with opened(troubled(), size=size) as screen:
            assert "simulated" in _row(screen.text, "gpu05")
            assert "simulated GPUs" in screen.text.splitlines()[1]
    async with opened(healthy()) as screen:
        assert "simulated" not in screen.text


async def test_only_live_nodes_count_in_the_summary(opened: Opener) -> None:
    async with opened(troubled()) as screen:
        summary = screen.text.splitlines()[1]
        assert "2/5 nodes live" in summary
        assert "10 GPUs" in summary


async def test_missing_figures_sick_gpus_and_missing_gpus_are_told_apart(opened: Opener) -> None:
    replace = msgspec.structs.replace
    lost = tuple(
        replace(gpu, state="lost") if gpu.index == 1 else gpu for gpu in node("x", count=2).gpus
    )
    fleet = Fleet(
        revision=1,
        nodes=(
            replace(node("none"), gpus=()),
            replace(node("error"), gpus=(), gpu_error="no driver [x]"),
            replace(node("lost"), gpus=lost),
            replace(node("blind"), gpus=(Gpu(index=0), Gpu(index=1)), host=None),
        ),
    )
    async with opened(fleet) as screen:
        assert "no GPUs" in _row(screen.text, "none")
        assert "no GPU figures: no driver [x]" in _row(screen.text, "error")
        assert "▪✖ lost" in _row(screen.text, "lost")
        blind = _row(screen.text, "blind")
        assert "··" in blind
        assert "--" in blind
        assert "0%" not in blind


async def test_128_nodes_fit_the_table_and_the_cursor_reaches_the_last(opened: Opener) -> None:
    async with opened(large()) as screen:
        await screen.press("v")
        assert "128/128 nodes live" in screen.text
        assert "1024 GPUs" in screen.text
        await screen.press("G")
        assert "n127" in screen.text
        await screen.press("g")
        assert "n000" in screen.text


async def test_jobs_show_all_columns_where_there_is_room(opened: Opener) -> None:
    async with opened(healthy(), size=(180, 36)) as screen:
        await screen.press("2")
        row = _row(screen.text, "ablate")
        for part in (
            "● running",
            " 2 ",
            " 4 ",
            "12m04s",
            " 1200 ",
            " 0/3+1 ",
            "lab",
            "ddp",
            "ada@laptop",
            "abl-9f9f",
        ):
            assert part in row
        assert "✖ failed" in _row(screen.text, "dpo")


async def test_the_cursor_stays_on_its_job_when_a_newer_one_comes(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        await screen.press("2", "j")
        assert "❯   ● running   ablate" in screen.text
        screen.source.change(job("new-1", "fresh", state=JobState.STAGING))
        await screen.pulse()
        assert "❯   ● running   ablate" in screen.text
        assert "◌ staging   fresh" in _row(screen.text, "fresh")


async def test_a_job_with_nodes_out_of_reach_says_so(opened: Opener) -> None:
    away = job(nodes=(job_node(0), job_node(1, link=AWAY)))
    fleet = Fleet(revision=1, jobs=(msgspec.structs.replace(away, flags=("unknown_nodes",)),))
    async with opened(fleet, size=(160, 36)) as screen:
        await screen.press("2")
        row = _row(screen.text, "llama")
        assert "1/2" in row
        assert "llama ?" in row
        assert "? a node is silent" in screen.text.splitlines()[-3]
        assert "● running" in row
        await screen.press("enter")
        assert "✖ unreachable: ssh ada@gpu02.lab" in _row(screen.text, "gpu02")


@pytest.mark.parametrize("size", [(120, 36), (80, 24), (60, 15)])
async def test_a_failed_job_says_first_what_died_where_and_that_it_did_not_recover(
    opened: Opener, size: tuple[int, int]
) -> None:
    async with opened(Fleet(revision=1, jobs=(failed_job(),)), size=size) as screen:
        await screen.press("3")
        top = screen.text.splitlines()[:5]
        assert any("✖ first 08:52:19 rank 3 on gpu02: exit 7: RuntimeError" in row for row in top)
        assert any("not recovered: the job failed with exit code 7" in row for row in top)
        culprit = next(row for row in screen.text.splitlines() if row.startswith("❯     r3"))
        assert "✖ failed" in culprit
    assert BOOM.message.endswith("[/data/x]")


async def test_the_cause_is_shown_whole_where_there_is_room(opened: Opener) -> None:
    async with opened(Fleet(revision=1, jobs=(failed_job(),)), size=(120, 36)) as screen:
        await screen.press("3")
        assert BOOM.message in screen.text
        assert "◀ first RuntimeError: boom in [rank3] [/data/x]" in screen.text


async def test_a_job_that_recovered_says_since_when(opened: Opener) -> None:
    async with opened(Fleet(revision=1, jobs=(recovered_job(),))) as screen:
        await screen.press("3")
        assert "✖ first 08:48:20 rank 1 on gpu01: SIGKILL" in screen.text
        assert (
            "✔ recovered: generation 1 of attempt 0 runs with 4 ranks since 08:48:30" in screen.text
        )
        rows = screen.text.splitlines()
        timeline = [row for row in rows if "gen " in row and "ATTEMPT" not in row]
        assert "● runs" in timeline[0]
        assert "✖ rank 1 on gpu01: SIGKILL" in timeline[1]


async def test_a_job_between_two_generations_is_recovering(opened: Opener) -> None:
    first = msgspec.structs.replace(recovered_job(), history=recovered_job().history[:1])
    async with opened(Fleet(revision=1, jobs=(first,))) as screen:
        await screen.press("3")
        assert "recovering: the next generation has not formed yet" in screen.text


async def test_ranks_are_grouped_by_node_with_state_pid_and_exit(opened: Opener) -> None:
    noted = msgspec.structs.replace(
        job_node(0),
        notes=("not instrumented: no hook", "no supervisor watches over it"),
        left=(Leftover(pid=99, command="sleep"),),
        supervised=False,
    )
    gone = job_node(1, state=NodeState.LOST, members=ranks(2, 1))
    async with opened(
        Fleet(revision=1, jobs=(job(nodes=(noted, gone)),)), size=(160, 40)
    ) as screen:
        await screen.press("3")
        row = _row(screen.text, "gpu01 ")
        for part in ("4100", "left: 99 sleep", "no supervisor", "not instrumented: no hook"):
            assert part in row
        assert "✝ lost" in _row(screen.text, "gpu02 ")
        rank = _row(screen.text, "r0 local 0")
        for part in ("● running", "4200", "1200", "loss 2.131"):
            assert part in rank


async def test_the_job_view_has_the_log_of_its_job(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        screen.source.write("dpo-77aa", *chatter(20))
        await screen.press("2", "G", "enter")
        assert "step=19" in screen.text
        await screen.press("tab", "k")
        assert "■ reading" in screen.text


async def test_no_log_is_an_explanation_and_not_a_crash(
    opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(healthy()) as screen:

        def refuse(job_id: str) -> None:
            raise NodeError("gone", f"the log of {job_id} is [gone]")

        monkeypatch.setattr(screen.source, "log", refuse)
        await screen.press("4")
        assert "no log: the log of llama-1a2b is [gone]" in screen.text


async def test_an_empty_world_says_what_to_do(opened: Opener) -> None:
    async with opened(Fleet(revision=1)) as screen:
        assert "no nodes: name a cluster in cockpit.toml" in screen.text
        await screen.press("2")
        assert "no jobs: `cockpit run train.py` starts one" in screen.text
        await screen.press("3")
        assert screen.app.view.value == "jobs"
        assert screen.said == ["Job: the selected job: there is no job yet"]


async def test_a_job_can_be_what_the_screen_begins_with(opened: Opener) -> None:
    async with opened(healthy(), focus_job="dpo-77aa") as screen:
        assert screen.text.splitlines()[1].startswith(" dpo · ✖ failed")


async def test_a_terminal_that_is_too_small_gets_a_clear_panel(opened: Opener) -> None:
    async with opened(healthy(), size=(59, 15)) as screen:
        assert "needs 60×15 cells" in screen.text
        assert "This terminal has 59×15" in screen.text
        assert "gpu01" not in screen.text
        await screen.resize(60, 15)
        assert "gpu01" in screen.text
        await screen.resize(200, 14)
        assert "This terminal has 200×14" in screen.text


async def test_nothing_is_drawn_again_while_nothing_changes(opened: Opener) -> None:
    async with opened(large()) as screen:
        grid = screen.app.query_one("#fleet-wall")
        calls = []
        grid.lines = lambda *size: calls.append(size) or []  # type: ignore[attr-defined]
        for _ in range(20):
            screen.app.pulse()
        assert calls == []
        screen.source.change()
        screen.app.pulse()
        assert len(calls) == 1


async def test_a_click_selects_and_a_double_click_opens(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        await screen.press("2")
        await screen.click("#jobs-grid", offset=(15, 3))
        assert "❯   ✖ failed    dpo" in screen.text
        await screen.click("#jobs-grid", offset=(15, 2), times=2)
        assert screen.text.splitlines()[1].startswith(" ablate")


async def test_a_frozen_display_holds_what_it_shows_until_it_goes_on(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        await screen.press("2", "p")
        screen.source.change(msgspec.structs.replace(job(), name="renamed"))
        screen.frozen.passed += 5
        await screen.pulse()
        assert "FROZEN" in screen.text
        assert "renamed" not in screen.text
        await screen.press("p")
        assert "FROZEN" not in screen.text
        assert "renamed" in screen.text
