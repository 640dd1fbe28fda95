"""How the launcher processes of several nodes agree, with a store and a clock of our own."""

from __future__ import annotations

import os
import pathlib
import types
from typing import Any

import pytest

from cockpit.node import journal
from cockpit.node.journal import Journal
from cockpit.node.launch.recorder import Recorder
from cockpit.node.launch.requests import ON_STALL, RESTART, STOP, Request
from cockpit.node.launch.restarts import (
    PATIENCE,
    STACKS_PATIENCE,
    NoRestartsLeft,
    Restarts,
    Stopped,
)
from cockpit.node.oom import OomWatch
from cockpit.node.supervise import asking
from cockpit.protocol import layout

A_MOMENT = 0.4
"""Enough for a node to look at the store again."""


class Store:
    """A TCPStore, as far as it goes; `lost` makes every call fail."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.calls = 0
        self.lost = False

    def _called(self) -> None:
        self.calls += 1
        if self.lost:
            raise RuntimeError("Connection reset by peer")

    def compare_set(self, key: str, expected: str, desired: str) -> bytes:
        self._called()
        assert expected == ""
        return self.values.setdefault(key, desired.encode())

    def check(self, keys: list[str]) -> bool:
        self._called()
        return all(key in self.values for key in keys)

    def get(self, key: str) -> bytes:
        self._called()
        return self.values[key]

    def add(self, key: str, amount: int) -> int:
        self._called()
        count = int(self.values.get(key, b"0")) + amount
        self.values[key] = str(count).encode()
        return count


def state(name: str) -> Any:
    return types.SimpleNamespace(value=name)


def result(state: Any) -> Any:
    return types.SimpleNamespace(state=state)


TORCH = types.SimpleNamespace(
    RunResult=result, WorkerState=types.SimpleNamespace(UNHEALTHY=state("UNHEALTHY"))
)


class Agent:
    """torch's agent on one node, and its launcher process's answer to requests."""

    def __init__(self, world: World, folder: pathlib.Path, budget: int) -> None:
        folder.mkdir()
        self.world = world
        self.folder = folder
        self._store: Any = world.store
        self._remaining_restarts = budget
        self._rdzv_handler = types.SimpleNamespace()
        self.group = types.SimpleNamespace(
            spec=types.SimpleNamespace(max_restarts=budget), group_world_size=world.size
        )
        self.stopped = False
        self._journal = Journal(str(folder / "launcher.jsonl"))
        self.recorder = Recorder(self._journal, str(folder), OomWatch())
        self.restarts = Restarts(self._journal, self.recorder, TORCH, lambda: world.now)
        self.begin()

    def _stop_workers(self, group: Any) -> None:
        self.stopped = True

    def begin(self) -> None:
        self.recorder.start_begins(self)
        self.restarts.generation_begins(self, self.group)

    def poll(self, seen: str = "HEALTHY") -> str:
        """What torch makes of the ranks once we have had our say; restarts count as torch's do."""
        verdict = self.restarts.answer(self, self.group, result(state(seen)))
        if verdict is not None:
            seen = self.restarts.carry_out(verdict, self, self.group).state.value
        if seen in ("FAILED", "UNHEALTHY"):
            if self._remaining_restarts == 0:
                return "dead"
            self._remaining_restarts -= 1
            self.begin()
            return "restarted"
        return seen

    def ask(self, do: str = RESTART, name: str = "x", **fields: Any) -> None:
        generation = fields.pop("generation", None)
        by = fields.pop("by", "ada")
        asking.leave(str(self.folder), Request(name, do, generation, by, "because", **fields))

    def keep_stacks(self, number: int = 0, age: float = 0.0) -> None:
        """What its supervisor does, or did `age` seconds ago."""
        path = self.folder / layout.kept_stacks(number)
        path.parent.mkdir(exist_ok=True)
        path.write_text("{}")
        at = path.stat().st_mtime - age
        os.utime(path, (at, at))

    def events(self, kind: str) -> list[dict[str, Any]]:
        every = journal.read(str(self.folder / "launcher.jsonl"))
        return [event for event in every if event["kind"] == kind]

    def restarting(self) -> list[dict[str, Any]]:
        return self.events("restarting")

    @property
    def budget(self) -> tuple[int, int]:
        return self._remaining_restarts, self.group.spec.max_restarts


