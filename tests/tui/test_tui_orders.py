"""Cancel and restart: what is said before, what is asked, what is shown until the proof."""

from __future__ import annotations

import msgspec
from textual.widgets import Button, Input
from tui_screen import Opener, Screen
from tui_world import (
    AWAY,
    NodeResult,
    Result,
    failed_job,
    healthy,
    job,
    job_node,
    large,
)

from cockpit.errors import StartError
from cockpit.model.types import Fleet, JobState, Leftover, NodeState
from cockpit.tui import orders
from cockpit.tui.dialogs import ConfirmDialog, ProgressDialog
from cockpit.tui.session import parting_words

LLAMA = "llama-1a2b"


def _one_node() -> Fleet:
    return Fleet(revision=1, jobs=(job(nodes=(job_node(0),)),))


def test_a_cancel_says_how_many_ranks_end_on_which_nodes() -> None:
    order = orders.cancel(job(nodes=(job_node(0), job_node(1, link=AWAY))))
    text = "\n".join(order.text)
    assert "4 ranks on 2 nodes will be ended" in text
    assert "gpu01: 2 ranks (0-1)" in text
    assert "gpu02: 2 ranks (2-3) — unreachable: runs on until it is reached" in text
    assert "One SIGTERM" in text
    assert order.typed == "llama"


def test_many_nodes_are_counted_and_not_all_named() -> None:
    nodes = tuple(
        job_node(n, count=8, link=AWAY if n == 9 else job_node(0).link) for n in range(16)
    )
    text = "\n".join(orders.cancel(job(nodes=nodes)).text)
    assert "128 ranks on 16 nodes" in text
    assert "and 12 more nodes, 1 of them not online" in text


def test_a_restart_of_an_ended_job_ends_nothing() -> None:
    text = "\n".join(orders.restart(failed_job()).text)
    assert "will be ended" not in text
    assert "Attempt 1 then starts on 2 nodes" in text


def test_nodes_that_are_done_are_not_part_of_a_cancel() -> None:
    done = job_node(1, state=NodeState.SUCCEEDED, members=())
    text = "\n".join(orders.cancel(job(nodes=(job_node(0), done))).text)
    assert "2 ranks on 1 node " in text
    assert "gpu02" not in text


async def test_enter_in_the_dialog_does_nothing_because_the_focus_is_on_the_safe_button(
    opened: Opener,
) -> None:
    async with opened(_one_node()) as screen:
        await screen.press("2", "ctrl+d")
        focused = screen.app.focused
        assert isinstance(focused, Button)
        assert focused.id == "no"
        await screen.press("enter")
        assert screen.source.orders == []
        assert screen.app.screen is screen.app.screen_stack[0]
        await screen.press("ctrl+d", "escape")
        assert screen.source.orders == []


async def test_a_job_on_one_node_is_cancelled_with_a_button(opened: Opener) -> None:
    async with opened(_one_node()) as screen:
        await screen.press("2", "ctrl+d")
        assert not screen.app.screen.query(Input)
        await screen.press("right", "enter")
        assert screen.source.orders == [("cancel", LLAMA)]
        assert isinstance(screen.app.screen, ProgressDialog)


