"""What the Job view says of ranks that beat, stall and hang, and the dialog with their stacks."""

from __future__ import annotations

import msgspec
from tui_screen import Opener
from tui_world import WALL, node
from tui_world import beating_job as beating
from tui_world import stalled_job as stalled

from cockpit.errors import NodeError
from cockpit.model.history import evenly
from cockpit.model.stacks import Missing, read, report
from cockpit.model.types import Fleet
from cockpit.tui.widgets.bars import spark

replace = msgspec.structs.replace


def frames(*names: str) -> list[dict[str, object]]:
    return [{"file": "/home/ada/code/data.py", "line": 41, "function": name} for name in names]


def answer(first: int, *stacks: list[dict[str, object]]) -> dict[str, object]:
    return {
        "taken_at": WALL,
        "generation": 0,
        "ranks": [
            {
                "rank": first + number,
                "local_rank": number,
                "pid": 10 + number,
                "how": "signal",
                "error": "",
                "threads": [{"name": "", "main": True, "frames": stack}],
            }
            for number, stack in enumerate(stacks)
        ],
    }


def found() -> object:
    waiting = frames("all_reduce", "main")
    return report(
        [
            read("gpu01", 0, answer(0, waiting, waiting)),
            read("gpu02", 1, answer(2, waiting, frames("read_shard [x]", "main"))),
        ],
        [Missing(node="gpu03", error="no contact")],
        taken_at=WALL,
    )


async def test_every_rank_shows_its_stage_step_rate_and_the_age_of_its_beat(
    opened: Opener,
) -> None:
    async with opened(Fleet(revision=1, jobs=(beating(),)), size=(120, 36)) as screen:
        await screen.press("3")
        row = next(line for line in screen.text.splitlines() if " r1 " in line)
        assert "● training" in row
        assert "1201" in row
        assert "4it/s" in row
        assert "▲ straggler" in next(line for line in screen.text.splitlines() if " r2 " in line)
        mute = next(line for line in screen.text.splitlines() if " r3 " in line)
        assert "● running" in mute
        assert "not instrumented: torch 1.9" in mute
        assert "step 1200–1202 (spread 2)" in screen.text
        history = [value for _, value in evenly(beating().metrics[0].history, 12)]
        assert f"loss {spark(history, 12)} 1.1" in screen.text
        assert len(history) == 12


async def test_a_stall_is_the_first_thing_that_is_said(opened: Opener) -> None:
    async with opened(Fleet(revision=1, jobs=(stalled(),)), size=(120, 36)) as screen:
        await screen.press("3")
        assert "◇ stalled" in screen.text.splitlines()[3]
        assert "gpu02: rank 3 silent for 31 s at step 1203" in screen.text
        assert "`on_stall` is warn; b shows where the ranks are" in screen.text
        assert "◇ silent" in screen.text
        assert "it/s" not in screen.text, "a rank that is silent has no rate"


async def test_a_stall_of_several_nodes_names_them_all(opened: Opener) -> None:
    base = stalled()
    (first,) = base.stalls
    other = replace(first, node="gpu01", node_rank=0, ranks=(0, 1), at=first.at + 1)
    both = replace(base, stalls=(other, first))
    async with opened(Fleet(revision=1, jobs=(both,)), size=(120, 36)) as screen:
        await screen.press("3")
        assert "3 ranks on gpu01, gpu02 silent: rank 3 silent for 31 s" in screen.text


async def test_stacks_are_grouped_the_odd_one_first_and_taken_again_on_request(
    opened: Opener,
) -> None:
    async with opened(Fleet(revision=1, jobs=(stalled(),)), size=(120, 36)) as screen:
        screen.source.report = found()
        await screen.press("3", "b")
        await screen.app.workers.wait_for_complete()
        await screen.pulse()
        text = screen.text
        assert "rank 3 (gpu02)" in text
        assert text.index("read_shard [x]") < text.index("all_reduce")
        assert "gpu03: no contact" in text
        await screen.press("b")
        await screen.app.workers.wait_for_complete()
        await screen.pulse()
        assert screen.source.asked.count(("stacks", stalled().id)) == 2


async def test_stacks_that_cannot_be_had_say_why(opened: Opener) -> None:
    async with opened(Fleet(revision=1, jobs=(beating(),)), size=(120, 36)) as screen:
        screen.source.orders.failure = NodeError(
            "gone", "no node answers [red]", "look at the links"
        )
        await screen.press("3", "b")
        await screen.app.workers.wait_for_complete()
        await screen.pulse()
        assert "no node answers [red]" in screen.text
        assert "look at the links" in screen.text


def test_a_history_is_drawn_between_its_own_extremes() -> None:
    assert spark([1, 2, 3], 8) == "▁▄▇"
    assert spark([5, 5], 8) == "▁▁"
    assert spark([1, float("nan"), 3], 8) == "▁·▇"
    assert spark([1, 2, 3], 2) == "▁▇"
    assert spark([], 8) == ""


async def test_a_sick_node_is_marked_and_says_why_under_the_cursor(opened: Opener) -> None:
    sick = replace(node("gpu01"), health="crit", health_reasons=("GPU 3 is lost", "Xid 79 [x]"))
    worn = replace(node("gpu02"), health="warn", health_reasons=("GPU 0 slows down: heat",))
    async with opened(Fleet(revision=1, nodes=(sick, worn, node("gpu03")))) as screen:
        rows = screen.text.splitlines()
        assert "gpu01 ! " in next(row for row in rows if "gpu01" in row)
        assert "▲" in next(row for row in rows if "gpu02" in row)
        assert "✖ GPU 3 is lost; Xid 79 [x]" in screen.text
        await screen.press("j")
        assert "▲ GPU 0 slows down: heat" in screen.text
        await screen.press("j")
        assert "no job runs here" in screen.text
