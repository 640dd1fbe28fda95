"""The hooks around an agent made up for the purpose: nothing of ours reaches training."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import threading
import types
from typing import Any

import pytest

from cockpit.node import journal
from cockpit.node.journal import Journal
from cockpit.node.launch import hooks
from cockpit.node.launch.recorder import Recorder
from cockpit.node.oom import OomWatch


class Signalled(Exception):
    pass


class Context:
    """torch's PContext: closing it is what ends ranks."""

    def __init__(self) -> None:
        self.stdouts = {0: ""}
        self.stderrs = {0: ""}
        self.error_files: dict[int, str] = {}
        self.closed_with: list[float] = []

    def close(self, death_sig: Any = None, timeout: float = 30) -> None:
        self.closed_with.append(timeout)


@dataclasses.dataclass
class Result:
    state: Any
    failures: dict[int, Any] = dataclasses.field(default_factory=dict)


RunResult = Result
"""torch has this and the next beside the base class of its agent."""


class WorkerState:
    UNHEALTHY = types.SimpleNamespace(value="UNHEALTHY")


class SimpleElasticAgent:
    pass


def make_agent() -> type[Any]:
    class LocalElasticAgent(SimpleElasticAgent):
        def __init__(self, rounds: list[int] | None = None) -> None:
            self._remaining_restarts = 3
            self._pcontext: Context | None = None
            self._shutdown_timeout: int | None = 7
            self.rounds = rounds
            self.states = ["HEALTHY"]
            self._rdzv_handler = types.SimpleNamespace()
            if rounds is not None:
                self._rdzv_handler._state_holder = types.SimpleNamespace(
                    state=types.SimpleNamespace(round=-1)
                )

        def _rendezvous(self, group: Any) -> None:
            if self.rounds is not None:
                self._rdzv_handler._state_holder.state.round = self.rounds.pop(0)

        def _start_workers(self, group: Any) -> dict[int, int]:
            self._pcontext = Context()
            return {0: os.getpid()}

        def _monitor_workers(self, group: Any) -> Result:
            return Result(types.SimpleNamespace(value=self.states.pop(0)))

        def _stop_workers(self, group: Any, is_restart: bool = False) -> str:
            return f"stopped {is_restart}"

    return LocalElasticAgent


GROUP = types.SimpleNamespace(
    group_rank=0,
    group_world_size=1,
    master_addr="127.0.0.1",
    master_port=1,
    spec=types.SimpleNamespace(max_restarts=3),
    workers=[types.SimpleNamespace(global_rank=0, local_rank=0, world_size=1)],
)


class Bench:
    def __init__(self, folder: pathlib.Path) -> None:
        self.path = str(folder / "launcher.jsonl")
        self.journal = Journal(self.path)
        self.guard = hooks.Guard(self.journal, (Signalled,))
        self.recorder = Recorder(self.journal, str(folder), OomWatch())
        self.agent_class = make_agent()

    def install(self) -> None:
        hooks.install(self.agent_class, self.recorder, self.guard)

    def events(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in journal.read(self.path) if event["kind"] == kind]


@pytest.fixture
def bench(tmp_path: pathlib.Path) -> Bench:
    return Bench(tmp_path)


def test_a_generation_has_the_number_of_its_rendezvous_round(bench: Bench) -> None:
    bench.install()
    agent = bench.agent_class(rounds=[1, 4])
    for _ in range(2):
        agent._rendezvous(GROUP)
        agent._start_workers(GROUP)
    assert [event["generation"] for event in bench.events("generation")] == [1, 4]
    assert [event["round"] for event in bench.events("rendezvous")] == [1, 4]


def test_without_rounds_generations_count_up_past_numbers_that_are_in_use(
    bench: Bench, tmp_path: pathlib.Path
) -> None:
    bench.install()
    used = tmp_path / "logs" / "1"
    used.mkdir(parents=True)
    (used / "0.out").write_text("of an earlier generation")
    agent = bench.agent_class()
    for _ in range(3):
        agent._rendezvous(GROUP)
        agent._start_workers(GROUP)
    assert [event["generation"] for event in bench.events("generation")] == [0, 2, 3]


@pytest.mark.parametrize(
    "name", ["_rendezvous", "_start_workers", "_monitor_workers", "_stop_workers"]
)
def test_a_method_that_this_torch_lacks_is_reported_and_the_rest_works(
    bench: Bench, name: str
) -> None:
    delattr(bench.agent_class, name)
    bench.install()
    assert [event["name"] for event in bench.events("hook_missing")] == [
        f"LocalElasticAgent.{name}"
    ]
    assert not hasattr(bench.agent_class, name)
    agent = bench.agent_class(rounds=[0])
    if name != "_rendezvous":
        agent._rendezvous(GROUP)
    if name != "_start_workers":
        assert agent._start_workers(GROUP) == {0: os.getpid()}
        assert [event["generation"] for event in bench.events("generation")] == [0]
    assert not bench.events("hook_error")


