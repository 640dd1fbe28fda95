"""Beats of an unmodified PyTorch script: what optimizer steps and DDP forwards mean for a rank.

Loaded by its path inside the rank (see `instrument`), so it imports nothing of cockpit; of torch
it touches what the two functions at the end are given, right after torch itself has imported it.
Nothing here raises into the training, and nothing keeps an object of the user alive.
"""

from __future__ import annotations

import functools
import sys
from time import monotonic_ns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from types import ModuleType
    from typing import Any

    from cockpit.node.rank.slot import Slot

# Flags of `slot`, which is not imported here (see above).
HOOKED = 1
OWN = 4


class Steps:
    """Turns optimizer steps into the rank's steps, and tells how long each did not wait.

    Where several optimizers step in turn (a GAN, one optimizer per parameter), one of them leads
    and counts; the steps of the others are beats. The lead passes to one that has stepped twice
    since the lead did: it steps more often, or the lead is gone. Optimizers are known by id only.

    The own time of a step is what DistributedDataParallel lets one see: from the end of the step
    before to the end of the first forward, and the durations of further forwards in the same step.
    What follows is the backward with its all-reduce, where waiting and computing are one. It is
    the CPU's time also where a GPU computes: forward returns once its kernels are queued.
    """

    def __init__(self, slot: Slot) -> None:
        self._slot = slot
        self._lead = 0
        self._others: set[int] = set()
        self._stepped_ns = 0
        self._own_ns = -1
        self._depth = 0

    def optimizer_stepped(self, optimizer: object, _args: object, _kwargs: object) -> None:
        """Global post-step hook of torch; the last two are the arguments of `step`."""
        number = id(optimizer)
        if number != self._lead:
            if self._lead and number not in self._others:
                self._others.add(number)
                self._slot.beat()
                return
            self._lead = number
        if self._others:
            self._others.clear()
        self._stepped_ns = self._slot.step(self._own_ns)
        self._own_ns = -1

    def forward_begins(self) -> int:
        """Returns the time, monotonic ns."""
        self._depth += 1
        return monotonic_ns()

    def forward_ended(self, began_ns: int) -> None:
        """`began_ns` is what `forward_begins` returned; a forward inside another counts once."""
        self._depth -= 1
        if self._depth or not self._stepped_ns:
            return
        now = monotonic_ns()
        if self._own_ns < 0:
            self._own_ns = now - self._stepped_ns
            if not self._slot.flags & OWN:
                self._slot.add_flags(OWN)
        else:
            self._own_ns += now - began_ns


class Forward:
    """The context in which DistributedDataParallel runs its module's forward, timed."""

    __slots__ = ("_began_ns", "_inner", "_steps")

    def __init__(self, steps: Steps, inner: AbstractContextManager[Any]) -> None:
        self._steps = steps
        self._inner = inner

    def __enter__(self) -> Any:
        entered = self._inner.__enter__()
        self._began_ns = self._steps.forward_begins()
        return entered

    def __exit__(self, *error: Any) -> Any:
        self._steps.forward_ended(self._began_ns)
        return self._inner.__exit__(*error)


def hook_optimizers(steps: Steps, slot: Slot, module: ModuleType) -> None:
    """`module` is torch.optim.optimizer."""
    for kind in (Steps, Forward, type(slot)):
        for function in vars(kind).values():
            hide_from_compiler(function)
    register = getattr(module, "register_optimizer_step_post_hook", None)
    if register is None:
        version = getattr(sys.modules.get("torch"), "__version__", "")
        slot.note(f"torch {version} has no register_optimizer_step_post_hook")
        return
    try:
        register(steps.optimizer_stepped)
    except Exception as problem:  # noqa: BLE001 - torch is imported without the hook then
        slot.note(f"no hook into optimizers: {problem!r}")
        return
    slot.add_flags(HOOKED)


def hook_forwards(steps: Steps, module: ModuleType) -> None:
    """`module` is torch.nn.parallel.distributed. Where the name is missing no own time is told.

    The context is what torch.compile never looks into, unlike `forward` itself: replacing that
    would change where compiled graphs break.
    """
    parallel = getattr(module, "DistributedDataParallel", None)
    inside: Callable[..., AbstractContextManager[Any]] | None
    inside = getattr(parallel, "_inside_ddp_forward", None)
    if parallel is None or inside is None:
        return

    @functools.wraps(inside)
    def timed(self: Any, *args: Any, **kwargs: Any) -> Forward:
        return Forward(steps, inside(self, *args, **kwargs))

    hide_from_compiler(timed)
    parallel._inside_ddp_forward = timed  # noqa: SLF001 - the one place; guarded above


def hide_from_compiler(function: Any) -> None:
    """Have torch.compile not follow a call into this function: it would warn of the clock."""
    if hasattr(function, "__code__"):
        function._torchdynamo_disable = True  # noqa: SLF001 - what torch.compiler.disable sets