async def test_a_job_on_more_nodes_needs_its_name_typed(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        await screen.press("2", "ctrl+d")
        button = screen.app.screen.query_one("#yes", Button)
        assert button.disabled
        screen.app.screen.query_one(Input).focus()
        await screen.press(*"llam", "enter")
        assert isinstance(screen.app.screen, ConfirmDialog)
        assert button.disabled
        await screen.press("a")
        assert not button.disabled
        await screen.press("enter")
        assert screen.source.orders == [("cancel", LLAMA)]


async def test_letters_typed_at_once_go_to_the_name(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        await screen.press("2", "ctrl+d", *"llama")
        assert screen.app.screen.query_one(Input).value == "llama"
        await screen.press("enter")
        assert screen.source.orders == [("cancel", LLAMA)]


async def _cancel(screen: Screen) -> None:
    await screen.press("2", "ctrl+d")
    screen.app.screen.query_one(Input).focus()
    await screen.press(*"llama", "enter")


async def test_progress_is_shown_per_node_until_the_proof(opened: Opener) -> None:
    async with opened(healthy(), size=(80, 24)) as screen:
        await _cancel(screen)
        assert "waiting for the nodes" in screen.text
        done = job_node(0, state=NodeState.CANCELLED, members=())
        going = job_node(1, state=NodeState.CANCELLING)
        screen.source.change(job(nodes=(done, going)))
        await screen.pulse()
        assert "■ cancelled" in screen.text
        assert "◍ cancelling" in screen.text
        screen.source.result = Result(
            job=LLAMA,
            nodes=(
                NodeResult(name="gpu01", swept=(Leftover(pid=77, command="sleep"),)),
                NodeResult(name="gpu02", left=(Leftover(pid=4711, command="python [x] /y"),)),
            ),
            proof="nothing of it is left on 1 of 2 nodes; gpu02 still has 4711",
        )
        screen.source.release.set()
        await screen.pulse()
        await screen.pulse()
        assert "✔ nothing left, 1 swept" in screen.text
        assert "left: 4711 python [x] /y" in screen.text
        assert "gpu02 still has 4711" in screen.text
        await screen.press("enter")
        assert screen.app.screen is screen.app.screen_stack[0]


async def test_a_node_that_could_not_be_asked_is_not_called_clean(opened: Opener) -> None:
    async with opened(healthy(), size=(80, 24)) as screen:
        screen.source.result = Result(
            job=LLAMA,
            nodes=(NodeResult(name="gpu01"), NodeResult(name="gpu02", unreachable="no route")),
            proof="p",
        )
        screen.source.release.set()
        await _cancel(screen)
        await screen.pulse()
        assert "not proven: no route" in screen.text


async def test_closing_the_progress_stops_nothing_and_the_end_is_told(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        await _cancel(screen)
        await screen.press("escape")
        assert screen.app.screen is screen.app.screen_stack[0]
        await screen.press("ctrl+d")
        assert "cancelling it already" in screen.said[-1]
        screen.source.result = Result(job=LLAMA, nodes=(), proof="nothing is left anywhere")
        screen.source.release.set()
        await screen.pulse()
        await screen.pulse()
        assert screen.said[-1] == "llama: nothing is left anywhere"


async def test_a_restart_that_fails_says_what_and_what_to_do(opened: Opener) -> None:
    async with opened(_one_node()) as screen:
        screen.source.failure = StartError("llama was not started: [gpu01] busy", {}, "wait a bit")
        screen.source.release.set()
        await screen.press("2", "R", "right", "enter")
        await screen.pulse()
        assert screen.source.orders == [("restart", LLAMA)]
        assert "llama was not started: [gpu01] busy" in screen.text
        assert "wait a bit" in screen.text


async def test_a_restart_tells_that_the_next_attempt_started(opened: Opener) -> None:
    async with opened(_one_node()) as screen:
        screen.source.release.set()
        await screen.press("2", "R", "right", "enter")
        await screen.pulse()
        assert "attempt 1 of llama has started" in screen.text


async def test_a_defect_in_an_order_is_shown_and_the_screen_lives_on(opened: Opener) -> None:
    async with opened(_one_node()) as screen:
        screen.source.failure = RuntimeError("[/oops]")
        screen.source.release.set()
        await screen.press("2", "R", "right", "enter")
        await screen.pulse()
        assert "RuntimeError: [/oops]" in screen.text
        await screen.press("escape", "1")
        assert screen.app.view.value == "fleet"


async def test_a_job_of_128_nodes_can_be_confirmed_on_a_small_terminal(opened: Opener) -> None:
    nodes = tuple(job_node(n, count=8) for n in range(128))
    fleet = msgspec.structs.replace(large(), jobs=(job(nodes=nodes),))
    async with opened(fleet, size=(60, 15)) as screen:
        await screen.press("2", "ctrl+d")
        assert "1024 ranks on 128 nodes" in screen.text
        assert "Cancel job" in screen.text
        assert "Do nothing" in screen.text


def test_leaving_says_that_jobs_run_on() -> None:
    assert parting_words([]) == "cockpit closed; no job was running"
    words = parting_words([job(), job("x-1", "other", state=JobState.STARTING)])
    assert "2 jobs run on: llama, other" in words
    assert "cockpit attach llama-1a2b" in words
