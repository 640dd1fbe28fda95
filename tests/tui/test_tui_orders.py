"""Cancel and restart: what is said before, what is asked, what is shown until the proof."""

from __future__ import annotations

import msgspec
import pytest
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
from cockpit.model.reports import CancelReport, NodeProof, RestartOptions
from cockpit.model.types import Fleet, Job, JobState, Leftover, NodeState
from cockpit.profiles import Config
from cockpit.profiles import builtin as profiles_builtin
from cockpit.profiles.types import Cluster, NodeSpec
from cockpit.tui.dialogs import ConfirmDialog
from cockpit.tui.draw.spans import plain, width_of
from cockpit.tui.orders import wording as orders
from cockpit.tui.orders.ending import Ending, seats
from cockpit.tui.orders.progress import ProgressDialog
from cockpit.tui.orders.restarting import Offers
from cockpit.tui.session import parting_words
from cockpit.tui.widgets.choices import Choices

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
    assert "left after the grace period is killed" in text
    told = "\n".join(orders.cancel(job(), 30.0).text)
    assert "left after 30 s of grace is killed" in told
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
        assert screen.source.orders.given == []
        assert screen.app.screen is screen.app.screen_stack[0]
        await screen.press("ctrl+d", "escape")
        assert screen.source.orders.given == []


async def test_a_job_on_one_node_is_cancelled_with_a_button(opened: Opener) -> None:
    async with opened(_one_node()) as screen:
        await screen.press("2", "ctrl+d")
        assert not screen.app.screen.query(Input)
        await screen.press("right", "enter")
        assert screen.source.orders.given == [("cancel", LLAMA)]
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
        assert screen.source.orders.given == [("cancel", LLAMA)]


