"""A cancel that some nodes could not be told: what is promised, and that it is kept."""

from __future__ import annotations

import msgspec
from tui_screen import Opener, Screen
from tui_world import AWAY, healthy, job, job_node

from cockpit.model.reports import CancelReport, NodeProof
from cockpit.model.types import Fleet, Leftover
from cockpit.tui.orders import wording as orders

REFUSED = "Connection refused"


def _report(*proofs: NodeProof) -> CancelReport:
    return CancelReport(job="llama-1a2b", nodes=proofs)


async def _cancel(screen: Screen, *proofs: NodeProof) -> None:
    """Cancel llama; this is what is found."""

    async def cancel(job_id: str, say: object, found: object) -> CancelReport:
        return _report(*proofs)

    screen.source.orders.cancel = cancel  # type: ignore[method-assign]
    await screen.press("2", "ctrl+d", *"llama", "enter")
    await screen.shows("Close")


def test_a_cancel_promises_no_more_for_a_node_out_of_reach_than_is_done() -> None:
    away = job(nodes=(job_node(0), job_node(1, link=AWAY)))
    said = "\n".join(orders.cancel(away).text)
    assert "A node out of reach is told as soon as it is back, while this screen is open." in said
    assert "is told as soon as it is back" in "\n".join(orders.cancel_many([away, job()]).text)
    assert "is told as soon" not in "\n".join(orders.cancel(job()).text)


def test_what_nobody_could_look_at_does_not_read_like_a_proof() -> None:
    lost = NodeProof(name="gpu02", unreachable=REFUSED)
    none = _report(lost)
    assert not none.proven
    assert none.proof == (
        "nowhere is it proven that nothing of it is left; "
        "gpu02 could not be asked (Connection refused)"
    )
    there = _report(NodeProof(name="gpu01", left=(Leftover(pid=7, command="x"),)), lost)
    assert there.proof.startswith("nowhere is it proven that nothing of it is left; gpu01 still")
    assert _report(NodeProof(name="gpu01"), lost).proof.startswith(
        "nothing of it is left on 1 of 2 nodes; gpu02"
    )


async def test_a_node_that_comes_back_gets_the_cancel_and_its_proof_is_an_event(
    opened: Opener,
) -> None:
    async with opened(healthy()) as screen:
        lost = NodeProof(name="gpu02", unreachable=REFUSED)
        await _cancel(screen, NodeProof(name="gpu01"), lost)
        assert screen.source.orders.awaited == [("llama-1a2b", ("gpu02",))]
        assert "gpu02 has not got the order and may run on." in screen.text
        assert "not proven: Connection refused" in screen.text
        await screen.press("enter")
        assert screen.app.orders.busy_with(job()) == "", "something else may be ordered meanwhile"
        screen.source.orders.back.put_nowait(NodeProof(name="gpu02"))
        screen.source.orders.back.put_nowait(None)
        await screen.command("events")
        await screen.shows("llama: gpu02 is back and was told to end it")
        assert "llama: nothing is left on gpu02" in screen.text
        assert any("nothing is left on gpu02" in said for said in screen.said)


async def test_the_open_dialog_shows_the_proof_once_it_is_there(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        lost = NodeProof(name="gpu02", unreachable=REFUSED)
        await _cancel(screen, NodeProof(name="gpu01"), lost)
        assert "nothing of it is left on 1 of 2 nodes" in screen.text
        screen.source.orders.back.put_nowait(NodeProof(name="gpu02"))
        screen.source.orders.back.put_nowait(None)
        await screen.shows("nothing of it is left on 2 of 2 nodes")
        assert "has not got the order" not in screen.text


async def test_what_survives_on_a_node_that_came_back_is_named(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        await _cancel(screen, NodeProof(name="gpu02", unreachable=REFUSED))
        await screen.press("enter")
        left = (Leftover(pid=4711, command="python"),)
        screen.source.orders.back.put_nowait(NodeProof(name="gpu02", left=left))
        await screen.says("llama: gpu02 still has 4711")


async def test_a_second_cancel_waits_for_no_node_twice(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        lost = NodeProof(name="gpu02", unreachable=REFUSED)
        await _cancel(screen, lost)
        await screen.press("enter")
        await _cancel(screen, NodeProof(name="gpu01", unreachable=REFUSED), lost)
        assert [names for _, names in screen.source.orders.awaited] == [("gpu02",), ("gpu01",)]


async def test_a_node_that_was_proven_is_waited_for_again_while_others_are_still_away(
    opened: Opener,
) -> None:
    async with opened(healthy()) as screen:
        second, third = (NodeProof(name=name, unreachable=REFUSED) for name in ("gpu02", "gpu03"))
        await _cancel(screen, second, third)
        await screen.press("enter")
        screen.source.orders.back.put_nowait(NodeProof(name="gpu02"))
        await screen.says("llama: nothing is left on gpu02")
        await _cancel(screen, second, third)
        awaited = [names for _, names in screen.source.orders.awaited]
        assert awaited == [("gpu02", "gpu03"), ("gpu02",)]


async def test_a_cancel_of_a_newer_attempt_is_delivered_as_well(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        lost = NodeProof(name="gpu02", unreachable=REFUSED)
        await _cancel(screen, lost)
        await screen.press("enter")
        newer = msgspec.structs.replace(job(), attempt=job().attempt + 1)
        screen.source.change(newer)
        await screen.until(lambda: screen.app.frame.job(newer.id) == newer)
        await _cancel(screen, lost)
        assert [names for _, names in screen.source.orders.awaited] == [("gpu02",), ("gpu02",)]


async def test_nothing_is_promised_for_a_node_that_is_not_in_the_profiles(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        why = "it is not in the profile"
        lost = NodeProof(name="gpu09", unreachable=why)
        await _cancel(screen, NodeProof(name="gpu01"), lost)
        assert screen.source.orders.awaited == []
        assert "gpu09 has not got the order and cannot be told from here" in screen.text
        assert "as soon as it is back" not in screen.text


async def test_a_node_that_leaves_the_profiles_is_not_said_to_be_proven(opened: Opener) -> None:
    async with opened(healthy()) as screen:
        await _cancel(screen, NodeProof(name="gpu02", unreachable=REFUSED))
        await screen.press("enter")
        gone = NodeProof(name="gpu02", unreachable="it is not in the profile")
        screen.source.orders.back.put_nowait(gone)
        await screen.says("llama: gpu02 cannot be told to end it: it is not in the profile")
        assert not any("nothing is left on gpu02" in said for said in screen.said)


async def test_a_cancel_that_reached_everybody_waits_for_nobody(opened: Opener) -> None:
    async with opened(Fleet(revision=1, jobs=(job(),))) as screen:
        await _cancel(screen, NodeProof(name="gpu01"), NodeProof(name="gpu02"))
        assert screen.source.orders.awaited == []