def test_what_fails_inside_a_hook_is_reported_once_and_changes_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise AttributeError("no such attribute in this torch")

    for name in ("rendezvous_begins", "rendezvous_done", "start_begins", "ranks_started",
                 "polled", "stop_begins", "stopped", "look"):  # fmt: skip
        monkeypatch.setattr(bench.recorder, name, fail)
    bench.install()
    agent = bench.agent_class(rounds=[0, 1])
    for _ in range(2):
        agent._rendezvous(GROUP)
        assert agent._start_workers(GROUP) == {0: os.getpid()}
        agent._pcontext.close()
        assert agent._stop_workers(GROUP, is_restart=True) == "stopped True"
    agent.states = ["HEALTHY"] * 3
    assert [agent._monitor_workers(GROUP).state.value for _ in range(3)] == ["HEALTHY"] * 3
    errors = bench.events("hook_error")
    assert len({event["where"] for event in errors}) == len(errors) == 8
    assert errors[0]["error"] == "AttributeError: no such attribute in this torch"


def test_a_signal_passes_through_every_hook(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def signalled(*_: Any) -> None:
        raise Signalled

    monkeypatch.setattr(bench.recorder, "polled", signalled)
    bench.install()
    with pytest.raises(Signalled):
        bench.agent_class()._monitor_workers(GROUP)
    assert not bench.events("hook_error")


def test_a_rendezvous_that_fails_is_told_and_fails_as_before(bench: Bench) -> None:
    def fail(self: Any, group: Any) -> None:
        raise TimeoutError("nobody came")

    bench.agent_class._rendezvous = fail
    bench.install()
    with pytest.raises(TimeoutError, match="nobody came"):
        bench.agent_class()._rendezvous(GROUP)
    (failed,) = bench.events("rendezvous_failed")
    assert (failed["type"], failed["message"]) == ("TimeoutError", "nobody came")


def test_a_state_is_told_when_it_changes_and_healthy_never(bench: Bench) -> None:
    bench.install()
    agent = bench.agent_class()
    agent._start_workers(GROUP)
    agent.states = ["HEALTHY", "HEALTHY", "FAILED", "FAILED"]
    for _ in range(4):
        agent._monitor_workers(GROUP)
    agent._start_workers(GROUP)
    agent.states = ["HEALTHY", "FAILED"]
    for _ in range(2):
        agent._monitor_workers(GROUP)
    assert [(e["generation"], e["state"]) for e in bench.events("group")] == [
        (0, "FAILED"),
        (1, "FAILED"),
    ]


@pytest.mark.parametrize(
    ("of_agent", "of_option", "expected"), [(7, 9, 7), (None, 9, 9), (None, None, 30)]
)
def test_ranks_are_waited_for_as_long_as_shutdown_timeout_says(
    bench: Bench, of_agent: int | None, of_option: int | None, expected: int
) -> None:
    bench.install()
    bench.recorder.shutdown_timeout = of_option
    agent = bench.agent_class()
    agent._shutdown_timeout = of_agent
    agent._start_workers(GROUP)
    agent._pcontext.close()
    agent._pcontext.close("SIGTERM", 2)
    assert agent._pcontext.closed_with == [expected, 2]


def test_no_thread_of_ours_is_left_when_torch_ends_ranks(bench: Bench) -> None:
    class Store:
        def add(self, key: str, amount: int) -> int:
            return amount

    def threads() -> int:
        return sum(thread.name == "store" for thread in threading.enumerate())

    bench.install()
    agent = bench.agent_class()
    agent._store = Store()
    group = types.SimpleNamespace(**{**vars(GROUP), "group_world_size": 2})
    before = threads()
    agent._start_workers(group)
    assert threads() == before, "ranks are not started beside it"
    agent.states = ["SUCCEEDED"]
    agent._monitor_workers(group)
    assert threads() == before + 1
    agent._pcontext.close()
    assert threads() == before
    assert not bench.events("hook_error")


def test_without_torchs_results_requests_stay_unanswered_and_all_else_works(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = make_agent.__module__
    monkeypatch.delitem(globals(), "RunResult")
    bench.install()
    agent = bench.agent_class(rounds=[0])
    agent._rendezvous(GROUP)
    agent._start_workers(GROUP)
    assert agent._monitor_workers(GROUP).state.value == "HEALTHY"
    assert [e["name"] for e in bench.events("hook_missing")] == [f"{module}.RunResult"]
    assert [e["generation"] for e in bench.events("generation")] == [0]
    assert not bench.events("hook_error")