class World:
    def __init__(self, folder: pathlib.Path, size: int = 2, budget: int = 0) -> None:
        self.store = Store()
        self.size = size
        self.now = 100.0
        self.agents = [Agent(self, folder / str(n), budget) for n in range(size)]

    def poll(self) -> list[str]:
        self.now += A_MOMENT
        return [agent.poll() for agent in self.agents]


def test_a_request_left_on_one_node_restarts_all_at_once_and_costs_nothing(
    tmp_path: pathlib.Path,
) -> None:
    world = World(tmp_path, size=3)
    assert world.poll() == ["HEALTHY"] * 3
    world.agents[2].ask(generation=0)
    assert world.poll() == ["HEALTHY"] * 3, "the first two had looked before it was published"
    assert [agent.budget for agent in world.agents] == [(0, 0), (0, 0), (1, 1)]
    assert world.poll() == ["HEALTHY", "restarted", "restarted"], "the first was not the last"
    assert world.agents[0].poll() == "restarted"
    for agent in world.agents:
        event = agent.restarting()[0]
        assert (event["generation"], event["by"], event["reason"]) == (0, "ada", "because")
        assert event["cost"] is False
        assert agent.budget == (0, 1)
    assert world.poll() == ["HEALTHY"] * 3, "once"


def test_nobody_acts_before_all_have_armed_or_patience_is_over(tmp_path: pathlib.Path) -> None:
    world = World(tmp_path)
    first, second = world.agents
    first.ask()
    assert first.poll() == "HEALTHY"
    world.now += PATIENCE - 0.1
    assert first.poll() == "HEALTHY"
    world.now += 0.1
    assert first.poll() == "restarted", "the other one may be frozen"
    assert second.poll() == "restarted", "all have armed, however late"


def test_after_a_stall_nobody_acts_before_every_node_has_kept_its_stacks(
    tmp_path: pathlib.Path,
) -> None:
    world = World(tmp_path)
    finder, other = world.agents
    other.keep_stacks(0)
    other.begin()  # what was kept of an earlier generation does not count
    finder.begin()
    finder.keep_stacks()
    finder.ask(by=ON_STALL)
    for _ in range(3):
        assert world.poll() == ["HEALTHY", "HEALTHY"]
    assert [event["by"] for event in other.restarting()] == [ON_STALL], "its supervisor is told"
    other.keep_stacks(1)
    assert "restarted" in world.poll() + world.poll()


def test_stacks_of_an_earlier_stall_of_the_same_ranks_are_not_those_that_are_waited_for(
    tmp_path: pathlib.Path,
) -> None:
    world = World(tmp_path)
    finder, other = world.agents
    other.keep_stacks(0, age=3600.0)
    finder.keep_stacks()
    finder.ask(by=ON_STALL)
    for _ in range(3):
        assert world.poll() == ["HEALTHY", "HEALTHY"]
    other.keep_stacks(1)
    assert "restarted" in world.poll() + world.poll()


def test_stacks_that_nobody_keeps_hold_a_restart_up_for_a_moment_only(
    tmp_path: pathlib.Path,
) -> None:
    world = World(tmp_path)
    world.agents[0].ask(by=ON_STALL)
    assert world.poll() == ["HEALTHY", "HEALTHY"]
    assert world.poll() == ["HEALTHY", "HEALTHY"]
    world.now += STACKS_PATIENCE
    assert "restarted" in world.poll() + world.poll()


