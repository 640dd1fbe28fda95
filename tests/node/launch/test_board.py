"""The thread that talks to the rendezvous store: a store that hangs holds up nobody."""

from __future__ import annotations

import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cockpit.node.launch import board
from cockpit.node.launch.board import Board
from cockpit.node.launch.requests import Request

REQUEST = Request("x", "restart", 0, "ada", "because")


class FrozenStore:
    """Answers nothing until `thaw`, as a store whose host is stopped."""

    def __init__(self) -> None:
        self.thaw = threading.Event()

    def add(self, *_: Any) -> int:
        self.thaw.wait(60)
        return 0

    check = get = compare_set = add


class ClonedStore:
    """Counts what is asked of itself and of its clones."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.asked = 0
        self.threads: set[int] = set()

    def clone(self) -> Any:
        twin = ClonedStore()
        twin.counts, twin.threads = self.counts, self.threads
        return twin

    def add(self, key: str, amount: int) -> int:
        self.asked += 1
        self.threads.add(threading.get_ident())
        self.counts[key] = self.counts.get(key, 0) + amount
        return self.counts[key]


def lines() -> set[threading.Thread]:
    """Threads that ask a store; those of earlier tests may end at any moment."""
    return {thread for thread in threading.enumerate() if thread.name == "store"}


@pytest.fixture
def frozen() -> Iterator[FrozenStore]:
    store = FrozenStore()
    yield store
    store.thaw.set()


def test_a_store_that_does_not_answer_is_lost_once_and_for_all(
    frozen: FrozenStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(board, "PATIENCE", 0.2)
    mine = Board(frozen, "cockpit/0", 2)
    assert mine.published() is None
    assert mine.all_armed(), "nobody is waited for"
    assert mine.finished() == 0
    assert mine.publish(REQUEST) == REQUEST
    assert capsys.readouterr().err == (
        "cockpit: the rendezvous store does not answer (TimeoutError)\n"
    )


def test_a_signal_is_answered_while_the_store_is_not(
    frozen: FrozenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(board, "PATIENCE", 60.0)

    class Signalled(Exception):
        pass

    def handler(*_: object) -> None:
        raise Signalled

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        mine = Board(frozen, "cockpit/0", 2)
        with pytest.raises(Signalled):
            mine.finished()
        assert not frozen.thaw.is_set()
        mine.close()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_one_thread_asks_over_a_connection_of_its_own_and_ends_with_the_board() -> None:
    store = ClonedStore()
    before = lines()
    mine = Board(store, "cockpit/0", 2)
    assert not lines() - before, "not before it is needed"
    mine.arm()
    mine.arm()
    assert mine.all_armed()
    assert len(lines() - before) == 1
    assert (store.asked, len(store.threads)) == (0, 1)
    assert threading.get_ident() not in store.threads
    mine.close()
    assert not lines() - before
    assert mine.finished() == 0, "nobody is asked any more"
    assert not lines() - before


def test_one_node_alone_needs_no_thread() -> None:
    before = lines()
    mine = Board(ClonedStore(), "cockpit/0", 1)
    assert mine.publish(REQUEST) == REQUEST
    assert mine.all_armed()
    mine.finish()
    assert not lines() - before


@pytest.mark.parametrize("closed", [True, False])
def test_a_process_that_is_forked_meanwhile_can_come_to_its_end(
    closed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(board, "PATIENCE", 30.0)
    mine = Board(ClonedStore(), "cockpit/0", 2)
    mine.arm()
    if closed:
        mine.close()
    child = fork(lambda: mine.close())
    assert child == 0
    mine.close()


def fork(work: Callable[[], object]) -> int:
    """The exit status of a child that does `work`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads
        pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return status
        time.sleep(0.02)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    raise AssertionError("the child hangs")
