# ruff: noqa: SLF001 - torch has no public way to any of this
"""Waits, after the ranks of this node have finished, until those of the other nodes have.

Torch's agent waits for the others at most 300 s and then leaves with exit code 0. If it hosts the
rendezvous store, the others die with it, so a job whose nodes finish far apart is lost; if a peer
is dead, the 300 s are wasted; and no signal is answered meanwhile. Here the wait lasts as long as
every peer is alive, ends soon after one is not, and a signal ends it at once.
"""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable
from typing import Any

from cockpit.node.launch.hooks import Guard

POLL = 0.1
"""Seconds between two looks at the store."""
PATIENCE = 10.0
"""Seconds that the wait goes on after a peer has left, or has been silent for as long as the
rendezvous allows (keep-alive interval times attempts)."""
LINGER = 5.0
"""Seconds at most that the node with the store stays for the others to take their leave; without
it their last words to the store fail, noisily."""
GOODBYE = 0.5
"""Seconds from a node's leave to the end of its business with the store."""


def install(
    agent: type[Any],
    store_util: Any,
    key: str,
    guard: Guard,
    *,
    hosts_store: bool,
    lost: tuple[type[Exception], ...],
) -> None:
    """Wrap `_exit_barrier` of torch's agent class; torch's own is used where ours cannot begin.

    `store_util` is torch.distributed.elastic.utils.store, `key` the prefix that torch's barrier
    uses: nodes with and without this wait on the same one. `hosts_store`: this process does.
    `lost`: what torch raises when the store cannot be reached any more, which ends the wait.
    """
    original = getattr(agent, "_exit_barrier", None)
    arrive = getattr(store_util, "_barrier_nonblocking", None)
    if original is None or arrive is None:
        guard.missing(f"{agent.__name__}._exit_barrier")
        return

    @functools.wraps(original)
    def exit_barrier(self: Any) -> None:
        done = None
        with guard("exit barrier"):
            peers = Peers(self)
            done = arrive(store=self._store, world_size=peers.size, key_prefix=key)
        if done is None:
            original(self)
            return
        with guard("exit barrier"):
            try:
                arrived = wait(lambda: bool(self._store.check([done])), peers.complete)
                if arrived and peers.size > 1:
                    leave(self._store, f"{key}/left", peers.size, last=hosts_store)
            except lost as error:
                kind = type(error).__name__
                say(f"the rendezvous store is lost ({kind}); not waiting for the other nodes")

    agent._exit_barrier = exit_barrier


class Peers:
    """The nodes of the generation that has just finished here, as the rendezvous knows them."""

    def __init__(self, agent: Any) -> None:
        self._handler = agent._rdzv_handler
        self.size: int = agent._worker_group.group_world_size
        self._round = self._state().round

    def complete(self) -> bool:
        """Whether none of them has left, died, failed for good, or asked for a new round."""
        state = self._state()
        present = len(state.participants) >= self.size
        return present and not state.closed and state.round == self._round

    def _state(self) -> Any:
        # This call brings the state up to date and drops who has been silent for too long.
        self._handler.num_nodes_waiting()
        return self._handler._state_holder.state


def wait(
    done: Callable[[], bool],
    complete: Callable[[], bool],
    patience: float = PATIENCE,
    poll: float = POLL,
) -> bool:
    """Until `done`, or until `complete` has been false for `patience` seconds. True when done."""
    since = None
    while not done():
        now = time.monotonic()
        if complete():
            since = None
        elif since is None:
            since = now
        elif now - since >= patience:
            say("a node has left; not waiting for the others any longer")
            return False
        time.sleep(poll)
    return True


def leave(store: Any, key: str, size: int, *, last: bool) -> None:
    """Say goodbye on `key`, and with `last` stay until all `size` nodes have, or LINGER is over."""
    store.add(key, 1)
    if not last:
        return
    deadline = time.monotonic() + LINGER
    while store.add(key, 0) < size and time.monotonic() < deadline:
        time.sleep(POLL)
    time.sleep(GOODBYE)


def say(message: str) -> None:
    sys.stderr.write(f"cockpit: {message}\n")
