"""What is done about a stall when nothing comes of it; journals are real, the clock is ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cockpit.node import journal
from cockpit.node.journal import Journal
from cockpit.node.supervise import folding
from cockpit.node.supervise.claims import Place
from cockpit.node.supervise.generations import LauncherTail
from cockpit.node.supervise.stackkeeper import StackKeeper, Taken
from cockpit.node.supervise.stallresponse import OBEY_PATIENCE, StallResponse, Verdict
from cockpit.node.supervise.stalls import Silent, Stall
from cockpit.protocol import layout
from cockpit.protocol.records import Watch

NOW = 1000.0
STALL = Stall((Silent(0, 0, 1, None, 9.0, 5.0, False),))


class Node:
    """One attempt on one node, whose supervisor may be replaced."""

    def __init__(self, folder: Path, on_stall: str = "restart") -> None:
        self.place = Place(str(folder), "0123456789ab", 0, 0)
        self.folder = Path(self.place.path)
        self.folder.mkdir(parents=True)
        self.watch = Watch(on_stall=on_stall, max_stall_restarts=5)
        self.launcher = Journal(self.place.file(layout.LAUNCHER_EVENTS))
        self.events = Journal(self.place.file(layout.EVENTS))
        self.complaints: list[str] = []
        self.launcher.write("generation", generation=0, ranks=[])
        self.supervise()

    def supervise(self) -> None:
        self.past = folding.past(journal.read(self.events.path))
        self.tail = LauncherTail(self.launcher.path)
        self.response = StallResponse(
            self.place, self.events, self.watch, self.tail, self.past, self.complaints.append
        )

    def stall(self) -> None:
        self.tail.look()
        assert self.tail.generation is not None
        self.response.stalled(NOW, self.tail.generation.number, STALL)

    def tick(self, now: float = NOW) -> Verdict | None:
        self.tail.look()
        return self.response.tick(now)

    def refuse(self, generation: int = 0) -> None:
        self.launcher.write(
            "restart_refused", generation=generation, id="x", by="on_stall", reason="they finished"
        )

    def requests(self) -> list[dict[str, Any]]:
        paths = sorted((self.folder / layout.REQUESTS).glob("*.json"))
        return [json.loads(path.read_text()) for path in paths]

    def asked(self) -> set[str]:
        return {request["do"] for request in self.requests()}


@pytest.fixture(autouse=True)
def takings(monkeypatch: pytest.MonkeyPatch) -> list[StackKeeper]:
    """One entry for each time that stacks would have been taken."""
    begun: list[StackKeeper] = []
    monkeypatch.setattr(StackKeeper, "begin", lambda keeper: begun.append(keeper))
    return begun


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_a_restart_that_is_refused_ends_the_attempt_because_of_the_stall(node: Node) -> None:
    node.stall()
    assert node.tick() is None
    assert node.tick() is None
    node.refuse()
    assert node.tick(NOW + 1) == Verdict(
        f"stalled: {STALL.message}; the ranks are not restarted: they finished", NOW + 1
    )
    assert node.asked() == {"restart", "stop"}
    assert len({request["id"] for request in node.requests()}) == 2, "or it were taken for obeyed"
    assert node.tick(NOW + 2) is None


def test_a_restart_that_does_not_come_ends_it_too(node: Node) -> None:
    node.stall()
    node.tick()
    assert node.tick(NOW + OBEY_PATIENCE - 1) is None
    verdict = node.tick(NOW + OBEY_PATIENCE + 1)
    assert verdict is not None and "has not done so within 60 s" in verdict.message
    assert node.asked() == {"restart", "stop"}


def test_a_restart_that_begins_or_is_needed_no_more_is_waited_for_no_longer(node: Node) -> None:
    node.stall()
    node.tick()
    node.launcher.write("stopping", generation=0)
    assert node.tick(NOW + OBEY_PATIENCE + 1) is None
    node.launcher.write("generation", generation=1, ranks=[])
    node.stall()
    node.tick()
    node.response.recovered(1)
    node.refuse(1)
    assert node.tick(NOW + OBEY_PATIENCE + 1) is None
    assert node.asked() == {"restart"}


@pytest.mark.parametrize("announced", [True, False])
def test_a_restart_that_was_refused_is_not_counted(node: Node, announced: bool) -> None:
    if announced:
        node.launcher.write("restarting", generation=0, by="on_stall", reason="", cost=False)
    node.refuse()
    node.tick()
    assert node.tail.restarts == 0
    node.launcher.write("restarting", generation=0, by="on_stall", reason="", cost=False)
    node.tick()
    assert node.tail.restarts == 1


@pytest.mark.parametrize("kind", ["generation", "group"])
def test_what_was_decided_of_one_generation_does_not_end_the_next(
    tmp_path: Path, kind: str
) -> None:
    node = Node(tmp_path, "cancel")
    node.stall()
    if kind == "group":
        node.launcher.write("group", generation=0, state="FAILED")
    else:
        node.launcher.write("generation", generation=1, ranks=[])
    assert node.tick() is None
    assert node.requests() == []


def test_neither_does_an_adopter_end_it(tmp_path: Path) -> None:
    node = Node(tmp_path, "cancel")
    node.stall()
    node.launcher.write("generation", generation=1, ranks=[])
    node.supervise()
    assert node.tick() is None
    assert node.requests() == []


def test_an_adopter_knows_why_its_predecessor_was_ending_the_attempt(tmp_path: Path) -> None:
    node = Node(tmp_path, "cancel")
    node.stall()
    assert node.tick() is not None
    node.launcher.write("stopping", generation=0)
    node.supervise()
    verdict = node.tick(NOW + 1000)
    assert verdict is not None and verdict.message == f"stalled: {STALL.message}"


def test_an_adopter_learns_of_the_refusal_that_its_predecessor_did_not_live_to_see(
    node: Node,
) -> None:
    node.stall()
    node.tick()
    node.supervise()
    assert node.past.stall is not None and node.past.stall.acted
    node.refuse()
    now = node.past.stall.asked_at + 5
    verdict = node.tick(now)
    assert verdict is not None and verdict.message.endswith("they finished")
    assert verdict.at == now, "its SIGTERM has not been sent"


def test_stacks_are_kept_once_before_another_node_ends_the_ranks(
    node: Node, takings: list[StackKeeper]
) -> None:
    node.launcher.write("restarting", generation=0, by="ada", reason="", cost=False)
    node.tick()
    assert takings == [], "a person's restart needs none"
    node.launcher.write("restarting", generation=0, by="on_stall", reason="", cost=False)
    node.tick()
    node.tick()
    assert len(takings) == 1
    node.launcher.write("generation", generation=1, ranks=[])
    node.tick()
    assert len(takings) == 1


def test_stacks_of_a_stall_that_is_over_do_not_stand_for_those_of_another(
    tmp_path: Path, takings: list[StackKeeper]
) -> None:
    node = Node(tmp_path, "warn")
    node.stall()
    node.response.recovered(0)
    node.tick()
    assert len(takings) == 1
    node.launcher.write("restarting", generation=0, by="on_stall", reason="", cost=False)
    node.tick()
    node.tick()
    assert len(takings) == 2


def test_stacks_that_come_after_the_recovery_are_told_of_their_generation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = Node(tmp_path, "warn")
    node.stall()
    node.response.recovered(0)
    monkeypatch.setattr(StackKeeper, "result", lambda _: Taken("stacks/0.json"))
    node.tick()
    (told,) = [each for each in journal.read(node.events.path) if each["kind"] == "stacks"]
    assert told["generation"] == 0


def test_stacks_that_were_kept_are_not_taken_again_when_the_restart_begins(
    node: Node, takings: list[StackKeeper]
) -> None:
    node.stall()
    node.launcher.write("restarting", generation=0, by="on_stall", reason="", cost=False)
    node.tick()
    assert len(takings) == 1