def test_ranks_that_fail_meanwhile_leave_no_stacks_to_wait_for(tmp_path: pathlib.Path) -> None:
    world = World(tmp_path)
    finder, other = world.agents
    finder.keep_stacks()
    finder.ask(by=ON_STALL)
    world.poll()
    assert world.poll() == ["HEALTHY", "HEALTHY"]
    assert other.poll("FAILED") == "restarted"
    assert finder.poll() == "restarted"


def test_ranks_that_fail_because_a_peer_was_faster_cost_no_restart(tmp_path: pathlib.Path) -> None:
    world = World(tmp_path)
    first, second = world.agents
    first.ask()
    first.poll()
    world.now += A_MOMENT
    assert second.poll() == "restarted"
    assert first.poll("FAILED") == "restarted", "by torch itself, with the restart it was given"
    assert first.budget == (0, 1)
    assert len(first.restarting()) == 1


def test_ranks_that_fail_before_their_node_has_heard_of_the_restart_cost_none_either(
    tmp_path: pathlib.Path,
) -> None:
    world = World(tmp_path)
    first, second = world.agents
    first.ask()
    first.poll()
    world.now += PATIENCE
    assert first.poll() == "restarted", "the other one is slow"
    second.ask()
    assert second.poll("FAILED") == "restarted"
    assert second.budget == (0, 1)
    assert [event["generation"] for event in second.restarting()] == [0]
    world.now += 2
    assert world.poll() == ["HEALTHY", "HEALTHY"], "it was the same request"


def test_ranks_that_fail_by_themselves_are_left_to_torch(tmp_path: pathlib.Path) -> None:
    world = World(tmp_path)
    world.agents[0].ask()
    assert world.agents[0].poll("FAILED") == "dead"
    assert world.agents[1].poll("FAILED") == "dead"
    assert not world.agents[0].restarting()


def test_a_change_of_membership_before_the_restart_takes_the_extra_restart_back(
    tmp_path: pathlib.Path,
) -> None:
    world = World(tmp_path)
    first = world.agents[0]
    first.ask()
    first.poll()
    assert first.budget == (1, 1)
    first.begin()
    assert first.budget == (0, 0)


def test_a_restart_that_costs_spends_the_budget_and_ends_the_job_without_one(
    tmp_path: pathlib.Path,
) -> None:
    world = World(tmp_path, size=1, budget=1)
    agent = world.agents[0]
    agent.ask(cost=True)
    assert agent.poll() == "restarted"
    assert agent.budget == (0, 1)
    agent.ask(name="again", cost=True)
    world.now += 2
    with pytest.raises(NoRestartsLeft, match="because; none of 1 restarts is left"):
        agent.poll()
    assert agent.stopped
    assert [event["cost"] for event in agent.restarting()] == [True, True]


def test_stop_ends_the_ranks_of_all_nodes(tmp_path: pathlib.Path) -> None:
    world = World(tmp_path, budget=3)
    first, second = world.agents
    second.ask(STOP)
    second.poll()
    world.now += A_MOMENT
    with pytest.raises(Stopped, match="because"):
        first.poll()
    with pytest.raises(Stopped, match="because"):
        second.poll("FAILED")
    assert first.stopped
    assert second.stopped
    assert not first.restarting()


def test_the_first_of_two_requests_counts_on_all_nodes(tmp_path: pathlib.Path) -> None:
    world = World(tmp_path)
    first, second = world.agents
    first.ask(name="one", grace=2.0)
    second.ask(name="two", cost=True)
    first.poll()
    assert first.restarts.grace == 2.0
    assert second.poll() == first.poll() == "restarted"
    assert [agent.restarts.grace for agent in world.agents] == [None, None]
    assert [event["cost"] for event in second.restarting()] == [False]
    world.poll()
    world.now += 2
    assert world.poll() == ["HEALTHY", "HEALTHY"], "both were answered"


