"""A checkpoint on request, on one node: real ranks, a real supervisor, its journal."""

from __future__ import annotations

from typing import Any

from tests.node.beating import Training, training
from tests.node.supervising import Node, eventually


def step_of(attempt: Training) -> int:
    """The step at which the ranks ask, once all of them do."""

    def asking() -> list[int] | None:
        found = attempt.digests()[-1:]
        told = [rank["checkpoint"] for digest in found for rank in digest["ranks"]]
        paced = told and all(item is not None and item["pace"] for item in told)
        return [item["step"] for item in told] if paced else None

    return max(eventually(asking, "ranks that make checkpoints"))


def told(attempt: Training, kind: str, command: str) -> dict[str, Any]:
    """The event of that kind that a command brought about."""

    def found() -> dict[str, Any] | None:
        events = attempt.all_of(kind)
        return next((event for event in events if event["command"] == command), None)

    event: dict[str, Any] = eventually(found, f"{kind} of {command}: {attempt.kinds()}")
    return event


def saved(attempt: Training, command: str, count: int) -> dict[int, int]:
    """Rank -> the step at which it saved, once `count` ranks have."""

    def ranks() -> dict[int, int] | None:
        events = attempt.all_of("checkpoint_saved")
        mine = [event for event in events if event["command"] == command]
        steps = {rank["rank"]: rank["step"] for event in mine for rank in event["ranks"]}
        return steps if len(steps) >= count else None

    steps: dict[int, int] = eventually(ranks, "ranks that saved")
    return steps


def test_all_ranks_save_at_the_very_step_that_was_asked_for(supervised_node: Node) -> None:
    attempt = training(supervised_node, first="save")
    step = step_of(attempt) + 120
    attempt.command("checkpoint", id="one", step=step, reason="restart")
    event = told(attempt, "checkpoint", "one")
    assert (event["generation"], event["number"], event["ranks"]) == (0, 1, [4, 5])
    assert (event["step"], event["by"], event["reason"]) == (step, "ada@laptop", "restart")
    assert saved(attempt, "one", 2) == {4: step, 5: step}
    # Asking again is another request, a step that is over already is none.
    attempt.command("checkpoint", id="late", step=step)
    assert "is past step" in told(attempt, "checkpoint_void", "late")["reason"]
    attempt.command("checkpoint", id="two", step=step_of(attempt) + 120)
    assert told(attempt, "checkpoint", "two")["number"] > 1
    assert set(saved(attempt, "two", 2)) == {4, 5}
    attempt.command("cancel", grace=1.0)
    attempt.ended()


def test_the_end_of_a_generation_and_a_withdrawal_void_a_request(supervised_node: Node) -> None:
    attempt = training(supervised_node, first="save")
    far = step_of(attempt) + 1_000_000
    attempt.command("checkpoint", id="one", step=far)
    told(attempt, "checkpoint", "one")
    attempt.command("checkpoint", id="back")
    event = told(attempt, "checkpoint_void", "back")
    assert (event["generation"], event["reason"]) == (0, "taken back by ada@laptop")
    attempt.command("checkpoint", id="two", step=far)
    told(attempt, "checkpoint", "two")
    attempt.command("restart")
    event = told(attempt, "checkpoint_void", "two")
    assert (event["generation"], event["reason"]) == (0, "the generation has ended")
    eventually(lambda: attempt.digests()[-1]["generation"] == 1, "generation 1")
    step_of(attempt)
    assert attempt.all_of("checkpoint_saved") == []
    attempt.command("cancel", grace=1.0)
    attempt.ended()


def test_ranks_that_do_not_say_how_are_not_asked(supervised_node: Node) -> None:
    attempt = training(supervised_node)
    attempt.wait_for_stages("training", "training")
    assert attempt.digests()[-1]["ranks"][0]["checkpoint"] is None
    attempt.command("checkpoint", id="one", step=10_000)
    event = told(attempt, "checkpoint_void", "one")
    assert event["generation"] is None
    assert event["reason"] == "no rank's code makes checkpoints on request"
    attempt.command("cancel", grace=1.0)
    attempt.ended()


def test_an_adopter_tells_of_what_its_predecessor_asked_for(supervised_node: Node) -> None:
    attempt = training(supervised_node, first="save")
    step = step_of(attempt) + 200
    attempt.command("checkpoint", id="one", step=step)
    told(attempt, "checkpoint", "one")
    attempt.kill_supervisor()
    supervised_node.ensure_supervised()
    assert saved(attempt, "one", 2) == {4: step, 5: step}
    assert len(attempt.all_of("checkpoint")) == 1, "the command was obeyed once"
    attempt.command("cancel", grace=1.0)
    attempt.ended()
