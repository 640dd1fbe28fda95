"""What cockpit expects of torch's agent and versions of ft_launcher lack, or do in another way.

Called once by `ft` before ft_launcher runs. Each function adds or widens one thing on classes and
modules of nvidia-resiliency-ext, or leaves everything alone where this version needs nothing.
"""

from __future__ import annotations

import functools
import inspect
import os
from typing import Any


def lend_master(group: type[Any]) -> None:
    """Give the WorkerGroup of older versions what torch's has: where rank 0 can be found."""
    if not hasattr(group, "master_addr"):
        group.master_addr = property(lambda self: self.store.get("MASTER_ADDR").decode())
        group.master_port = property(lambda self: int(self.store.get("MASTER_PORT")))


def lend_round() -> bool:
    """Let the rendezvous of newer versions tell its round where torch's has it. Whether it was
    needed; such a rendezvous knows neither who takes part nor who has died.
    """
    try:
        from nvidia_resiliency_ext.fault_tolerance import ft_rendezvous_barrier
    except ImportError:
        return False
    handler = ft_rendezvous_barrier.FtRendezvousBarrierHandler
    handler._state_holder = property(lambda self: _Round(self.round()))  # noqa: SLF001 - as torch's
    return True


class _Round:
    def __init__(self, number: int) -> None:
        self.state = self
        self.round = number


def widen_sweep(program: Any) -> None:
    """Some versions end what dead ranks of `multiprocessing` leave behind where its parent is
    pid 1; under cockpit its parent is the supervisor.
    """
    original = getattr(program, "terminate_mp_processes", None)
    if original is None or "allowed_ppids" not in inspect.signature(original).parameters:
        return

    @functools.wraps(original)
    def terminate(allowed_ppids: Any, allowed_pgids: Any) -> Any:
        return original({*allowed_ppids, os.getppid()}, allowed_pgids)

    program.terminate_mp_processes = terminate