def test_the_same_request_that_arrives_late_on_another_node_is_not_obeyed_twice(
    tmp_path: pathlib.Path,
) -> None:
    world = World(tmp_path)
    first, second = world.agents
    first.ask()
    first.poll()
    world.poll()
    world.poll()
    assert [len(agent.restarting()) for agent in world.agents] == [1, 1]
    second.ask()
    world.now += 2
    assert world.poll() == ["HEALTHY", "HEALTHY"]
    assert world.poll() == ["HEALTHY", "HEALTHY"]


def test_a_store_that_is_lost_is_no_error_and_is_asked_no_more(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world = World(tmp_path)
    world.store.lost = True
    for _ in range(5):
        assert world.poll() == ["HEALTHY", "HEALTHY"]
    assert world.store.calls == 2, "one each"
    assert capsys.readouterr().err.count("does not answer") == 2
    world.agents[0].ask()
    world.now += 1
    assert world.agents[0].poll() == "restarted", "there is nobody to wait for"


def test_idle_nodes_ask_the_store_at_most_ten_times_a_second(
    tmp_path: pathlib.Path,
) -> None:
    world = World(tmp_path, size=2)
    for _ in range(100):
        world.now += 0.01
        world.agents[0].poll()
    assert 5 <= world.store.calls <= 10


def test_one_node_needs_no_store(tmp_path: pathlib.Path) -> None:
    world = World(tmp_path, size=1)
    world.agents[0].ask()
    assert world.poll() == ["restarted"]
    assert world.store.calls == 0


def test_ranks_are_not_restarted_while_those_of_another_node_have_finished(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world = World(tmp_path)
    first, second = world.agents
    assert first.poll("SUCCEEDED") == "SUCCEEDED"
    second.ask()
    for _ in range(10):
        world.now += A_MOMENT
        assert second.poll() == "HEALTHY"
    assert second.budget == (0, 0)
    assert not second.restarting()
    assert capsys.readouterr().err.count("has finished") == 1
    (refused,) = second.events("restart_refused")
    assert (refused["generation"], refused["id"], refused["by"]) == (0, "x", "ada")
    assert refused["reason"] == "another node has finished and would be missed"
    second.ask(STOP, "stop")
    world.now += 2
    second.poll()
    world.now += PATIENCE
    with pytest.raises(Stopped):
        second.poll()


def test_a_node_that_finishes_without_having_heard_of_it_makes_the_restart_void(
    tmp_path: pathlib.Path,
) -> None:
    world = World(tmp_path)
    first, second = world.agents
    second.ask()
    assert second.poll() == "HEALTHY"
    assert first.poll("SUCCEEDED") == "SUCCEEDED"
    world.now += PATIENCE
    assert second.poll() == "HEALTHY"
    assert second.budget == (0, 0)
    (refused,) = second.events("restart_refused")
    assert refused["id"] == "x"


def test_after_a_restart_that_came_to_nothing_all_nodes_that_are_left_can_be_stopped(
    tmp_path: pathlib.Path,
) -> None:
    world = World(tmp_path, size=3)
    first, second, third = world.agents
    second.ask()
    second.poll()
    assert first.poll("SUCCEEDED") == "SUCCEEDED"
    world.now += A_MOMENT
    third.poll()
    assert [len(agent.events("restart_refused")) for agent in world.agents] == [0, 0, 1]
    third.ask(STOP, "stop")
    world.now += 2
    assert third.poll() == "HEALTHY"
    world.now += PATIENCE
    assert second.poll() == "HEALTHY"
    assert len(second.events("restart_refused")) == 1
    world.now += A_MOMENT
    second.poll()
    world.now += PATIENCE
    for agent in (second, third):
        with pytest.raises(Stopped):
            agent.poll()


def test_a_node_that_finishes_after_it_has_armed_takes_part_in_the_restart(
    tmp_path: pathlib.Path,
) -> None:
    world = World(tmp_path)
    first, second = world.agents
    second.ask()
    second.poll()
    world.now += A_MOMENT
    assert first.poll() == "restarted"
    assert second.poll("SUCCEEDED") == "restarted"