async def test_letters_typed_at_once_go_to_the_name(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        await screen.press("2", "ctrl+d", *"llama")
        assert screen.app.screen.query_one(Input).value == "llama"
        await screen.press("enter")
        assert screen.source.orders.given == [("cancel", LLAMA)]


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
        screen.source.orders.result = Result(
            job=LLAMA,
            nodes=(
                NodeResult(name="gpu01", swept=(Leftover(pid=77, command="sleep"),)),
                NodeResult(name="gpu02", left=(Leftover(pid=4711, command="python [x] /y"),)),
            ),
            proof="nothing of it is left on 1 of 2 nodes; gpu02 still has 4711",
        )
        screen.source.orders.release.set()
        await screen.pulse()
        await screen.pulse()
        assert "✔ nothing left, 1 swept" in screen.text
        assert "left: 4711 python [x] /y" in screen.text
        assert "gpu02 still has 4711" in screen.text
        await screen.press("enter")
        assert screen.app.screen is screen.app.screen_stack[0]


async def test_a_node_that_could_not_be_asked_is_not_called_clean(opened: Opener) -> None:
    async with opened(healthy(), size=(80, 24)) as screen:
        screen.source.orders.result = Result(
            job=LLAMA,
            nodes=(NodeResult(name="gpu01"), NodeResult(name="gpu02", unreachable="no route")),
            proof="p",
        )
        screen.source.orders.release.set()
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
        screen.source.orders.result = Result(job=LLAMA, nodes=(), proof="nothing is left anywhere")
        screen.source.orders.release.set()
        await screen.pulse()
        await screen.pulse()
        assert screen.said[-1] == "llama: nothing is left anywhere"


async def test_a_restart_that_fails_says_what_and_what_to_do(opened: Opener) -> None:
    async with opened(_one_node()) as screen:
        screen.source.orders.failure = StartError(
            "llama was not started: [gpu01] busy", {}, "wait a bit"
        )
        screen.source.orders.release.set()
        await screen.press("2", "R", "right", "enter")
        await screen.pulse()
        assert screen.source.orders.given == [("restart", LLAMA)]
        assert "llama was not started: [gpu01] busy" in screen.text
        assert "wait a bit" in screen.text


async def test_a_restart_tells_that_the_next_attempt_started(opened: Opener) -> None:
    async with opened(_one_node()) as screen:
        screen.source.orders.release.set()
        await screen.press("2", "R", "right", "enter")
        await screen.pulse()
        assert "attempt 1 of llama has started" in screen.text


async def test_a_defect_in_an_order_is_shown_and_the_screen_lives_on(opened: Opener) -> None:
    async with opened(_one_node()) as screen:
        screen.source.orders.failure = RuntimeError("[/oops]")
        screen.source.orders.release.set()
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
        assert "nothing is left" not in screen.text
        for _ in range(4):
            await screen.press("pagedown")
        assert "until nothing is left" in screen.text
        await screen.press("pageup", "pageup", "pageup", "pageup")
        assert "1024 ranks on 128 nodes" in screen.text


def test_leaving_says_that_jobs_run_on() -> None:
    assert parting_words([]) == "cockpit closed; no job was running"
    words = parting_words([job(), job("x-1", "other", state=JobState.STARTING)])
    assert "2 jobs run on: llama, other" in words
    assert "cockpit attach llama-1a2b" in words


# ------------------------------------------------------------------ ways to restart


def _spare_config() -> Config:
    config = profiles_builtin()
    spares = (NodeSpec(name="gpu08", host="gpu08"), NodeSpec(name="gpu09", host="gpu09"))
    lab = Cluster(name="lab", nodes=(NodeSpec(name="gpu01", host="gpu01"),), spares=spares)
    return msgspec.structs.replace(config, clusters={"lab": lab})


def _reasons(offers: Offers) -> dict[str, str]:
    return {choice.id: choice.reason for choice in offers.choices}


def test_what_cannot_be_offered_says_why() -> None:
    reasons = _reasons(Offers(job(), (), ()))
    assert reasons == {
        "same": "",
        "without": "no node is marked",
        "spares": "cluster lab has none",
        "checkpoint": "no rank said how",
    }
    assert _reasons(Offers(failed_job(), (), ()))["checkpoint"] == "nothing of it runs"
    few = Offers(job(), ("gpu02",), ())
    assert _reasons(few)["without"] == "1 would be left, it needs 2"


def test_marked_nodes_can_be_left_out_or_replaced_by_spares() -> None:
    elastic = msgspec.structs.replace(job(), min_nodes=1, can_checkpoint=True)
    offers = Offers(elastic, ("gpu02", "of-another-job"), ("gpu08", "gpu09"))
    assert not any(_reasons(offers).values())
    without = offers.options("without", ())
    assert without == RestartOptions(without=("gpu02",))
    assert offers.nodes(without) == ("gpu01",)
    replaced = offers.options("spares", ("checkpoint",))
    assert replaced == RestartOptions(without=("gpu02",), spares=True, checkpoint=True)
    assert offers.nodes(replaced) == ("gpu01", "gpu08")
    assert offers.options("same", ()) == RestartOptions()


def test_without_marks_the_nodes_out_of_reach_can_be_left_behind() -> None:
    away = job(nodes=(job_node(0), job_node(1, link=AWAY)))
    offers = Offers(away, (), ("gpu08",))
    assert offers.leaving == ("gpu02",)
    assert offers.nodes(offers.options("spares", ())) == ("gpu01", "gpu08")


def test_a_restart_elsewhere_says_who_comes_and_who_goes() -> None:
    text = "\n".join(orders.restart(job(), ("gpu01", "gpu08"), checkpoint=True).text)
    assert "Every rank is asked for a checkpoint" in text
    assert "Attempt 0 is cancelled then: 4 ranks on 2 nodes" in text
    assert "without gpu02" in text
    assert "new: gpu08" in text


async def test_the_way_to_restart_is_chosen_in_the_dialog_and_its_text_follows(
    opened: Opener,
) -> None:
    async with opened(healthy(), size=(80, 24)) as screen:
        screen.source.config = _spare_config()
        can = msgspec.structs.replace(job(), can_checkpoint=True)
        screen.source.change(can)
        await screen.press("3", "g", "j", "j", "j", "space", "R")
        assert "( ) without some nodes — 1 would be left, it needs 2" in screen.text
        assert "(•) on the same 2 nodes" in screen.text
        choices = screen.app.screen.query_one(Choices)
        choices.focus()
        await screen.press("down", "space")
        assert "(•) on the same 2 nodes" in screen.text, "what cannot be is not chosen"
        await screen.press("down", "space", "down", "space")
        assert "(•) spares for gpu02" in screen.text
        assert "[x] ask for a checkpoint first" in screen.text
        assert "new: gpu08" in screen.text
        assert "Every rank is asked for a checkpoint" in screen.text
        screen.source.orders.release.set()
        await screen.press("down")
        assert screen.app.focused is not choices
        screen.app.screen.query_one(Input).focus()
        await screen.press(*"llama", "enter")
        await screen.pulse()
        assert screen.source.orders.options == [
            RestartOptions(without=("gpu02",), spares=True, checkpoint=True)
        ]


async def test_the_restart_dialog_fits_a_small_terminal(opened: Opener) -> None:
    async with opened(healthy(), size=(60, 15)) as screen:
        await screen.press("2", "R")
        for part in ("(•) on the same", "cluster lab has none", "Do nothing", "Restart job"):
            assert part in screen.text
        focused = screen.app.focused
        assert isinstance(focused, Button)
        assert focused.id == "no"


async def test_nothing_is_ordered_in_a_cluster_that_is_read_only(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        config = _spare_config()
        lab = msgspec.structs.replace(config.clusters["lab"], read_only=True)
        screen.source.config = msgspec.structs.replace(config, clusters={"lab": lab})
        await screen.press("2")
        screen.app.orders.cancel(job())
        await screen.pulse()
        assert "llama: cluster lab is read-only" in screen.said[-1]
        assert screen.app.screen is screen.app.screen_stack[0]


# ----------------------------------------------------------------- the end, step by step


def _line(ending: Ending) -> str:
    return "".join(plain(row.spans) for row in ending.lines(200))


def test_the_end_goes_from_sigterm_over_grace_and_sigkill_to_the_proof() -> None:
    ending = Ending(100.0, 30.0)
    running, told = job_node(0), job_node(0, state=NodeState.CANCELLING)
    other = job_node(1, state=NodeState.CANCELLING)
    ending.observe({**seats("j", (running, other))}, {}, 101.0)
    assert "◍ SIGTERM 1/2" in _line(ending)
    assert "· grace" in _line(ending)
    ending.observe({**seats("j", (told, other))}, {}, 102.0)
    ending.observe({**seats("j", (told, other))}, {}, 110.0)
    assert "✔ SIGTERM 2/2 2s" in _line(ending)
    assert "◍ grace 8s of 30s" in _line(ending)
    swept = (Leftover(pid=7, command="sleep"),)
    gone = tuple(
        msgspec.structs.replace(each, state=NodeState.CANCELLED, swept=swept)
        for each in (told, other)
    )
    ending.observe({**seats("j", gone)}, {}, 133.0)
    assert "✔ grace 31s of 30s" in _line(ending)
    assert "✔ SIGKILL to 2" in _line(ending)
    assert "◍ verified gone 0/2" in _line(ending)
    proofs = {("j", each.name): NodeProof(name=each.name) for each in gone}
    ending.observe({**seats("j", gone)}, proofs, 134.0)
    assert "✔ verified gone 2/2 34s" in _line(ending)


def test_a_node_that_could_not_be_asked_leaves_the_proof_open() -> None:
    ending = Ending(100.0, None)
    done = (job_node(0, state=NodeState.CANCELLED), job_node(1, link=AWAY))
    proofs = {
        ("j", "gpu01"): NodeProof(name="gpu01"),
        ("j", "gpu02"): NodeProof(name="gpu02", unreachable="no route"),
    }
    ending.observe({**seats("j", done)}, proofs, 110.0)
    assert "✖ verified gone 1/2" in _line(ending)
    # Nothing ever reached that node, so nothing is said to be done.
    assert "◍ SIGTERM 1/2" in _line(ending)
    assert "not needed" not in _line(ending)
    assert "✔" not in _line(ending)


def test_no_step_is_done_while_a_node_is_out_of_reach() -> None:
    ending = Ending(100.0, 30.0)
    lost = job_node(1, state=NodeState.CANCELLING, link=AWAY)
    ending.observe({**seats("j", (job_node(0, state=NodeState.CANCELLED), lost))}, {}, 103.0)
    assert "◍ SIGTERM 2/2" in _line(ending)
    assert "· grace" in _line(ending)
    back = job_node(1, state=NodeState.CANCELLING)
    ending.observe({**seats("j", (job_node(0, state=NodeState.CANCELLED), back))}, {}, 104.0)
    assert "✔ SIGTERM 2/2 4s" in _line(ending)


def test_a_node_that_is_proven_free_counts_while_others_still_run() -> None:
    ending = Ending(100.0, 30.0)
    nodes = (job_node(0, state=NodeState.CANCELLED), job_node(1, state=NodeState.CANCELLING))
    ending.observe({**seats("j", nodes)}, {("j", "gpu01"): NodeProof(name="gpu01")}, 110.0)
    assert "◍ verified gone 1/2" in _line(ending)
    assert "◍ grace" in _line(ending)


def test_a_node_whose_supervisor_does_not_answer_was_sent_no_signal() -> None:
    ending = Ending(100.0, 3.0)
    proof = NodeProof(name="gpu01", left=(Leftover(pid=7, command="sleep"),), mute=5)
    ending.observe({**seats("j", (job_node(0),))}, {("j", "gpu01"): proof}, 130.0)
    assert "◍ SIGTERM 0/1" in _line(ending)
    assert "· grace" in _line(ending)
    assert "✖ verified gone 0/1" in _line(ending)


@pytest.mark.parametrize("width", [54, 74, 98])
def test_the_proof_is_never_cut_off(width: int) -> None:
    ending = Ending(100.0, 30.0)
    swept = (Leftover(pid=7, command="sleep"),)
    nodes = tuple(
        msgspec.structs.replace(job_node(n, state=NodeState.CANCELLED), swept=swept)
        for n in range(128)
    )
    proofs = {("j", each.name): NodeProof(name=each.name) for each in nodes}
    ending.observe({**seats("j", nodes)}, proofs, 34_000.0)
    rows = ending.lines(width)
    assert all(width_of(row.spans) <= width for row in rows)
    assert "verified gone 128/128" in plain(rows[-1].spans)


async def test_the_proof_is_in_sight_as_soon_as_one_node_was_searched(opened: Opener) -> None:
    async with opened(healthy(), size=(60, 20)) as screen:
        await _cancel(screen)
        done = job_node(0, state=NodeState.CANCELLED, members=())
        screen.source.change(job(nodes=(done, job_node(1, link=AWAY))))
        screen.source.orders.found(NodeProof(name="gpu01"))
        await screen.pulse()
        await screen.pulse()
        assert "verified gone 1/2" in screen.text
        assert "✔ nothing left" in screen.text
        row = next(line for line in screen.text.splitlines() if "gpu02 " in line)
        assert "? running" in row
        assert "● running" not in row


async def test_the_steps_and_what_is_said_are_shown_while_it_goes_on(opened: Opener) -> None:
    async with opened(healthy(), size=(80, 24)) as screen:
        await _cancel(screen)
        assert "◍ SIGTERM 0/2" in screen.text
        dialog = screen.app.screen
        assert isinstance(dialog, ProgressDialog)
        for number in range(5):
            dialog.hear(f"gpu0{number}: said [x]\x1b]0;own\x07")
        await screen.pulse()
        assert "gpu04: said [x]" in screen.text
        assert "gpu01: said" not in screen.text, "the newest three stay"


async def test_each_of_several_jobs_has_its_own_end(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        refused: list[str] = []

        async def cancel(job_id: str, say: object, found: object) -> CancelReport:
            refused.append(job_id)
            if job_id == LLAMA:
                raise StartError("gpu01 said no", {}, "ask again")
            return CancelReport(job=job_id, nodes=(NodeProof(name="gpu01"),))

        screen.source.orders.cancel = cancel  # type: ignore[method-assign,assignment]
        await screen.press("2", "space", "space", "ctrl+d", *"2 jobs", "enter")
        await screen.pulse()
        await screen.pulse()
        assert "llama: gpu01 said no" in screen.text
        assert "ablate: nothing of it is left on 1 of 1 nodes" in screen.text
        await screen.press("enter")
        assert screen.app.screen is screen.app.screen_stack[0]
        assert screen.app.orders.busy_with(job()) == ""


# ------------------------------------------------------------- commands and several jobs


def _command(name: str) -> Job:
    bare = job_node(0, members=())
    return msgspec.structs.replace(job(f"{name}-1", name, nodes=(bare,)), kind="command")


def test_a_command_has_no_ranks_and_a_node_of_two_jobs_is_one_node() -> None:
    first, second = _command("eval"), _command("sweep")
    assert "1 command on 1 node will be ended:" in orders.cancel(first).text
    assert "  gpu01: 1 command" in orders.cancel(first).text
    assert "2 commands on 1 node will be ended:" in orders.cancel_many([first, second]).text
    mixed = orders.cancel_many([first, job()]).text
    assert "4 ranks and 1 command on 2 nodes will be ended:" in mixed
    assert any("1 command on 1 node" in row for row in orders.restart(first).text)


def test_marked_jobs_that_have_ended_are_named_as_left_out() -> None:
    text = "\n".join(orders.cancel(job(), None, [failed_job()]).text)
    assert "Left out, as it has ended already: dpo" in text
    many = "\n".join(orders.cancel_many([job(), _command("eval")], None, [failed_job()]).text)
    assert "Left out, as it has ended already: dpo" in many


async def test_cancel_says_which_marked_job_it_leaves_out(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        await screen.press("2", "g", "space", "G", "space", "ctrl+d")
        assert "Cancel llama?" in screen.text
        assert "Left out, as it has ended already: dpo" in screen.text


async def test_all_marked_jobs_are_restarted_after_one_question(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        await screen.press("2", "g", "space", "G", "space", "R")
        assert "Restart 2 jobs?" in screen.text
        assert "llama (llama-1a2b): 4 ranks on 2 nodes" in screen.text
        assert "Nothing has to be ended of dpo" in screen.text
        screen.source.orders.release.set()
        await screen.press(*"2 jobs", "enter")
        await screen.pulse()
        assert screen.source.orders.given == [("restart", LLAMA), ("restart", "dpo-77aa")]
        assert screen.source.orders.options == [RestartOptions(), RestartOptions()]


async def test_the_one_marked_job_is_restarted_and_not_the_one_at_the_cursor(
    opened: Opener,
) -> None:
    async with opened(healthy()) as screen:
        await screen.press("2", "g", "space", "R")
        assert "Restart llama?" in screen.text


async def test_names_for_the_command_line_are_clean(opened: Opener) -> None:
    hostile = job("evil-1", "ev\x1b]0;own\x07il")
    async with opened(Fleet(revision=1, jobs=(hostile,))) as screen:
        assert not any("\x1b" in name or "\x07" in name for name in screen.app.orders.names())
