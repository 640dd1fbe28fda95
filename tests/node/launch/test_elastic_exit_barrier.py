"""The wait for other nodes, against a store and a rendezvous made up for the purpose."""

from __future__ import annotations

import pathlib
import types
from typing import Any

import pytest

from cockpit.node import journal
from cockpit.node.journal import Journal
from cockpit.node.launch import exit_barrier, hooks


class Store:
    """Counts what is added; `full` keys exist."""

    def __init__(self, full: bool) -> None:
        self.full = full
        self.counts: dict[str, int] = {}

    def check(self, keys: list[str]) -> bool:
        return self.full and keys == ["key/last"]

    def add(self, key: str, amount: int) -> int:
        self.counts[key] = self.counts.get(key, 0) + amount
        return self.counts[key]


class Agent:
    def __init__(self, store: Any, participants: int = 2, closed: bool = False) -> None:
        self._store = store
        self._worker_group = types.SimpleNamespace(group_world_size=2, group_rank=0)
        state = types.SimpleNamespace(
            round=3, closed=closed, participants=dict.fromkeys(range(participants))
        )
        self._rdzv_handler = types.SimpleNamespace(
            num_nodes_waiting=lambda: 0, _state_holder=types.SimpleNamespace(state=state)
        )
        self.torchs_own = 0

    def _exit_barrier(self) -> None:
        self.torchs_own += 1


UTIL = types.SimpleNamespace(_barrier_nonblocking=lambda store, world_size, key_prefix: "key/last")


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exit_barrier, "LINGER", 0.2)
    monkeypatch.setattr(exit_barrier, "GOODBYE", 0.0)


@pytest.fixture
def log(tmp_path: pathlib.Path) -> Journal:
    return Journal(str(tmp_path / "launcher.jsonl"))


def kinds(log: Journal) -> list[str]:
    return [event["kind"] for event in journal.read(log.path)]


def installed(log: Journal, util: Any = UTIL, *, hosts_store: bool = False) -> type[Any]:
    agent = type("LocalElasticAgent", (Agent,), {})
    guard = hooks.Guard(log)
    lost = (ConnectionError,)
    exit_barrier.install(agent, util, "key", guard, hosts_store=hosts_store, lost=lost)
    return agent


@pytest.mark.parametrize("hosts_store", [False, True])
def test_it_ends_when_all_have_arrived_and_says_goodbye(log: Journal, hosts_store: bool) -> None:
    store = Store(full=True)
    agent = installed(log, hosts_store=hosts_store)(store)
    agent._exit_barrier()
    assert store.counts == {"key/left": 1}
    assert (agent.torchs_own, kinds(log)) == (0, [])


def test_torchs_own_is_used_where_ours_cannot_begin(log: Journal) -> None:
    agent = installed(log)(Store(full=True))
    del agent._rdzv_handler._state_holder
    agent._exit_barrier()
    assert (agent.torchs_own, kinds(log)) == (1, ["hook_error"])


def test_a_store_that_is_lost_meanwhile_ends_the_wait_and_is_no_fault_of_ours(
    log: Journal, capsys: pytest.CaptureFixture[str]
) -> None:
    def lost(keys: list[str]) -> bool:
        raise ConnectionError("the store is gone")

    store = Store(full=False)
    store.check = lost  # type: ignore[method-assign]
    agent = installed(log)(store)
    agent._exit_barrier()
    assert (agent.torchs_own, kinds(log)) == (0, [])
    assert "store is lost (ConnectionError)" in capsys.readouterr().err


def test_a_torch_without_the_parts_is_left_alone(log: Journal) -> None:
    agent = installed(log, types.SimpleNamespace())(Store(full=True))
    agent._exit_barrier()
    assert (agent.torchs_own, kinds(log)) == (1, ["hook_missing"])


def test_it_lasts_while_all_are_there_and_ends_after_patience_without_one() -> None:
    there = [True] * 5 + [False, True] + [False] * 100
    looks = 0

    def complete() -> bool:
        nonlocal looks
        looks += 1
        return there[looks - 1]

    assert not exit_barrier.wait(lambda: False, complete, patience=0.05, poll=0.01)
    assert 8 < looks < 100, "one silent moment is forgiven"


@pytest.mark.parametrize(
    ("changes", "complete"),
    [({}, True), ({"participants": 1}, False), ({"closed": True}, False)],
    ids=["all there", "one gone", "closed"],
)
def test_a_node_that_died_or_failed_is_noticed(changes: dict[str, Any], complete: bool) -> None:
    assert exit_barrier.Peers(Agent(Store(full=False), **changes)).complete() == complete


def test_a_new_round_means_that_a_node_will_not_arrive() -> None:
    agent = Agent(Store(full=False))
    peers = exit_barrier.Peers(agent)
    agent._rdzv_handler._state_holder.state.round = 4
    assert not peers.complete()
