"""cockpit: profiles in a TOML file, jobs on many nodes, one screen that tells the truth about them.

This module is imported on nodes by user code too, so it stays free of imports. All that training
code may use of it is `heartbeat`, `checkpoint_wanted` and `checkpoint_saved`.
"""

import sys

__version__ = "0.1.0"


def heartbeat(step: "int | None" = None, **metrics: "float | None") -> None:
    """Say that this rank is alive, how far it is, and what it measures.

        import cockpit
        cockpit.heartbeat(step=step, loss=loss.item(), tokens=tokens)

    Every ordinary PyTorch job beats at each optimizer step without this call; with it `step` is
    what this code says, and every keyword is a metric with a history. Outside of a job, and in
    child processes of a rank, it does nothing.

    step: from 0 on; once it is given, optimizer steps are no longer counted.
    metrics: numbers; at most 64 names of at most 40 bytes. NaN is a value; None leaves the last
        one. A tensor of one element is read, which waits for its GPU. Anything else is left out,
        with one line on stderr.

    It takes about a microsecond, never blocks and raises nothing.
    """


def checkpoint_wanted(step: "int | None" = None) -> bool:  # noqa: ARG001 - a rank's own uses it
    """Whether somebody wants a checkpoint now: True once per request, on all ranks at one step.

        if cockpit.checkpoint_wanted(step):
            save(step)
            cockpit.checkpoint_saved()

    To be called by every rank at every step, or at the same steps by all. A request names a step
    that is a little ahead of the whole world, so every rank hears of it at the first call from
    that step on, with no word between them: the save may hold collectives. Whoever calls this
    tells by it that the job can make a checkpoint on request. Outside of a job, and in child
    processes of a rank, it is False.

    step: from 0 on, growing; without it, the step of the heartbeats.

    It takes about a quarter of a microsecond, never blocks and raises nothing.
    """
    return False


def checkpoint_saved() -> None:
    """Say that this rank has written the checkpoint that `checkpoint_wanted` told it of."""


# Inside a rank the worker has loaded the slot before, under this name: its own method, at full
# speed, also where the training environment has a cockpit of its own installed.
_slot = getattr(sys.modules.get("_cockpit_slot"), "current", None)
if _slot is not None:
    heartbeat = _slot.heartbeat
    # A worker of an earlier cockpit, which an attempt keeps, knows beats only.
    checkpoint_wanted = getattr(_slot, "checkpoint_wanted", checkpoint_wanted)
    checkpoint_saved = getattr(_slot, "checkpoint_saved", checkpoint_saved)
del _slot
